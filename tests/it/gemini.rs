//! Gemini's own format at the back: calls, streams, errors and money come through whole.

use serde_json::{Value, json};

use crate::support::*;

const MESSAGES: &str = "/v1/messages";
const CHAT: &str = "/v1/chat/completions";

/// A file with one provider of the format.
fn file(provider: &Provider) -> String {
    format!(
        "version: 1\nproviders:\n  ge: {{ format: gemini, base_url: \"http://{}/v1beta\", api_key: \"own-key-of-the-file\", \
         models: {{ gemini-3-x: {{ usd_per_mtok: {{ input: 2, output: 8, cache_read: 0.5 }} }} }} }}\ndefault: {{ chain: [ge/gemini-3-x] }}\n",
        provider.address
    )
}

fn said(parts: &Value, finish: Option<&str>) -> String {
    json!({ "candidates": [{ "content": { "parts": parts, "role": "model" }, "index": 0, "finishReason": finish }],
        "usageMetadata": { "promptTokenCount": 100, "cachedContentTokenCount": 40, "candidatesTokenCount": 10, "thoughtsTokenCount": 5,
            "totalTokenCount": 115 }, "modelVersion": "gemini-3-x", "responseId": "r1" })
    .to_string()
}

fn stream(events: &[String]) -> Vec<Act> {
    let chunks: String = events.iter().map(|event| chunk(&format!("data: {event}\r\n\r\n"))).collect();
    vec![send(format!("{STREAM_HEAD}{chunks}0\r\n\r\n"))]
}

fn call() -> Value {
    json!([{ "text": "hm", "thought": true }, { "functionCall": { "name": "get_tide", "args": { "port": "Ystad" } }, "thoughtSignature": "U0lH" }])
}

#[tokio::test]
async fn a_chat_client_is_answered_whole() {
    let provider = Provider::always(vec![send(json_answer("200 OK", &said(&call(), Some("STOP"))))]).await;
    let daemon = Daemon::start(&file(&provider)).await;
    let body = json!({ "model": "auto", "max_tokens": 50, "user": "u", "messages": [{ "role": "user", "content": "Tide?" }],
        "tools": [{ "type": "function", "function": { "name": "get_tide", "parameters": { "type": "object" } } }], "tool_choice": "required" });
    let got = daemon.post(CHAT, &[("openai-beta", "x")], &body.to_string()).await;
    let json = got.json();
    let called = &json["choices"][0]["message"]["tool_calls"][0];
    assert_eq!((got.status, json["choices"][0]["finish_reason"].as_str()), (200, Some("tool_calls")));
    assert_eq!(called["function"], json!({ "name": "get_tide", "arguments": "{\"port\":\"Ystad\"}" }));
    assert_eq!(called["extra_content"]["google"]["thought_signature"], "U0lH");
    assert_eq!((json["usage"]["prompt_tokens"].as_u64(), json["usage"]["completion_tokens"].as_u64()), (Some(100), Some(15)));
    // 60 × $2 + 40 × $0.50 + 15 × $8, per million.
    assert_eq!((got.header("x-tollgate-cost-usd"), got.header("x-tollgate-dropped-params")), (Some("0.00026"), Some("user")));
    let seen = provider.wait_for_requests(1).await.remove(0);
    assert!(seen.head.starts_with("POST /v1beta/models/gemini-3-x:generateContent HTTP/1.1"), "{}", seen.head);
    let header = |name| seen.header(name);
    assert_eq!((header("x-goog-api-key"), header("authorization"), header("openai-beta")), (Some("own-key-of-the-file"), None, None));
    assert_eq!(seen.json()["toolConfig"]["functionCallingConfig"]["mode"], "ANY");
    assert_eq!((seen.json()["generationConfig"]["maxOutputTokens"].as_u64(), seen.json().get("model")), (Some(50), None));
}

#[tokio::test]
async fn streams_reach_clients_of_either_format() {
    let events = [said(&json!([{ "text": "Low" }]), None), said(&json!([{ "text": " water." }]), Some("STOP"))];
    let provider = Provider::always(stream(&events)).await;
    let daemon = Daemon::start(&file(&provider)).await;
    let got = daemon.post(CHAT, &[], &chat(true)).await;
    assert_eq!((got.text(), got.is_done(), got.is_whole), ("Low water.".into(), true, true));
    let asked = json!({ "model": "auto", "max_tokens": 9, "stream": true, "messages": [{ "role": "user", "content": "Tide?" }] });
    let got = daemon.post(MESSAGES, &[], &asked.to_string()).await;
    let end = got.events().into_iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!((end["delta"]["stop_reason"].as_str(), end["usage"]["output_tokens"].as_u64()), (Some("end_turn"), Some(15)));
    assert!(got.body.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), "{}", got.body);
    let seen = provider.wait_for_requests(2).await;
    assert!(seen[0].head.starts_with("POST /v1beta/models/gemini-3-x:streamGenerateContent?alt=sse HTTP/1.1"), "{}", seen[0].head);
    let records = daemon.records.wait_for(2).await;
    assert!(records.iter().all(|record| record["cost_nano_usd"] == 260_000), "{records:?}");
}

#[tokio::test]
async fn u19_u20_what_breaks_off_is_never_called_complete() {
    let half = stream(&[said(&json!([{ "text": "Low" }]), None)]);
    let failed = stream(&[
        said(&json!([{ "text": "Low" }]), None),
        json!({ "error": { "code": 503, "message": "m", "status": "UNAVAILABLE" } }).to_string(),
    ]);
    let provider = Provider::start(vec![half, failed]).await;
    let daemon = Daemon::start(&file(&provider)).await;
    for _ in 0..2 {
        let got = daemon.post(CHAT, &[], &chat(true)).await;
        assert_eq!((got.text(), got.is_done(), got.is_whole), ("Low".into(), false, false), "{}", got.body);
        assert!(got.stream_code().starts_with("upstream_"), "{}", got.body);
    }
}

#[tokio::test]
async fn errors_keep_their_meaning() {
    let refused = r#"{"error":{"code":400,"message":"Invalid value at 'contents'","status":"INVALID_ARGUMENT"}}"#;
    let no_key = r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#;
    let provider =
        Provider::start(vec![vec![send(json_answer("400 Bad Request", refused))], vec![send(json_answer("400 Bad Request", no_key))]])
            .await;
    let daemon = Daemon::start(&file(&provider)).await;
    let got = daemon.post(CHAT, &[], &chat(false)).await;
    assert_eq!((got.status, got.json()["error"]["type"].as_str()), (400, Some("invalid_request_error")), "{}", got.body);
    let got = daemon.post(CHAT, &[], &chat(false)).await;
    assert_eq!((got.status, got.code()), (502, "upstream_auth".into()), "{}", got.body);
    assert!(!got.body.contains("API key"), "{}", got.body);
}

#[tokio::test]
async fn a_rule_says_what_becomes_of_what_the_format_lacks() {
    let provider = Provider::always(vec![send(json_answer("200 OK", &said(&json!([{ "text": "Low" }]), Some("STOP"))))]).await;
    let with = |settings: &str, defaults: &str| {
        let text = file(&provider).replacen("chain: [ge/gemini-3-x]", &format!("chain: [ge/gemini-3-x]{settings}"), 1);
        text.replacen("version: 1\n", &format!("version: 1\n{defaults}"), 1)
    };
    let body = |extra: &str| format!("{{\"model\":\"auto\",\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]{extra}}}");
    let defaults = "defaults: { unsupported_params: reject }\n";
    for (settings, defaults, status, dropped) in [
        ("", "", 200, Some("logit_bias")),
        (", unsupported_params: warn", defaults, 200, Some("logit_bias")),
        (", unsupported_params: drop", "", 200, None),
        (", unsupported_params: reject", "", 400, None),
        ("", defaults, 400, None),
    ] {
        let daemon = Daemon::start(&with(settings, defaults)).await;
        let got = daemon.ask(&body(r#","logit_bias":{"1":2}"#)).await;
        assert_eq!((got.status, got.header("x-tollgate-dropped-params")), (status, dropped), "{settings} {defaults} {got:?}");
        if status == 400 {
            assert_eq!((got.code(), got.json()["error"]["param"].as_str()), ("unsupported_parameter".into(), Some("logit_bias")));
        }
        assert_eq!(daemon.ask(&body("")).await.status, 200, "{settings} {defaults}");
    }
}

#[tokio::test]
async fn embeddings_are_asked_for_and_told_in_the_client_s_way() {
    let answer = r#"{"embeddings":[{"values":[0.5,-1.25e0,0.1]},{"values":[1,2,3]}],"usageMetadata":{"promptTokenCount":7}}"#;
    let provider = Provider::always(vec![send(json_answer("200 OK", answer))]).await;
    let daemon = Daemon::start(&file(&provider)).await;
    let ask = async |body: &str| daemon.post("/v1/embeddings", &[], body).await;
    let got = ask(r#"{"model":"auto","input":["caf\u00e9","b"],"dimensions":3,"user":"u"}"#).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(
        got.body,
        "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[0.5,-1.25e0,0.1]},\
         {\"object\":\"embedding\",\"index\":1,\"embedding\":[1,2,3]}],\"model\":\"gemini-3-x\",\"usage\":{\"prompt_tokens\":7,\"total_tokens\":7}}"
    );
    assert_eq!((got.header("x-tollgate-dropped-params"), got.header("x-tollgate-cost-usd")), (Some("user"), Some("0.000014")));
    let got = ask(r#"{"model":"auto","input":"x","encoding_format":"base64"}"#).await;
    // 0.5, -1.25 and 0.1 as little-endian floats.
    assert_eq!(got.json()["data"][0]["embedding"], "AAAAPwAAoL/NzMw9");
    let got = ask(r#"{"model":"auto","input":[[1,2],[3]]}"#).await;
    assert_eq!((got.status, got.code(), got.json()["error"]["param"].as_str()), (400, "unsupported_parameter".into(), Some("input")));
    let seen = provider.wait_for_requests(2).await;
    assert!(seen[0].head.starts_with("POST /v1beta/models/gemini-3-x:batchEmbedContents HTTP/1.1"), "{}", seen[0].head);
    let one = |text: &str| json!({ "model": "models/gemini-3-x", "content": { "parts": [{ "text": text }] }, "outputDimensionality": 3 });
    assert_eq!(seen[0].json(), json!({ "requests": [one("caf\u{e9}"), one("b")] }));
    assert_eq!(seen[1].json()["requests"][0], json!({ "model": "models/gemini-3-x", "content": { "parts": [{ "text": "x" }] } }));
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn embeddings_without_usage_are_estimated_and_errors_are_errors() {
    let plain = send(json_answer("200 OK", r#"{"embeddings":[{"values":[0.5]}]}"#));
    let empty = send(json_answer("200 OK", "{}"));
    let provider = Provider::start(vec![vec![plain], vec![empty]]).await;
    let daemon = Daemon::start(&file(&provider)).await;
    let ask = async || daemon.post("/v1/embeddings", &[], r#"{"model":"auto","input":"some text to embed"}"#).await;
    let got = ask().await;
    assert_eq!((got.status, got.header("x-tollgate-usage-source")), (200, Some("estimated")), "{got:?}");
    assert!(got.json()["usage"]["prompt_tokens"].as_u64() > Some(3), "{got:?}");
    assert_eq!((ask().await.status, ask().await.status), (502, 502));
}
