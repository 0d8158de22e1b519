use fixedbitset::FixedBitSet;

/// Requests that have one of some atoms in each of some dimensions, and anything in the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    /// By dimension, in rising order.
    sides: Vec<(usize, FixedBitSet)>,
}

impl Block {
    pub(super) fn of(sides: impl IntoIterator<Item = (usize, FixedBitSet)>) -> Self {
        let mut block = Self::default();
        for (dimension, atoms) in sides {
            block.narrow(dimension, &atoms);
        }
        block
    }

    /// Leaves only what has one of `atoms` in `dimension`.
    pub(super) fn narrow(&mut self, dimension: usize, atoms: &FixedBitSet) {
        match self.sides.binary_search_by_key(&dimension, |(known, _)| *known) {
            Ok(at) => self.sides[at].1.intersect_with(atoms),
            Err(at) => self.sides.insert(at, (dimension, atoms.clone())),
        }
    }

    pub(super) fn side(&self, dimension: usize) -> Option<&FixedBitSet> {
        self.sides.binary_search_by_key(&dimension, |(known, _)| *known).ok().map(|at| &self.sides[at].1)
    }

    pub(super) fn sides(&self) -> impl Iterator<Item = (usize, &FixedBitSet)> {
        self.sides.iter().map(|(dimension, atoms)| (*dimension, atoms))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sides.iter().any(|(_, atoms)| atoms.is_clear())
    }

    /// Whether some request may be in both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let (mut own, mut others) = (self.sides.as_slice(), other.sides.as_slice());
        while let ([(mine, atoms), rest @ ..], [(theirs, other_atoms), other_rest @ ..]) = (own, others) {
            if mine == theirs && atoms.is_disjoint(other_atoms) {
                return false;
            }
            if mine <= theirs {
                own = rest;
            }
            if theirs <= mine {
                others = other_rest;
            }
        }
        true
    }

    /// Whether all that is in `other` is in this.
    pub(super) fn holds(&self, other: &Self) -> bool {
        self.sides().all(|(dimension, atoms)| other.side(dimension).map_or_else(|| atoms.is_full(), |own| own.is_subset(atoms)))
    }

    /// What is in this and not in `other`, in parts that do not meet.
    pub(super) fn without(self, other: &Self) -> Vec<Self> {
        let mut parts = Vec::new();
        let mut rest = self;
        for (dimension, atoms) in other.sides() {
            let mut outside = atoms.clone();
            outside.toggle_range(..);
            let mut part = rest.clone();
            part.narrow(dimension, &outside);
            if !part.is_empty() {
                parts.push(part);
            }
            rest.narrow(dimension, atoms);
        }
        parts
    }
}
