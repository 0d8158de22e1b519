//! What a Gemini answer says, event by event.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire::canonical::{Event, compact};

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default, borrow)]
    candidates: Vec<Candidate<'a>>,
}

#[derive(Deserialize)]
struct Candidate<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(default, borrow)]
    parts: Vec<Part<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    text: Option<String>,
    #[serde(default)]
    thought: bool,
    #[serde(borrow)]
    function_call: Option<Called<'a>>,
    thought_signature: Option<String>,
}

#[derive(Deserialize)]
struct Called<'a> {
    id: Option<String>,
    name: String,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

/// Reads a stream's events; calls come whole.
#[derive(Debug, Default)]
pub(in crate::wire) struct Decoder {
    calls: usize,
}

impl Decoder {
    pub(in crate::wire) fn read(&mut self, text: &str, into: &mut Vec<Event>) {
        let Ok(answer) = serde_json::from_str::<Answer<'_>>(text) else { return };
        let content = answer.candidates.into_iter().next().and_then(|candidate| candidate.content);
        for part in content.into_iter().flat_map(|content| content.parts) {
            let text = part.text.filter(|text| !text.is_empty());
            into.extend(text.map(if part.thought { Event::Reasoning } else { Event::Text }));
            let Some(call) = part.function_call else { continue };
            let slot = self.calls;
            self.calls += 1;
            into.push(Event::Call { slot, id: call.id, name: call.name, signature: part.thought_signature });
            into.push(Event::Arguments { slot, json: compact(call.args.map_or("{}", RawValue::get)) });
            into.push(Event::CallEnd { slot });
        }
    }
}

/// A whole answer.
pub(in crate::wire) fn decode_reply(text: &str) -> Vec<Event> {
    let mut events = Vec::new();
    Decoder::default().read(text, &mut events);
    events
}
