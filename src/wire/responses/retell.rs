//! Any answer as one of the Responses API.

use bytes::Bytes;
use serde_json::json;

use super::echo;
use super::items::{Called, Content, Standing, ended, item_id, message, reasoning, response, usage};
use crate::wire::canonical::{Assembly, End, Names, Said};
use crate::wire::error::ErrorWords;
use crate::wire::retell::{Spoken, call_id};

/// Writes a whole answer.
pub(in crate::wire) fn retell(answer: &Assembly, end: End, of: &Spoken<'_>) -> Bytes {
    let (status, incomplete) = ended(end.finish);
    let items: Vec<String> = items(answer, status, of);
    let standing = Standing { status, error: "null", incomplete, output: &items.join(","), usage: &usage(end.usage, end.cost) };
    response(of, standing).into()
}

fn items(answer: &Assembly, status: &str, of: &Spoken<'_>) -> Vec<String> {
    let mut items = Vec::new();
    let mut open: Vec<Content> = Vec::new();
    let close = |open: &mut Vec<Content>, items: &mut Vec<String>, status: &str| {
        if !open.is_empty() {
            items.push(message(&item_id("msg", of, items.len()), status, &std::mem::take(open)).to_string());
        }
    };
    for part in &answer.parts {
        match part {
            Said::Text(text) => open.push(Content::Text(text.clone())),
            Said::Refusal(text) => open.push(Content::Refusal(text.clone())),
            Said::Reasoning { text, .. } => {
                close(&mut open, &mut items, "completed");
                items.push(reasoning(&item_id("rs", of, items.len()), text).to_string());
            }
            // What only its provider can read means nothing to this client.
            Said::Redacted(_) => {}
            Said::Call { call, .. } => {
                close(&mut open, &mut items, "completed");
                let name = of.names.own(&call.name).to_owned();
                let arguments = if call.arguments.trim().is_empty() { "{}".into() } else { call.arguments.clone() };
                let is_free = of.names.is_free(&name);
                let called = Called { id: call_id(&call.id, of.id, items.len()), name, arguments, is_free };
                let kind = if is_free { "ctc" } else { "fc" };
                items.push(called.json(&item_id(kind, of, items.len()), "completed").to_string());
            }
        }
    }
    close(&mut open, &mut items, status);
    items
}

/// An answer that broke off, as far as the client knows it.
#[derive(Clone, Copy, Debug)]
pub(in crate::wire) struct Failed<'a> {
    pub(in crate::wire) id: &'a str,
    pub(in crate::wire) model: &'a str,
    pub(in crate::wire) created: u64,
    /// The number of the next event.
    pub(in crate::wire) sequence: u64,
}

/// The events that end a stream which failed: some clients read the one, some the other.
pub(in crate::wire) fn failed(words: &ErrorWords<'_>, of: Failed<'_>) -> Bytes {
    let Failed { id, model, created, sequence } = of;
    let error = json!({ "type": "error", "code": words.code, "message": words.message, "param": words.param, "sequence_number": sequence });
    let echo = echo(std::iter::empty());
    let names = Names::default();
    let of = Spoken { id, model, created, input: crate::units::Tokens::ZERO, names: &names, echo: &echo };
    let why = json!({ "code": code(words.code), "message": words.message }).to_string();
    let response = response(&of, Standing { status: "failed", error: &why, ..Standing::begun() });
    let sequence = sequence + 1;
    Bytes::from(format!(
        "event: error\ndata: {error}\n\nevent: response.failed\n\
         data: {{\"type\":\"response.failed\",\"sequence_number\":{sequence},\"response\":{response}}}\n\n"
    ))
}

/// One of the few codes that a failed response may carry. Clients act on these.
fn code(code: &str) -> &str {
    match code {
        "rate_limit_exceeded" | "context_length_exceeded" | "server_is_overloaded" => code,
        "budget_exceeded" => "insufficient_quota",
        "content_policy_violation" => "invalid_prompt",
        _ => "server_error",
    }
}
