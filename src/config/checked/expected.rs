//! The tests in the file: what is given, and what has to come of it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Bounds;
use crate::config::decode::At;
use crate::config::diagnostic::Place;
use crate::units::{CallerName, Effort, Endpoint, Need, RuleName, Share, TaskName, Tokens, Usd};

/// One entry of `tests:`: a request, the state it meets, and what must come of it.
#[derive(Clone, Debug)]
pub struct Test {
    pub name: String,
    /// Where its name stands in the file.
    pub place: Place,
    pub given: Given,
    /// Indices into [`Checked::providers`](super::Checked::providers): those whose key is missing.
    pub no_key: Vec<usize>,
    /// Indices into [`Checked::targets`](super::Checked::targets): those at rest.
    pub resting: Vec<usize>,
    pub expect: Expect,
}

/// The facts of a request as somebody states them; an absent one is a fact that the request lacks.
#[derive(Clone, Debug, Default)]
pub struct Given {
    pub task: Option<TaskName>,
    pub prompt_tokens: Option<Tokens>,
    /// The output limit that the client sets.
    pub max_output_tokens: Option<Tokens>,
    /// The model that the client names; absent: `auto`.
    pub model: Option<String>,
    /// Absent: chat.
    pub endpoint: Option<Endpoint>,
    pub labels: BTreeMap<String, String>,
    pub headers: http::HeaderMap,
    pub max_cost: Option<Usd>,
    pub needs: Vec<Need>,
    pub turns: Option<u64>,
    pub effort: Option<Effort>,
    pub stream: bool,
    /// How many answers the client asks for; absent: one.
    pub n: Option<u32>,
    pub caller: Option<CallerName>,
    /// Tags of a caller that is not named.
    pub tags: BTreeMap<String, String>,
    /// Shares that are used, by window: `company.month`. Those not stated are 0 %.
    pub spent: BTreeMap<String, Share>,
    pub time: Option<Timestamp>,
}

/// What must come of a test's request: all that is there.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// The rule that decides; `default` is one.
    pub rule: Option<At<RuleName>>,
    /// The target that is tried first, by index.
    pub target: Option<At<usize>>,
    /// All targets that would be tried, in order.
    pub chain: Option<At<Vec<usize>>>,
    /// Targets that are left out, each with the word for its reason.
    pub skipped: Vec<At<(usize, &'static str)>>,
    /// The code of the refusal.
    pub refusal: Option<At<&'static str>>,
    /// What the first target can cost at most.
    pub worst_case: Option<At<Bounds<Usd>>>,
}
