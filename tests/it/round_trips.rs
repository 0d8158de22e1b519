//! What is carried to another format and back is what it was.

mod answers;

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use tollgate::units::{Endpoint, Lacks, Quirks, Thinks, Tokens, Wire};
use tollgate::wire::{Call, Edits, Retelling, Tap, Translated, read_reply};

/// Targets that can do whatever their format can say.
fn able(to: Wire) -> Quirks {
    let most_stops = if to == Wire::Messages { usize::MAX } else { 4 };
    Quirks {
        thinks: if to == Wire::Messages { Thinks::Adaptive } else { Thinks::Effort },
        cache_breakpoints: true,
        most_stops,
        ..Quirks::default()
    }
}

fn translated(endpoint: Endpoint, body: &Value, to: Wire) -> (Value, Translated) {
    let call = Call::parse(endpoint, Bytes::from(body.to_string()), 4).unwrap();
    let (quirks, set) = (able(to), BTreeMap::new());
    assert_eq!(call.unmet(to, &quirks).unwrap(), [""; 0], "{body}");
    let edits =
        Edits { model: "m", include_usage: false, output_limit: None, assumed_limit: Tokens::new(100), set: &set, lacks: Lacks::default() };
    let translated = call.translate(to, &edits, &quirks).unwrap();
    (serde_json::from_slice(&translated.body).unwrap(), translated)
}

fn text() -> impl Strategy<Value = String> {
    "[a-z\u{e9}\u{6f6e}\u{1f600}\"\\\\\n ]{0,12}[a-z\u{e9}]"
}

/// A JSON object with whatever tools are given.
fn arguments() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map(
        "[a-z_]{1,4}",
        prop_oneof![any::<i64>().prop_map(Value::from), text().prop_map(Value::from), Just(json!([null, true, 1.5]))],
        0..3,
    )
    .prop_map(|map| map.into_iter().collect())
}

/// One turn of a user's, then one of a model's that may call tools, then their results.
fn exchange(number: usize) -> impl Strategy<Value = Vec<Value>> {
    let user = prop_oneof![
        text().prop_map(Value::from),
        (text(), text()).prop_map(|(one, two)| json!([{ "type": "text", "text": one }, { "type": "image_url", "image_url": { "url": "data:image/png;base64,QUJD" } }, { "type": "text", "text": two }])),
    ];
    (user, proptest::option::of(text()), proptest::collection::vec((arguments(), text()), 0..3)).prop_map(move |(user, said, calls)| {
        let mut messages = vec![json!({ "role": "user", "content": user })];
        let mut answer = json!({ "role": "assistant", "content": said });
        if !calls.is_empty() {
            let call = |(index, (arguments, _)): (usize, &(Value, String))| {
                json!({ "id": format!("call_{number}_{index}"), "type": "function", "function": { "name": "get_tide", "arguments": arguments.to_string() } })
            };
            answer["tool_calls"] = calls.iter().enumerate().map(call).collect();
        } else if said.is_none() {
            answer["content"] = "ok".into();
        }
        messages.push(answer);
        messages.extend(calls.iter().enumerate().map(
            |(index, (_, result))| json!({ "role": "tool", "tool_call_id": format!("call_{number}_{index}"), "content": result }),
        ));
        messages
    })
}

fn conversation() -> impl Strategy<Value = Value> {
    let exchanges = (0..3_usize).prop_flat_map(|count| (0..count).map(exchange).collect::<Vec<_>>());
    (exchanges, proptest::option::of(text()), any::<bool>(), select(vec!["none", "auto", "required"]), proptest::option::of(1_u64..9_999)).prop_map(
        |(exchanges, system, is_streaming, choice, limit)| {
            let mut messages: Vec<Value> = system.map(|text| json!({ "role": "system", "content": text })).into_iter().collect();
            messages.extend(exchanges.into_iter().flatten());
            messages.push(json!({ "role": "user", "content": "And now?" }));
            let mut body = json!({ "model": "m", "messages": messages, "max_tokens": limit.unwrap_or(100), "stop": ["END", "##"],
                "reasoning_effort": "medium", "temperature": 0.5, "top_p": 0.25, "tool_choice": choice, "parallel_tool_calls": false,
                "tools": [{ "type": "function", "function": { "name": "get_tide", "description": "d", "strict": true,
                    "parameters": { "type": "object", "properties": { "b": { "const": 1e2 }, "a": {} } } } }],
                "response_format": { "type": "json_schema", "json_schema": { "name": "output", "strict": true, "schema": { "type": "object" } } } });
            if is_streaming {
                body["stream"] = true.into();
                body["stream_options"] = json!({ "include_usage": true });
            }
            body
        },
    )
}

/// Leaves out what has no meaning: where no tool may be called, whether several may.
fn meant(body: &mut Value) {
    if body["tool_choice"] == "none" {
        body.as_object_mut().unwrap().remove("parallel_tool_calls");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_chat_request_comes_back_from_anthropic_s_format(body in conversation()) {
        let (there, out) = translated(Endpoint::Chat, &body, Wire::Messages);
        prop_assert!(out.dropped.is_empty() && out.adjusted.is_empty(), "{:?} {:?}", out.dropped, out.adjusted);
        let (mut back, out) = translated(Endpoint::Messages, &there, Wire::Chat);
        prop_assert!(out.dropped.is_empty() && out.adjusted.is_empty(), "{:?} {:?}", out.dropped, out.adjusted);
        let mut wanted = body;
        meant(&mut wanted);
        meant(&mut back);
        prop_assert_eq!(back, wanted, "by way of {}", there);
    }

    #[test]
    fn every_request_comes_back_from_the_responses_format(body in conversation()) {
        let mut chat = body;
        // The one thing that this format does not have, and without which a call does not go there.
        chat.as_object_mut().unwrap().remove("stop");
        let (messages, _) = translated(Endpoint::Chat, &chat, Wire::Messages);
        let (responses, _) = translated(Endpoint::Chat, &chat, Wire::Responses);
        let fronts = [(Endpoint::Chat, &chat), (Endpoint::Messages, &messages), (Endpoint::Responses, &responses)];
        for (front, body) in fronts {
            for (through, to) in [(Endpoint::Chat, Wire::Chat), (Endpoint::Messages, Wire::Messages), (Endpoint::Responses, Wire::Responses)] {
                if through == front {
                    continue;
                }
                let (there, out) = translated(front, body, to);
                prop_assert!(out.dropped.is_empty() && out.adjusted.is_empty(), "{:?} {:?}", out.dropped, out.adjusted);
                let (mut back, out) = translated(through, &there, front.wire());
                prop_assert!(out.dropped.is_empty() && out.adjusted.is_empty(), "{:?} {:?}", out.dropped, out.adjusted);
                let mut wanted = body.clone();
                meant(&mut wanted);
                meant(&mut back);
                prop_assert_eq!(back, wanted, "{} by way of {}", front, there);
            }
        }
    }

    #[test]
    fn an_answer_comes_back_from_the_other_format(
        said in proptest::option::of(text()), thought in proptest::option::of(text()),
        calls in proptest::collection::vec(arguments(), 0..3), numbers in (1_u64..9_999, 100_u64..9_999, 0_u64..99),
    ) {
        let (input, output, reasoning) = numbers;
        let mut message = json!({ "role": "assistant", "content": said, "refusal": null });
        if let Some(thought) = thought {
            message["reasoning_content"] = thought.into();
        }
        if !calls.is_empty() {
            let call = |(index, arguments): (usize, &Value)| json!({ "id": format!("c{index}"), "type": "function", "function": { "name": "f", "arguments": arguments.to_string() } });
            message["tool_calls"] = calls.iter().enumerate().map(call).collect();
        }
        let finish = if calls.is_empty() { "length" } else { "tool_calls" };
        let answer = json!({ "id": "a", "object": "chat.completion", "created": 7, "model": "m",
            "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish }],
            "usage": { "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
                "completion_tokens_details": { "reasoning_tokens": reasoning } } });
        let retelling = |client, wire| Retelling::new(client, wire, &Translated::default(), "1", "m", 7, Tokens::ZERO);
        let body = Bytes::from(answer.to_string());
        let there = retelling(Endpoint::Messages, Wire::Chat).whole(&body, &read_reply(Wire::Chat, &body).unwrap(), None);
        let back = retelling(Endpoint::Chat, Wire::Messages).whole(&there, &read_reply(Wire::Messages, &there).unwrap(), None);
        let back: Value = serde_json::from_slice(&back).unwrap();
        prop_assert_eq!(&back["choices"], &answer["choices"]);
        prop_assert_eq!(&back["usage"]["total_tokens"], &answer["usage"]["total_tokens"]);
    }

    #[test]
    fn interleaved_calls_are_told_one_after_the_other(order in proptest::collection::vec(0_usize..3, 0..24)) {
        let event = |delta: &Value| format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] }));
        let mut stream = String::new();
        let mut pieces = [0; 3];
        for index in 0..3 {
            stream += &event(&json!({ "tool_calls": [{ "index": index, "id": format!("c{index}"), "function": { "name": "f", "arguments": "[" } }] }));
        }
        for index in order {
            stream += &event(&json!({ "tool_calls": [{ "index": index, "function": { "arguments": format!("{},", pieces[index]) } }] }));
            pieces[index] += 1;
        }
        for index in 0..3 {
            stream += &event(&json!({ "tool_calls": [{ "index": index, "function": { "arguments": "null]" } }] }));
        }
        stream += "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n";
        let retelling = Retelling::new(Endpoint::Messages, Wire::Chat, &Translated::default(), "1", "m", 7, Tokens::ZERO);
        let mut tap = Tap::new(Endpoint::Messages, false, None).retelling(Wire::Chat, retelling);
        let mut out = Vec::new();
        tap.push(Bytes::from(stream), &mut out).unwrap();
        tap.end(&mut out).unwrap();
        let sent = String::from_utf8(out.concat()).unwrap();
        let events: Vec<Value> = sent.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect();
        let mut open = None;
        let mut told: Vec<String> = Vec::new();
        for event in events {
            let index = event["index"].as_u64();
            match event["type"].as_str().unwrap() {
                "content_block_start" => {
                    prop_assert_eq!(open.replace(index), None);
                    told.push(String::new());
                }
                "content_block_delta" => {
                    prop_assert_eq!(open, Some(index));
                    told.last_mut().unwrap().push_str(event["delta"]["partial_json"].as_str().unwrap());
                }
                "content_block_stop" => prop_assert_eq!(open.take(), Some(index)),
                _ => {}
            }
        }
        let wanted: Vec<String> = pieces.iter().map(|count| (0..*count).fold("[".to_owned(), |text, piece| text + &format!("{piece},")) + "null]").collect();
        prop_assert_eq!(told, wanted);
    }
}
