//! Bedrock's binary streams: what they say and cost, whole and cut anywhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tollgate::wire::{BedrockAnswer, BedrockApi, BedrockStream, Class, Finish, ReplyFault, Told};

use super::{counts, folder, lines, prices};

const CONVERSE: BedrockApi = BedrockApi::Converse { input_includes_cache: false };

/// The vectors of this transport, and their bytes as they are on the wire.
fn vectors() -> Vec<(Value, Vec<u8>)> {
    let of_bedrock = lines("vectors.jsonl").into_iter().filter(|vector| vector["transport"] == "aws-eventstream-base64");
    let bytes = |vector: &Value| {
        let text = std::fs::read_to_string(folder().join(vector["file"].as_str().unwrap())).unwrap();
        STANDARD.decode(text.split_whitespace().collect::<String>()).unwrap()
    };
    let all: Vec<_> = of_bedrock.map(|vector| (vector.clone(), bytes(&vector))).collect();
    assert!(!all.is_empty());
    all
}

fn api(vector: &Value) -> BedrockApi {
    if vector["wire"] == "bedrock.converse" { CONVERSE } else { BedrockApi::Invoke }
}

fn run<'b>(api: BedrockApi, reads: impl IntoIterator<Item = &'b [u8]>) -> (Result<Told, ReplyFault>, BedrockAnswer) {
    let mut stream = BedrockStream::of(api);
    let pushed = reads.into_iter().try_for_each(|read| stream.push(read));
    let told = pushed.and_then(|()| stream.end().cloned());
    (told, stream.answer())
}

/// A frame as it is on the wire.
fn frame(headers: &[(&str, &str)], payload: &str) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(u8::try_from(name.len()).unwrap());
        head.extend(name.as_bytes());
        head.push(7);
        head.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        head.extend(value.as_bytes());
    }
    let mut frame = u32::try_from(16 + head.len() + payload.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(u32::try_from(head.len()).unwrap().to_be_bytes());
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame.extend(head);
    frame.extend(payload.as_bytes());
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame
}

fn event(kind: &str, payload: &str) -> Vec<u8> {
    frame(&[(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")], payload)
}

#[test]
fn every_stream_tells_what_it_must_however_it_is_cut() {
    for (vector, bytes) in vectors() {
        let (id, expect) = (&vector["id"], &vector["expect"]);
        let whole = run(api(&vector), [&*bytes]);
        let (told, answer) = (whole.0.clone().unwrap(), &whole.1);
        assert_eq!((told.finish.map(Finish::as_str), told.usage_flagged), (expect["finish"].as_str(), false), "{id}");
        assert_eq!(counts(&told.usage.unwrap(), &expect["usage"]), expect["usage"], "{id}");
        let table = prices(vector["cost"]["price"].as_str().unwrap());
        assert_eq!(Some(&*table.cost(&told.usage.unwrap()).plain()), vector["cost"]["usd"].as_str(), "{id}");
        assert_eq!(
            (answer.text.as_str(), answer.reasoning.as_str()),
            (expect["text"].as_str().unwrap(), expect["reasoning"].as_str().unwrap())
        );
        assert_eq!(Value::from(answer.signatures.clone()), expect["signatures"], "{id}");
        let calls = expect["tool_calls"].as_array().unwrap();
        assert_eq!(answer.calls.len(), calls.len(), "{id}");
        for ((own, name, arguments), wanted) in answer.calls.iter().zip(calls) {
            assert_eq!((Some(own.as_str()), Some(name.as_str())), (wanted["id"].as_str(), wanted["name"].as_str()), "{id}");
            let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            assert_eq!(json(arguments), json(wanted["arguments"].as_str().unwrap()), "{id}");
        }
        for cut in 0..bytes.len() {
            assert_eq!(run(api(&vector), [&bytes[..cut], &bytes[cut..]]), whole, "{id} cut at {cut}");
        }
        assert_eq!(run(api(&vector), bytes.chunks(1)), whole, "{id}");
    }
}

#[test]
fn u20_a_stream_without_its_tail_is_never_complete_too_early() {
    for (vector, bytes) in vectors() {
        let end = bytes.windows(10).position(|window| window == b"stopReason").unwrap();
        for cut in 0..bytes.len() {
            let (told, _) = run(api(&vector), [&bytes[..cut]]);
            assert!(cut > end || told == Err(ReplyFault::Truncated), "{} cut at {cut}: {told:?}", vector["id"]);
        }
    }
}

#[test]
fn a_frame_that_was_changed_is_malformed() {
    for (vector, bytes) in vectors() {
        // The second frame ends where its length says.
        for at in 0..300.min(bytes.len()) {
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 0x10;
            let (told, _) = run(api(&vector), [&*spoilt]);
            assert!(matches!(told, Err(ReplyFault::Malformed(_) | ReplyFault::TooLarge(_))), "{} changed at {at}: {told:?}", vector["id"]);
        }
    }
}

#[test]
fn an_exception_is_an_error_inside_a_200() {
    for (kind, class) in [
        ("throttlingException", Class::RateLimited),
        ("internalServerException", Class::ServerError),
        ("serviceUnavailableException", Class::Overloaded),
        ("validationException", Class::InvalidRequest),
    ] {
        let headers = [(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")];
        let (told, _) = run(CONVERSE, [&*event("messageStart", r#"{"role":"assistant"}"#), &frame(&headers, r#"{"message":"m"}"#)]);
        let Err(ReplyFault::Error(told)) = told else { panic!("{kind}: {told:?}") };
        assert_eq!((told.class, told.message.as_deref()), (class, Some("m")), "{kind}");
    }
}

#[test]
fn an_invoked_model_streams_its_own_events() {
    let events = [
        r#"{"type":"message_start","message":{"id":"m1","model":"claude","usage":{"input_tokens":20,"cache_read_input_tokens":5,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Low water."}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}"#,
        r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":20,"outputTokenCount":7}}"#,
    ];
    let frames = events.map(|text| event("chunk", &format!("{{\"bytes\":\"{}\",\"p\":\"abc\"}}", STANDARD.encode(text))));
    let (told, answer) = run(BedrockApi::Invoke, frames.iter().map(Vec::as_slice));
    let usage = told.unwrap().usage.unwrap();
    assert_eq!((usage.input_total().count(), usage.cache_read.count(), usage.output.count()), (25, 5, 7), "the metrics repeat it");
    assert_eq!(answer.text, "Low water.");
    assert_eq!(run(BedrockApi::Invoke, frames[..5].iter().map(Vec::as_slice)).0, Err(ReplyFault::Truncated));
}

#[test]
fn usage_is_split_as_the_model_tells_it() {
    let told = |api, usage: &str| {
        let stop = event("messageStop", r#"{"stopReason":"end_turn"}"#);
        run(api, [&*stop, &event("metadata", &format!("{{\"usage\":{usage}}}"))]).0.unwrap()
    };
    let usage = r#"{"inputTokens":100,"outputTokens":9,"cacheReadInputTokens":30,"cacheWriteInputTokens":20,"cacheDetails":[{"ttl":"1h","inputTokens":15},{"ttl":"5m","inputTokens":5}]}"#;
    let beside = told(CONVERSE, usage).usage.unwrap();
    assert_eq!((beside.input_total().count(), beside.cache_write_1h.count()), (150, 15));
    let inside = told(BedrockApi::Converse { input_includes_cache: true }, usage).usage.unwrap();
    assert_eq!((inside.input_total().count(), inside.input_uncached.count()), (100, 50));
    for usage in
        [r#"{"inputTokens":-1,"outputTokens":9}"#, r#"{"inputTokens":1.5,"outputTokens":9}"#, r#"{"inputTokens":"1","outputTokens":9}"#]
    {
        let told = told(CONVERSE, usage);
        assert_eq!((told.usage, told.usage_flagged), (None, true), "{usage}");
    }
    assert_eq!(told(CONVERSE, "null").usage, None);
}
