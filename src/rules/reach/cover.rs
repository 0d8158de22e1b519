use std::cell::Cell;
use std::collections::BTreeMap;

use fixedbitset::FixedBitSet;

use super::block::Block;

/// Comparisons of sets that one question may take, and those about one file together. Rules that people write take a thousandth.
const MOST_OF_ONE: usize = 100_000;
const MOST_OF_ALL: usize = 4_000_000;

/// How much work is left to the questions about one file.
#[derive(Debug)]
pub(super) struct Patience(Cell<usize>);

impl Default for Patience {
    fn default() -> Self {
        Self(Cell::new(MOST_OF_ALL))
    }
}

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
pub(super) fn cover<'b>(block: &Block, by: impl IntoIterator<Item = &'b Block>, patience: &Patience) -> Cover {
    if patience.0.get() == 0 {
        return Cover::Unknown;
    }
    let (numbers, blocks): (Vec<usize>, Vec<&Block>) = by.into_iter().enumerate().filter(|(_, other)| other.meets(block)).unzip();
    if block.is_empty() {
        return Cover::By(Vec::new());
    }
    if let Some(one) = blocks.iter().position(|other| other.holds(block)) {
        return Cover::By(vec![numbers[one]]);
    }
    let mut sides: BTreeMap<usize, Vec<(usize, &FixedBitSet)>> = BTreeMap::new();
    for (number, other) in blocks.iter().enumerate() {
        for (dimension, atoms) in other.sides() {
            sides.entry(dimension).or_default().push((number, atoms));
        }
    }
    let cuts: Vec<Cut> = sides.iter().map(|(dimension, sides)| Cut::new(block.side(*dimension), sides, blocks.len())).collect();
    let rows: usize = cuts.iter().map(|cut| cut.rows.len()).sum();
    let mut search =
        Search { cuts: &cuts, used: FixedBitSet::with_capacity(blocks.len()), work: rows, most: patience.0.get().min(MOST_OF_ONE) };
    let mut alive = FixedBitSet::with_capacity(blocks.len());
    alive.insert_range(..);
    let all: Vec<usize> = (0..cuts.len()).collect();
    let is_covered = search.is_covered(&all, &alive);
    patience.0.set(patience.0.get().saturating_sub(search.work));
    match is_covered {
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
    /// `own` are the atoms of the block that is divided, all where it does not say; `sides` those of the others that have not all,
    /// each with its number out of `count`.
    fn new(own: Option<&FixedBitSet>, sides: &[(usize, &FixedBitSet)], count: usize) -> Self {
        let mut free = FixedBitSet::with_capacity(count);
        free.insert_range(..);
        for (number, _) in sides {
            free.remove(*number);
        }
        let size = sides.first().map_or(0, |(_, atoms)| atoms.len());
        let mut rows = vec![FixedBitSet::new(); size];
        let mut whole = free.clone();
        for (number, atoms) in sides {
            if own.map_or_else(|| atoms.is_full(), |own| own.is_subset(atoms)) {
                whole.insert(*number);
            }
            for atom in atoms.ones().filter(|atom| own.is_none_or(|own| own.contains(*atom))) {
                rows[atom].grow_and_insert(*number);
            }
        }
        let mut rows: Vec<FixedBitSet> =
            rows.into_iter().enumerate().filter(|(atom, _)| own.is_none_or(|own| own.contains(*atom))).map(|(_, row)| row).collect();
        rows.sort_unstable();
        rows.dedup();
        for row in &mut rows {
            row.grow(count);
            row.union_with(&free);
        }
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
    most: usize,
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
        if self.work > self.most {
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
