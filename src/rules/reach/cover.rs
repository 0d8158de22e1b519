use fixedbitset::FixedBitSet;

use super::block::Block;

/// Comparisons of sets that one question may take. Rules that people write take a thousandth of it.
const MOST_WORK: usize = 200_000;

/// Whether some blocks hold all that is in another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// They do: these of them are enough, by their numbers in rising order. None where there is nothing to hold.
    By(Vec<usize>),
    /// They do not.
    Open,
    /// It would take too long to tell.
    Unknown,
}

/// Whether the blocks of `by` together hold all that is in `block`.
///
/// Follows the block from dimension to dimension. Atoms that the same blocks have are one case, and a case that has all the blocks
/// of another and more needs no look of its own: what holds the other holds it too.
pub(super) fn cover<'b>(block: &Block, by: impl IntoIterator<Item = &'b Block>) -> Cover {
    let (numbers, blocks): (Vec<usize>, Vec<&Block>) = by.into_iter().enumerate().filter(|(_, other)| other.meets(block)).unzip();
    if block.is_empty() {
        return Cover::By(Vec::new());
    }
    let mut dimensions: Vec<usize> = blocks.iter().flat_map(|other| other.sides().map(|(dimension, _)| dimension)).collect();
    dimensions.sort_unstable();
    dimensions.dedup();
    let cuts: Vec<Cut> = dimensions.iter().map(|dimension| Cut::new(*dimension, block, &blocks)).collect();
    let mut search = Search { cuts: &cuts, used: FixedBitSet::with_capacity(blocks.len()), work: 0 };
    let mut alive = FixedBitSet::with_capacity(blocks.len());
    alive.insert_range(..);
    let all: Vec<usize> = (0..cuts.len()).collect();
    match search.is_covered(&all, &alive) {
        Some(true) => Cover::By(search.used.ones().map(|used| numbers[used]).collect()),
        Some(false) => Cover::Open,
        None => Cover::Unknown,
    }
}

/// How some blocks divide another one in one dimension.
struct Cut {
    /// The blocks that have each atom of it.
    whole: FixedBitSet,
    /// For each kind of atom of it, the blocks that have that.
    rows: Vec<FixedBitSet>,
}

impl Cut {
    fn new(dimension: usize, block: &Block, by: &[&Block]) -> Self {
        let mut free = FixedBitSet::with_capacity(by.len());
        let mut size = 0;
        for (number, other) in by.iter().enumerate() {
            match other.side(dimension) {
                None => free.insert(number),
                Some(atoms) => size = atoms.len(),
            }
        }
        let own = block.side(dimension);
        let mut whole = free.clone();
        let mut rows = vec![free; size];
        for (number, other) in by.iter().enumerate() {
            let Some(atoms) = other.side(dimension) else { continue };
            if own.map_or_else(|| atoms.is_full(), |own| own.is_subset(atoms)) {
                whole.insert(number);
            }
            atoms.ones().for_each(|atom| rows[atom].insert(number));
        }
        if let Some(own) = own {
            rows = own.ones().map(|atom| std::mem::take(&mut rows[atom])).collect();
        }
        rows.sort_unstable();
        rows.dedup();
        Self { whole, rows }
    }

    /// What is left of `alive` for each kind of atom, less what has all of another; one that is empty stands alone.
    fn cases(&self, alive: &FixedBitSet, work: &mut usize) -> Vec<FixedBitSet> {
        let mut cases: Vec<FixedBitSet> = Vec::new();
        for row in &self.rows {
            let mut case = alive.clone();
            case.intersect_with(row);
            *work += 1 + cases.len();
            if case.is_clear() {
                return vec![case];
            }
            if !cases.iter().any(|other| other.is_subset(&case)) {
                cases.retain(|other| !case.is_subset(other));
                cases.push(case);
            }
        }
        cases
    }
}

struct Search<'c> {
    cuts: &'c [Cut],
    used: FixedBitSet,
    work: usize,
}

impl Search<'_> {
    /// Whether the blocks of `alive` hold everything, with only the cuts of `left` to be made. No answer where it takes too long.
    fn is_covered(&mut self, left: &[usize], alive: &FixedBitSet) -> Option<bool> {
        let mut whole = alive.clone();
        for cut in left {
            whole.intersect_with(&self.cuts[*cut].whole);
        }
        self.work += left.len();
        if let Some(first) = whole.minimum() {
            self.used.insert(first);
            return Some(true);
        }
        let mut best: Option<(usize, Vec<FixedBitSet>)> = None;
        for cut in left {
            if alive.is_subset(&self.cuts[*cut].whole) {
                continue;
            }
            let cases = self.cuts[*cut].cases(alive, &mut self.work);
            if best.as_ref().is_none_or(|(_, fewest)| cases.len() < fewest.len()) {
                let is_only = cases.len() == 1;
                best = Some((*cut, cases));
                if is_only {
                    break;
                }
            }
        }
        if self.work > MOST_WORK {
            return None;
        }
        let Some((cut, cases)) = best else { return Some(false) };
        let left: Vec<usize> = left.iter().copied().filter(|other| *other != cut).collect();
        for case in cases {
            if !self.is_covered(&left, &case)? {
                return Some(false);
            }
        }
        Some(true)
    }
}
