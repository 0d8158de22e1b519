use super::Rule;
use super::block::Block;
use super::cover::{Cover, cover};

/// What earlier rules leave to a rule.
pub(super) enum Standing<'r> {
    /// Some request.
    Open,
    /// Nobody knows.
    Unknown,
    /// Nothing, and there was nothing before them either.
    Never,
    /// Nothing, because of these rules; without any one of them there would be something.
    Behind(Vec<&'r Rule>),
}

/// What no request can be, and what the rules so far take.
pub(super) struct Before<'r> {
    impossible: &'r [Block],
    blocks: Vec<(&'r Rule, Block)>,
    /// For each dimension, how many blocks have each atom beside those that have all of them.
    counts: Vec<Vec<u32>>,
}

impl<'r> Before<'r> {
    pub(super) fn new(impossible: &'r [Block]) -> Self {
        let mut before = Self { impossible, blocks: Vec::new(), counts: Vec::new() };
        for block in impossible {
            before.count(block);
        }
        before
    }

    pub(super) fn add(&mut self, rule: &'r Rule, taken: Vec<Block>) {
        for block in taken {
            self.count(&block);
            self.blocks.push((rule, block));
        }
    }

    pub(super) fn standing(&self, taken: &[Block]) -> Standing<'r> {
        let mut used = Vec::new();
        let mut is_known = true;
        for part in taken {
            if self.leaves_the_likeliest(part) {
                return Standing::Open;
            }
            match cover(part, self.impossible.iter().chain(self.blocks.iter().map(|(_, block)| block))) {
                Cover::Open => return Standing::Open,
                Cover::Unknown => is_known = false,
                Cover::By(numbers) => used.extend(numbers),
            }
        }
        used.sort_unstable();
        used.dedup();
        let mut rules: Vec<&'r Rule> =
            used.into_iter().filter_map(|number| Some(self.blocks.get(number.checked_sub(self.impossible.len())?)?.0)).collect();
        rules.dedup_by(|one, other| std::ptr::eq(*one, *other));
        match is_known {
            false => Standing::Unknown,
            true if self.are_enough(&[], taken) => Standing::Never,
            true => Standing::Behind(self.fewest(&rules, taken)),
        }
    }

    /// Whether `rule` takes nothing that is not in `taken`.
    pub(super) fn is_within(&self, rule: &Rule, taken: &[Block]) -> bool {
        let parts = self.blocks.iter().filter(|(other, _)| std::ptr::eq(*other, rule)).map(|(_, block)| block);
        parts.into_iter().all(|part| matches!(cover(part, self.impossible.iter().chain(taken)), Cover::By(_)))
    }

    /// One rule that is enough where there is one, else all without which the others are not.
    fn fewest(&self, rules: &[&'r Rule], taken: &[Block]) -> Vec<&'r Rule> {
        if let Some(one) = rules.iter().find(|rule| self.are_enough(&[rule], taken)) {
            return vec![one];
        }
        let mut needed = rules.to_vec();
        for rule in rules.iter().rev() {
            let others: Vec<&Rule> = needed.iter().copied().filter(|other| !std::ptr::eq(*other, *rule)).collect();
            if self.are_enough(&others, taken) {
                needed.retain(|other| !std::ptr::eq(*other, *rule));
            }
        }
        needed
    }

    fn are_enough(&self, rules: &[&Rule], taken: &[Block]) -> bool {
        let blocks =
            || self.blocks.iter().filter(|(rule, _)| rules.iter().any(|other| std::ptr::eq(*rule, *other))).map(|(_, block)| block);
        taken.iter().all(|part| matches!(cover(part, self.impossible.iter().chain(blocks())), Cover::By(_)))
    }

    /// Whether a part has a request that nothing has so far, looked for only where most rules have none: that is enough for nearly
    /// every rule.
    fn leaves_the_likeliest(&self, part: &Block) -> bool {
        let rarest = |dimension: usize, counts: &Vec<u32>| match part.side(dimension) {
            Some(atoms) => atoms.ones().min_by_key(|atom| counts.get(*atom)),
            None => (0..counts.len()).min_by_key(|atom| counts[*atom]),
        };
        let point: Vec<Option<usize>> = self.counts.iter().enumerate().map(|(dimension, counts)| rarest(dimension, counts)).collect();
        let has_point = |block: &Block| {
            block.sides().all(|(dimension, atoms)| point.get(dimension).copied().flatten().is_some_and(|atom| atoms.contains(atom)))
        };
        !part.is_empty() && !self.impossible.iter().chain(self.blocks.iter().map(|(_, block)| block)).any(has_point)
    }

    fn count(&mut self, block: &Block) {
        for (dimension, atoms) in block.sides() {
            if self.counts.len() <= dimension {
                self.counts.resize_with(dimension + 1, Vec::new);
            }
            let counts = &mut self.counts[dimension];
            counts.resize(counts.len().max(atoms.len()), 0);
            atoms.ones().for_each(|atom| counts[atom] += 1);
        }
    }
}
