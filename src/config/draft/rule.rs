//! `rules:` and `default:` as written.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::Deadline;
use super::chain::{ChainDraft, WaitsDraft};
use super::provider::NeedWord;
use crate::config::checked::{FallbackOn, ModelPattern, OnCeiling};
use crate::config::codes::Code;
use crate::config::collections::{AnyOf, List, Table};
use crate::config::decode::{Field, Findings, Shape, draft, scalar};
use crate::config::diagnostic::Diagnostic;
use crate::config::shapes::{Dollars, Flag, Text, TokenCount, Whole, scalar_schema, word, words};
use crate::config::tree::{Node, Scalar, Value};
use crate::units::{Effort, Endpoint, TaskName};

draft! {
    /// Conditions and the chain that serves what fulfils them.
    RuleDraft is "a rule" {
        /// Name of the rule, told in `x-tollgate-rule`, records and metrics.
        name(required: "a name is told in answers, records and metrics"): Text,
        /// What a request must fulfil: all of it.
        r#match(required: "what holds for every request is `default`; a rule has conditions"): Match,
        /// What a request must not fulfil as a whole.
        unless: Match,
        /// The steps in order: a list, or the name of a chain.
        chain(required: "write `chain: [provider/model]`"): ChainDraft,
        /// The most that a whole call may take; `server.deadline` where it is not said.
        deadline: Deadline,
        /// Output limit that no call of this rule may exceed, in tokens.
        max_output_tokens: TokenCount,
        /// When no target fits under the ceiling: `next_rule`, `clamp` the output limit, or `refuse`.
        on_ceiling: OnCeilingWord = "next_rule",
        /// Kinds of failure that may fall back beside those that always do.
        fallback_on: List<FallbackOnWord>,
        /// Bounds on waiting; those of the target where they are not said.
        timeouts: WaitsDraft,
        /// Whether one target may be tried again where that is sound and no other step is left.
        retry: Flag = true,
    }
    later ["unsupported_params", "sticky"]
}

draft! {
    /// The chain that serves what no rule matched.
    RouteDraft is "`default`" {
        /// The steps in order: a list, or the name of a chain.
        chain(required: "write `chain: [provider/model]`"): ChainDraft,
        /// The most that a whole call may take; `server.deadline` where it is not said.
        deadline: Deadline,
        /// Output limit that no call may exceed here, in tokens.
        max_output_tokens: TokenCount,
        /// When no target fits under the declared ceiling: `refuse` or `clamp` the output limit.
        on_ceiling: OnCeilingWord = "next_rule",
        /// Kinds of failure that may fall back beside those that always do.
        fallback_on: List<FallbackOnWord>,
        /// Bounds on waiting; those of the target where they are not said.
        timeouts: WaitsDraft,
        /// Whether one target may be tried again where that is sound and no other step is left.
        retry: Flag = true,
    }
    later ["unsupported_params", "sticky"]
}

impl RuleDraft {
    /// What the rule decides, without its conditions.
    pub(in crate::config) fn route(&self) -> RouteDraft {
        RouteDraft {
            chain: self.chain.clone(),
            deadline: self.deadline.clone(),
            max_output_tokens: self.max_output_tokens.clone(),
            on_ceiling: self.on_ceiling.clone(),
            fallback_on: self.fallback_on.clone(),
            timeouts: self.timeouts.clone(),
            retry: self.retry.clone(),
        }
    }
}

draft! {
    /// Conditions on a request. All must hold; a list means any of; bounds are inclusive; a fact that the request lacks fulfils nothing.
    ConditionsDraft is "a match" {
        /// The declared or recognised task; `unknown` can be matched.
        task: AnyOf<Task>,
        /// Estimated length of the prompt, in tokens.
        prompt_tokens: Interval<Tokens>,
        /// Holds when some target of this rule's chain can serve the request for at most so many US dollars in the worst case.
        cost_ceiling: Dollars,
        /// The ceiling that the client declared, in US dollars.
        max_cost: Interval<Dollars>,
        /// Patterns on the requested model; `known` for any target of this file, `auto` when the client left the choice to the rules.
        model: AnyOf<Model>,
        /// Patterns on what the client says of itself, by label.
        labels: Table<AnyOf<Glob>>,
        /// Patterns on request headers, by header name.
        headers: Table<AnyOf<Glob>>,
        /// What the request needs from a model.
        needs: AnyOf<NeedWord>,
        /// Messages so far.
        turns: Interval<Turns>,
        /// Declared reasoning effort.
        effort: AnyOf<EffortWord>,
        /// The kind of call.
        endpoint: AnyOf<EndpointWord>,
        /// Whether the client asked for a stream.
        stream: Flag,
    }
    later ["caller", "tags", "spent"]
}

/// `match:` or `unless:` as written. Where nothing in it can be read, nobody knows whether it is empty.
#[derive(Debug)]
pub(in crate::config) struct Match;

impl Shape for Match {
    type Value = ConditionsDraft;

    fn read(node: &Node, findings: &mut Findings) -> Option<ConditionsDraft> {
        let draft = ConditionsDraft::read(node, findings)?;
        let has_keys = matches!(&node.value, Value::Map(entries) if !entries.is_empty());
        (!has_keys || !draft.is_empty()).then_some(draft)
    }
}

impl JsonSchema for Match {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        ConditionsDraft::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        ConditionsDraft::json_schema(generator)
    }
}

impl ConditionsDraft {
    /// True when no condition is there, not even a wrong one.
    pub(in crate::config) fn is_empty(&self) -> bool {
        self.task.is_absent()
            && self.prompt_tokens.is_absent()
            && self.cost_ceiling.is_absent()
            && self.max_cost.is_absent()
            && self.model.is_absent()
            && self.labels.is_absent()
            && self.headers.is_absent()
            && self.needs.is_absent()
            && self.turns.is_absent()
            && self.effort.is_absent()
            && self.endpoint.is_absent()
            && self.stream.is_absent()
    }
}

words! {
    /// What happens when no target fits under the ceiling.
    OnCeilingWord: OnCeiling {
        "next_rule" => OnCeiling::NextRule,
        "clamp" => OnCeiling::Clamp,
        "refuse" => OnCeiling::Refuse,
    }
    later []
}

/// Kinds of failure that fall back only when asked to.
#[derive(Debug)]
pub(in crate::config) struct FallbackOnWord;

scalar_schema!(FallbackOnWord: { "enum": ["content_policy", "invalid_request"] });

impl Shape for FallbackOnWord {
    type Value = FallbackOn;

    fn read(node: &Node, findings: &mut Findings) -> Option<FallbackOn> {
        if let Value::Scalar(Scalar { text, .. }) = &node.value
            && FALLS_BACK.contains(&text.as_str())
        {
            let finding = Diagnostic::error(Code::UNKNOWN_WORD, node.place, format!("`{text}` has no place in `fallback_on`"));
            findings.push(finding.hint("that kind of failure falls back by itself wherever it can help: take it out"));
            return None;
        }
        match word(node, &["content_policy", "invalid_request"], &[], findings)? {
            "content_policy" => Some(FallbackOn::ContentPolicy),
            _ => Some(FallbackOn::InvalidRequest),
        }
    }
}

/// Failures that need no word of the file.
const FALLS_BACK: [&str; 15] = [
    "capability_mismatch",
    "context_length",
    "too_large",
    "rate_limited",
    "quota_exhausted",
    "auth",
    "permission",
    "model_not_found",
    "overloaded",
    "server_error",
    "connect",
    "timeout",
    "conflict",
    "stream_truncated",
    "bad_model_output",
];

words! {
    /// Declared reasoning effort.
    EffortWord: Effort {
        "none" => Effort::None,
        "minimal" => Effort::Minimal,
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::Xhigh,
        "max" => Effort::Max,
    }
    later []
}

words! {
    /// The kind of call.
    EndpointWord: Endpoint {
        "chat" => Endpoint::Chat,
        "completions" => Endpoint::Completions,
        "embeddings" => Endpoint::Embeddings,
    }
    later ["responses", "messages"]
}

/// The name of a task.
#[derive(Debug)]
pub(in crate::config) struct Task;

scalar_schema!(Task: { "type": ["string", "number"], "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$" });

impl Shape for Task {
    type Value = TaskName;

    fn read(node: &Node, findings: &mut Findings) -> Option<TaskName> {
        let scalar = scalar(node, "a task such as `coding`", findings)?;
        TaskName::parse(&scalar.text)
            .map_err(|error| {
                let finding = Diagnostic::error(Code::BAD_NAME, node.place, format!("`{}` is no task: {error}", scalar.text));
                findings.push(finding.hint_name(&scalar.text));
            })
            .ok()
    }
}

/// A pattern on the requested model.
#[derive(Debug)]
pub(in crate::config) struct Model;

scalar_schema!(Model: { "type": ["string", "number"], "minLength": 1, "examples": ["gpt-4o", "gpt-*", "known", "auto"] });

impl Shape for Model {
    type Value = ModelPattern;

    fn read(node: &Node, findings: &mut Findings) -> Option<ModelPattern> {
        Some(match Glob::read(node, findings)?.as_str() {
            "known" => ModelPattern::Known,
            "auto" => ModelPattern::Auto,
            glob => ModelPattern::Glob(glob.into()),
        })
    }
}

/// A pattern in which `*` stands for any characters.
#[derive(Debug)]
pub(in crate::config) struct Glob;

scalar_schema!(Glob: { "type": ["string", "number", "boolean"], "minLength": 1 });

impl Shape for Glob {
    type Value = String;

    fn read(node: &Node, findings: &mut Findings) -> Option<String> {
        let text = &scalar(node, "a pattern such as `gpt-*`", findings)?.text;
        if text.is_empty() {
            findings.push(Diagnostic::error(Code::BAD_GLOB, node.place, "an empty pattern matches nothing").hint("`*` matches any text"));
            return None;
        }
        if text.contains(char::is_control) {
            findings.push(Diagnostic::error(Code::BAD_GLOB, node.place, format!("no request can match `{}`", text.escape_debug())));
            return None;
        }
        Some(text.clone())
    }
}

type Tokens = Whole<0, { 1 << 40 }>;
type Turns = Whole<0, 1_000_000>;

/// `{ min: …, max: … }`, both inclusive, at least one of them.
#[derive(Debug)]
pub(in crate::config) struct Interval<S>(std::marker::PhantomData<S>);

impl<S> Shape for Interval<S>
where
    S: Shape,
    S::Value: PartialOrd,
{
    type Value = (Option<S::Value>, Option<S::Value>);

    fn read(node: &Node, findings: &mut Findings) -> Option<Self::Value> {
        if let Value::Scalar(Scalar { text, .. }) = &node.value {
            let message = format!("expected a range, found `{text}`");
            findings.push(
                Diagnostic::error(Code::WRONG_TYPE, node.place, message).hint(format!("write `{{ max: {text} }}` or `{{ min: {text} }}`")),
            );
            return None;
        }
        let map = crate::config::decode::Cursor::open(node, "a range", findings)?;
        let (min, max) = (map.take::<S>("min", findings), map.take::<S>("max", findings));
        map.close(&["min", "max"], &[], findings);
        if min.is_absent() && max.is_absent() {
            let finding = Diagnostic::error(Code::EMPTY_RANGE, node.label, "a range has `min`, `max` or both");
            findings.push(finding);
            return None;
        }
        if let (Some(low), Some(high)) = (min.get(), max.get())
            && low > high
        {
            findings.push(Diagnostic::error(Code::EMPTY_RANGE, node.label, "`min` is above `max`, so nothing can be in this range"));
            return None;
        }
        Some((bound(&min)?, bound(&max)?))
    }
}

/// The bound where it is said, nothing of it where it is not; no answer where it was wrong.
#[expect(clippy::option_option, reason = "the outer one ends the reading, the inner one is the bound")]
fn bound<T: Clone>(field: &Field<T>) -> Option<Option<T>> {
    match field {
        Field::Absent => Some(None),
        Field::Wrong => None,
        Field::Given { at, .. } => Some(Some(at.value.clone())),
    }
}

impl<S: Shape> JsonSchema for Interval<S> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("IntervalOf{}", S::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let bound = json!(generator.subschema_for::<S>());
        json_schema!({
            "type": "object",
            "properties": { "min": bound, "max": bound },
            "additionalProperties": false,
            "minProperties": 1
        })
    }
}

/// `default:` as written.
#[derive(Clone, Debug)]
pub(in crate::config) enum DefaultDraft {
    Refuse,
    Route(Box<RouteDraft>),
}

impl Shape for DefaultDraft {
    type Value = Self;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) if scalar.text == "refuse" => Some(Self::Refuse),
            Value::Map(_) => RouteDraft::read(node, findings).map(|route| Self::Route(Box::new(route))),
            Value::List(_) => {
                let finding = Diagnostic::error(Code::WRONG_TYPE, node.place, "`default` is `refuse` or a map, found a list");
                findings.push(finding.hint("write `default: { chain: […] }`"));
                None
            }
            _ => {
                let finding =
                    Diagnostic::error(Code::UNKNOWN_WORD, node.place, format!("`default` is `refuse` or a map, found {}", node.kind()));
                findings.push(finding.hint("write `default: refuse` or `default: { chain: [provider/model] }`"));
                None
            }
        }
    }
}

impl JsonSchema for DefaultDraft {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Default".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let route = json!(generator.subschema_for::<RouteDraft>());
        json_schema!({ "anyOf": [{ "const": "refuse" }, route] })
    }
}
