//! The compiled rule set: which rule a request meets, and the chain that rule decides.
//!
//! Floor 2. Immutable and shared; counters live elsewhere.

mod chain;
mod compile;
mod estimate;
mod features;
mod index;
mod live;
mod matcher;
mod pool;
mod reach;
mod revision;
mod spellings;
#[cfg(test)]
mod world;

use std::collections::HashMap;

use crate::config::{Alerts, Budget, Caller, Classify, DefaultRule, LedgerSettings, Place, Provider, Route, Server, Target};
use crate::units::{RuleName, Score, TargetName, TaskName};

use index::Index;
use spellings::Spellings;

pub use chain::{Candidate, candidates};
pub use estimate::{Estimate, Unfit, estimate, unfit};
pub use features::{Features, Prompt, Shown, Spent, Task, TaskSource};
pub use live::Live;
pub use matcher::{Matcher, Mismatch};
pub use pool::{Paces, Rank};
pub use reach::analyze;
pub use revision::Revision;

/// All rules of one accepted file, ready to run.
#[derive(Debug)]
pub struct RuleSet {
    revision: Revision,
    /// Names of the configuration's files, the main one first.
    files: Vec<String>,
    server: Server,
    providers: Vec<Provider>,
    targets: Vec<Target>,
    rules: Vec<Rule>,
    default: DefaultRule,
    budgets: Vec<Budget>,
    callers: Vec<Caller>,
    classify: Classify,
    ledger: LedgerSettings,
    alerts: Alerts,
    /// Whether some rule asks how much of a budget is used.
    asks_spent: bool,
    /// By task: the score of each target.
    scores: HashMap<TaskName, Vec<Option<Score>>>,
    /// What each rule says, `default` last; empty where no rule keeps sessions on a target.
    prints: Vec<u64>,
    /// Whether some rule, or a pool, asks what a request is about.
    asks_task: bool,
    by_name: HashMap<TargetName, usize>,
    spellings: Spellings,
    /// Absent where there are few rules.
    index: Option<Index>,
}

/// A match and what it decides: one entry of `rules:`.
#[derive(Debug)]
pub struct Rule {
    pub name: RuleName,
    /// Where its name stands in the file.
    pub place: Place,
    /// 1-based line of the entry in its file.
    pub line: usize,
    pub matcher: Matcher,
    pub route: Route,
}

/// The rule that a request met.
#[derive(Clone, Copy, Debug)]
pub struct Found<'r> {
    /// Index of the rule; the number of rules for `default`.
    pub index: usize,
    pub name: &'r RuleName,
    pub route: &'r Route,
    /// The rule's own ceiling for one request, where its `match` names one.
    pub cost_ceiling: Option<crate::units::Usd>,
}

impl RuleSet {
    /// The first rule in file order whose conditions hold, else `default`; nothing where `default: refuse`.
    #[must_use]
    pub fn find(&self, features: &Features) -> Option<Found<'_>> {
        let matches = |number: &usize| self.rules[*number].matcher.matches(self, &self.rules[*number].route, features);
        let first = match &self.index {
            None => (0..self.rules.len()).find(matches),
            Some(index) => index.candidates(features).ones().find(matches),
        };
        let found = |index: usize| {
            let rule = &self.rules[index];
            Found { index, name: &rule.name, route: &rule.route, cost_ceiling: rule.matcher.cost_ceiling() }
        };
        first.map(found).or_else(|| self.default())
    }

    /// What holds when no rule matched.
    #[must_use]
    pub fn default(&self) -> Option<Found<'_>> {
        match &self.default {
            DefaultRule::Refuse => None,
            DefaultRule::Route(route) => Some(Found { index: self.rules.len(), name: compile::default_name(), route, cost_ceiling: None }),
        }
    }

    #[must_use]
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// The file that a rule stands in, where that is not the main one.
    #[must_use]
    pub fn included_from(&self, rule: &Rule) -> Option<&str> {
        if rule.place.file == 0 { None } else { self.files.get(rule.place.file).map(String::as_str) }
    }

    #[must_use]
    pub fn budgets(&self) -> &[Budget] {
        &self.budgets
    }

    #[must_use]
    pub fn callers(&self) -> &[Caller] {
        &self.callers
    }

    #[must_use]
    pub fn ledger(&self) -> &LedgerSettings {
        &self.ledger
    }

    #[must_use]
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// Whether some rule asks how much of a budget is used.
    #[must_use]
    pub fn asks_spent(&self) -> bool {
        self.asks_spent
    }

    /// How good a target's answers to a task are; nothing where nobody measured it.
    #[must_use]
    pub fn score(&self, task: &TaskName, target: usize) -> Option<Score> {
        self.scores.get(task)?.get(target).copied().flatten()
    }

    /// What the rule of this index, or `default` behind them all, says in all, as a number. 0 where no rule keeps sessions on a target.
    #[must_use]
    pub fn print(&self, rule: usize) -> u64 {
        self.prints.get(rule).copied().unwrap_or_default()
    }

    /// Whether some rule, or a pool, asks what a request is about.
    #[must_use]
    pub fn asks_task(&self) -> bool {
        self.asks_task
    }

    #[must_use]
    pub fn classify(&self) -> &Classify {
        &self.classify
    }

    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    #[must_use]
    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The targets that a model name stands for: one for `provider/model`, else every provider's model of that name in file order,
    /// however people write it: in another case, in Hugging Face style, under the name that a seller gives it, with a date behind.
    #[must_use]
    pub fn targets_named(&self, requested: &str) -> &[usize] {
        TargetName::parse(requested)
            .ok()
            .and_then(|name| self.by_name.get(&name))
            .map(std::slice::from_ref)
            .or_else(|| self.spellings.find(requested))
            .unwrap_or_default()
    }
}
