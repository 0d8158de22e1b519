//! An answer tells the same story to every client, whatever the provider speaks.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use tollgate::units::{Endpoint, Tokens, Usage, Wire};
use tollgate::wire::{Retelling, Tap, Translated, read_reply};

use super::{arguments, text};
use crate::wire_vectors::clients::{Heard, hear, whole};

const CLIENTS: [Endpoint; 3] = [Endpoint::Chat, Endpoint::Messages, Endpoint::Responses];
const BACKS: [Wire; 4] = [Wire::Chat, Wire::Messages, Wire::Responses, Wire::Generate];

/// What a model says.
#[derive(Clone, Debug)]
struct Story {
    thought: Option<String>,
    said: Option<String>,
    calls: Vec<Value>,
    finish: &'static str,
    /// Input, of it from a cache, output, of it reasoning.
    usage: [u64; 4],
}

fn story() -> impl Strategy<Value = Story> {
    let told = (proptest::option::of(text()), proptest::option::of(text()), proptest::collection::vec(arguments(), 0..3));
    let ends = select(vec!["stop", "length", "content_filter"]);
    (told, ends, (100_u64..9_999, 0_u64..99, 900_u64..9_999, 0_u64..99)).prop_map(|((thought, said, calls), finish, numbers)| {
        let finish = if calls.is_empty() { finish } else { "tool_calls" };
        Story { thought, said, calls, finish, usage: [numbers.0, numbers.1, numbers.2, numbers.3] }
    })
}

impl Story {
    /// The answer of a provider of chat completions.
    fn chat(&self, is_streamed: bool) -> Bytes {
        let [input, cached, output, reasoning] = self.usage;
        let usage = json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
            "prompt_tokens_details": { "cached_tokens": cached }, "completion_tokens_details": { "reasoning_tokens": reasoning } });
        let call = |(index, arguments): (usize, &Value)| {
            json!({ "index": index, "id": format!("call_{index}"), "type": "function",
                "function": { "name": format!("f{index}"), "arguments": arguments.to_string() } })
        };
        let calls: Vec<Value> = self.calls.iter().enumerate().map(call).collect();
        let head = json!({ "id": "c1", "created": 7, "model": "m" });
        let with = |more: Value| {
            let mut all = head.clone();
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        if !is_streamed {
            let mut message = json!({ "role": "assistant", "content": self.said, "reasoning_content": self.thought });
            if !calls.is_empty() {
                message["tool_calls"] = calls.into();
            }
            let choice = json!({ "index": 0, "message": message, "finish_reason": self.finish });
            return with(json!({ "choices": [choice], "usage": usage })).to_string().into();
        }
        let mut deltas = vec![json!({ "role": "assistant", "content": "" })];
        deltas.extend(halves(self.thought.as_ref()).map(|text| json!({ "reasoning_content": text })));
        deltas.extend(halves(self.said.as_ref()).map(|text| json!({ "content": text })));
        for (index, call) in calls.iter().enumerate() {
            let mut begun = call.clone();
            let whole = call["function"]["arguments"].as_str().unwrap().to_owned();
            begun["function"]["arguments"] = "".into();
            deltas.push(json!({ "tool_calls": [begun] }));
            deltas
                .extend(halves(Some(&whole)).map(|json| json!({ "tool_calls": [{ "index": index, "function": { "arguments": json } }] })));
        }
        let mut events: Vec<Value> =
            deltas.iter().map(|delta| with(json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] }))).collect();
        events.push(with(json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": self.finish }] })));
        events.push(with(json!({ "choices": [], "usage": usage })));
        Bytes::from(written(events) + "data: [DONE]\n\n")
    }

    /// The same of a provider of Gemini's format, whose calls have no ids and come whole.
    fn generate(&self, is_streamed: bool) -> Bytes {
        let [input, cached, output, reasoning] = self.usage;
        let mut parts: Vec<Value> = self.thought.iter().map(|text| json!({ "text": text, "thought": true })).collect();
        parts.extend(self.said.iter().map(|text| json!({ "text": text })));
        let calls = self.calls.iter().enumerate();
        parts.extend(calls.map(|(index, args)| json!({ "functionCall": { "name": format!("f{index}"), "args": args } })));
        let finish = match self.finish {
            "length" => "MAX_TOKENS",
            "content_filter" => "SAFETY",
            _ => "STOP",
        };
        let usage = json!({ "promptTokenCount": input, "cachedContentTokenCount": cached, "candidatesTokenCount": output - reasoning,
            "thoughtsTokenCount": reasoning, "totalTokenCount": input + output });
        let chunk = |parts: &[Value], finish: Value| json!({ "candidates": [{ "content": { "parts": parts, "role": "model" }, "finishReason": finish }], "usageMetadata": usage });
        if !is_streamed {
            return chunk(&parts, finish.into()).to_string().into();
        }
        let events = parts.iter().map(|part| chunk(std::slice::from_ref(part), Value::Null)).chain([chunk(&[], finish.into())]);
        written(events).into()
    }

    fn told_by(&self, wire: Wire, is_streamed: bool) -> Bytes {
        match wire {
            Wire::Chat => self.chat(is_streamed),
            Wire::Generate => self.generate(is_streamed),
            wire => {
                let endpoint = CLIENTS.into_iter().find(|endpoint| endpoint.wire() == wire).unwrap();
                retold(endpoint, Wire::Chat, &self.chat(is_streamed), is_streamed)
            }
        }
    }
}

/// Events as they are written.
fn written(events: impl IntoIterator<Item = Value>) -> String {
    events.into_iter().fold(String::new(), |text, event| text + &format!("data: {event}\n\n"))
}

/// A text in two pieces, as a stream may bring it.
fn halves(text: Option<&String>) -> impl Iterator<Item = String> + use<> {
    let pieces: Vec<String> = text.map_or_else(Vec::new, |text| {
        let letters: Vec<char> = text.chars().collect();
        let (first, second) = letters.split_at(letters.len() / 2);
        [first, second].map(|half| half.iter().collect()).to_vec()
    });
    pieces.into_iter().filter(|piece| !piece.is_empty())
}

/// What a client gets of a provider's answer.
fn retold(client: Endpoint, wire: Wire, body: &Bytes, is_streamed: bool) -> Bytes {
    let retelling = || Retelling::new(client, wire, &Translated::default(), "0192-ab", "m", 7, Tokens::new(9));
    if !is_streamed {
        let told = read_reply(wire, body).unwrap();
        return if client.wire() == wire { body.clone() } else { retelling().whole(body, &told, None) };
    }
    let tap = Tap::new(client, true, None);
    let mut tap = if client.wire() == wire { tap } else { tap.retelling(wire, retelling()) };
    let mut out = Vec::new();
    tap.push(body.clone(), &mut out).unwrap();
    tap.end(&mut out).unwrap();
    out.concat().into()
}

/// The usage that a client reads.
fn usage(client: Endpoint, body: &Bytes, is_streamed: bool) -> Option<Usage> {
    if !is_streamed {
        return read_reply(client.wire(), body).unwrap().usage;
    }
    let mut tap = Tap::new(client, true, None);
    tap.push(body.clone(), &mut Vec::new()).unwrap();
    tap.end(&mut Vec::new()).unwrap();
    tap.told().usage
}

/// Reasoning, text, calls by id and name, and why it ended.
type Understood = (String, String, Vec<(String, String, Value)>, Option<String>);

/// What was understood, without ids where the provider has none.
fn understood(heard: &Heard, has_ids: bool) -> Understood {
    let id = |id: &String| if has_ids { id.clone() } else { String::new() };
    let calls = heard.calls.iter().map(|call| (id(&call.id), call.name.clone(), call.arguments())).collect();
    (heard.reasoning.clone(), heard.text.clone(), calls, heard.finish.clone())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_client_is_told_the_same_story_by_every_provider(story in story()) {
        for (wire, is_streamed) in BACKS.into_iter().flat_map(|wire| [(wire, false), (wire, true)]) {
            let body = story.told_by(wire, is_streamed);
            for client in CLIENTS {
                let sent = retold(client, wire, &body, is_streamed);
                let heard = if is_streamed { hear(client, &sent) } else { whole(client, &sent) };
                let has_ids = wire != Wire::Generate;
                let id = |index| if has_ids { format!("call_{index}") } else { String::new() };
                let calls = story.calls.iter().enumerate().map(|(index, call)| (id(index), format!("f{index}"), call.clone())).collect();
                let wanted = (story.thought.clone().unwrap_or_default(), story.said.clone().unwrap_or_default(), calls, Some(story.finish.to_owned()));
                prop_assert_eq!(understood(&heard, has_ids), wanted, "{} to {} streamed {}\n{:?}\n{:?}", wire, client, is_streamed, body, sent);
                let told = usage(client, &sent, is_streamed).unwrap();
                let [input, cached, output, _] = story.usage;
                prop_assert_eq!([told.input_total().count(), told.cache_read.count(), told.output.count()], [input, cached, output], "{} to {}", wire, client);
            }
        }
    }
}
