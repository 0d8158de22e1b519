//! Which requests go where: rules, their conditions and chains.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::value::RawValue;

use super::SpentWindow;
use crate::config::diagnostic::Place;
use crate::units::{CallerName, Effort, Endpoint, Need, RuleName, Score, Share, TaskName, Tokens, Usd};

/// One entry of `rules:`.
#[derive(Clone, Debug)]
pub struct Rule {
    pub name: RuleName,
    /// Where its name stands in the file.
    pub place: Place,
    /// 1-based line of the entry in its file.
    pub line: usize,
    pub matches: Conditions,
    pub unless: Option<Conditions>,
    pub route: Route,
}

/// `default:`, which holds when no rule matched.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a file has one of it")]
pub enum DefaultRule {
    Refuse,
    Route(Route),
}

/// What a rule decides: a chain and its settings.
#[derive(Clone, Debug)]
pub struct Route {
    pub chain: Chain,
    pub deadline: Option<Duration>,
    pub max_output_tokens: Option<Tokens>,
    pub on_ceiling: OnCeiling,
    /// Classes that may fall back beside those that always do.
    pub fallback_on: Vec<FallbackOn>,
    pub timeouts: TimeoutChanges,
    /// Whether the same target may be tried again where docs/errors.md says *once*. Default true.
    pub retry: bool,
    pub unsupported_params: UnsupportedParams,
    /// Whether a session stays on the target that served it.
    pub sticky: bool,
}

/// What becomes of a target whose format lacks fields that an answer can do without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnsupportedParams {
    /// They are left out or adjusted, and the answer names them.
    #[default]
    Warn,
    /// They are left out or adjusted.
    Drop,
    /// The target is left out.
    Reject,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCeiling {
    #[default]
    NextRule,
    Clamp,
    Refuse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallbackOn {
    ContentPolicy,
    InvalidRequest,
}

/// What a rule or a step says about waiting; the rest is the target's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutChanges {
    pub first_content: Option<Duration>,
    pub idle: Option<Duration>,
}

/// The members of a chain in order; never empty.
#[derive(Clone, Debug)]
pub struct Chain {
    pub first: Member,
    pub rest: Vec<Member>,
}

impl Chain {
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

#[derive(Clone, Debug)]
pub enum Member {
    Target(Use),
    /// The target that the client named.
    Requested,
    Pool(Pool),
}

impl Member {
    /// The targets that it names.
    #[must_use]
    pub fn uses(&self) -> &[Use] {
        match self {
            Self::Target(one) => std::slice::from_ref(one),
            Self::Requested => &[],
            Self::Pool(pool) => &pool.of,
        }
    }
}

/// Several targets that are put in order for each request.
#[derive(Clone, Debug)]
pub struct Pool {
    pub pick: Pick,
    /// Never empty.
    pub of: Vec<Use>,
}

/// How a pool puts its members in order; the rest follow the first as fallbacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// By the worst case of the request.
    Cheapest,
    /// By the time to first content seen lately.
    Fastest,
    /// One drawn by weight.
    Split,
    /// By score. Members without a score, and those below the floor, are left out.
    Best {
        /// Whose scores count; absent: those for the request's task.
        task: Option<TaskName>,
        /// With a floor the cheapest of those that reach it is first, without one the best.
        min_score: Option<Score>,
    },
}

impl Pick {
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Cheapest => "cheapest",
            Self::Fastest => "fastest",
            Self::Split => "split",
            Self::Best { .. } => "best",
        }
    }
}

/// A target as one chain uses it.
#[derive(Clone, Debug)]
pub struct Use {
    /// Index into [`Checked::targets`](super::Checked::targets).
    pub target: usize,
    /// Where the step names it.
    pub place: Place,
    /// Share of a `split`, in parts; 1 where none is said.
    pub weight: NonZeroU32,
    pub timeouts: TimeoutChanges,
    pub max_output_tokens: Option<Tokens>,
    /// Top-level request fields that this step sets, each a JSON text.
    pub set: BTreeMap<String, Box<RawValue>>,
}

/// `match:` or `unless:`. An absent condition asks nothing; a present one must hold.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    pub task: Option<Vec<TaskName>>,
    pub prompt_tokens: Option<Bounds<Tokens>>,
    pub cost_ceiling: Option<Usd>,
    pub max_cost: Option<Bounds<Usd>>,
    /// Globs, `known` or `auto`.
    pub model: Option<Vec<ModelPattern>>,
    /// Name → globs, any of which may match the value.
    pub labels: BTreeMap<String, Vec<String>>,
    /// Lower-case header name → globs, any of which may match the value.
    pub headers: BTreeMap<String, Vec<String>>,
    pub needs: Option<Vec<Need>>,
    pub turns: Option<Bounds<u64>>,
    pub effort: Option<Vec<Effort>>,
    pub endpoint: Option<Vec<Endpoint>>,
    pub stream: Option<bool>,
    /// Names of callers.
    pub caller: Option<Vec<CallerName>>,
    /// Tag → globs, any of which may match the value.
    pub tags: BTreeMap<String, Vec<String>>,
    /// Shares of budgets' windows that are used; all must hold.
    pub spent: Vec<(SpentWindow, Bounds<Share>)>,
    pub places: ConditionPlaces,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelPattern {
    /// Resolves to a target of the file.
    Known,
    /// The client left the choice to the rules.
    Auto,
    /// `*` matches any characters, `/` too.
    Glob(String),
}

/// Inclusive on both ends; at least one is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds<T> {
    pub min: Option<T>,
    pub max: Option<T>,
}

impl<T: PartialOrd + Copy> Bounds<T> {
    #[must_use]
    pub fn hold(&self, value: T) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }
}

/// Where conditions stand, by their keys (`task`, `labels.feature`): first the key, then each value of a list.
pub type ConditionPlaces = BTreeMap<String, Vec<Place>>;
