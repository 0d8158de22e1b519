//! Any answer as a stream of chat completion chunks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::retell::{finish_reason, told_usage};
use crate::wire::canonical::{End, Event, unwrapped};
use crate::wire::retell::{Spoken, call_id};

#[derive(Debug, Default)]
pub(in crate::wire) struct Teller {
    has_begun: bool,
    /// By their slots.
    calls: BTreeMap<usize, Calling>,
}

#[derive(Debug)]
struct Calling {
    /// The number of the call in this stream.
    index: usize,
    /// Any argument of it was told.
    has_some: bool,
    /// The arguments so far of a tool that takes a text: they are JSON in pieces, out of which no text can be made.
    held: Option<String>,
}

impl Teller {
    pub(in crate::wire) fn tell(&mut self, event: Event, of: &Spoken<'_>, out: &mut Vec<u8>) {
        self.begin(of, out);
        match event {
            Event::Text(text) => delta(of, &json!({ "content": text }), out),
            Event::Refusal(text) => delta(of, &json!({ "refusal": text }), out),
            Event::Reasoning(text) => delta(of, &json!({ "reasoning_content": text }), out),
            Event::Signature(_) | Event::Redacted(_) | Event::Sequence(_) => {}
            Event::Call { slot, id, name, signature } => {
                let (index, name) = (self.calls.len(), of.names.own(&name));
                let is_free = of.names.is_free(name);
                self.calls.insert(slot, Calling { index, has_some: false, held: is_free.then(String::new) });
                let id = call_id(id.as_deref().unwrap_or_default(), of.id, index);
                let mut call = if is_free {
                    json!({ "index": index, "id": id, "type": "custom", "custom": { "name": name, "input": "" } })
                } else {
                    json!({ "index": index, "id": id, "type": "function", "function": { "name": name, "arguments": "" } })
                };
                if let Some(signature) = signature {
                    call["extra_content"] = json!({ "google": { "thought_signature": signature } });
                }
                delta(of, &json!({ "tool_calls": [call] }), out);
            }
            Event::Arguments { slot, json } => match self.calls.get_mut(&slot) {
                Some(Calling { held: Some(held), .. }) => held.push_str(&json),
                Some(Calling { index, has_some, .. }) => {
                    *has_some = true;
                    delta(of, &json!({ "tool_calls": [{ "index": *index, "function": { "arguments": json } }] }), out);
                }
                None => {}
            },
            Event::CallEnd { slot } => self.complete(slot, of, out),
        }
    }

    pub(in crate::wire) fn end(&mut self, end: End, asks_for_usage: bool, of: &Spoken<'_>, out: &mut Vec<u8>) {
        self.begin(of, out);
        let slots: Vec<usize> = self.calls.keys().copied().collect();
        for slot in slots {
            self.complete(slot, of, out);
        }
        chunk(of, &json!([{ "index": 0, "delta": {}, "finish_reason": finish_reason(end.finish) }]), "null", out);
        if let Some(told) = end.usage.filter(|_| asks_for_usage) {
            chunk(of, &json!([]), told_usage(&told, end.cost).get(), out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn begin(&mut self, of: &Spoken<'_>, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_begun, true) {
            delta(of, &json!({ "role": "assistant", "content": "" }), out);
        }
    }

    /// A call without any argument is told an empty object: clients parse what they were given. A tool's text is told whole.
    fn complete(&mut self, slot: usize, of: &Spoken<'_>, out: &mut Vec<u8>) {
        let Some(Calling { index, has_some, held }) = self.calls.get_mut(&slot).filter(|call| !call.has_some) else { return };
        *has_some = true;
        let more = match held {
            Some(held) => json!({ "index": *index, "custom": { "input": unwrapped(held) } }),
            None => json!({ "index": *index, "function": { "arguments": "{}" } }),
        };
        delta(of, &json!({ "tool_calls": [more] }), out);
    }
}

fn delta(of: &Spoken<'_>, delta: &Value, out: &mut Vec<u8>) {
    chunk(of, &json!([{ "index": 0, "delta": delta, "finish_reason": null }]), "null", out);
}

fn chunk(of: &Spoken<'_>, choices: &Value, usage: &str, out: &mut Vec<u8>) {
    let chunk = json!({ "id": of.id, "object": "chat.completion.chunk", "created": of.created, "model": of.model, "choices": choices });
    let chunk = chunk.to_string();
    out.extend([b"data: ", &chunk.as_bytes()[..chunk.len() - 1], b",\"usage\":", usage.as_bytes(), b"}\n\n"].concat());
}
