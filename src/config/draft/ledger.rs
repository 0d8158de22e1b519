//! `ledger:` and `alerts:` as written.

use crate::config::checked::{Durability, HoldFor};
use crate::config::codes::Code;
use crate::config::decode::{Findings, Shape, draft};
use crate::config::diagnostic::Diagnostic;
use crate::config::shapes::{DAY, Dollars, HOUR, Text, Time, scalar_schema, words};
use crate::config::tree::{Node, Value};

draft! {
    /// How spend is written down.
    LedgerDraft is "`ledger`" such as { "timeout": "2s", "durability": "grant" } {
        /// The longest wait for the disk before a request is refused.
        timeout: Time<1, HOUR> = "2s",
        /// `grant` sends under what is on disk already and can over-count after a crash, by at most a hundredth of a cap; `strict` writes
        /// each request down before it is sent.
        durability: DurabilityWord = "grant",
        /// What becomes of money that may have been spent.
        disputes: DisputesDraft,
        /// What may be spent without a row while the disk cannot be written, under budgets that are not hard.
        max_unrecorded[such as "$25"]: Dollars = "$10",
    }
    later []
}

draft! {
    /// Money that may have been spent: the answer was cut, and nobody knows what the provider billed.
    DisputesDraft is "`disputes`" such as { "hold_for": "24h" } {
        /// How long it counts as spent: a time, or `window` for as long as its window lasts.
        hold_for: HoldForShape = "24h",
    }
    later []
}

draft! {
    /// Who is told of budgets that are nearly used up, refusals, forecasts, disputes and overruns, beside the log.
    AlertsDraft is "`alerts`" such as { "webhook": { "url": "https://hooks.example.com/tollgate", "secret": "${ALERTS_SECRET}?" } } {
        /// A URL that each message is posted to.
        webhook: WebhookDraft,
    }
    later []
}

draft! {
    /// A URL that each message is posted to, as JSON.
    WebhookDraft is "`webhook`" such as { "url": "https://hooks.example.com/tollgate", "secret": "${ALERTS_SECRET}?" } {
        /// `https://…`; plain `http` only to loopback and private addresses.
        url(required: "write `webhook: { url: \"https://…\" }`")[such as "https://hooks.example.com/tollgate"]: Text,
        /// What messages are signed with: `${VAR}`, `${file:/path}` or `${credential:name}`.
        secret[such as "${ALERTS_SECRET}?"]: Text,
    }
    later []
}

words! {
    /// When a hold is safe.
    DurabilityWord: Durability {
        "grant" => Durability::Grant,
        "strict" => Durability::Strict,
    }
    later []
}

/// A time, or `window`.
#[derive(Debug)]
pub(in crate::config) struct HoldForShape;

scalar_schema!(HoldForShape: {
    "anyOf": [{ "type": "string", "pattern": r"^(?=.*[1-9])[0-9]+(_[0-9]+)*(\.[0-9]+)? ?(ms|s|m|h|d)$" }, { "const": "window" }]
});

impl Shape for HoldForShape {
    type Value = HoldFor;

    fn read(node: &Node, findings: &mut Findings) -> Option<HoldFor> {
        match &node.value {
            Value::Scalar(scalar) if scalar.text == "window" => Some(HoldFor::Window),
            Value::Scalar(scalar) if scalar.text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let message = format!("expected a duration such as `24h`, or `window`, found `{}`", scalar.text);
                findings
                    .push(Diagnostic::error(Code::UNKNOWN_WORD, node.place, message).hint("write `window`, or a duration such as `24h`"));
                None
            }
            _ => Time::<1, { 90 * DAY }>::read(node, findings).map(HoldFor::For),
        }
    }

    fn spelling() -> String {
        format!("{} Or `window`.", Time::<1, { 90 * DAY }>::spelling())
    }

    fn example() -> serde_json::Value {
        "24h".into()
    }
}
