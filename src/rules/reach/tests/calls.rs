//! What the small world takes for possible is what real bodies can be.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use crate::rules::world::is_possible;
use crate::units::{Effort, Endpoint, Need};
use crate::wire::Call;

fn call(endpoint: Endpoint, body: &Value) -> Option<Call> {
    Call::parse(endpoint, body.to_string().into(), 4).ok()
}

/// The shortest body with these facts.
fn shortest(endpoint: Endpoint, effort: Option<Effort>, needs: &[Need], turns: usize) -> Value {
    let is_responses = endpoint == Endpoint::Responses;
    let mut body = json!({ "model": "auto" });
    let mut messages = vec![json!({}); turns];
    let parts: Vec<Value> = needs
        .iter()
        .filter_map(|need| match need {
            Need::Vision if is_responses => Some(json!({ "type": "input_image" })),
            Need::Files if is_responses => Some(json!({ "type": "input_file" })),
            Need::Vision => Some(json!({ "image_url": 0 })),
            Need::Audio => Some(json!({ "input_audio": 0 })),
            Need::Files => Some(json!({ "file": 0 })),
            Need::Tools | Need::JsonSchema | Need::Reasoning => None,
        })
        .collect();
    if let (false, Some(first)) = (parts.is_empty(), messages.first_mut()) {
        first["content"] = parts.into();
    }
    body[if is_responses { "input" } else { "messages" }] = messages.into();
    if needs.contains(&Need::Tools) {
        body["tools"] = json!([0]);
    }
    if needs.contains(&Need::JsonSchema) {
        body["response_format"] = json!({ "type": "json_schema" });
    }
    if let Some(effort) = effort {
        body["reasoning_effort"] = effort.as_str().into();
    }
    body
}

#[test]
fn a_call_can_be_just_this() {
    let mut possible = 0;
    for endpoint in Endpoint::ALL {
        for effort in std::iter::once(None).chain(Effort::ALL.map(Some)) {
            for set in 0..64_usize {
                for turns in 0..4 {
                    let needs: Vec<Need> =
                        Need::ALL.into_iter().enumerate().filter(|(at, _)| set >> at & 1 == 1).map(|(_, need)| need).collect();
                    let Some(least) = (0..2_000).find(|tokens| is_possible(endpoint, effort, &needs, turns as u64, *tokens)) else {
                        continue;
                    };
                    let call = call(endpoint, &shortest(endpoint, effort, &needs, turns)).unwrap();
                    assert_eq!((call.endpoint(), call.effort(), call.turns()), (endpoint, effort, turns as u64));
                    assert!(
                        Need::ALL.into_iter().all(|need| needs.contains(&need) == call.needs().contains(&need)),
                        "{needs:?} of {call:?}"
                    );
                    // The shortest list of tools is a few tokens of text, which the bound leaves out.
                    let tools = if needs.contains(&Need::Tools) { 3 } else { 0 };
                    assert!((least..=least + tools).contains(&call.prompt_tokens().count()), "{least} of {call:?} with {needs:?}");
                    possible += 1;
                }
            }
        }
    }
    assert_eq!(possible, 3 * (4 * 256 - 8 * 28) + 6 * 32);
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_call_is_more_than_that(
        endpoint in select(Endpoint::ALL.to_vec()),
        fields in subsequence(vec![
            ("tools", json!([{ "type": "function" }])),
            ("tools", json!([])),
            ("functions", json!([1])),
            ("response_format", json!({ "type": "json_schema", "json_schema": {} })),
            ("reasoning_effort", json!("none")),
            ("reasoning_effort", json!("high")),
            ("reasoning_effort", json!("much")),
            ("reasoning", json!({ "effort": "low" })),
            ("prompt", json!(["a", "b"])),
            ("input", json!([[1, 2], [3]])),
            ("stream", json!(true)),
        ], 0..8),
        parts in subsequence(vec![
            json!({ "type": "text", "text": "What is this?" }),
            json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } }),
            json!({ "type": "input_audio", "input_audio": { "data": "AAAA" } }),
            json!({ "type": "file", "file": {} }),
            json!({ "type": "input_image", "image_url": "data:image/png;base64,AAAA" }),
            json!({ "type": "input_file", "file_data": "data:application/pdf;base64,AAAA" }),
            json!("text"),
        ], 0..7),
        turns in 0_usize..5,
    ) {
        let mut body = json!({ "model": "auto" });
        for (field, value) in fields {
            body[field] = value;
        }
        let mut messages = vec![json!({ "role": "user", "content": "hello" }); turns];
        if let Some(last) = messages.last_mut() {
            last["content"] = parts.into();
        }
        if endpoint == Endpoint::Responses && turns > 0 {
            body["input"] = messages.clone().into();
        }
        body["messages"] = messages.into();
        let call = call(endpoint, &body).unwrap();
        prop_assert!(is_possible(endpoint, call.effort(), call.needs(), call.turns(), call.prompt_tokens().count()), "{}", body);
    }
}
