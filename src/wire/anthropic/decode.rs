//! What an Anthropic answer says, event by event.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire::canonical::{Event, compact};

#[derive(Deserialize)]
struct Streamed<'a> {
    #[serde(rename = "type")]
    kind: String,
    index: Option<usize>,
    #[serde(borrow)]
    content_block: Option<Block<'a>>,
    delta: Option<Delta>,
}

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    content: Vec<Block<'a>>,
    stop_sequence: Option<String>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
    data: Option<String>,
    id: Option<String>,
    name: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta {
    text: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
    partial_json: Option<String>,
    stop_sequence: Option<String>,
}

/// Reads a stream's events. What it does not know says nothing.
#[derive(Debug, Default)]
pub(in crate::wire) struct Decoder {
    /// The tool call whose block is open.
    call: Option<usize>,
}

impl Decoder {
    pub(in crate::wire) fn read(&mut self, text: &str, into: &mut Vec<Event>) {
        let Ok(event) = serde_json::from_str::<Streamed<'_>>(text) else { return };
        match event.kind.as_str() {
            "content_block_start" => {
                let slot = event.index.unwrap_or_default();
                if let Some(block) = event.content_block {
                    self.call = (block.kind == "tool_use").then_some(slot);
                    begin(block, slot, into);
                }
            }
            "content_block_stop" => into.extend(self.call.take().map(|slot| Event::CallEnd { slot })),
            "content_block_delta" | "message_delta" => {
                let Some(delta) = event.delta else { return };
                into.extend(delta.text.filter(|text| !text.is_empty()).map(Event::Text));
                into.extend(delta.thinking.filter(|text| !text.is_empty()).map(Event::Reasoning));
                into.extend(delta.signature.filter(|text| !text.is_empty()).map(Event::Signature));
                into.extend(delta.stop_sequence.map(Event::Sequence));
                if let (Some(slot), Some(json)) = (self.call, delta.partial_json.filter(|json| !json.is_empty())) {
                    into.push(Event::Arguments { slot, json });
                }
            }
            _ => {}
        }
    }
}

/// A whole answer.
pub(in crate::wire) fn decode_reply(text: &str) -> Vec<Event> {
    let mut events = Vec::new();
    let Ok(whole) = serde_json::from_str::<Whole<'_>>(text) else { return events };
    for (slot, block) in whole.content.into_iter().enumerate() {
        let is_call = block.kind == "tool_use";
        let input = block.input.map(|input| compact(input.get()));
        begin(Block { input: None, ..block }, slot, &mut events);
        if is_call {
            events.extend(input.map(|json| Event::Arguments { slot, json }));
            events.push(Event::CallEnd { slot });
        }
    }
    events.extend(whole.stop_sequence.map(Event::Sequence));
    events
}

fn begin(block: Block<'_>, slot: usize, into: &mut Vec<Event>) {
    match block.kind.as_str() {
        "text" => into.extend(block.text.filter(|text| !text.is_empty()).map(Event::Text)),
        "thinking" => {
            into.extend(block.thinking.filter(|text| !text.is_empty()).map(Event::Reasoning));
            into.extend(block.signature.filter(|text| !text.is_empty()).map(Event::Signature));
        }
        "redacted_thinking" => into.extend(block.data.map(Event::Redacted)),
        "tool_use" => {
            into.push(Event::Call { slot, id: block.id, name: block.name.unwrap_or_default(), signature: None });
            // Some servers give the whole input at once.
            let input = block.input.map(|input| compact(input.get())).filter(|input| input != "{}");
            into.extend(input.map(|json| Event::Arguments { slot, json }));
        }
        _ => {}
    }
}
