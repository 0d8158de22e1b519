//! `budgets:`, and `budget:` of providers and callers, as written.

use std::num::NonZeroU8;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::Patience;
use super::conditions::Glob;
use crate::config::checked::{BudgetMode, EstimateBy, OnLow};
use crate::config::codes::Code;
use crate::config::collections::{AnyOf, Several, Table};
use crate::config::decode::{At, Field, Findings, Shape, draft, scalar};
use crate::config::diagnostic::Diagnostic;
use crate::config::shapes::{CapText, Flag, Pace, Percent, Text, TokenCount, Zone, scalar_schema, words};
use crate::config::tree::{Node, Value};
use crate::units::StartsOn;

draft! {
    /// A cap on spend over all that it covers.
    BudgetDraft is "a budget" such as { "cap": ["$2_000/month", "$150/day"], "warn_at": ["50%", "80%", "95%"] } {
        /// What it covers: all that holds of what is there. Without it every request.
        r#match[such as { "tags": { "team": "research" } }]: CoversDraft,
        /// The caps, each for one window.
        cap: Several<CapText>,
        /// Smooths spending within a window; it is never the cap.
        pace: Pace,
        /// `hard` sends nothing whose worst case does not fit, `soft` refuses once the cap is spent, `observe` only counts and warns.
        mode: ModeWord = "hard",
        /// Time zone of its windows, an IANA name. `server.timezone` where it is not said.
        timezone: Zone = "UTC",
        /// The day on which its months begin: 1 to 28, or `last`.
        starts_on: StartsOnWord = 1,
        /// Shares of a cap at which somebody is told, in rising order.
        warn_at[such as ["50%", "80%", "95%"]]: Several<Percent>,
        /// What happens where a worst case does not fit any more: `clamp` lowers the output limit to what the rest affords.
        on_low: OnLowWord = "clamp",
        /// The least output that a clamp leaves, in tokens.
        min_output_tokens[such as 512]: TokenCount = 256,
        /// How long a request may wait where only other requests stand in the way.
        wait[such as "30s"]: Patience = "10s",
        /// What bounds the input of a worst case.
        estimate: EstimateWord = "auto",
        /// The name that this budget had: its spend goes on under the new one.
        was[such as "company-2025"]: Text,
        /// Labels are what clients say of themselves: `true` lets this budget match by them all the same.
        trust_client: Flag = false,
    }
    later ["on_store_loss"]
    schema {
        "allOf": [
            { "anyOf": [{ "required": ["cap"] }, { "required": ["pace"] }] },
            {
                "if": { "required": ["match"], "properties": { "match": { "required": ["labels"] } } },
                "then": { "required": ["trust_client"], "properties": { "trust_client": { "const": true } } }
            }
        ]
    }
}

draft! {
    /// A cap on spend, and how it is kept.
    TermsDraft is "`budget`" such as { "cap": "$300/month", "warn_at": "80%" } {
        /// The caps, each for one window.
        cap(required: "write `cap: $300/month`"): Several<CapText>,
        /// `hard` sends nothing whose worst case does not fit, `soft` refuses once the cap is spent, `observe` only counts and warns.
        mode: ModeWord = "hard",
        /// Time zone of its windows, an IANA name. `server.timezone` where it is not said.
        timezone: Zone = "UTC",
        /// The day on which its months begin: 1 to 28, or `last`.
        starts_on: StartsOnWord = 1,
        /// Shares of a cap at which somebody is told, in rising order.
        warn_at[such as ["50%", "80%", "95%"]]: Several<Percent>,
        /// What happens where a worst case does not fit any more: `clamp` lowers the output limit to what the rest affords.
        on_low: OnLowWord = "clamp",
        /// The least output that a clamp leaves, in tokens.
        min_output_tokens[such as 512]: TokenCount = 256,
        /// How long a request may wait where only other requests stand in the way.
        wait[such as "30s"]: Patience = "10s",
        /// What bounds the input of a worst case.
        estimate: EstimateWord = "auto",
        /// The name that this budget had, such as `provider.openai-old`: its spend goes on under the new one.
        was[such as "provider.openai-old"]: Text,
    }
    later ["on_store_loss"]
}

draft! {
    /// What a budget covers: all that holds of what is there.
    CoversDraft is "`match` of a budget" such as { "tags": { "team": "research" } } {
        /// Names of callers.
        caller[such as ["search-team", "legal"]]: AnyOf<Text>,
        /// Patterns on tags of the caller, by tag.
        tags[such as { "team": "research" }]: Table<AnyOf<Glob>>,
        /// Names of rules; `default` is one.
        rule[such as "coding"]: AnyOf<Text>,
        /// Names of providers.
        provider[such as ["openai", "anthropic"]]: AnyOf<Text>,
        /// Patterns on models, by their providers' own names.
        model[such as "gpt-*"]: AnyOf<Glob>,
        /// Patterns on what the client says of itself, by label; only with `trust_client: true` beside `match`.
        labels[such as { "feature": "search" }]: Table<AnyOf<Glob>>,
    }
    later []
    schema { "allOf": [{ "minProperties": 1, "properties": { "tags": { "minProperties": 1 }, "labels": { "minProperties": 1 } } }] }
}

words! {
    /// How strictly a cap is kept.
    ModeWord: BudgetMode {
        "hard" => BudgetMode::Hard,
        "soft" => BudgetMode::Soft,
        "observe" => BudgetMode::Observe,
    }
    later []
}

words! {
    /// What happens where a worst case does not fit any more.
    OnLowWord: OnLow {
        "clamp" => OnLow::Clamp,
        "reject" => OnLow::Reject,
    }
    later []
}

words! {
    /// What bounds the input of a worst case.
    EstimateWord: EstimateBy {
        "auto" => EstimateBy::Auto,
        "bytes" => EstimateBy::Bytes,
        "exact" => EstimateBy::Exact,
        "calibrated" => EstimateBy::Calibrated,
    }
    later []
}

/// A day of the month, or `last`.
#[derive(Debug)]
pub(in crate::config) struct StartsOnWord;

scalar_schema!(StartsOnWord: { "anyOf": [{ "type": "integer", "minimum": 1, "maximum": 28 }, { "const": "last" }] });

impl Shape for StartsOnWord {
    type Value = StartsOn;

    fn read(node: &Node, findings: &mut Findings) -> Option<StartsOn> {
        let text = scalar(node, "a day of the month such as `15`, or `last`", findings)?.text.as_str();
        let day = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u8>().ok()).flatten();
        match day {
            _ if text == "last" => Some(StartsOn::Last),
            Some(1..=28) if !text.starts_with('0') => day.and_then(NonZeroU8::new).map(StartsOn::Day),
            Some(29..) => {
                let finding = Diagnostic::error(Code::OUT_OF_RANGE, node.place, format!("not every month has a day {text}"));
                findings.push(finding.hint("write a day from 1 to 28, or `last` for the last day of each month"));
                None
            }
            _ => {
                let message = format!("expected a day of the month such as `15`, or `last`, found `{text}`");
                findings.push(Diagnostic::error(Code::OUT_OF_RANGE, node.place, message).hint("write a day from 1 to 28, or `last`"));
                None
            }
        }
    }

    fn spelling() -> String {
        "A day from 1 to 28, or `last`.".into()
    }

    fn example() -> serde_json::Value {
        15.into()
    }
}

impl BudgetDraft {
    /// What it says without whom it covers.
    pub(in crate::config) fn terms(&self) -> TermsDraft {
        TermsDraft {
            cap: self.cap.clone(),
            mode: self.mode.clone(),
            timezone: self.timezone.clone(),
            starts_on: self.starts_on.clone(),
            warn_at: self.warn_at.clone(),
            on_low: self.on_low.clone(),
            min_output_tokens: self.min_output_tokens.clone(),
            wait: self.wait.clone(),
            estimate: self.estimate.clone(),
            was: self.was.clone(),
        }
    }
}

impl TermsDraft {
    /// Nothing said.
    pub(in crate::config) fn none() -> Self {
        Self {
            cap: Field::Absent,
            mode: Field::Absent,
            timezone: Field::Absent,
            starts_on: Field::Absent,
            warn_at: Field::Absent,
            on_low: Field::Absent,
            min_output_tokens: Field::Absent,
            wait: Field::Absent,
            estimate: Field::Absent,
            was: Field::Absent,
        }
    }
}

/// `$300/month`, `[$300/month, $40/day]`, or a map with a cap in it.
#[derive(Debug)]
pub(in crate::config) struct OwnBudget;

impl Shape for OwnBudget {
    type Value = TermsDraft;

    fn read(node: &Node, findings: &mut Findings) -> Option<TermsDraft> {
        if matches!(node.value, Value::Map(_)) {
            return TermsDraft::read(node, findings);
        }
        let caps = Several::<CapText>::read(node, findings)?;
        let cap = Field::Given { key: node.label, at: At { place: node.place, value: caps } };
        Some(TermsDraft { cap, ..TermsDraft::none() })
    }

    fn spelling() -> String {
        "A cap such as `$300/month`, a list of caps, or a map with `cap` in it.".into()
    }

    fn example() -> serde_json::Value {
        json!(["$300/month", "$40/day"])
    }

    fn over(own: &TermsDraft, copied: &TermsDraft) -> TermsDraft {
        TermsDraft::over(own, copied)
    }
}

impl JsonSchema for OwnBudget {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OwnBudget".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let caps = json!(generator.subschema_for::<Several<CapText>>());
        let terms = json!(generator.subschema_for::<TermsDraft>());
        json_schema!({ "anyOf": [caps, terms] })
    }
}
