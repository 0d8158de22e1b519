use std::collections::{BTreeMap, BTreeSet};

use fixedbitset::FixedBitSet;

use super::block::Block;
use super::cuts::Cuts;
use super::texts::{Domain, Texts};
use crate::config::{Bounds, Caller, SpentWindow};
use crate::rules::matcher::Condition;
use crate::units::{CallerName, Glob, Share};

/// Inclusive bounds.
type Range = (Option<u64>, Option<u64>);

/// All of a window, in millionths.
const ALL: u64 = 1_000_000;

/// Who asks, and how much of budgets is used.
#[derive(Debug, Default)]
pub(super) struct Whose {
    /// Every caller of the file; the last atom is a request without one.
    callers: BTreeMap<CallerName, usize>,
    caller_dimension: usize,
    /// By name; the last atom is a tag that is not there.
    tags: BTreeMap<String, (usize, Texts)>,
    spent: BTreeMap<SpentWindow, (usize, Cuts)>,
}

/// What the conditions of a file ask of them.
#[derive(Default)]
pub(super) struct Asked {
    callers: bool,
    tags: BTreeMap<String, BTreeSet<Box<str>>>,
    spent: BTreeMap<SpentWindow, Vec<Range>>,
}

impl Asked {
    pub(super) fn add(&mut self, condition: &Condition) {
        match condition {
            Condition::Caller(_) => self.callers = true,
            Condition::Tag(name, any) => {
                self.tags.entry(name.clone()).or_default().extend(any.iter().map(|glob| glob.as_str().into()));
            }
            Condition::Spent(_, window, bounds) => self.spent.entry(*window).or_default().push(millionths(bounds)),
            _ => {}
        }
    }
}

impl Whose {
    /// Takes dimensions from `next` on, and tells what no request can be.
    pub(super) fn new(asked: Asked, callers: &[Caller], next: &mut usize, impossible: &mut Vec<Block>) -> Self {
        let mut whose = Self { caller_dimension: *next, ..Self::default() };
        *next += 1;
        if asked.callers {
            whose.callers = callers.iter().map(|caller| caller.name.clone()).zip(0..).collect();
        }
        for (name, mut patterns) in asked.tags {
            let values = callers.iter().filter(|_| asked.callers).filter_map(|caller| caller.tags.get(&name));
            patterns.extend(values.filter(|value| !value.contains('*')).map(Into::into));
            let texts = Texts::new(patterns, &Domain::TAG);
            impossible.extend(whose.foreign(&name, *next, &texts, callers));
            whose.tags.insert(name, (*next, texts));
            *next += 1;
        }
        for (window, bounds) in asked.spent {
            whose.spent.insert(window, (*next, Cuts::new(0, bounds, false)));
            *next += 1;
        }
        whose
    }

    /// The values of a tag that are not those of the callers' entries.
    fn foreign(&self, name: &str, dimension: usize, texts: &Texts, callers: &[Caller]) -> Vec<Block> {
        let mut by_value: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
        for caller in callers {
            let Some(atom) = self.callers.get(&caller.name) else { continue };
            by_value.entry(caller.tags.get(name)).or_default().push(*atom);
        }
        let foreign = by_value.into_iter().filter(|(value, _)| value.is_none_or(|value| !value.contains('*')));
        foreign
            .filter_map(|(value, of)| {
                let mut others = texts.matching(value)?;
                let absent = others.len();
                others.grow(absent + 1);
                others.set(absent, value.is_none());
                others.toggle_range(..);
                let mut atoms = FixedBitSet::with_capacity(self.callers.len() + 1);
                atoms.extend(of);
                Some(Block::of([(self.caller_dimension, atoms), (dimension, others)]))
            })
            .collect()
    }

    /// The atoms that fulfil a condition, and their dimension. Nothing where they are too many to tell.
    pub(super) fn side(&self, condition: &Condition) -> Option<(usize, FixedBitSet)> {
        match condition {
            Condition::Caller(any) => {
                let mut atoms = FixedBitSet::with_capacity(self.callers.len() + 1);
                atoms.extend(any.iter().filter_map(|caller| self.callers.get(caller).copied()));
                Some((self.caller_dimension, atoms))
            }
            Condition::Tag(name, any) => {
                let (dimension, texts) = self.tags.get(name)?;
                let mut matching = texts.matching(any.iter().map(Glob::as_str))?;
                matching.grow(matching.len() + 1);
                Some((*dimension, matching))
            }
            Condition::Spent(_, window, bounds) => {
                let (dimension, cuts) = self.spent.get(window)?;
                Some((*dimension, cuts.within(millionths(bounds))))
            }
            _ => None,
        }
    }

    /// The kinds of text that each pattern on a tag matches.
    pub(super) fn values(&self, name: &str, any: &[Glob]) -> Option<Vec<FixedBitSet>> {
        let (_, texts) = self.tags.get(name)?;
        any.iter().map(|glob| texts.matching([glob.as_str()])).collect()
    }
}

/// No more than all of a window is used, so that a bound there is none.
fn millionths(bounds: &Bounds<Share>) -> Range {
    let of = |share: Share| u64::from(share.millionths());
    (bounds.min.map(of), bounds.max.map(of).filter(|max| *max < ALL))
}
