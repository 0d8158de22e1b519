use std::collections::{BTreeMap, BTreeSet};

use fixedbitset::FixedBitSet;

use super::block::Block;
use super::calls::{self, Call};
use super::costs;
use super::cover::{Cover, Patience, cover};
use super::cuts::Cuts;
use super::texts::{Domain, Texts};
use super::whose::{Asked, Whose};
use crate::config::{Bounds, Route, Target};
use crate::rules::RuleSet;
use crate::rules::matcher::{Condition, Matcher, Model};
use crate::units::Glob;
use crate::units::{Need, TaskName, Tokens, Usd};
use crate::wire::least_prompt;

pub(super) const CALL: usize = 0;
const STREAM: usize = 1;
const TASK: usize = 2;
pub(super) const PROMPT_TOKENS: usize = 3;
pub(super) const TURNS: usize = 4;
const MAX_COST: usize = 5;
const MODEL: usize = 6;
/// Labels, headers, ceilings, callers, tags and windows have the dimensions from here on.
const FIRST_NAMED: usize = 7;

/// All the requests that there can be, as far as the rules of one file tell them apart: dimensions, each cut into atoms. A request
/// has one atom of each, in any combination that is not in `impossible`.
#[derive(Debug)]
pub(super) struct Space {
    calls: Vec<Call>,
    /// Every task that a rule names; the last atom is any other.
    tasks: BTreeMap<TaskName, usize>,
    prompt_tokens: Cuts,
    turns: Cuts,
    /// The last atom is a ceiling that was not declared.
    max_cost: Cuts,
    models: Texts,
    known_models: BTreeSet<Box<str>>,
    /// By name; the last atom is a label that is not there. The texts are absent for names that no label can have.
    labels: BTreeMap<String, (usize, Option<Texts>)>,
    /// Each condition on a header is a dimension: a header can have many values, so that any of them may hold together.
    headers: BTreeMap<(String, Vec<String>), usize>,
    /// The values of each header.
    header_values: BTreeMap<String, Texts>,
    /// The cost of the cheapest step of a chain: up to each of these ceilings, and above them.
    ceilings: BTreeMap<costs::Key, (usize, Vec<Usd>)>,
    whose: Whose,
    impossible: Vec<Block>,
    patience: Patience,
}

impl Space {
    pub(super) fn new(rules: &RuleSet) -> Self {
        let facts = Facts::of(rules);
        let uses_turns = !facts.turns.is_empty();
        // What is no chat has one turn, and what a message brings takes one.
        let turns = facts.turns.into_iter().chain(uses_turns.then_some((Some(1), Some(1))));
        let mut known_models = if facts.asks_for_known { known_models(rules) } else { BTreeSet::new() };
        if facts.asks_for_known {
            // Names that rules spell in their own way.
            let is_known = |name: &str| !name.contains('*') && !rules.targets_named(name).is_empty();
            known_models.extend(facts.models.iter().filter(|name| is_known(name)).cloned());
        }
        let all_models = facts.models.into_iter().chain(known_models.iter().cloned()).collect();
        // A star in a model's own name stands for itself, which no pattern can say.
        let is_starred = known_models.iter().any(|name| name.contains('*'));
        let models = if is_starred { Texts::untold() } else { Texts::new(all_models, &Domain::MODEL) };
        // Where nothing is asked of the prompt's length, no window is too small.
        let asks_for_length = !facts.prompt_tokens.is_empty();
        let windows = rules.targets().iter().filter(|_| asks_for_length).map(|target| (None, target.context.map(Tokens::count)));
        let mut space = Self {
            calls: calls::all(),
            tasks: facts.tasks.into_iter().zip(0..).collect(),
            prompt_tokens: Cuts::new(least_prompt(0, &[]).count(), facts.prompt_tokens.into_iter().chain(windows), false),
            turns: Cuts::new(0, turns, false),
            max_cost: Cuts::new(0, facts.max_cost, true),
            models,
            known_models,
            labels: BTreeMap::new(),
            headers: BTreeMap::new(),
            header_values: BTreeMap::new(),
            ceilings: BTreeMap::new(),
            whose: Whose::default(),
            impossible: Vec::new(),
            patience: Patience::default(),
        };
        let mut next = FIRST_NAMED;
        for (name, patterns) in facts.labels {
            let texts = is_label_name(&name).then(|| Texts::new(patterns, &Domain::LABEL));
            space.labels.insert(name, (next, texts));
            next += 1;
        }
        for (name, conditions) in facts.headers {
            space.add_header(&name, conditions.into_iter().collect(), &mut next);
        }
        for (key, ceilings) in facts.ceilings {
            space.add_ceilings(rules, key, ceilings.into_iter().collect(), &mut next);
        }
        space.whose = Whose::new(facts.whose, rules.callers(), &mut next, &mut space.impossible);
        space.impossible.extend(calls::impossible(&space.calls, &space.turns, &space.prompt_tokens));
        space
    }

    /// What no request can be.
    pub(super) fn impossible(&self) -> &[Block] {
        &self.impossible
    }

    /// Whether some blocks, and what no request can be, together hold all that is in `block`. The numbers of the answer are those of
    /// `by`.
    pub(super) fn cover<'b>(&'b self, block: &Block, by: impl IntoIterator<Item = &'b Block>) -> Cover {
        match cover(block, self.impossible.iter().chain(by), &self.patience) {
            Cover::By(used) => Cover::By(used.into_iter().filter_map(|number| number.checked_sub(self.impossible.len())).collect()),
            other => other,
        }
    }

    /// Whether no request is in `block`.
    pub(super) fn is_empty(&self, block: &Block) -> bool {
        matches!(self.cover(block, []), Cover::By(_))
    }

    /// The requests that a rule matches, in parts. Nothing where its patterns are too many to tell.
    pub(super) fn taken(&self, matcher: &Matcher, route: &Route) -> Option<Vec<Block>> {
        let all = self.block(matcher.all(), route)?;
        Some(match matcher.unless() {
            None => vec![all],
            Some(unless) => all.without(&self.block(unless, route)?),
        })
    }

    /// The requests that fulfil all of some conditions.
    pub(super) fn block<'c>(&self, conditions: impl IntoIterator<Item = &'c Condition>, route: &Route) -> Option<Block> {
        let mut block = Block::default();
        for condition in conditions {
            let (dimension, atoms) = self.side(condition, route)?;
            block.narrow(dimension, &atoms);
        }
        Some(block)
    }

    /// The atoms that fulfil a condition, and their dimension.
    pub(super) fn side(&self, condition: &Condition, route: &Route) -> Option<(usize, FixedBitSet)> {
        let side = match condition {
            Condition::Endpoint(any) => (CALL, calls::which(&self.calls, |call| any.contains(&call.endpoint))),
            Condition::Effort(any) => (CALL, calls::which(&self.calls, |call| call.effort.is_some_and(|effort| any.contains(&effort)))),
            Condition::Needs(any) => (CALL, calls::which(&self.calls, |call| any.iter().any(|need| call.needs.contains(need)))),
            Condition::Stream(wanted) => (STREAM, atoms(2, [usize::from(*wanted)])),
            Condition::Task(any) => (TASK, atoms(self.tasks.len() + 1, any.iter().filter_map(|task| self.tasks.get(task).copied()))),
            Condition::PromptTokens(bounds) => (PROMPT_TOKENS, self.prompt_tokens.within(of_tokens(bounds))),
            Condition::Turns(bounds) => (TURNS, self.turns.within((bounds.min, bounds.max))),
            Condition::MaxCost(bounds) => (MAX_COST, self.max_cost.within(of_dollars(bounds))),
            Condition::Model(any) => (MODEL, self.models.matching(any.iter().flat_map(|model| self.patterns_of(model)))?),
            Condition::Label(name, any) => self.label(name, any)?,
            Condition::Caller(_) | Condition::Tag(..) | Condition::Spent(..) => self.whose.side(condition)?,
            Condition::Header(name, any) => (*self.headers.get(&(name.clone(), texts_of(any)))?, atoms(2, [1])),
            Condition::CostCeiling(ceiling) => {
                let (dimension, ceilings) = self.ceilings.get(&costs::key(route))?;
                let held = ceilings.iter().take_while(|known| *known <= ceiling).count();
                (*dimension, atoms(ceilings.len() + 1, 0..held))
            }
        };
        Some(side)
    }

    /// The texts that fulfil each value of a condition on a text, as kinds of text. Nothing for other conditions, and where that is
    /// not known.
    pub(super) fn values(&self, condition: &Condition) -> Option<Vec<FixedBitSet>> {
        match condition {
            Condition::Model(any) => any.iter().map(|model| self.models.matching(self.patterns_of(model))).collect(),
            Condition::Label(name, any) => {
                let Some(label) = &self.labels.get(name)?.1 else { return Some(vec![FixedBitSet::new(); any.len()]) };
                any.iter().map(|glob| label.matching([glob.as_str()])).collect()
            }
            Condition::Tag(name, any) => self.whose.values(name, any),
            Condition::Header(name, any) => {
                let header = self.header_values.get(name)?;
                any.iter().map(|glob| header.matching([glob.as_str()])).collect()
            }
            _ => None,
        }
    }

    /// Whether a label can have the name.
    pub(super) fn has_label(&self, name: &str) -> bool {
        self.labels.get(name).is_some_and(|(_, label)| label.is_some())
    }

    /// The requests whose needs and prompt a target can take, by the former and by the latter alone.
    pub(super) fn fitting(&self, target: &Target) -> (Block, Block) {
        let can = |need: &Need| *need == Need::Reasoning || target.can.as_ref().is_none_or(|can| can.contains(need));
        let capable = calls::which(&self.calls, |call| call.needs.iter().all(can));
        let short = self.prompt_tokens.within((None, target.context.map(Tokens::count)));
        (Block::of([(CALL, capable)]), Block::of([(PROMPT_TOKENS, short)]))
    }

    fn patterns_of<'s>(&'s self, model: &'s Model) -> Vec<&'s str> {
        match model {
            Model::Known => self.known_models.iter().map(AsRef::as_ref).collect(),
            Model::Auto => vec!["auto"],
            Model::Glob(glob) => vec![glob.as_str()],
        }
    }

    fn label(&self, name: &str, any: &[Glob]) -> Option<(usize, FixedBitSet)> {
        let (dimension, label) = self.labels.get(name)?;
        let values = any.iter().map(Glob::as_str);
        let mut matching = label.as_ref().map_or_else(|| Some(FixedBitSet::new()), |label| label.matching(values))?;
        matching.grow(matching.len() + 1);
        Some((*dimension, matching))
    }

    /// Tells which of the conditions on one header can hold together.
    fn add_header(&mut self, name: &str, conditions: Vec<Vec<String>>, next: &mut usize) {
        let first = *next;
        *next += conditions.len();
        let patterns = conditions.iter().flatten().map(|pattern| pattern.as_str().into()).collect();
        let texts = Texts::new(patterns, &Domain::HEADER);
        let matching: Option<Vec<FixedBitSet>> = conditions.iter().map(|any| texts.matching(any.iter().map(String::as_str))).collect();
        for (condition, dimension) in conditions.into_iter().zip(first..) {
            if matching.is_some() {
                self.headers.insert((name.to_owned(), condition), dimension);
            }
        }
        self.header_values.insert(name.to_owned(), texts);
        let Some(matching) = matching else { return };
        for (number, holding) in matching.iter().enumerate() {
            // For each kind of value that fulfils this condition, the others that it fulfils as well.
            let also: BTreeSet<Vec<usize>> = holding
                .ones()
                .map(|kind| (0..matching.len()).filter(|other| *other != number && matching[*other].contains(kind)).collect())
                .collect();
            self.impossible.extend(breaches(&also).into_iter().map(|unheld| {
                let others = unheld.into_iter().map(|other| (first + other, atoms(2, [0])));
                Block::of(std::iter::once((first + number, atoms(2, [1]))).chain(others))
            }));
        }
    }

    fn add_ceilings(&mut self, rules: &RuleSet, key: costs::Key, ceilings: Vec<Usd>, next: &mut usize) {
        let least = costs::least(rules, &key, least_prompt(0, &[]));
        let too_low = ceilings.iter().filter(|ceiling| least.is_none_or(|(least, _)| **ceiling < least)).count();
        let enough = costs::most(rules, &key).map_or(ceilings.len(), |most| ceilings.iter().filter(|ceiling| **ceiling < most).count());
        let mut block = Block::default();
        block.narrow(*next, &atoms(ceilings.len() + 1, (0..too_low).chain(enough + 1..=ceilings.len())));
        self.impossible.extend((!block.is_empty()).then_some(block));
        self.ceilings.insert(key, (*next, ceilings));
        *next += 1;
    }
}

/// The sets of conditions of which none holds although one must: one out of each set that holds together with it. Told only as far
/// as there are few: the rest is then taken for possible.
fn breaches(also: &BTreeSet<Vec<usize>>) -> Vec<BTreeSet<usize>> {
    const MOST: usize = 256;
    let mut breaches = vec![BTreeSet::new()];
    for set in also {
        breaches = breaches
            .iter()
            .flat_map(|breach: &BTreeSet<usize>| {
                let is_broken = set.iter().any(|other| breach.contains(other));
                let more = set.iter().filter(move |_| !is_broken).map(|other| breach.iter().copied().chain([*other]).collect());
                is_broken.then(|| breach.clone()).into_iter().chain(more)
            })
            .collect();
        if breaches.len() > MOST {
            return Vec::new();
        }
    }
    breaches
}

/// All that the conditions of a file ask of each fact.
#[derive(Default)]
struct Facts {
    tasks: BTreeSet<TaskName>,
    prompt_tokens: Vec<(Option<u64>, Option<u64>)>,
    turns: Vec<(Option<u64>, Option<u64>)>,
    max_cost: Vec<(Option<u64>, Option<u64>)>,
    models: BTreeSet<Box<str>>,
    asks_for_known: bool,
    labels: BTreeMap<String, BTreeSet<Box<str>>>,
    headers: BTreeMap<String, BTreeSet<Vec<String>>>,
    ceilings: BTreeMap<costs::Key, BTreeSet<Usd>>,
    whose: Asked,
}

impl Facts {
    fn of(rules: &RuleSet) -> Self {
        let mut facts = Self::default();
        for rule in rules.rules() {
            for condition in rule.matcher.all().iter().chain(rule.matcher.unless().into_iter().flatten()) {
                facts.add(condition, &rule.route);
            }
        }
        facts
    }

    fn add(&mut self, condition: &Condition, route: &Route) {
        match condition {
            Condition::Endpoint(_) | Condition::Effort(_) | Condition::Needs(_) | Condition::Stream(_) => {}
            Condition::Caller(_) | Condition::Tag(..) | Condition::Spent(..) => self.whose.add(condition),
            Condition::Task(any) => self.tasks.extend(any.iter().cloned()),
            Condition::PromptTokens(bounds) => self.prompt_tokens.push(of_tokens(bounds)),
            Condition::Turns(bounds) => self.turns.push((bounds.min, bounds.max)),
            Condition::MaxCost(bounds) => self.max_cost.push(of_dollars(bounds)),
            Condition::Model(any) => {
                self.asks_for_known |= any.iter().any(|model| matches!(model, Model::Known));
                self.models.extend(any.iter().filter(|model| !matches!(model, Model::Known)).map(|model| model.as_str().into()));
            }
            Condition::Label(name, any) => {
                self.labels.entry(name.clone()).or_default().extend(any.iter().map(|glob| glob.as_str().into()));
            }
            Condition::Header(name, any) => {
                self.headers.entry(name.clone()).or_default().insert(texts_of(any));
            }
            Condition::CostCeiling(ceiling) => {
                self.ceilings.entry(costs::key(route)).or_default().insert(*ceiling);
            }
        }
    }
}

/// Every name that resolves to a target.
fn known_models(rules: &RuleSet) -> BTreeSet<Box<str>> {
    let both = |target: &Target| [target.name.as_str().into(), target.model.as_str().into()];
    rules.targets().iter().flat_map(both).collect()
}

/// Whether a label can have the name, in a header that says `name=value,name=value`.
fn is_label_name(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && name.chars().all(|c| (' '..='~').contains(&c) && c != ',' && c != '=')
}

fn of_tokens(bounds: &Bounds<Tokens>) -> (Option<u64>, Option<u64>) {
    (bounds.min.map(Tokens::count), bounds.max.map(Tokens::count))
}

fn of_dollars(bounds: &Bounds<Usd>) -> (Option<u64>, Option<u64>) {
    (bounds.min.map(Usd::nano), bounds.max.map(Usd::nano))
}

fn texts_of(globs: &[Glob]) -> Vec<String> {
    globs.iter().map(|glob| glob.as_str().to_owned()).collect()
}

fn atoms(size: usize, of: impl IntoIterator<Item = usize>) -> FixedBitSet {
    let mut atoms = FixedBitSet::with_capacity(size);
    atoms.extend(of);
    atoms
}
