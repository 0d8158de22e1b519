use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Sandbox;
use crate::config;
use crate::units::{Clock, ModelName, Wire, parse_share};
use crate::upstream::{Ask, Failure, Outgoing, Reply};
use crate::wire::Class;

fn sandbox(failure: &str) -> Sandbox {
    let behaviour = config::Sandbox {
        latency: Duration::from_millis(20),
        tokens_per_second: NonZeroU32::new(100).unwrap(),
        failure: parse_share(failure).unwrap(),
        seed: 1,
    };
    Sandbox::new(behaviour, Clock::manual())
}

fn outgoing(wire: Wire, body: &Value) -> Outgoing {
    Outgoing {
        on_fresh_connection: false,
        sent: crate::units::Moment::default(),
        ask: Ask::Answer(wire),
        client_headers: Arc::new(HeaderMap::new()),
        is_streaming: body["stream"] == true,
        body: vec![Bytes::from(body.to_string())],
        path: None,
        model: ModelName::parse("echo").unwrap(),
    }
}

async fn ask(wire: Wire, body: Value) -> Result<Reply, Failure> {
    sandbox("0%").answer(&outgoing(wire, &body)).await
}

async fn whole(wire: Wire, body: Value) -> Value {
    let reply = ask(wire, body).await.unwrap();
    assert!(!reply.is_event_stream);
    serde_json::from_slice(&reply.body.read_whole(1 << 20).await.unwrap()).unwrap()
}

/// The events of a stream without `[DONE]`, which has to be the last.
async fn events(wire: Wire, body: Value) -> Vec<Value> {
    let reply = ask(wire, body).await.unwrap();
    assert!(reply.is_event_stream);
    let text = String::from_utf8(reply.body.read_whole(1 << 20).await.unwrap().into()).unwrap();
    let events = text.strip_suffix("data: [DONE]\n\n").unwrap().split_terminator("\n\n");
    events.map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap()).collect()
}

fn hello() -> Value {
    json!({ "model": "echo", "messages": [{ "role": "system", "content": "be short" }, { "role": "user", "content": "hello there" }] })
}

fn with(mut body: Value, changes: &Value) -> Value {
    let changes = changes.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(changes);
    body
}

const SAID: &str = "[tollgate sandbox] No provider was asked. The last message was: hello there";

#[tokio::test(start_paused = true)]
async fn a_chat_is_answered_from_its_last_message() {
    let start = Instant::now();
    let answer = whole(Wire::Chat, hello()).await;
    assert_eq!(answer["choices"][0]["message"], json!({ "role": "assistant", "content": SAID, "refusal": null }));
    let told = ["object", "model", "id"].map(|key| answer[key].as_str().unwrap().to_owned());
    assert_eq!(told, ["chat.completion", "echo", "chatcmpl-sandbox-0"]);
    assert_eq!((&answer["created"], &answer["choices"][0]["finish_reason"]), (&json!(0), &json!("stop")));
    let usage = |key: &str| answer["usage"][key].as_u64().unwrap();
    assert!(usage("prompt_tokens") > 0 && usage("total_tokens") == usage("prompt_tokens") + usage("completion_tokens"));
    // 20 ms, and 12 words at 100 a second.
    assert_eq!(start.elapsed().as_millis(), 140);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_paced_and_says_the_same() {
    let reply = ask(Wire::Chat, with(hello(), &json!({ "stream": true }))).await.unwrap();
    let (start, mut body, mut at) = (Instant::now(), reply.body, Vec::new());
    while body.frame().await.is_some() {
        at.push(start.elapsed().as_millis());
    }
    let expected: Vec<_> = std::iter::once(0).chain((0..12).map(|word| 20 + 10 * word)).chain([130, 130]).collect();
    assert_eq!(at, expected);

    let events = events(Wire::Chat, with(hello(), &json!({ "stream": true }))).await;
    assert_eq!(events[0]["choices"][0]["delta"], json!({ "role": "assistant", "content": "", "refusal": null }));
    let text: String = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, SAID);
    let last = events.last().unwrap();
    assert_eq!((&last["choices"][0]["finish_reason"], &last["choices"][0]["delta"]), (&json!("stop"), &json!({})));
    assert!(events.iter().all(|event| event["object"] == "chat.completion.chunk" && event.get("usage").is_none()));
}

#[tokio::test(start_paused = true)]
async fn usage_comes_last_when_asked_for() {
    let body = with(hello(), &json!({ "stream": true, "stream_options": { "include_usage": true } }));
    let events = events(Wire::Chat, body).await;
    let (last, rest) = events.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"], whole(Wire::Chat, hello()).await["usage"]);
    assert!(rest.iter().all(|event| event["usage"].is_null()));
}

#[tokio::test(start_paused = true)]
async fn an_output_limit_cuts() {
    for field in ["max_tokens", "max_completion_tokens"] {
        for limit in [1, 5, 10] {
            let answer = whole(Wire::Chat, with(hello(), &json!({ field: limit }))).await;
            assert_eq!(answer["choices"][0]["finish_reason"], "length", "{field} {limit}");
            assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() <= limit, "{field} {limit}");
            assert!(answer["choices"][0]["message"]["content"].as_str().unwrap().starts_with("[tollgate"));
        }
        assert_eq!(whole(Wire::Chat, with(hello(), &json!({ field: 1000 }))).await["choices"][0]["finish_reason"], "stop");
    }
}

#[tokio::test(start_paused = true)]
async fn completions_have_their_own_shape() {
    let prompt = json!({ "model": "echo", "prompt": ["x", "hello there"], "n": 2 });
    let answer = whole(Wire::Completions, prompt.clone()).await;
    assert_eq!((&answer["object"], answer["choices"].as_array().unwrap().len()), (&json!("text_completion"), 2));
    assert_eq!(answer["choices"][1], json!({ "index": 1, "text": SAID, "logprobs": null, "finish_reason": "stop" }));

    let events = events(Wire::Completions, with(prompt, &json!({ "stream": true }))).await;
    for index in 0..2 {
        let of_choice = events.iter().map(|event| &event["choices"][0]).filter(|choice| choice["index"] == index);
        assert_eq!(of_choice.map(|choice| choice["text"].as_str().unwrap()).collect::<String>(), SAID);
    }
}

#[tokio::test(start_paused = true)]
async fn embeddings_depend_on_their_input_alone() {
    let ask = |input: Value, format: Value| whole(Wire::Embeddings, json!({ "model": "echo", "input": input, "encoding_format": format }));
    let one = ask(json!("a"), json!("float")).await;
    let vector: Vec<f64> = one["data"][0]["embedding"].as_array().unwrap().iter().map(|part| part.as_f64().unwrap()).collect();
    assert_eq!(vector.len(), 8);
    assert!((vector.iter().map(|part| part * part).sum::<f64>() - 1.0).abs() < 1e-5);
    assert!(one["usage"]["prompt_tokens"].as_u64().unwrap() > 0 && one["object"] == "list");

    let two = ask(json!(["b", "a"]), Value::Null).await;
    assert_eq!((two["data"].as_array().unwrap().len(), &two["data"][1]["index"]), (2, &json!(1)));
    assert_eq!(two["data"][1]["embedding"], one["data"][0]["embedding"]);
    assert_ne!(two["data"][0]["embedding"], one["data"][0]["embedding"]);
    for (tokens, count) in [(json!([1, 2, 3]), 1), (json!([[1], [2]]), 2)] {
        assert_eq!(ask(tokens, Value::Null).await["data"].as_array().unwrap().len(), count);
    }

    let packed = ask(json!("a"), json!("base64")).await;
    assert_eq!(unpack(packed["data"][0]["embedding"].as_str().unwrap()).as_slice(), vector.as_slice());
}

/// Base64 of little-endian floats, as the official clients read it.
fn unpack(text: &str) -> Vec<f64> {
    let alphabet = super::shapes::BASE64;
    let bits = text.trim_end_matches('=').bytes().map(|byte| alphabet.iter().position(|letter| *letter == byte).unwrap());
    let mut bytes = Vec::new();
    let (mut held, mut count) = (0_usize, 0);
    for six in bits {
        (held, count) = (held << 6 | six, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(held >> count & 0xff).unwrap());
        }
    }
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()).into()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_last_message_may_order_a_failure() {
    let order = |text: &str| json!({ "messages": [{ "role": "user", "content": [{ "type": "text", "text": text }] }] });
    for (status, class) in [(503, Class::Overloaded), (429, Class::RateLimited), (401, Class::Auth), (400, Class::InvalidRequest)] {
        let failure = ask(Wire::Chat, order(&format!("fail:{status}"))).await.unwrap_err();
        assert_eq!((failure.status, failure.class, failure.nothing_billed), (Some(status), class, true));
        assert_eq!(failure.body.is_some(), status == 400);
    }
    for text in ["fail:200", "fail:600", "fail:x", "please fail:503", "fail"] {
        assert!(ask(Wire::Chat, order(text)).await.is_ok(), "{text}");
    }
    let start = Instant::now();
    whole(Wire::Chat, order("hang:5s")).await;
    assert!(start.elapsed() >= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_share_of_calls_fails_the_same_way_each_time() {
    let run = || async {
        let (sandbox, mut failed) = (sandbox("25%"), Vec::new());
        for number in 0..400 {
            if let Err(failure) = sandbox.answer(&outgoing(Wire::Chat, &hello())).await {
                assert_eq!(failure.status, Some(503));
                failed.push(number);
            }
        }
        failed
    };
    let failed = run().await;
    assert!((60..140).contains(&failed.len()), "{}", failed.len());
    assert_eq!(failed, run().await);
}

#[tokio::test(start_paused = true)]
async fn structured_output_fits_its_schema() {
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["name", "age", "tags", "mood", "next", "score"],
        "properties": {
            "name": { "type": "string", "minLength": 30 },
            "age": { "type": "integer", "minimum": 18 },
            "score": { "type": "number", "maximum": -1.5 },
            "tags": { "type": "array", "minItems": 2, "items": { "type": "string", "maxLength": 3 } },
            "mood": { "enum": ["good", "bad"] },
            "maybe": { "type": ["string", "null"] },
            "next": { "anyOf": [{ "$ref": "#/$defs/leaf" }, { "type": "null" }] },
        },
        "$defs": { "leaf": { "type": "object", "properties": { "ok": { "type": "boolean" } }, "required": ["ok"] } },
    });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "x", "strict": true, "schema": schema } });
    let answer = whole(Wire::Chat, with(hello(), &json!({ "response_format": format }))).await;
    let value: Value = serde_json::from_str(answer["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
    assert!(jsonschema::is_valid(&schema, &value), "{value}");

    let object = with(hello(), &json!({ "stream": true, "response_format": { "type": "json_object" } }));
    let text: String =
        events(Wire::Chat, object).await.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert!(serde_json::from_str::<Value>(&text).unwrap().is_object());
}

#[tokio::test(start_paused = true)]
async fn odd_requests_get_an_answer_too() {
    for body in [json!({}), json!({ "messages": [] }), json!({ "messages": [{ "role": "assistant", "content": null }] })] {
        assert!(ask(Wire::Chat, body).await.is_ok());
    }
    let deep = json!({ "$ref": "#" });
    let format = json!({ "type": "json_schema", "json_schema": { "schema": deep } });
    assert!(ask(Wire::Chat, with(hello(), &json!({ "response_format": format }))).await.is_ok());
    let mut broken = outgoing(Wire::Chat, &hello());
    broken.body = vec![Bytes::from_static(b"{")];
    assert_eq!(sandbox("0%").answer(&broken).await.unwrap_err().status, Some(400));
}
