//! `rules:` and `default:` as written.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::chain::{ChainDraft, WaitsDraft};
use super::conditions::Match;
use super::{Deadline, NAME};
use crate::config::checked::{FallbackOn, OnCeiling, UnsupportedParams};
use crate::config::codes::Code;
use crate::config::collections::List;
use crate::config::decode::{Findings, Shape, draft};
use crate::config::diagnostic::Diagnostic;
use crate::config::shapes::{Flag, Text, TokenCount, scalar_schema, word, word_list, words};
use crate::config::tree::{Node, Scalar, Value};

draft! {
    /// Conditions and the chain that serves what fulfils them.
    RuleDraft is "a rule" such as { "name": "coding", "match": { "task": "coding" }, "chain": ["openai/gpt-4o", "house/llama3.2"] } {
        /// Name of the rule, told in `x-tollgate-rule`, records and metrics.
        name(required: "a name is told in answers, records and metrics")[such as "coding"]: Text,
        /// What a request must fulfil: all of it. May be empty beside `unless`.
        r#match(required: "what holds for every request is `default`; a rule has conditions"): Match,
        /// What a request must not fulfil as a whole.
        unless[such as { "needs": "vision" }]: Match,
        /// The steps in order: a list, or the name of a chain.
        chain(required: "write `chain: [provider/model]`"): ChainDraft,
        /// The most that a whole call may take; `server.deadline` where it is not said.
        deadline[such as "2m"]: Deadline,
        /// Output limit that no call of this rule may exceed, in tokens.
        max_output_tokens[such as "4k"]: TokenCount,
        /// When no target fits under the ceiling: `next_rule`, `clamp` the output limit, or `refuse`.
        on_ceiling: OnCeilingWord = "next_rule",
        /// Kinds of failure that may fall back beside those that always do.
        fallback_on: List<FallbackOnWord>,
        /// Bounds on waiting; those of the target where they are not said.
        timeouts: WaitsDraft,
        /// Whether one target may be tried again where that is sound and no other step is left.
        retry: Flag = true,
        /// What becomes of a target whose format lacks fields that an answer can do without: `warn` sends the rest and names them in
        /// `x-tollgate-dropped-params` and `-adjusted-params`, `drop` names nothing, `reject` leaves the target out. `defaults` where it is not said.
        unsupported_params: UnsupportedParamsWord = "warn",
        /// `session` keeps a caller's session on one target while that target works and the rule stays as it is. A session is what the
        /// client names in `x-tollgate-session`, or in its own header (`x-claude-code-session-id`).
        sticky: StickyWord,
    }
    later []
    schema {
        "allOf": [
            { "properties": { "name": { "pattern": NAME, "not": { "const": "default" } }, "unless": { "minProperties": 1 } } },
            // What holds for every request is `default`.
            { "if": { "not": { "required": ["unless"] } }, "then": { "properties": { "match": { "minProperties": 1 } } } }
        ]
    }
}

draft! {
    /// The chain that serves what no rule matched.
    RouteDraft is "`default`" such as { "chain": ["openai/gpt-4o", "house/llama3.2"] } {
        /// The steps in order: a list, or the name of a chain.
        chain(required: "write `chain: [provider/model]`"): ChainDraft,
        /// The most that a whole call may take; `server.deadline` where it is not said.
        deadline[such as "2m"]: Deadline,
        /// Output limit that no call may exceed here, in tokens.
        max_output_tokens[such as "4k"]: TokenCount,
        /// When no target fits under the declared ceiling: `clamp` the output limit, or refuse (`next_rule` refuses too: none follows).
        on_ceiling: OnCeilingWord = "next_rule",
        /// Kinds of failure that may fall back beside those that always do.
        fallback_on: List<FallbackOnWord>,
        /// Bounds on waiting; those of the target where they are not said.
        timeouts: WaitsDraft,
        /// Whether one target may be tried again where that is sound and no other step is left.
        retry: Flag = true,
        /// What becomes of a target whose format lacks fields that an answer can do without: `warn` sends the rest and names them in
        /// `x-tollgate-dropped-params` and `-adjusted-params`, `drop` names nothing, `reject` leaves the target out. `defaults` where it is not said.
        unsupported_params: UnsupportedParamsWord = "warn",
        /// `session` keeps a caller's session on one target while that target works and this stays as it is.
        sticky: StickyWord,
    }
    later []
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
            unsupported_params: self.unsupported_params.clone(),
            sticky: self.sticky.clone(),
        }
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

words! {
    /// What becomes of a target whose format lacks something of the call.
    UnsupportedParamsWord: UnsupportedParams {
        "warn" => UnsupportedParams::Warn,
        "drop" => UnsupportedParams::Drop,
        "reject" => UnsupportedParams::Reject,
    }
    later []
}

words! {
    /// What is kept on one target.
    StickyWord: () {
        "session" => (),
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

    fn spelling() -> String {
        word_list(&["content_policy", "invalid_request"])
    }

    fn example() -> serde_json::Value {
        "content_policy".into()
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

    fn example() -> serde_json::Value {
        RouteDraft::example()
    }

    fn filler() -> String {
        "refuse".into()
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
