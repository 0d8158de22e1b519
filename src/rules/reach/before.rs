use fixedbitset::FixedBitSet;

use super::Rule;
use super::block::Block;
use super::cover::Cover;
use super::space::Space;

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
    space: &'r Space,
    blocks: Vec<(&'r Rule, Block)>,
    /// For each dimension, how many blocks have each atom beside those that have all of them.
    counts: Vec<Vec<u32>>,
}

impl<'r> Before<'r> {
    pub(super) fn new(space: &'r Space) -> Self {
        let mut before = Self { space, blocks: Vec::new(), counts: Vec::new() };
        for block in space.impossible() {
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
            match self.space.cover(part, self.blocks.iter().map(|(_, block)| block)) {
                Cover::Open => return Standing::Open,
                Cover::Unknown => is_known = false,
                Cover::By(numbers) => used.extend(numbers),
            }
        }
        used.sort_unstable();
        used.dedup();
        let mut rules: Vec<&'r Rule> = used.into_iter().map(|number| self.blocks[number].0).collect();
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
        parts.into_iter().all(|part| matches!(self.space.cover(part, taken), Cover::By(_)))
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
        taken.iter().all(|part| matches!(self.space.cover(part, blocks()), Cover::By(_)))
    }

    /// Whether a part has a request that nothing has so far, looked for only where few blocks are: that is enough for nearly every
    /// rule.
    fn leaves_the_likeliest(&self, part: &Block) -> bool {
        let mut point: Vec<Option<usize>> = (0..self.counts.len()).map(|dimension| self.rarest(dimension, part, None)).collect();
        let mut is_moved = vec![false; point.len()];
        // A block that has the point is left where that leads to the fewest others, in each dimension once.
        while !part.is_empty() {
            let has_point = |block: &&Block| {
                block.sides().all(|(dimension, atoms)| point.get(dimension).copied().flatten().is_some_and(|atom| atoms.contains(atom)))
            };
            let Some(block) = self.space.impossible().iter().chain(self.blocks.iter().map(|(_, block)| block)).find(has_point) else {
                return true;
            };
            let moves = block.sides().filter(|(dimension, _)| !is_moved[*dimension]);
            let next = moves.filter_map(|(dimension, atoms)| Some((dimension, self.rarest(dimension, part, Some(atoms))?)));
            let Some((dimension, atom)) = next.min_by_key(|(dimension, atom)| self.counts[*dimension][*atom]) else { return false };
            point[dimension] = Some(atom);
            is_moved[dimension] = true;
        }
        false
    }

    /// The atom of a part that the fewest blocks have, of those that are not in `outside`.
    fn rarest(&self, dimension: usize, part: &Block, outside: Option<&FixedBitSet>) -> Option<usize> {
        let counts = &self.counts[dimension];
        let is_outside = |atom: &usize| outside.is_none_or(|outside| !outside.contains(*atom));
        match part.side(dimension) {
            Some(atoms) => atoms.ones().filter(is_outside).min_by_key(|atom| counts.get(*atom)),
            None => (0..counts.len()).filter(is_outside).min_by_key(|atom| counts[*atom]),
        }
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
