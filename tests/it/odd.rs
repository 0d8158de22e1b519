//! Calls that break the rules of their own format: told in that format, naming what is wrong, and sent to nobody who would have to guess.

use tollgate::units::{Endpoint, Lacks, Quirks, Tokens, Wire};
use tollgate::wire::{Call, Edits};

use crate::support::*;

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";

/// Two formats of providers, of which a client speaks at most one.
async fn others() -> (Daemon, [Provider; 2]) {
    let message = r#"{"id":"msg_1","type":"message","role":"assistant","model":"c","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}}"#;
    let both = [Provider::always(answers("hi")).await, Provider::always(vec![send(json_answer("200 OK", message))]).await];
    let file = format!(
        "version: 1\nproviders:\n  chat: {{ format: openai, base_url: \"{}\", models: {{ m: {{}} }} }}\n  \
         messages: {{ format: anthropic, base_url: \"http://{}\", models: {{ m: {{}} }} }}\ndefault: {{ chain: [requested] }}\n",
        both[0].url(),
        both[1].address
    );
    (Daemon::start(&file).await, both)
}

#[tokio::test]
async fn what_breaks_its_own_formats_rules_is_told_as_that() {
    const USER: &str = r#""messages":[{"role":"user","content":"x"}]"#;
    let (daemon, providers) = others().await;
    // The field, and what the body has beside the model; `messages` alone stand in for a list with one message that says `x`.
    let rows: &[(&str, &str, &str)] = &[
        (CHAT, "messages", ""),
        (CHAT, "messages", r#""messages":null"#),
        (CHAT, "messages", r#""messages":[]"#),
        (CHAT, "messages", r#""messages":{}"#),
        (CHAT, "messages", r#""messages":[1]"#),
        (CHAT, "messages", r#""messages":[{}]"#),
        (CHAT, "messages", r#""messages":[{"role":"user","role":"system","content":"x"}]"#),
        (CHAT, "messages", r#""messages":[{"role":"user","content":null}]"#),
        (CHAT, "messages", r#""messages":[{"role":"user","content":""}]"#),
        (CHAT, "messages", r#""messages":[{"role":"user","content":[]}]"#),
        (CHAT, "messages[0].content", r#""messages":[{"role":"user","content":5}]"#),
        (CHAT, "messages[0].content", r#""messages":[{"role":"user","content":["a"]}]"#),
        (CHAT, "messages[0].content[0].text", r#""messages":[{"role":"user","content":[{"type":"text","text":null}]}]"#),
        (CHAT, "messages[0].content[0].image_url", r#""messages":[{"role":"user","content":[{"type":"image_url"}]}]"#),
        (CHAT, "messages[1].role", r#""messages":[{"role":"user","content":"x"},{"role":"bogus","content":"x"}]"#),
        (CHAT, "messages[0].tool_call_id", r#""messages":[{"role":"tool","content":"x"}]"#),
        (CHAT, "tools", r#""tools":{},messages"#),
        (CHAT, "tool_choice", r#""tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"bogus",messages"#),
        (CHAT, "stop", r#""stop":5,messages"#),
        (CHAT, "n", r#""n":0,messages"#),
        (CHAT, "n", r#""n":1.0,messages"#),
        (CHAT, "max_tokens", r#""max_tokens":99999999999999999999,messages"#),
        (CHAT, "max_tokens", r#""max_tokens":"5",messages"#),
        (CHAT, "stream", r#""stream":"yes",messages"#),
        (CHAT, "response_format", r#""response_format":"json",messages"#),
        (CHAT, "reasoning_effort", r#""reasoning_effort":7,messages"#),
        (MESSAGES, "messages", r#""max_tokens":5"#),
        (MESSAGES, "messages", r#""max_tokens":5,"messages":[]"#),
        (MESSAGES, "messages", r#""max_tokens":5,"messages":[{"role":"user","content":[{}]}]"#),
        (MESSAGES, "messages[0].content", r#""max_tokens":5,"messages":[{"role":"user"}]"#),
        (MESSAGES, "messages[0].content", r#""max_tokens":5,"messages":[{"role":"user","content":null}]"#),
        (MESSAGES, "messages[0].content[0].text", r#""max_tokens":5,"messages":[{"role":"user","content":[{"type":"text"}]}]"#),
        (
            MESSAGES,
            "messages[0].content[0].tool_use_id",
            r#""max_tokens":5,"messages":[{"role":"user","content":[{"type":"tool_result"}]}]"#,
        ),
        (MESSAGES, "messages[0].role", r#""max_tokens":5,"messages":[{"role":"bogus","content":"x"}]"#),
        (MESSAGES, "max_tokens", r#""max_tokens":0,messages"#),
        (MESSAGES, "system", r#""max_tokens":5,"system":5,messages"#),
        (MESSAGES, "tool_choice", r#""max_tokens":5,"tools":[{"name":"f"}],"tool_choice":{"type":"bogus"},messages"#),
        (MESSAGES, "thinking", r#""max_tokens":5,"thinking":"yes",messages"#),
        (MESSAGES, "thinking", r#""max_tokens":5,"thinking":{"type":"enabled"},messages"#),
        (MESSAGES, "stop_sequences", r#""max_tokens":5,"stop_sequences":"x",messages"#),
        (RESPONSES, "input", ""),
        (RESPONSES, "input", r#""input":null"#),
        (RESPONSES, "input", r#""input":"""#),
        (RESPONSES, "input", r#""input":[]"#),
        (RESPONSES, "input", r#""input":5"#),
        (RESPONSES, "input", r#""input":["x"]"#),
        (RESPONSES, "input[0].role", r#""input":[{}]"#),
        (RESPONSES, "input[0].role", r#""input":[{"role":"bogus","content":"x"}]"#),
        (RESPONSES, "input[0].content[0].text", r#""input":[{"role":"user","content":[{"type":"input_text"}]}]"#),
        (RESPONSES, "input[0].name", r#""input":[{"type":"function_call"}]"#),
        (RESPONSES, "input[0].call_id", r#""input":[{"type":"function_call_output","output":"x"}]"#),
        (RESPONSES, "instructions", r#""input":"x","instructions":5"#),
        (RESPONSES, "text", r#""input":"x","text":{"verbosity":5}"#),
        (RESPONSES, "tool_choice", r#""input":"x","tools":[{"type":"function","name":"f"}],"tool_choice":"bogus""#),
        (RESPONSES, "max_output_tokens", r#""input":"x","max_output_tokens":0"#),
    ];
    for (path, param, fields) in rows {
        let model = if *path == MESSAGES { "chat/m" } else { "messages/m" };
        let comma = if fields.is_empty() { "" } else { "," };
        let fields = fields.strip_suffix(",messages").map_or_else(|| (*fields).to_owned(), |fields| format!("{fields},{USER}"));
        let got = daemon.post(path, &[], &format!(r#"{{"model":"{model}"{comma}{fields}}}"#)).await;
        let (json, error) = (got.json(), &got.json()["error"]);
        assert_eq!((got.status, error["type"].as_str()), (400, Some("invalid_request_error")), "{path} {fields} {got:?}");
        assert_eq!((got.header("content-type"), got.header("x-should-retry")), (Some("application/json"), Some("false")), "{got:?}");
        assert!(error["message"].as_str().unwrap().contains(&format!("`{param}`")), "{path} {fields} {got:?}");
        if *path == MESSAGES {
            assert_eq!((json["type"].as_str(), json["request_id"].is_string()), (Some("error"), true), "{got:?}");
        } else {
            assert_eq!((error["code"].as_str(), error["param"].as_str()), (Some("invalid_parameter"), Some(*param)), "{fields} {got:?}");
        }
    }
    assert_eq!(providers.iter().map(Provider::count).sum::<usize>(), 0);
}

#[tokio::test]
async fn what_reads_two_ways_or_is_no_text_is_refused_at_every_front() {
    let (daemon, providers) = others().await;
    for path in [CHAT, MESSAGES, RESPONSES, "/v1/completions", "/v1/embeddings"] {
        for (body, code) in [
            ("", "invalid_json"),
            ("[]", "invalid_json"),
            ("{", "invalid_json"),
            (r#"{"model":"m","x":01}"#, "invalid_json"),
            (r#"{"model":"m","x":"\ud83d"}"#, "invalid_json"),
            (r#"{"model":"m","x":1,"\u0078":2}"#, "duplicate_key"),
            (r#"{"model":5}"#, "invalid_parameter"),
            (r#"{"model":""}"#, "invalid_parameter"),
        ] {
            let got = daemon.post(path, &[], body).await;
            let error = &got.json()["error"];
            assert_eq!((got.status, error["type"].as_str()), (400, Some("invalid_request_error")), "{path} {body} {got:?}");
            assert_eq!(error["code"].as_str(), (path != MESSAGES).then_some(code), "{path} {body} {got:?}");
        }
    }
    assert_eq!(providers.iter().map(Provider::count).sum::<usize>(), 0);
}

#[tokio::test]
async fn what_means_nothing_to_the_target_is_named_and_what_means_nothing_at_all_is_not() {
    let (daemon, [chat, messages]) = others().await;
    for (path, fields, dropped) in [
        (CHAT, r#""reasoning_effort":"enormous""#, Some("reasoning_effort")),
        (CHAT, r#""store":false,"metadata":{},"tools":[],"tool_choice":"auto","stop":[],"temperature":null"#, None),
        (CHAT, r#""store":true,"metadata":{"a":"b"}"#, Some("metadata, store")),
        (MESSAGES, r#""max_tokens":5,"output_config":{"effort":"enormous"}"#, Some("output_config.effort")),
        (MESSAGES, r#""max_tokens":5,"system":null,"tools":[],"stop_sequences":null"#, None),
    ] {
        let model = if path == MESSAGES { "chat/m" } else { "messages/m" };
        let body =
            format!(r#"{{"model":"{model}",{fields},"messages":[{{"role":"user","content":"\u202e\ufeff\u0301 \u0000 \ud83d\ude00"}}]}}"#);
        let got = daemon.post(path, &[], &body).await;
        assert_eq!((got.status, got.header("x-tollgate-dropped-params")), (200, dropped), "{fields} {got:?}");
        let seen = if path == MESSAGES { &chat } else { &messages }.seen().pop().unwrap();
        assert!(seen.body.contains("\u{202e}\u{feff}\u{301} \\u0000 \u{1f600}"), "{}", seen.body);
    }
}

#[test]
fn a_stop_sequence_that_stops_nothing_is_left_out() {
    let none = std::collections::BTreeMap::new();
    let edits =
        Edits { model: "m", include_usage: false, output_limit: None, assumed_limit: Tokens::new(1), set: &none, lacks: Lacks::default() };
    for (to, pointer, stop, left) in [
        (Wire::Generate, "/generationConfig/stopSequences", r#"["","\n"]"#, Some(r#"["\n"]"#)),
        (Wire::Generate, "/generationConfig/stopSequences", r#"[""]"#, None),
        (Wire::Messages, "/stop_sequences", r#"["","\n","END"]"#, Some(r#"["END"]"#)),
        (Wire::Messages, "/stop_sequences", r#""\n""#, None),
    ] {
        let body = format!(r#"{{"model":"m","stop":{stop},"messages":[{{"role":"user","content":"x"}}]}}"#);
        let call = Call::parse(Endpoint::Chat, body.into(), 1).unwrap();
        let translated = call.translate(to, &edits, &Quirks::default()).unwrap();
        let sent: serde_json::Value = serde_json::from_slice(&translated.body).unwrap();
        assert_eq!(sent.pointer(pointer).map(ToString::to_string).as_deref(), left, "{stop} {sent}");
        assert_eq!(translated.adjusted, ["stop"], "{stop}");
    }
}
