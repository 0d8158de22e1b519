//! Anthropic's format at the front, at the back, and both: calls, streams, errors and money come through whole.

use serde_json::{Value, json};

use crate::support::*;

const PATH: &str = "/v1/messages";
const CHAT: &str = "/v1/chat/completions";
const PRICES: &str = "usd_per_mtok: { input: 3, output: 15, cache_read: 0.3, cache_write: 3.75 }";

/// A file with a provider of each format, and a chain.
fn file(openai: &Provider, anthropic: &Provider, chain: &str) -> String {
    format!(
        "version: 1\nproviders:\n  oa: {{ format: openai, base_url: \"{}\", models: {{ m: {{ {PRICES} }} }} }}\n  \
         an: {{ format: anthropic, base_url: \"http://{}\", api_key: \"sk-ant-own-key\", models: {{ c: {{ {PRICES} }} }} }}\ndefault: {{ chain: [{chain}] }}\n",
        openai.url(),
        anthropic.address
    )
}

/// One event as it is written.
fn told(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
}

/// The acts of a stream of these events.
fn events(events: &[Value]) -> Vec<Act> {
    let chunks: String = events.iter().map(|event| chunk(&told(event))).collect();
    vec![send(format!("{STREAM_HEAD}{chunks}0\r\n\r\n"))]
}

fn began() -> Value {
    json!({ "type": "message_start", "message": { "id": "msg_1", "type": "message", "role": "assistant", "model": "c", "content": [],
        "stop_reason": null, "stop_sequence": null,
        "usage": { "input_tokens": 14, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 2048, "output_tokens": 1 } } })
}

fn said(text: &str) -> [Value; 2] {
    [
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } }),
    ]
}

fn ended() -> [Value; 3] {
    [
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn", "stop_sequence": null }, "usage": { "output_tokens": 12 } }),
        json!({ "type": "message_stop" }),
    ]
}

fn spoken(text: &str) -> Vec<Act> {
    events(&[vec![began()], said(text).to_vec(), ended().to_vec()].concat())
}

fn answered() -> Vec<Act> {
    let body = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "tool_use", "stop_sequence": null,
        "content": [{ "type": "thinking", "thinking": "hm", "signature": "U0lH" }, { "type": "text", "text": "One moment." },
            { "type": "tool_use", "id": "toolu_1", "name": "get_tide", "input": { "port": "Ystad" } }],
        "usage": { "input_tokens": 10, "output_tokens": 20 } });
    vec![send(json_answer("200 OK", &body.to_string()))]
}

fn asked(stream: bool) -> String {
    json!({ "model": "auto", "max_tokens": 100, "stream": stream, "system": "Be brief.", "top_k": 5,
        "messages": [{ "role": "user", "content": "Say hello." }] })
    .to_string()
}

async fn idle() -> Provider {
    Provider::always(vec![Act::Close]).await
}

#[tokio::test]
async fn a_call_of_the_target_s_own_format_is_passed_on_byte_for_byte() {
    let body = "{ \"model\":\"auto\",\n\"max_tokens\":100, \"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"new_block\",\"n\":12345678901234567890}]}],\
        \"system\":[{\"type\":\"text\",\"text\":\"caf\\u00e9\",\"cache_control\":{\"type\":\"ephemeral\"}}], \"x\":1.0 }";
    let answer = "{ \"type\":\"message\",\"id\":\"msg_1\",\"model\":\"c\",\"content\":[{\"type\":\"text\",\"text\":\"hi\",\"x\":1.0}],\"stop_reason\":\"end_turn\",\
        \"usage\":{\"input_tokens\":14,\"output_tokens\":12,\"new\":12345678901234567890}}\n";
    let (openai, anthropic) = (idle().await, Provider::always(vec![send(json_answer("200 OK", answer))]).await);
    let daemon = Daemon::start(&file(&openai, &anthropic, "an/c")).await;
    let headers =
        [("anthropic-beta", "new-2027"), ("anthropic-version", "2029-01-01"), ("x-api-key", "the-client-s"), ("openai-beta", "x")];
    let got = daemon.post("/v1/messages?beta=true", &headers, body).await;
    assert_eq!((got.status, got.body.as_str()), (200, answer));
    // 14 × $3 + 12 × $15, per million.
    assert_eq!((got.header("x-tollgate-cost-usd"), got.target()), (Some("0.000222"), "an/c"));
    let seen = anthropic.wait_for_requests(1).await.remove(0);
    assert_eq!(seen.body, body.replacen("\"auto\"", "\"c\"", 1));
    assert!(seen.head.starts_with("POST /v1/messages HTTP/1.1"), "{}", seen.head);
    let header = |name| seen.header(name);
    assert_eq!((header("anthropic-beta"), header("anthropic-version")), (Some("new-2027"), Some("2029-01-01")));
    assert_eq!((header("x-api-key"), header("authorization"), header("openai-beta")), (Some("sk-ant-own-key"), None, None));
}

#[tokio::test]
async fn a_stream_of_the_target_s_own_format_is_passed_on_event_by_event() {
    let unknown = json!({ "type": "something_new", "value": 12_345_678_901_234_567_890_u64 });
    let all = [vec![began(), json!({ "type": "ping" })], said("caf\u{e9}").to_vec(), vec![unknown], ended().to_vec()].concat();
    let (openai, anthropic) = (idle().await, Provider::always(events(&all)).await);
    let daemon = Daemon::start(&file(&openai, &anthropic, "an/c")).await;
    let got = daemon.post(PATH, &[], &asked(true)).await;
    let wanted = all.iter().fold(String::new(), |text, event| text + &told(event));
    assert_eq!((got.status, got.body, got.is_whole), (200, wanted, true));
    let record = daemon.records.wait_for(1).await.remove(0);
    // 14 × $3 + 2048 × $0.30 + 12 × $15, per million.
    assert_eq!(record["cost_nano_usd"], 836_400, "{record}");
}

#[tokio::test]
async fn a_chat_client_is_answered_by_an_anthropic_provider() {
    let (openai, anthropic) = (idle().await, Provider::start(vec![answered(), spoken("Hello.")]).await);
    let daemon = Daemon::start(&file(&openai, &anthropic, "an/c")).await;
    let body = json!({ "model": "auto", "seed": 7, "temperature": 1.5, "messages": [{ "role": "system", "content": "Be brief." },
        { "role": "user", "content": "Tide?" }], "tools": [{ "type": "function", "function": { "name": "get_tide" } }] });
    let got = daemon.post(CHAT, &[], &body.to_string()).await;
    let json = got.json();
    let message = &json["choices"][0]["message"];
    assert_eq!((got.status, message["content"].as_str(), message["reasoning_content"].as_str()), (200, Some("One moment."), Some("hm")));
    assert_eq!(message["tool_calls"][0]["function"], json!({ "name": "get_tide", "arguments": "{\"port\":\"Ystad\"}" }));
    assert_eq!((json["choices"][0]["finish_reason"].as_str(), json["usage"]["total_tokens"].as_u64()), (Some("tool_calls"), Some(30)));
    assert_eq!((got.header("x-tollgate-dropped-params"), got.header("x-tollgate-adjusted-params")), (Some("seed"), Some("temperature")));
    assert_eq!(got.header("x-tollgate-cost-usd"), Some("0.00033"));
    let seen = anthropic.wait_for_requests(1).await.remove(0).json();
    assert_eq!(seen["system"], json!([{ "type": "text", "text": "Be brief." }]));
    assert_eq!((seen["max_tokens"].as_u64(), &seen["temperature"], &seen["seed"]), (Some(16_000), &json!(1), &Value::Null));
    let streamed = json!({ "model": "auto", "stream": true, "stream_options": { "include_usage": true },
        "messages": [{ "role": "user", "content": "Hello?" }] });
    let got = daemon.post(CHAT, &[], &streamed.to_string()).await;
    assert_eq!((got.text(), got.is_done(), got.is_whole), ("Hello.".into(), true, true));
    let usage = got.events().pop().unwrap()["usage"].clone();
    assert_eq!((usage["prompt_tokens"].as_u64(), usage["prompt_tokens_details"]["cached_tokens"].as_u64()), (Some(2062), Some(2048)));
    assert!(got.body.contains("\"usage\":{\"cost\":0.0008364,"), "{}", got.body);
}

#[tokio::test]
async fn an_anthropic_client_is_answered_by_an_openai_provider() {
    let (openai, anthropic) = (Provider::start(vec![answers("Hi."), streams("Hel", "lo")]).await, idle().await);
    let daemon = Daemon::start(&file(&openai, &anthropic, "oa/m")).await;
    let got = daemon.post(PATH, &[("anthropic-version", "2023-06-01")], &asked(false)).await;
    let json = got.json();
    assert_eq!((got.status, json["type"].as_str(), json["role"].as_str()), (200, Some("message"), Some("assistant")));
    assert_eq!((&json["content"], json["stop_reason"].as_str()), (&json!([{ "type": "text", "text": "Hi." }]), Some("end_turn")));
    assert_eq!((json["usage"]["input_tokens"].as_u64(), json["usage"]["output_tokens"].as_u64()), (Some(9), Some(3)));
    assert_eq!((got.header("x-tollgate-dropped-params"), got.header("x-tollgate-cost-usd")), (Some("top_k"), Some("0.000072")));
    let seen = openai.wait_for_requests(1).await.remove(0);
    let body = seen.json();
    assert_eq!(body["messages"][0], json!({ "role": "system", "content": "Be brief." }));
    assert_eq!((body["max_tokens"].as_u64(), body["model"].as_str(), seen.header("anthropic-version")), (Some(100), Some("m"), None));
    let got = daemon.post(PATH, &[], &asked(true)).await;
    let kinds: Vec<String> = got.events().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    let wanted = [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!((kinds, got.is_done(), got.is_whole), (wanted.map(String::from).to_vec(), false, true));
    assert_eq!(got.events()[5]["usage"]["output_tokens"], 2);
    assert_eq!(openai.wait_for_requests(2).await[1].json()["stream_options"]["include_usage"], true);
}

#[tokio::test]
async fn a_chain_may_mix_formats() {
    let refusal = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let (openai, anthropic) = (Provider::always(answers("Hi.")).await, Provider::always(vec![send(json_answer("529 X", refusal))]).await);
    let daemon = Daemon::start(&file(&openai, &anthropic, "an/c, oa/m")).await;
    for (path, body) in [(PATH, asked(false)), (CHAT, chat(false))] {
        let got = daemon.post(path, &[], &body).await;
        assert_eq!((got.status, got.target(), got.header("x-tollgate-fallback-index")), (200, "oa/m", Some("1")), "{path} {}", got.body);
    }
}

#[tokio::test]
async fn what_a_target_must_but_cannot_do_leaves_it_out() {
    let (openai, anthropic) = (Provider::always(answers("Hi.")).await, Provider::always(answered()).await);
    let two = json!({ "model": "auto", "n": 2, "logprobs": true, "messages": [] }).to_string();
    let daemon = Daemon::start(&file(&openai, &anthropic, "an/c, oa/m")).await;
    assert_eq!(daemon.post(CHAT, &[], &two).await.target(), "oa/m");
    let daemon = Daemon::start(&file(&openai, &anthropic, "an/c")).await;
    let got = daemon.post(CHAT, &[], &two).await;
    let error = &got.json()["error"];
    assert_eq!((got.status, error["code"].as_str(), error["param"].as_str()), (400, Some("unsupported_parameter"), Some("logprobs")));
    let got = daemon.post("/v1/embeddings", &[], r#"{"model":"auto","input":"x"}"#).await;
    assert_eq!((got.status, got.code()), (400, "unsupported_parameter".into()), "{}", got.body);
    assert_eq!(anthropic.count(), 0);
}

#[tokio::test]
async fn refusals_have_the_client_s_shape() {
    let (openai, anthropic) = (idle().await, idle().await);
    let daemon = Daemon::start(&file(&openai, &anthropic, "an/c")).await;
    for (path, body, status, kind) in [
        (PATH, "{", 400, "invalid_request_error"),
        ("/v1/messages/batches", "{}", 404, "not_found_error"),
        (PATH, r#"{"model":"auto","max_tokens":0,"messages":[]}"#, 400, "invalid_request_error"),
    ] {
        let got = daemon.post(path, &[], body).await;
        let json = got.json();
        assert_eq!(
            (got.status, json["type"].as_str(), json["error"]["type"].as_str()),
            (status, Some("error"), Some(kind)),
            "{path} {body}"
        );
        assert_eq!((json["request_id"].as_str(), got.header("x-should-retry")), (got.header("request-id"), Some("false")), "{path} {body}");
    }
}

#[tokio::test]
async fn a_provider_s_error_is_told_in_the_client_s_shape() {
    let own = r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages: at least one"},"request_id":"req_9"}"#;
    let theirs = r#"{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#;
    let limited = r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#;
    let anthropic = Provider::start(vec![
        vec![send(json_answer("400 Bad Request", own))],
        vec![send(json_answer("400 Bad Request", own))],
        vec![send(json_answer("429 Too Many Requests\r\nretry-after: 7", limited))],
    ])
    .await;
    let openai = Provider::always(vec![send(json_answer("400 Bad Request", theirs))]).await;
    let daemon = Daemon::start(&file(&openai, &anthropic, "an/c")).await;
    let got = daemon.post(PATH, &[], &asked(false)).await;
    assert_eq!((got.status, got.body.as_str()), (400, own), "the format's own error goes back as it is");
    let got = daemon.post(CHAT, &[], &chat(false)).await;
    let error = got.json()["error"].clone();
    assert_eq!((got.status, error["type"].as_str()), (400, Some("invalid_request_error")));
    assert!(error["message"].as_str().unwrap().ends_with("messages: at least one") && error.get("code").is_some(), "{error}");
    let got = daemon.post(PATH, &[], &asked(false)).await;
    let json = got.json();
    assert_eq!((got.status, json["error"]["type"].as_str()), (429, Some("rate_limit_error")));
    assert_eq!((got.header("retry-after"), got.header("x-should-retry")), (Some("7"), Some("true")));
    let daemon = Daemon::start(&file(&openai, &anthropic, "oa/m")).await;
    let got = daemon.post(PATH, &[], &asked(false)).await;
    assert_eq!(got.json()["error"]["message"], "prompt is too long: 9000 tokens > 8192 maximum");
}

#[tokio::test]
async fn u18_u19_an_error_in_a_stream_is_told_in_the_client_s_shape() {
    let error = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" } });
    let early = events(&[began(), error.clone()]);
    let late = events(&[vec![began()], said("Once").to_vec(), vec![error]].concat());
    let (openai, anthropic) = (Provider::always(streams("Hi", ".")).await, Provider::start(vec![early, late.clone(), late]).await);
    let daemon = Daemon::start(&file(&openai, &anthropic, "an/c, oa/m")).await;
    let got = daemon.post(PATH, &[], &asked(true)).await;
    assert_eq!((got.target(), got.is_whole), ("oa/m", true), "before content the next target serves");
    let got = daemon.post(PATH, &[], &asked(true)).await;
    let last = got.events().pop().unwrap();
    assert_eq!((last["type"].as_str(), last["error"]["type"].as_str(), got.is_whole), (Some("error"), Some("api_error"), false));
    assert!(got.body.contains("\"text\":\"Once\"") && !got.body.contains("message_stop"), "{}", got.body);
    let got = daemon.post(CHAT, &[], &chat(true)).await;
    assert_eq!((got.text(), got.is_done(), got.is_whole), ("Once".into(), false, false), "{}", got.body);
    assert!(got.events().pop().unwrap()["error"]["code"].is_string(), "{}", got.body);
}

#[tokio::test]
async fn u20_a_cut_stream_is_never_called_complete() {
    let cut = events(&[vec![began()], said("Once").to_vec(), ended()[..2].to_vec()].concat());
    let (openai, anthropic) = (idle().await, Provider::always(cut).await);
    let daemon = Daemon::start(&file(&openai, &anthropic, "an/c")).await;
    for (path, body) in [(PATH, asked(true)), (CHAT, chat(true))] {
        let got = daemon.post(path, &[], &body).await;
        assert!(!got.is_whole && !got.is_done() && !got.body.contains("message_stop"), "{path}: {}", got.body);
    }
}

#[tokio::test]
async fn tokens_are_counted_by_whoever_can() {
    let counted = r#"{"input_tokens":2095}"#;
    let (openai, anthropic) = (idle().await, Provider::always(vec![send(json_answer("200 OK", counted))]).await);
    let body = r#"{"model":"auto","messages":[{"role":"user","content":"Hi"}]}"#;
    let daemon = Daemon::start(&file(&openai, &anthropic, "oa/m, an/c")).await;
    let got = daemon.post("/v1/messages/count_tokens", &[], body).await;
    assert_eq!((got.status, got.body.as_str(), got.target()), (200, counted, "an/c"));
    let seen = anthropic.wait_for_requests(1).await.remove(0);
    assert!(seen.head.starts_with("POST /v1/messages/count_tokens HTTP/1.1"), "{}", seen.head);
    assert_eq!(seen.body, body.replacen("\"auto\"", "\"c\"", 1));
    let daemon = Daemon::start(&file(&openai, &anthropic, "oa/m")).await;
    let got = daemon.post("/v1/messages/count_tokens", &[], body).await;
    assert_eq!((got.status, got.json()["error"]["type"].as_str()), (404, Some("not_found_error")));
    assert_eq!(openai.count(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_is_charged_for_what_was_written() {
    let begun = [vec![began()], said("Once").to_vec()].concat();
    let mut acts = events(&begun);
    let Some(Act::Send(bytes)) = acts.pop() else { panic!("no stream") };
    let open = String::from_utf8(bytes).unwrap().trim_end_matches("0\r\n\r\n").to_owned();
    let (openai, anthropic) = (idle().await, Provider::always(vec![send(open), Act::Hang]).await);
    let daemon = Daemon::start(&file(&openai, &anthropic, "an/c")).await;
    let mut call = OpenCall::send(daemon.app.listen(), &post(CHAT, &[], &chat(true))).await;
    call.until("Once").await;
    drop(call);
    anthropic.wait_for_closed(1).await;
    let record = daemon.records.wait_for(1).await.remove(0);
    assert_eq!((record["outcome"].as_str(), record["usage_source"].as_str()), (Some("hung_up"), Some("estimated")), "{record}");
    assert!(record["cost_nano_usd"].as_u64().unwrap() > 656_400, "{record}");
}

/// A provider whose answers take calls of several models, and its file: `dear` costs ten times what `c` does.
async fn of_several_calls(streamed: bool) -> (Provider, String) {
    let iterations = json!([
        { "type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500 },
        { "type": "message", "input_tokens": 14, "output_tokens": 12, "cache_read_input_tokens": 2_048 },
        { "type": "advisor_message", "model": "dear", "input_tokens": 100, "output_tokens": 10 },
    ]);
    let usage = json!({ "input_tokens": 14, "output_tokens": 12, "cache_read_input_tokens": 2_048, "iterations": iterations });
    let body = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn", "stop_sequence": null,
        "content": [{ "type": "text", "text": "hi" }], "usage": usage });
    let mut end = ended();
    end[1]["usage"] = usage;
    let acts = if streamed {
        events(&[vec![began()], said("hi").to_vec(), end.to_vec()].concat())
    } else {
        vec![send(json_answer("200 OK", &body.to_string()))]
    };
    let anthropic = Provider::always(acts).await;
    let dear = "dear: { usd_per_mtok: { input: 30, output: 150 } }";
    let text = file(&idle().await, &anthropic, "an/c").replacen("} } }\ndefault", &format!("}}, {dear} }} }}\ndefault"), 1);
    (anthropic, text.replace("} } },", "} },"))
}

#[tokio::test]
async fn each_call_of_a_model_that_an_answer_took_is_priced_as_its_own() {
    // (180,014 × $3 + 2,048 × $0.30 + 3,512 × $15 + 100 × $30 + 10 × $150) per million.
    const NANO_USD: u64 = 597_836_400;
    for streamed in [false, true] {
        let (_provider, file) = of_several_calls(streamed).await;
        let daemon = Daemon::start(&file).await;
        let got = daemon.post(PATH, &[], &asked(streamed)).await;
        assert_eq!(got.status, 200, "{got:?}");
        let record = daemon.records.wait_for(1).await.remove(0);
        assert_eq!(record["cost_nano_usd"], NANO_USD, "{record}");
        let told = ["input", "cache_read", "output"].map(|kind| record["usage"][kind].as_u64());
        assert_eq!(told, [Some(180_114), Some(2_048), Some(3_522)], "{record}");
    }
}

#[tokio::test]
async fn summaries_by_the_provider_pass_no_hard_budget() {
    let (provider, file) = of_several_calls(false).await;
    let daemon = Daemon::start(&file.replacen("api_key:", "budget: $100/day, max_output_tokens: 1k, api_key:", 1)).await;
    let body = |edit: &str| asked(false).replacen('{', &format!(r#"{{"context_management":{{"edits":[{{"type":"{edit}"}}]}},"#), 1);
    let got = daemon.post(PATH, &[], &body("compact_20260112")).await;
    assert_eq!((got.status, provider.count()), (400, 0), "{got:?}");
    assert!(got.body.contains("summaries"), "{got:?}");
    let got = daemon.post(PATH, &[], &body("clear_tool_uses_20250919")).await;
    assert_eq!((got.status, provider.count()), (200, 1), "{got:?}");
}
