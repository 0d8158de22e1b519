//! Any answer as a stream of the Responses API: each item with its whole life.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::items::{Called, Content, Standing, ended, item_id, message, reasoning, response, summary, usage};
use crate::wire::canonical::{End, Event};
use crate::wire::retell::{Spoken, call_id};

#[derive(Debug, Default)]
pub(in crate::wire) struct Teller {
    has_begun: bool,
    /// The number of the next event.
    sequence: u64,
    /// The index of the next item.
    next: usize,
    open: Option<Open>,
    /// Calls whose arguments are not all told, by their slots.
    calls: BTreeMap<usize, Calling>,
    /// Items that are whole, by their index.
    done: BTreeMap<usize, String>,
}

/// What text is added to.
#[derive(Debug)]
enum Open {
    Message { index: usize, parts: Vec<Content> },
    Reasoning { index: usize, text: String },
}

#[derive(Debug)]
struct Calling {
    index: usize,
    item: String,
    called: Called,
}

impl Teller {
    pub(in crate::wire) fn tell(&mut self, event: Event, of: &Spoken<'_>, out: &mut Vec<u8>) {
        self.begin(of, out);
        match event {
            Event::Text(text) => self.say(Content::Text(text), of, out),
            Event::Refusal(text) => self.say(Content::Refusal(text), of, out),
            Event::Reasoning(text) => self.think(&text, of, out),
            Event::Signature(_) | Event::Redacted(_) | Event::Sequence(_) => {}
            Event::Call { slot, id, name, .. } => self.call(slot, id.as_deref().unwrap_or_default(), &name, of, out),
            Event::Arguments { slot, json } => self.argue(slot, &json, out),
            Event::CallEnd { slot } => self.end_call(slot, out),
        }
    }

    /// The end of a complete answer.
    pub(in crate::wire) fn end(&mut self, end: End, of: &Spoken<'_>, out: &mut Vec<u8>) {
        self.begin(of, out);
        let (status, incomplete) = ended(end.finish);
        let slots: Vec<usize> = self.calls.keys().copied().collect();
        self.close(status, of, out);
        for slot in slots {
            self.end_call(slot, out);
        }
        let output: Vec<&str> = self.done.values().map(String::as_str).collect();
        let (output, usage) = (output.join(","), usage(end.usage, end.cost));
        let body = response(of, Standing { status, error: "null", incomplete, output: &output, usage: &usage });
        self.whole(&format!("response.{status}"), &body, out);
    }

    /// The number of the next event.
    pub(in crate::wire) fn sequence(&self) -> u64 {
        self.sequence
    }

    fn begin(&mut self, of: &Spoken<'_>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        let body = response(of, Standing::begun());
        self.whole("response.created", &body, out);
        self.whole("response.in_progress", &body, out);
    }

    fn say(&mut self, said: Content, of: &Spoken<'_>, out: &mut Vec<u8>) {
        if !matches!(self.open, Some(Open::Message { .. })) {
            self.close("completed", of, out);
            let index = self.add(&message(&item_id("msg", of, self.next), "in_progress", &[]), out);
            self.open = Some(Open::Message { index, parts: Vec::new() });
        }
        let Some(Open::Message { index, mut parts }) = self.open.take() else { return };
        let item = item_id("msg", of, index);
        let is_more =
            matches!((parts.last(), &said), (Some(Content::Text(_)), Content::Text(_)) | (Some(Content::Refusal(_)), Content::Refusal(_)));
        if !is_more {
            if let Some(last) = parts.last() {
                self.end_part(last, &item, (index, parts.len() - 1), out);
            }
            let empty = if matches!(said, Content::Text(_)) { Content::Text(String::new()) } else { Content::Refusal(String::new()) };
            let place = json!({ "item_id": item, "output_index": index, "content_index": parts.len(), "part": empty.json() });
            self.event("response.content_part.added", &place, out);
            parts.push(empty);
        }
        let content = parts.len() - 1;
        let mut delta = json!({ "item_id": item, "output_index": index, "content_index": content });
        match (parts.last_mut(), said) {
            (Some(Content::Text(all)), Content::Text(text)) => {
                all.push_str(&text);
                delta["delta"] = text.into();
                delta["logprobs"] = json!([]);
                self.event("response.output_text.delta", &delta, out);
            }
            (Some(Content::Refusal(all)), Content::Refusal(text)) => {
                all.push_str(&text);
                delta["delta"] = text.into();
                self.event("response.refusal.delta", &delta, out);
            }
            _ => {}
        }
        self.open = Some(Open::Message { index, parts });
    }

    fn think(&mut self, more: &str, of: &Spoken<'_>, out: &mut Vec<u8>) {
        if !matches!(self.open, Some(Open::Reasoning { .. })) {
            self.close("completed", of, out);
            let index = self.add(&reasoning(&item_id("rs", of, self.next), ""), out);
            let place = json!({ "item_id": item_id("rs", of, index), "output_index": index, "summary_index": 0, "part": summary("") });
            self.event("response.reasoning_summary_part.added", &place, out);
            self.open = Some(Open::Reasoning { index, text: String::new() });
        }
        if let Some(Open::Reasoning { index, text }) = &mut self.open {
            text.push_str(more);
            let delta = json!({ "item_id": item_id("rs", of, *index), "output_index": *index, "summary_index": 0, "delta": more });
            self.event("response.reasoning_summary_text.delta", &delta, out);
        }
    }

    fn call(&mut self, slot: usize, id: &str, name: &str, of: &Spoken<'_>, out: &mut Vec<u8>) {
        self.close("completed", of, out);
        self.end_call(slot, out);
        let name = of.names.own(name).to_owned();
        let is_free = of.names.is_free(&name);
        let id = call_id(id, of.id, self.next);
        let item = item_id(if is_free { "ctc" } else { "fc" }, of, self.next);
        let called = Called { id, name, arguments: String::new(), is_free };
        let index = self.add(&called.json(&item, "in_progress"), out);
        self.calls.insert(slot, Calling { index, item, called });
    }

    fn argue(&mut self, slot: usize, json: &str, out: &mut Vec<u8>) {
        let Some(Calling { index, item, called }) = self.calls.get_mut(&slot) else { return };
        called.arguments.push_str(json);
        if !called.is_free {
            let delta = json!({ "item_id": item, "output_index": *index, "delta": json });
            self.event("response.function_call_arguments.delta", &delta, out);
        }
    }

    fn end_call(&mut self, slot: usize, out: &mut Vec<u8>) {
        let Some(Calling { index, item, mut called }) = self.calls.remove(&slot) else { return };
        let place = |more: Value| {
            let mut all = json!({ "item_id": item, "output_index": index });
            for (name, value) in more.as_object().into_iter().flatten() {
                all[name] = value.clone();
            }
            all
        };
        if called.is_free {
            let input = called.input();
            // JSON comes in pieces out of which no text can be made, so that all of it is told at once.
            self.event("response.custom_tool_call_input.delta", &place(json!({ "delta": input })), out);
            self.event("response.custom_tool_call_input.done", &place(json!({ "input": input })), out);
        } else {
            if called.arguments.trim().is_empty() {
                called.arguments = "{}".into();
                self.event("response.function_call_arguments.delta", &place(json!({ "delta": "{}" })), out);
            }
            let done = json!({ "name": called.name, "arguments": called.arguments });
            self.event("response.function_call_arguments.done", &place(done), out);
        }
        self.finish(index, &called.json(&item, "completed"), out);
    }

    /// Ends what text is added to.
    fn close(&mut self, status: &str, of: &Spoken<'_>, out: &mut Vec<u8>) {
        match self.open.take() {
            None => {}
            Some(Open::Message { index, parts }) => {
                let item = item_id("msg", of, index);
                if let Some(last) = parts.last() {
                    self.end_part(last, &item, (index, parts.len() - 1), out);
                }
                self.finish(index, &message(&item, status, &parts), out);
            }
            Some(Open::Reasoning { index, text }) => {
                let item = item_id("rs", of, index);
                let place = json!({ "item_id": item, "output_index": index, "summary_index": 0 });
                let with = |name: &str, value: Value| {
                    let mut all = place.clone();
                    all[name] = value;
                    all
                };
                self.event("response.reasoning_summary_text.done", &with("text", text.as_str().into()), out);
                self.event("response.reasoning_summary_part.done", &with("part", summary(&text)), out);
                self.finish(index, &reasoning(&item, &text), out);
            }
        }
    }

    fn end_part(&mut self, part: &Content, item: &str, (index, content): (usize, usize), out: &mut Vec<u8>) {
        let mut done = json!({ "item_id": item, "output_index": index, "content_index": content });
        let kind = match part {
            Content::Text(text) => {
                done["text"] = text.as_str().into();
                done["logprobs"] = json!([]);
                "response.output_text.done"
            }
            Content::Refusal(text) => {
                done["refusal"] = text.as_str().into();
                "response.refusal.done"
            }
        };
        self.event(kind, &done, out);
        let done = json!({ "item_id": item, "output_index": index, "content_index": content, "part": part.json() });
        self.event("response.content_part.done", &done, out);
    }

    /// Begins an item; answers its index.
    fn add(&mut self, item: &Value, out: &mut Vec<u8>) -> usize {
        let index = self.next;
        self.next += 1;
        self.event("response.output_item.added", &json!({ "output_index": index, "item": item }), out);
        index
    }

    fn finish(&mut self, index: usize, item: &Value, out: &mut Vec<u8>) {
        self.event("response.output_item.done", &json!({ "output_index": index, "item": item }), out);
        self.done.insert(index, item.to_string());
    }

    fn event(&mut self, kind: &str, fields: &Value, out: &mut Vec<u8>) {
        self.write(kind, &fields.to_string()[1..], out);
    }

    /// An event that tells of the whole response.
    fn whole(&mut self, kind: &str, body: &str, out: &mut Vec<u8>) {
        self.write(kind, &format!("\"response\":{body}}}"), out);
    }

    fn write(&mut self, kind: &str, rest: &str, out: &mut Vec<u8>) {
        let sequence = self.sequence;
        self.sequence += 1;
        out.extend_from_slice(format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{sequence},{rest}\n\n").as_bytes());
    }
}
