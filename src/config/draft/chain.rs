//! Chains and their steps as written.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;
use serde_json::value::RawValue;

use super::conditions::Task;
use super::{NAME, ScoreNumber, TARGET, Wait};
use crate::config::codes::Code;
use crate::config::collections::List;
use crate::config::decode::{At, Findings, Shape, draft};
use crate::config::diagnostic::Diagnostic;
use crate::config::json_value;
use crate::config::shapes::{Text, TokenCount, Whole, scalar_schema, words};
use crate::config::tree::{Node, Value};

draft! {
    /// Bounds on waiting that a rule or a step sets.
    WaitsDraft is "`timeouts` of a rule or step" such as { "first_content": "10s", "idle": "30s" } {
        /// From sending to the first content of a stream.
        first_content: Wait,
        /// Between two reads of a stream.
        idle: Wait,
        /// Never here: only a provider sets it, since connections are shared by all rules.
        connect: ProvidersOnly,
    }
    later []
}

draft! {
    /// One step of a chain with settings of its own.
    StepDraft is "a step" such as { "target": "openai/gpt-4o", "max_output_tokens": "2k" } {
        /// What the step calls, as `provider/model`.
        target(required: "write `{ target: provider/model, … }`")[such as "openai/gpt-4o"]: Text,
        /// Share of a `split`, in parts.
        weight[such as 95]: Whole<1, 1_000_000> = 1,
        /// Bounds on waiting; those of the rule or target where they are not said.
        timeouts: WaitsDraft,
        /// Output limit that no call may exceed here, in tokens.
        max_output_tokens[such as "2k"]: TokenCount,
        /// Top-level request fields to set, such as `{ temperature: 0 }`.
        set: FieldsToSet,
    }
    later []
    schema { "allOf": [{ "properties": { "target": { "type": "string", "pattern": TARGET } } }] }
}

draft! {
    /// Several targets that are put in order for each request: the first is tried, the rest follow as fallbacks.
    PoolDraft is "a pool" such as { "pick": "split", "of": [{ "target": "openai/gpt-4o", "weight": 95 }, "house/llama3.2"] } {
        /// How they are ordered: `cheapest` by the worst case of this very request, `fastest` by the time to first content seen lately,
        /// `split` drawn by weight, `best` by the scores under `evals`.
        pick(required: "write `pick: cheapest`, `fastest`, `split` or `best`")[such as "split"]: PickWord,
        /// The targets of the pool.
        of(required: "write `of: [provider/model, …]`")
            [such as [{ "target": "openai/gpt-4o", "weight": 95 }, "house/llama3.2"]]: List<PooledDraft>,
        /// The task whose scores count, of `best` alone. Without it the task of the request.
        r#for[such as "coding"]: Task,
        /// The least score, of `best` alone: members below it are left out, and of the others the cheapest is first. Without it the
        /// highest score is first.
        min_score[such as 8.5]: ScoreNumber,
    }
    later []
    schema { "allOf": [{
        "if": { "properties": { "pick": { "const": "best" } } },
        "else": { "properties": { "for": false, "min_score": false } }
    }] }
}

words! {
    /// How a pool chooses.
    PickWord: PickBy {
        "cheapest" => PickBy::Cheapest,
        "fastest" => PickBy::Fastest,
        "split" => PickBy::Split,
        "best" => PickBy::Best,
    }
    later []
}

/// The word behind `pick`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum PickBy {
    Cheapest,
    Fastest,
    Split,
    Best,
}

/// A key of a provider's `timeouts` where a rule's stand.
#[derive(Debug)]
pub(in crate::config) struct ProvidersOnly;

scalar_schema!(ProvidersOnly: { "not": {} });

impl Shape for ProvidersOnly {
    type Value = ();

    fn read(node: &Node, findings: &mut Findings) -> Option<()> {
        let finding = Diagnostic::error(Code::KEY_DOES_NOT_APPLY, node.label, "`connect` is a setting of the provider");
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
            // A single target, or several without their brackets.
            Value::Scalar(scalar) if scalar.text.contains('/') => {
                let message = format!("a chain is a list of steps, found `{}`", scalar.text);
                findings.push(Diagnostic::error(Code::WRONG_TYPE, node.place, message).hint(format!("write `[{}]`", scalar.text)));
                None
            }
            Value::Scalar(scalar) => Some(Self::Named(At { place: node.place, value: scalar.text.clone() })),
            Value::Map(_) => {
                let finding = Diagnostic::error(Code::WRONG_TYPE, node.place, "expected a list of steps, found a map");
                findings.push(finding.hint("put the step into a list: `[{ … }]`"));
                None
            }
            _ => List::<MemberDraft>::read(node, findings).map(Self::Steps),
        }
    }

    fn example() -> serde_json::Value {
        json!(["openai/gpt-4o", "house/llama3.2"])
    }

    fn filler() -> String {
        "[provider/model]".into()
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
            "anyOf": [{ "type": "string", "pattern": NAME }, steps]
        })
    }
}

/// A member of a chain as written.
#[derive(Clone, Debug)]
pub(in crate::config) enum MemberDraft {
    /// `provider/model`, `requested` or the name of a chain.
    Name(String),
    Step(Box<StepDraft>),
    Pool(Box<PoolDraft>),
}

impl Shape for MemberDraft {
    type Value = Self;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) => Some(Self::Name(scalar.text.clone())),
            Value::Map(entries) if entries.iter().any(|entry| entry.key == "pick" || entry.key == "of") => {
                let pool = PoolDraft::read(node, findings)?;
                pool.pick.get()?;
                pool.of.get()?;
                Some(Self::Pool(Box::new(pool)))
            }
            Value::Map(_) => StepDraft::read(node, findings).map(|step| Self::Step(Box::new(step))),
            _ => {
                let message = format!("expected a step such as `provider/model`, found {}", node.kind());
                let finding = Diagnostic::error(Code::WRONG_TYPE, node.place, message);
                findings.push(finding.hint("a chain is one list of steps: take the inner brackets out"));
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
            "anyOf": [
                { "type": "string", "anyOf": [{ "pattern": TARGET }, { "pattern": NAME }] },
                // A weight is a share of a pool.
                { "allOf": [step], "properties": { "weight": false } },
                pool
            ]
        })
    }
}

/// A member of a pool as written. That it is a target is checked where chains are unfolded.
#[derive(Debug)]
pub(in crate::config) struct PooledDraft;

impl Shape for PooledDraft {
    type Value = MemberDraft;

    fn read(node: &Node, findings: &mut Findings) -> Option<MemberDraft> {
        MemberDraft::read(node, findings)
    }
}

impl JsonSchema for PooledDraft {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Pooled".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let step = json!(generator.subschema_for::<StepDraft>());
        json_schema!({ "description": "`provider/model`, or a step with settings.", "anyOf": [{ "type": "string", "pattern": TARGET }, step] })
    }
}

/// `set: { temperature: 0 }`: top-level request fields, kept as JSON texts.
#[derive(Debug)]
pub(in crate::config) struct FieldsToSet;

scalar_schema!(FieldsToSet: { "type": "object", "propertyNames": { "not": { "enum": RESERVED } } });

/// Fields that tollgate itself reads or writes.
const RESERVED: [&str; 10] =
    ["model", "messages", "prompt", "input", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "best_of"];

impl Shape for FieldsToSet {
    type Value = BTreeMap<String, Box<RawValue>>;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self::Value> {
        let Value::Map(entries) = &node.value else {
            findings.push(Diagnostic::error(Code::WRONG_TYPE, node.place, format!("`set` is a map, found {}", node.kind())));
            return None;
        };
        let mut fields = BTreeMap::new();
        for entry in entries {
            if let Some(instead) = reserved(&entry.key) {
                let finding = Diagnostic::error(Code::RESERVED_FIELD, entry.value.label, format!("`set` may not change `{}`", entry.key));
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

    fn example() -> serde_json::Value {
        json!({ "temperature": 0 })
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
