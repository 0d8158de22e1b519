//! `rules:`, `chains:` and `default:` as written.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;
use serde_json::value::RawValue;

use super::provider::NeedWord;
use super::{Deadline, Wait};
use crate::config::checked::{FallbackOn, ModelPattern, OnCeiling};
use crate::config::collections::{AnyOf, List, Table};
use crate::config::decode::{At, Field, Findings, Shape, draft, scalar};
use crate::config::diagnostic::Diagnostic;
use crate::config::shapes::{Dollars, Flag, Text, TokenCount, Whole, scalar_schema, words};
use crate::config::tree::{Node, Scalar, Value};
use crate::config::{codes, json_value};
use crate::units::{Effort, Endpoint, TaskName};

draft! {
    /// Conditions and the chain that serves what fulfils them.
    RuleDraft is "a rule" {
        /// Name of the rule, told in `x-tollgate-rule`, records and metrics.
        name(required: "a name is told in answers, records and metrics"): Text,
        /// What a request must fulfil: all of it.
        r#match(required: "what holds for every request is `default`; a rule has conditions"): ConditionsDraft,
        /// What a request must not fulfil as a whole.
        unless: ConditionsDraft,
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
    ConditionsDraft is "a condition" {
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

draft! {
    /// Bounds on waiting that a rule or a step sets.
    WaitsDraft is "`timeouts` of a rule or step" {
        /// From sending to the first content of a stream.
        first_content: Wait,
        /// Between two reads of a stream.
        idle: Wait,
        /// Only a provider sets it: connections are shared by all rules.
        connect: ProvidersOnly,
    }
    later []
}

draft! {
    /// One step of a chain with settings of its own.
    StepDraft is "a step" {
        /// `provider/model`.
        target(required: "write `{ target: provider/model, … }`"): Text,
        /// Share of a `split`, in parts.
        weight: Whole<1, 1_000_000> = 1,
        /// Bounds on waiting; those of the rule or target where they are not said.
        timeouts: WaitsDraft,
        /// Output limit that no call may exceed here, in tokens.
        max_output_tokens: TokenCount,
        /// Top-level request fields to set, such as `{ temperature: 0 }`.
        set: FieldsToSet,
    }
    later []
}

draft! {
    /// Several targets of which one is drawn for each request, the rest following as fallbacks.
    PoolDraft is "a pool" {
        /// How one is chosen: `split` draws by weight.
        pick(required: "write `pick: split`"): PickWord,
        /// The targets of the pool.
        of(required: "write `of: [provider/model, …]`"): List<MemberDraft>,
    }
    later ["for", "min_score"]
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

words! {
    /// Kinds of failure that fall back only when asked to.
    FallbackOnWord: FallbackOn {
        "content_policy" => FallbackOn::ContentPolicy,
        "invalid_request" => FallbackOn::InvalidRequest,
    }
    later []
}

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

words! {
    /// How a pool chooses.
    PickWord: () {
        "split" => (),
    }
    later ["cheapest", "fastest", "best"]
}

/// The name of a task.
#[derive(Debug)]
pub(in crate::config) struct Task;

scalar_schema!(Task: { "type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$" });

impl Shape for Task {
    type Value = TaskName;

    fn read(node: &Node, findings: &mut Findings) -> Option<TaskName> {
        let scalar = scalar(node, "a task such as `coding`", findings)?;
        TaskName::parse(&scalar.text)
            .map_err(|error| {
                findings.push(Diagnostic::error(codes::BAD_NAME, node.place, format!("`{}` is no task: {error}", scalar.text)))
            })
            .ok()
    }
}

/// A pattern on the requested model.
#[derive(Debug)]
pub(in crate::config) struct Model;

scalar_schema!(Model: { "type": "string", "minLength": 1, "examples": ["gpt-4o", "gpt-*", "known", "auto"] });

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

scalar_schema!(Glob: { "type": "string", "minLength": 1 });

impl Shape for Glob {
    type Value = String;

    fn read(node: &Node, findings: &mut Findings) -> Option<String> {
        let text = &scalar(node, "a pattern such as `gpt-*`", findings)?.text;
        if text.is_empty() || text.chars().any(char::is_control) {
            findings.push(Diagnostic::error(codes::BAD_GLOB, node.place, format!("no request can match `{}`", text.escape_debug())));
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
            let message = format!("expected bounds such as `{{ max: {text} }}`, found `{text}`");
            findings.push(
                Diagnostic::error(codes::WRONG_TYPE, node.place, message).hint(format!("write `{{ max: {text} }}` or `{{ min: {text} }}`")),
            );
            return None;
        }
        let map = crate::config::decode::Cursor::open(node, "a range", findings)?;
        let (min, max) = (map.take::<S>("min", findings), map.take::<S>("max", findings));
        map.close(&["min", "max"], &[], findings);
        if min.is_absent() && max.is_absent() {
            let finding = Diagnostic::error(codes::EMPTY_RANGE, node.label, "a range has `min`, `max` or both");
            findings.push(finding);
            return None;
        }
        if let (Some(low), Some(high)) = (min.get(), max.get())
            && low > high
        {
            findings.push(Diagnostic::error(codes::EMPTY_RANGE, node.label, "`min` is above `max`, so nothing can be in this range"));
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

/// A key of a provider's `timeouts` where a rule's stand.
#[derive(Debug)]
pub(in crate::config) struct ProvidersOnly;

scalar_schema!(ProvidersOnly: { "not": {} });

impl Shape for ProvidersOnly {
    type Value = ();

    fn read(node: &Node, findings: &mut Findings) -> Option<()> {
        let finding = Diagnostic::error(codes::KEY_DOES_NOT_APPLY, node.label, "`connect` is a setting of the provider");
        findings.push(finding.hint("connections are shared by all rules; write it under the provider's `timeouts`"));
        None
    }
}

/// A chain as written: the name of one, or its steps.
#[derive(Clone, Debug)]
pub(in crate::config) enum ChainDraft {
    Named(At<String>),
    Steps(Vec<At<MemberDraft>>),
}

impl Shape for ChainDraft {
    type Value = Self;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) => Some(Self::Named(At { place: node.place, value: scalar.text.clone() })),
            Value::Map(_) => {
                let finding = Diagnostic::error(codes::WRONG_TYPE, node.place, "expected a list of steps, found a map");
                findings.push(finding.hint("put the step into a list: `[{ … }]`"));
                None
            }
            _ => List::<MemberDraft>::read(node, findings).map(Self::Steps),
        }
    }
}

impl JsonSchema for ChainDraft {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Chain".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let steps = json!(generator.subschema_for::<List<MemberDraft>>());
        json_schema!({
            "description": "The steps in order, or the name of a chain.",
            "anyOf": [{ "type": "string", "minLength": 1 }, steps]
        })
    }
}

/// A member of a chain as written.
#[derive(Clone, Debug)]
pub(in crate::config) enum MemberDraft {
    /// `provider/model`, `requested` or the name of a chain.
    Name(String),
    Step(Box<StepDraft>),
    Pool(Vec<At<MemberDraft>>),
}

impl Shape for MemberDraft {
    type Value = Self;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) => Some(Self::Name(scalar.text.clone())),
            Value::Map(entries) if entries.iter().any(|entry| entry.key == "pick" || entry.key == "of") => {
                let pool = PoolDraft::read(node, findings)?;
                pool.pick.get()?;
                pool.of.get().cloned().map(Self::Pool)
            }
            Value::Map(_) => StepDraft::read(node, findings).map(|step| Self::Step(Box::new(step))),
            _ => {
                let message = format!("expected a step such as `provider/model`, found {}", node.kind());
                findings.push(Diagnostic::error(codes::WRONG_TYPE, node.place, message));
                None
            }
        }
    }
}

impl JsonSchema for MemberDraft {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Member".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let step = json!(generator.subschema_for::<StepDraft>());
        let pool = json!(generator.subschema_for::<PoolDraft>());
        json_schema!({
            "description": "`provider/model`, `requested`, the name of a chain, a step with settings, or a pool.",
            "anyOf": [{ "type": "string", "minLength": 1 }, step, pool]
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
                let finding = Diagnostic::error(codes::WRONG_TYPE, node.place, "`default` is `refuse` or a map, found a list");
                findings.push(finding.hint("write `default: { chain: […] }`"));
                None
            }
            _ => {
                let finding =
                    Diagnostic::error(codes::UNKNOWN_WORD, node.place, format!("`default` is `refuse` or a map, found {}", node.kind()));
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

/// `set: { temperature: 0 }`: top-level request fields, kept as JSON texts.
#[derive(Debug)]
pub(in crate::config) struct FieldsToSet;

scalar_schema!(FieldsToSet: { "type": "object" });

impl Shape for FieldsToSet {
    type Value = BTreeMap<String, Box<RawValue>>;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self::Value> {
        let Value::Map(entries) = &node.value else {
            findings.push(Diagnostic::error(codes::WRONG_TYPE, node.place, format!("`set` is a map, found {}", node.kind())));
            return None;
        };
        let mut fields = BTreeMap::new();
        for entry in entries {
            if let Some(instead) = reserved(&entry.key) {
                let finding = Diagnostic::error(codes::RESERVED_FIELD, entry.value.label, format!("`set` may not change `{}`", entry.key));
                findings.push(finding.hint(instead));
                continue;
            }
            if let Some(text) = json_value::read(&entry.value, findings)
                && let Ok(value) = RawValue::from_string(text)
            {
                fields.insert(entry.key.clone(), value);
            }
        }
        Some(fields)
    }
}

/// What to do instead of setting a field that tollgate itself reads or writes.
fn reserved(field: &str) -> Option<&'static str> {
    match field {
        "model" => Some("the step's `target` names the model"),
        "messages" | "prompt" | "input" => Some("what the client wrote is never changed"),
        "stream" | "stream_options" => Some("whether an answer is streamed is the client's to say"),
        "max_tokens" | "max_completion_tokens" => Some("write `max_output_tokens` beside `set`"),
        "n" | "best_of" => Some("how many answers there are is the client's to say; `server.max_n` bounds it"),
        _ => None,
    }
}
