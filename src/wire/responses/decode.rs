//! What a Responses answer says, event by event.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire::canonical::{Event, compact, wrapped};

#[derive(Deserialize)]
struct Streamed<'a> {
    #[serde(rename = "type")]
    kind: String,
    output_index: Option<usize>,
    content_index: Option<usize>,
    summary_index: Option<usize>,
    delta: Option<String>,
    text: Option<String>,
    refusal: Option<String>,
    arguments: Option<String>,
    input: Option<String>,
    #[serde(borrow)]
    item: Option<Item<'a>>,
    #[serde(borrow)]
    response: Option<Whole<'a>>,
}

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(default, borrow)]
    output: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(rename = "type", default)]
    kind: String,
    id: Option<String>,
    call_id: Option<String>,
    name: Option<String>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    input: Option<String>,
    #[serde(default)]
    content: Option<Vec<Part>>,
    #[serde(default)]
    summary: Option<Vec<Part>>,
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
    refusal: Option<String>,
}

/// Reads a stream's events. What it does not know says nothing.
#[derive(Debug, Default)]
pub(in crate::wire) struct Decoder {
    /// Texts that came in deltas: the item, and the part in it.
    told: BTreeSet<(usize, usize)>,
    /// The calls that have begun, and whether their arguments have.
    calls: BTreeMap<usize, bool>,
    has_said: bool,
    has_thought: bool,
}

impl Decoder {
    pub(in crate::wire) fn read(&mut self, text: &str, into: &mut Vec<Event>) {
        let Ok(event) = serde_json::from_str::<Streamed<'_>>(text) else { return };
        let before = into.len();
        self.event(event, into);
        self.has_said |= into.len() > before;
    }

    fn event(&mut self, event: Streamed<'_>, into: &mut Vec<Event>) {
        let slot = event.output_index.unwrap_or_default();
        let part = (slot, event.content_index.or(event.summary_index).unwrap_or_default());
        let delta = event.delta.filter(|text| !text.is_empty());
        match event.kind.as_str() {
            "response.output_text.delta" | "response.refusal.delta" => {
                self.told.insert(part);
                into.extend(delta.map(if event.kind == "response.refusal.delta" { Event::Refusal } else { Event::Text }));
            }
            // Only where a server sends no deltas is anything new in these.
            "response.output_text.done" if self.told.insert(part) => into.extend(filled(event.text).map(Event::Text)),
            "response.refusal.done" if self.told.insert(part) => into.extend(filled(event.refusal).map(Event::Refusal)),
            "response.reasoning_summary_part.added" if event.summary_index.unwrap_or(0) > 0 && self.has_thought => {
                into.push(Event::Reasoning("\n\n".into()));
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.has_thought = true;
                into.extend(delta.map(Event::Reasoning));
            }
            "response.function_call_arguments.delta" => into.extend(delta.and_then(|json| self.argue(slot, json))),
            "response.function_call_arguments.done" => into.extend(self.argue_whole(slot, event.arguments)),
            "response.custom_tool_call_input.done" => into.extend(self.argue_whole(slot, event.input.as_deref().map(wrapped))),
            "response.output_item.added" => {
                self.has_thought = false;
                if let Some(item) = event.item {
                    self.begin(slot, &item, into);
                }
            }
            "response.output_item.done" => {
                let Some(item) = event.item else { return };
                self.begin(slot, &item, into);
                if is_call(&item) {
                    into.extend(self.argue_whole(slot, arguments(&item)));
                    into.push(Event::CallEnd { slot });
                }
            }
            "response.completed" | "response.incomplete" if !self.has_said => {
                event.response.into_iter().for_each(|whole| all(whole, into));
            }
            _ => {}
        }
    }

    /// A call begins where its item does, or where that was left out, at its end.
    fn begin(&mut self, slot: usize, item: &Item<'_>, into: &mut Vec<Event>) {
        if is_call(item) && !self.calls.contains_key(&slot) {
            self.calls.insert(slot, false);
            into.push(call(slot, item));
        }
    }

    fn argue(&mut self, slot: usize, json: String) -> Option<Event> {
        *self.calls.get_mut(&slot)? = true;
        Some(Event::Arguments { slot, json })
    }

    /// All arguments at once, where they did not come in deltas.
    fn argue_whole(&mut self, slot: usize, json: Option<String>) -> Option<Event> {
        let json = filled(json).filter(|_| self.calls.get(&slot) == Some(&false))?;
        self.argue(slot, json)
    }
}

/// A whole answer.
pub(in crate::wire) fn decode_reply(text: &str) -> Vec<Event> {
    let mut events = Vec::new();
    if let Ok(whole) = serde_json::from_str::<Whole<'_>>(text) {
        all(whole, &mut events);
    }
    events
}

fn all(whole: Whole<'_>, into: &mut Vec<Event>) {
    for (slot, item) in whole.output.into_iter().enumerate() {
        if is_call(&item) {
            into.push(call(slot, &item));
            into.extend(filled(arguments(&item)).map(|json| Event::Arguments { slot, json }));
            into.push(Event::CallEnd { slot });
            continue;
        }
        let is_reasoning = item.kind == "reasoning";
        let parts = item.summary.into_iter().flatten().chain(item.content.into_iter().flatten());
        for (index, part) in parts.enumerate() {
            if is_reasoning {
                into.extend((index > 0).then(|| Event::Reasoning("\n\n".into())));
                into.extend(filled(part.text).map(Event::Reasoning));
            } else {
                into.extend(filled(part.text).map(Event::Text));
                into.extend(filled(part.refusal).map(Event::Refusal));
            }
        }
    }
}

fn is_call(item: &Item<'_>) -> bool {
    matches!(item.kind.as_str(), "function_call" | "custom_tool_call")
}

fn call(slot: usize, item: &Item<'_>) -> Event {
    let id = item.call_id.clone().or_else(|| item.id.clone());
    Event::Call { slot, id, name: item.name.clone().unwrap_or_default(), signature: None }
}

/// The arguments of a call as JSON text. Some give them as an object.
fn arguments(item: &Item<'_>) -> Option<String> {
    let raw = item.arguments.map(RawValue::get);
    let json = raw.filter(|raw| *raw != "null").map(|raw| serde_json::from_str(raw).unwrap_or_else(|_| compact(raw)));
    json.or_else(|| item.input.as_deref().map(wrapped))
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}
