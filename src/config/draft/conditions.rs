//! `match:` and `unless:` as written.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::provider::NeedWord;
use crate::config::checked::ModelPattern;
use crate::config::codes::Code;
use crate::config::collections::{AnyOf, Table};
use crate::config::decode::{Cursor, Field, Findings, Shape, draft, scalar};
use crate::config::diagnostic::Diagnostic;
use crate::config::shapes::{Dollars, Flag, Percent, Text, Whole, scalar_schema, words};
use crate::config::tree::{Node, Scalar, Value};
use crate::units::{Effort, Endpoint, TaskName};

draft! {
    /// Conditions on a request. All must hold; a list means any of; bounds are inclusive; a fact that the request lacks fulfils nothing.
    ConditionsDraft is "a match" such as { "task": "coding", "prompt_tokens": { "max": "32k" } } {
        /// The declared or recognised task; `unknown` can be matched.
        task: AnyOf<Task>,
        /// Estimated length of the prompt, in tokens.
        prompt_tokens[such as { "max": "32k" }]: Interval<Tokens>,
        /// Holds when some target of this rule's chain can serve the request for at most so many US dollars in the worst case.
        cost_ceiling[such as "$1.50"]: Dollars,
        /// The ceiling that the client declared, in US dollars. Where none is declared the condition does not hold.
        max_cost[such as { "max": "$0.002" }]: Interval<Dollars>,
        /// Patterns on the requested model; `known` for any target of this file, `auto` when the client left the choice to the rules.
        model: AnyOf<Model>,
        /// Patterns on what the client says of itself, by label.
        labels[such as { "feature": ["search", "chat-*"] }]: Table<AnyOf<Glob>>,
        /// Patterns on request headers, by header name.
        headers[such as { "x-team": "research" }]: Table<AnyOf<Glob>>,
        /// What the request needs from a model.
        needs: AnyOf<NeedWord>,
        /// Messages so far.
        turns[such as { "min": 3 }]: Interval<Turns>,
        /// Declared reasoning effort.
        effort: AnyOf<EffortWord>,
        /// The kind of call.
        endpoint: AnyOf<EndpointWord>,
        /// Whether the client asked for a stream.
        stream: Flag,
        /// Names of callers.
        caller[such as ["search-team", "legal"]]: AnyOf<Text>,
        /// Patterns on tags of the caller, by tag.
        tags[such as { "team": "research" }]: Table<AnyOf<Glob>>,
        /// The share that is used of a budget's window, from 0% to 100%, by budget and window.
        spent[such as { "company.month": { "min": "80%" } }]: Table<Interval<Percent>>,
    }
    later []
    schema {
        "allOf": [{ "properties": {
            "labels": { "minProperties": 1 },
            "tags": { "minProperties": 1 },
            "spent": { "minProperties": 1, "propertyNames": { "pattern": WINDOW } },
            "headers": { "minProperties": 1, "propertyNames": { "pattern": HEADER } }
        } }]
    }
}

/// The name of a header, as the schema knows it.
pub(super) const HEADER: &str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";

/// A window of a budget, as the schema knows it.
pub(super) const WINDOW: &str = r"^((provider|caller)\.)?[a-z0-9][a-z0-9._-]{0,63}\.(hour|day|week|month|total)$";

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

    fn example() -> serde_json::Value {
        ConditionsDraft::example()
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
            && self.caller.is_absent()
            && self.tags.is_absent()
            && self.spent.is_absent()
    }
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
        "messages" => Endpoint::Messages,
        "responses" => Endpoint::Responses,
        "images" => Endpoint::Images,
        "audio" => Endpoint::Audio,
        "moderations" => Endpoint::Moderations,
        "rerank" => Endpoint::Rerank,
    }
    later []
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

    fn example() -> serde_json::Value {
        "coding".into()
    }
}

/// A pattern on the requested model.
#[derive(Debug)]
pub(in crate::config) struct Model;

scalar_schema!(Model: { "type": ["string", "number"], "minLength": 1 });

impl Shape for Model {
    type Value = ModelPattern;

    fn read(node: &Node, findings: &mut Findings) -> Option<ModelPattern> {
        Some(match Glob::read(node, findings)?.as_str() {
            "known" => ModelPattern::Known,
            "auto" => ModelPattern::Auto,
            glob => ModelPattern::Glob(glob.into()),
        })
    }

    fn spelling() -> String {
        "In a pattern `*` stands for any characters; one that begins with `*` is quoted.".into()
    }

    fn example() -> serde_json::Value {
        "gpt-*".into()
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

    fn spelling() -> String {
        "In a pattern `*` stands for any characters.".into()
    }

    fn example() -> serde_json::Value {
        "search*".into()
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
            findings.push(Diagnostic::error(Code::WRONG_TYPE, node.place, message).hint(range_meant(text)));
            return None;
        }
        let map = Cursor::open::<Self>(node, "a range", (&["min", "max"], &[]), findings)?;
        let (min, max) = (map.take::<S>("min", findings), map.take::<S>("max", findings));
        if matches!(&node.value, Value::Map(entries) if entries.is_empty()) {
            let finding = Diagnostic::error(Code::EMPTY_RANGE, node.label, "a range has `min`, `max` or both");
            findings.push(finding.hint_example(&Self::example()));
            return None;
        }
        if let (Some(low), Some(high)) = (min.get(), max.get())
            && low > high
        {
            let finding = Diagnostic::error(Code::EMPTY_RANGE, node.label, "`min` is above `max`, so nothing can be in this range");
            findings.push(finding.hint("perhaps the two are swapped"));
            return None;
        }
        (!min.is_absent() || !max.is_absent()).then_some((bound(&min)?, bound(&max)?))
    }

    fn spelling() -> String {
        format!("A range of `min`, `max` or both, each inclusive. {}", S::spelling()).trim_end().into()
    }

    fn example() -> serde_json::Value {
        json!({ "max": S::example() })
    }
}

/// The range that a bare text stands for: `< 2k`, `8k-32k`, or one of its bounds.
fn range_meant(text: &str) -> String {
    let bare = text.trim_start_matches(['<', '>', '=', ' ']);
    let two =
        ["..", "-", "–"].iter().find_map(|mark| text.split_once(mark)).filter(|(low, _)| low.starts_with(|c: char| c.is_ascii_digit()));
    match (two, text.chars().next()) {
        (Some((low, high)), _) => format!("write `{{ min: {}, max: {} }}`", low.trim(), high.trim_start_matches('=').trim()),
        (None, Some('<')) => format!("write `{{ max: {bare} }}`"),
        (None, Some('>')) => format!("write `{{ min: {bare} }}`"),
        _ => format!("write `{{ max: {text} }}` or `{{ min: {text} }}`"),
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
        let said = |bound: &serde_json::Value, words: &str| {
            let mut bound = bound.clone();
            bound["description"] = json!(format!("{words} {}", S::spelling()).trim_end());
            bound["examples"] = json!([S::example()]);
            bound
        };
        json_schema!({
            "type": "object",
            "properties": { "min": said(&bound, "The least that is in the range, inclusive."), "max": said(&bound, "The most that is in the range, inclusive.") },
            "additionalProperties": false,
            "minProperties": 1
        })
    }
}
