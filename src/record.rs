//! What is told about requests: one record each, and counters for all of them.
//!
//! Floor 3. Neither holds what was asked or answered, nor any key. The request path hands a record over and goes on; a thread of its
//! own writes them.

mod line;
mod metrics;
mod sink;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
pub use metrics::{BudgetSums, Kept, Metrics, Remaining, Series};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
pub use sink::{Sink, SinkThread};

use crate::units::{CallerName, Confidence, Endpoint, Pairs, RuleName, TargetName, TaskName, Usage, Usd};

/// One request, from accept to the last byte: one line of JSON.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Record {
    /// The id that the client got as `x-request-id`.
    pub request_id: Arc<str>,
    /// When the request was accepted: RFC 3339, UTC, milliseconds.
    #[serde(serialize_with = "stamp")]
    #[schemars(with = "String")]
    pub at: Timestamp,
    #[serde(serialize_with = "word")]
    #[schemars(with = "String")]
    pub endpoint: Endpoint,
    /// The rule that matched; absent when the request ended before one was looked for or none was found.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleName>,
    /// The rule set that served it.
    pub revision: Arc<str>,
    #[schemars(with = "String")]
    pub task: TaskName,
    /// Who said so: `declared`, `structure` or `learned`; `none` where the task is `unknown`.
    pub task_source: &'static str,
    /// How sure that is, from 0 to 1; absent where the words were not looked at.
    #[serde(serialize_with = "confidence", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<f64>")]
    pub task_confidence: Option<Confidence>,
    /// What it would be else.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub task_runner_up: Option<TaskName>,
    /// What was seen in the words, in words of ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub task_signs: Vec<&'static str>,
    /// The model that the client asked for.
    pub requested_model: String,
    pub stream: bool,
    /// Who asked; absent where the file names no callers.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<CallerName>,
    /// From the caller's entry.
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    #[schemars(with = "Option<std::collections::BTreeMap<String, String>>")]
    pub tags: Pairs,
    /// What the client said of itself in `x-tollgate-labels`.
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    #[schemars(with = "Option<std::collections::BTreeMap<String, String>>")]
    pub labels: Pairs,
    /// The target that answered.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetName>,
    /// The model that the answer named, where it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served_model: Option<String>,
    pub outcome: Outcome,
    /// The status that the client got; 499 when it hung up before.
    pub status: u16,
    /// The error code that the client got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Arc<str>>,
    pub attempts: Vec<AttemptRecord>,
    pub skipped: Vec<SkipRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_estimate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageRecord>,
    pub usage_source: UsageSource,
    /// Billionths of a dollar; absent where prices are unknown.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "nano_usd")]
    #[schemars(with = "Option<u64>")]
    pub cost_nano_usd: Option<Usd>,
    /// From sending the attempt that answered to its first content, in milliseconds.
    #[serde(rename = "ttft_ms", skip_serializing_if = "Option::is_none", serialize_with = "millis_if_any")]
    #[schemars(with = "Option<f64>")]
    pub ttft: Option<Duration>,
    /// From accept to the last byte, in milliseconds.
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    #[schemars(with = "f64")]
    pub duration: Duration,
    /// What tollgate itself added to it, in milliseconds.
    #[serde(rename = "own_ms", serialize_with = "millis")]
    #[schemars(with = "f64")]
    pub own: Duration,
}

/// One step that was sent.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AttemptRecord {
    #[schemars(with = "String")]
    pub target: TargetName,
    /// What went wrong, one of a closed list; absent when nothing did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<&'static str>,
    /// The class of the error, one of a closed list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<&'static str>,
    /// How far it came: `P0` nothing sent, `P1` sent, `P2` head received, `P3` content relayed, `P4` complete.
    pub phase: &'static str,
    /// The upstream's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// In milliseconds.
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    #[schemars(with = "f64")]
    pub duration: Duration,
}

/// One step that was left out.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SkipRecord {
    #[schemars(with = "String")]
    pub target: TargetName,
    pub reason: String,
}

/// Tokens by kind. The three input parts do not overlap; reasoning is a part of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UsageRecord {
    pub input: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub output: u64,
    pub reasoning: u64,
}

impl UsageRecord {
    #[must_use]
    pub fn total(&self) -> u64 {
        [self.cache_read, self.cache_write, self.output].into_iter().fold(self.input, u64::saturating_add)
    }
}

impl From<Usage> for UsageRecord {
    fn from(usage: Usage) -> Self {
        Self {
            input: usage.input_uncached.count(),
            cache_read: usage.cache_read.count(),
            cache_write: usage.cache_write.count(),
            output: usage.output.count(),
            reasoning: usage.reasoning.count(),
        }
    }
}

/// Where the usage comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    Provider,
    Estimated,
    #[default]
    None,
}

impl UsageSource {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Estimated => "estimated",
            Self::None => "none",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The first target of the chain answered.
    Ok,
    /// A later target answered.
    FellBack,
    /// We said no.
    Refused,
    /// No target answered.
    Failed,
    /// The answer broke off after its first content.
    CutOff,
    /// The client went away.
    HungUp,
}

impl Outcome {
    pub const ALL: [Self; 6] = [Self::Ok, Self::FellBack, Self::Refused, Self::Failed, Self::CutOff, Self::HungUp];

    /// The word in records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::FellBack => "fell_back",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::CutOff => "cut_off",
            Self::HungUp => "hung_up",
        }
    }
}

/// Milliseconds, whatever they are.
static STAMP: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

fn stamp<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&STAMP.timestamp_to_string(at))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference to the field")]
fn word<S: Serializer>(endpoint: &Endpoint, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(endpoint.as_str())
}

#[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference to the field")]
fn confidence<S: Serializer>(confidence: &Option<Confidence>, to: S) -> Result<S::Ok, S::Error> {
    confidence.map(|confidence| f64::from(confidence.thousandths()) / 1_000.0).serialize(to)
}

#[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
fn nano_usd<S: Serializer>(cost: &Option<Usd>, to: S) -> Result<S::Ok, S::Error> {
    cost.map(Usd::nano).serialize(to)
}

/// Milliseconds with three decimals.
fn millis<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0)
}

#[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
fn millis_if_any<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => millis(duration, to),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests;
