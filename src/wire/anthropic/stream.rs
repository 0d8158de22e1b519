//! Any answer as an Anthropic stream, event by event.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::retell::{counts, stop_reason, usage};
use crate::wire::canonical::{End, Event};
use crate::wire::retell::{Spoken, call_id, signature};

/// Writes the stream: blocks strictly one after the other.
#[derive(Debug, Default)]
pub(in crate::wire) struct Teller {
    has_begun: bool,
    /// The index of the next block.
    next: usize,
    open: Option<Open>,
    /// Tool calls that wait for the open one, in order.
    waiting: VecDeque<Waiting>,
    /// Text that came while a call was open that is not whole.
    late: String,
    sequence: Option<String>,
    is_refused: bool,
}

/// The block that is open.
#[derive(Debug)]
enum Open {
    Text,
    /// With all of its text, which is signed at its end.
    Thinking(String),
    Call {
        slot: usize,
        arguments: String,
    },
}

#[derive(Debug)]
struct Waiting {
    slot: usize,
    id: Option<String>,
    name: String,
    arguments: String,
}

impl Teller {
    pub(in crate::wire) fn tell(&mut self, event: Event, of: &Spoken<'_>, out: &mut Vec<u8>) {
        self.begin(of, out);
        match event {
            Event::Text(text) => self.text(&text, out),
            Event::Refusal(text) => {
                self.is_refused = true;
                self.text(&text, out);
            }
            Event::Reasoning(_) if self.has_unfinished_call() => {}
            Event::Reasoning(text) => {
                if !matches!(self.open, Some(Open::Thinking(_))) {
                    self.close(out);
                    self.start(&json!({ "type": "thinking", "thinking": "", "signature": "" }), out);
                    self.open = Some(Open::Thinking(String::new()));
                }
                if let Some(Open::Thinking(all)) = &mut self.open {
                    all.push_str(&text);
                }
                self.delta(&json!({ "type": "thinking_delta", "thinking": text }), out);
            }
            Event::Redacted(data) => {
                self.close(out);
                self.start(&json!({ "type": "redacted_thinking", "data": data }), out);
                self.stop(out);
            }
            // Another provider's signature means nothing to whoever would check it.
            Event::Signature(_) => {}
            Event::Call { slot, id, name, .. } => {
                let name = of.names.own(&name).to_owned();
                self.waiting.push_back(Waiting { slot, id, name, arguments: String::new() });
                if !self.has_unfinished_call() {
                    self.next_call(of, out);
                }
            }
            Event::Arguments { slot, json } => {
                self.arguments(slot, &json, out);
                if !self.waiting.is_empty() && !self.has_unfinished_call() {
                    self.next_call(of, out);
                }
            }
            Event::CallEnd { slot } => {
                if matches!(self.open, Some(Open::Call { slot: own, .. }) if own == slot) {
                    self.next_call(of, out);
                }
            }
            Event::Sequence(sequence) => self.sequence = Some(sequence),
        }
    }

    pub(in crate::wire) fn end(&mut self, end: End, of: &Spoken<'_>, out: &mut Vec<u8>) {
        self.begin(of, out);
        while !self.waiting.is_empty() {
            self.next_call(of, out);
        }
        if !self.late.is_empty() {
            self.close(out);
            let late = std::mem::take(&mut self.late);
            self.text(&late, out);
        }
        self.close(out);
        let reason = stop_reason(end.finish, self.sequence.is_some(), self.is_refused);
        let head = json!({ "stop_reason": reason, "stop_sequence": self.sequence });
        let data = format!("{{\"type\":\"message_delta\",\"delta\":{head},\"usage\":{}}}", usage(end).get());
        write(out, "message_delta", &data);
        write(out, "message_stop", "{\"type\":\"message_stop\"}");
    }

    fn begin(&mut self, of: &Spoken<'_>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        let usage = counts(&crate::units::Usage { input_uncached: of.input, ..crate::units::Usage::default() });
        let message = json!({
            "id": of.id, "type": "message", "role": "assistant", "model": of.model, "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": usage,
        });
        event(out, &json!({ "type": "message_start", "message": message }));
    }

    fn text(&mut self, text: &str, out: &mut Vec<u8>) {
        if self.has_unfinished_call() {
            self.late.push_str(text);
            return;
        }
        if !matches!(self.open, Some(Open::Text)) {
            self.close(out);
            self.start(&json!({ "type": "text", "text": "" }), out);
            self.open = Some(Open::Text);
        }
        self.delta(&json!({ "type": "text_delta", "text": text }), out);
    }

    /// Whether a call is open that more arguments may come for.
    fn has_unfinished_call(&self) -> bool {
        match &self.open {
            Some(Open::Call { arguments, .. }) => serde_json::from_str::<serde::de::IgnoredAny>(arguments).is_err(),
            _ => false,
        }
    }

    fn arguments(&mut self, slot: usize, json: &str, out: &mut Vec<u8>) {
        match &mut self.open {
            Some(Open::Call { slot: own, arguments }) if *own == slot => {
                arguments.push_str(json);
                self.delta(&json!({ "type": "input_json_delta", "partial_json": json }), out);
            }
            _ => {
                if let Some(call) = self.waiting.iter_mut().rev().find(|call| call.slot == slot) {
                    call.arguments.push_str(json);
                }
            }
        }
    }

    /// Closes what is open and begins the call that has waited longest.
    fn next_call(&mut self, of: &Spoken<'_>, out: &mut Vec<u8>) {
        let Some(Waiting { slot, id, name, arguments }) = self.waiting.pop_front() else { return };
        self.close(out);
        let id = call_id(id.as_deref().unwrap_or_default(), of.id, self.next);
        self.start(&json!({ "type": "tool_use", "id": id, "name": name, "input": {} }), out);
        self.open = Some(Open::Call { slot, arguments: String::new() });
        if !arguments.is_empty() {
            self.arguments(slot, &arguments, out);
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        match self.open.take() {
            None => return,
            Some(Open::Thinking(text)) => {
                self.delta(&json!({ "type": "signature_delta", "signature": signature(&text) }), out);
            }
            Some(Open::Text | Open::Call { .. }) => {}
        }
        self.stop(out);
    }

    fn start(&self, block: &Value, out: &mut Vec<u8>) {
        event(out, &json!({ "type": "content_block_start", "index": self.next, "content_block": block }));
    }

    fn delta(&self, delta: &Value, out: &mut Vec<u8>) {
        event(out, &json!({ "type": "content_block_delta", "index": self.next, "delta": delta }));
    }

    fn stop(&mut self, out: &mut Vec<u8>) {
        event(out, &json!({ "type": "content_block_stop", "index": self.next }));
        self.next += 1;
    }
}

fn event(out: &mut Vec<u8>, data: &Value) {
    write(out, data["type"].as_str().unwrap_or_default(), &data.to_string());
}

fn write(out: &mut Vec<u8>, name: &str, data: &str) {
    out.extend([b"event: ", name.as_bytes(), b"\ndata: ", data.as_bytes(), b"\n\n"].concat());
}
