use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::time::Duration;

use http::HeaderValue;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admit::{Budgets, Gate, Meters, Purse};
use crate::config::{Caller, Member, Pick, Pool, Target};
use crate::record::{Metrics, Series, Sink};
use crate::rules::{Features, Found, RuleSet};
use crate::tasks::Recognizer;
use crate::tokens::Vocabulary;
use crate::units::{Clock, Glob, RuleName, TargetName};
use crate::upstream::{Awaited, Cooldowns, Resolver, Rests, Sessions, Upstream, Upstreams};

use super::classify;
use super::head::header_value;

/// Everything that outlives a rule set: counters, connections, metrics and the owner of tasks.
#[derive(Debug)]
pub struct Parts {
    pub clock: Clock,
    pub meters: Meters,
    pub budgets: Budgets,
    pub cooldowns: Cooldowns,
    pub upstreams: Upstreams,
    pub metrics: Metrics,
    pub sessions: Arc<Sessions>,
    pub sink: Sink,
    pub tracker: TaskTracker,
    /// Streams on their way to a client.
    pub open_streams: Arc<AtomicI64>,
    /// Set before the connections are told that the drain begins.
    pub is_draining: AtomicBool,
    /// Cancelled when the drain's time is over: every open stream is told, then ends.
    pub cut: CancellationToken,
}

/// One rule set with the handles that its targets stand for. A request keeps one from its first byte to its record.
#[derive(Debug)]
pub struct Running {
    rules: RuleSet,
    gate: Gate,
    purse: Purse,
    recognizer: Recognizer,
    rests: Rests,
    sessions: Arc<Sessions>,
    /// By target: whether a pool goes by how fast it is.
    timed: Vec<bool>,
    upstreams: Vec<Arc<Upstream>>,
    /// By target: what its model counts with, where that is known.
    vocabularies: Vec<Option<Vocabulary>>,
    series: Series,
    rule_values: Vec<HeaderValue>,
    target_values: Vec<HeaderValue>,
    revision: Arc<str>,
    revision_value: HeaderValue,
    /// By caller: the targets that it may use; absent: all.
    allowed: Vec<Option<Vec<bool>>>,
}

impl Parts {
    /// Nothing is counted, resting or open yet, but for the money that `budgets` knows of.
    #[must_use]
    pub fn new(clock: Clock, budgets: Budgets, resolver: Resolver, sink: Sink) -> Self {
        Self {
            meters: Meters::new(clock.clone()),
            budgets,
            cooldowns: Cooldowns::new(clock.clone()),
            upstreams: Upstreams::new(clock.clone(), resolver),
            metrics: Metrics::new(),
            sessions: Arc::new(Sessions::new(clock.clone())),
            sink,
            tracker: TaskTracker::new(),
            open_streams: Arc::default(),
            is_draining: AtomicBool::new(false),
            cut: CancellationToken::new(),
            clock,
        }
    }

    /// Parts that serve nobody and record nothing, for questions about a file.
    #[must_use]
    pub fn offline() -> Self {
        // Time stands still, so that the same question has the same answer.
        let clock = Clock::manual();
        Self::new(clock.clone(), Budgets::offline(clock), Resolver::System, Sink::to(std::io::sink()).0)
    }

    /// Finds or makes what the rule set's providers and targets need. Levels, rests and connections stay as they are.
    #[must_use]
    pub fn adopt(&self, rules: RuleSet) -> Running {
        let rule_names: Vec<RuleName> = rules.rules().iter().map(|rule| rule.name.clone()).collect();
        let target_names: Vec<TargetName> = rules.targets().iter().map(|target| target.name.clone()).collect();
        let default = rules.default().map(|found| found.name.clone());
        let revision = rules.revision().to_string();
        Running {
            gate: self.meters.adopt(rules.providers(), rules.targets(), rules.callers()),
            purse: self.budgets.adopt(rules.budgets(), rules.callers(), rules.ledger()),
            allowed: rules.callers().iter().map(|caller| allowed(caller, rules.targets())).collect(),
            sessions: Arc::clone(&self.sessions),
            timed: timed(&rules),
            recognizer: Recognizer::new(rules.classify()),
            rests: self.cooldowns.adopt(rules.providers(), rules.targets()),
            upstreams: self.upstreams.adopt(rules.providers()),
            vocabularies: rules.targets().iter().map(|target| Vocabulary::of_model(target.model.as_str())).collect(),
            series: self.metrics.adopt(&rule_names, &target_names),
            rule_values: rule_names.iter().chain(&default).map(|name| header_value(name.as_str())).collect(),
            target_values: target_names.iter().map(|name| header_value(name.as_str())).collect(),
            revision_value: header_value(&revision),
            revision: revision.into(),
            rules,
        }
    }
}

impl Running {
    #[must_use]
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    #[must_use]
    pub fn purse(&self) -> &Purse {
        &self.purse
    }

    #[must_use]
    pub fn rests(&self) -> &Rests {
        &self.rests
    }

    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The target took so long to the first content of a stream, or to its whole answer. Kept where a pool goes by it.
    pub(super) fn took(&self, target: usize, is_streaming: bool, took: Duration) {
        if self.timed[target] {
            self.rests.took(target, awaited(is_streaming), took);
        }
    }

    /// How long it took lately, where a pool goes by it.
    pub(super) fn pace(&self, target: usize, is_streaming: bool) -> Option<Duration> {
        self.rests.pace(target, awaited(is_streaming))
    }

    #[must_use]
    pub fn series(&self) -> &Series {
        &self.series
    }

    pub(super) fn upstream(&self, target: usize) -> &Upstream {
        &self.upstreams[self.rules.targets()[target].provider]
    }

    pub(super) fn vocabulary(&self, target: usize) -> Option<Vocabulary> {
        self.vocabularies[target]
    }

    pub(super) fn rule_value(&self, found: &Found<'_>) -> Option<&HeaderValue> {
        self.rule_values.get(found.index)
    }

    pub(super) fn target_value(&self, target: usize) -> &HeaderValue {
        &self.target_values[target]
    }

    /// The revision as records tell it.
    pub(super) fn revision(&self) -> &Arc<str> {
        &self.revision
    }

    pub(super) fn revision_value(&self) -> &HeaderValue {
        &self.revision_value
    }

    /// What is known of a request beside what it says of itself: what its words show, who asks, and what was spent so far.
    pub(super) fn known(&self, features: Features, caller: Option<usize>) -> Features {
        let looks = self.recognizer.looks(self.rules.asks_task());
        let features = if looks { classify::recognised(&self.recognizer, features) } else { features };
        let caller = caller.map(|index| &self.rules.callers()[index]);
        let spent = if self.rules.asks_spent() { self.purse.all_spent().into_iter().collect() } else { features.spent };
        let tags = caller.map_or(features.tags, |caller| caller.tags.clone());
        Features { caller: caller.map(|caller| caller.name.clone()), tags, spent, ..features }
    }

    /// The same with what its words show, asked for or not, for somebody who wants to know why.
    #[must_use]
    pub fn recognised(&self, features: Features) -> Features {
        if self.recognizer.is_on() { classify::recognised(&self.recognizer, features) } else { features }
    }

    /// Whether a caller, by index, may use the target. Without callers everybody may.
    #[must_use]
    pub fn may_use(&self, caller: Option<usize>, target: usize) -> bool {
        caller.and_then(|caller| self.allowed[caller].as_ref()).is_none_or(|allowed| allowed[target])
    }

    /// Whether the caller may use the target, whatever a rule says.
    pub(super) fn allows(&self, features: &Features, target: usize) -> bool {
        let Some(name) = &features.caller else { return true };
        let index = self.rules.callers().iter().position(|caller| caller.name == *name);
        self.may_use(index, target)
    }

    /// How long a request may wait for this target's limits.
    pub(super) fn wait_of(&self, target: usize) -> Duration {
        let target = &self.rules.targets()[target];
        target.limits.wait.max(self.rules.providers()[target.provider].limits.wait)
    }

    pub(super) fn limits_tokens(&self, target: usize) -> bool {
        let target = &self.rules.targets()[target];
        target.limits.tokens.is_some() || self.rules.providers()[target.provider].limits.tokens.is_some()
    }
}

fn awaited(is_streaming: bool) -> Awaited {
    if is_streaming { Awaited::Stream } else { Awaited::Whole }
}

/// By target: whether it is a member of a `fastest` pool.
fn timed(rules: &RuleSet) -> Vec<bool> {
    let mut timed = vec![false; rules.targets().len()];
    let default = rules.default().map(|found| found.route);
    for route in rules.rules().iter().map(|rule| &rule.route).chain(default) {
        for member in route.chain.members() {
            if let Member::Pool(Pool { pick: Pick::Fastest, of }) = member {
                for one in of {
                    timed[one.target] = true;
                }
            }
        }
    }
    timed
}

/// The targets that a caller's `allow` names; nothing where it has none.
fn allowed(caller: &Caller, targets: &[Target]) -> Option<Vec<bool>> {
    let globs: Vec<Glob> = caller.allow.as_ref()?.iter().map(|pattern| Glob::new(pattern)).collect();
    Some(targets.iter().map(|target| globs.iter().any(|glob| glob.matches(target.name.as_str()))).collect())
}
