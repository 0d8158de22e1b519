//! The Responses API at the front, at the back, and both: calls, streams, errors and money come through whole.

use serde_json::{Value, json};

use crate::openapi::Described;
use crate::support::*;

const PATH: &str = "/v1/responses";
const CHAT: &str = "/v1/chat/completions";
const PRICES: &str = "usd_per_mtok: { input: 3, output: 15, cache_read: 0.3 }";

/// A file with a provider that speaks both of its format's APIs, one that speaks only this one, and one of another format.
fn file(both: &Provider, own: &Provider, anthropic: &Provider, chain: &str) -> String {
    format!(
        "version: 1\nproviders:\n  oa: {{ format: openai, base_url: \"{}\", models: {{ m: {{ {PRICES} }} }} }}\n  \
         re: {{ format: openai, base_url: \"{}\", speaks: [responses], models: {{ r: {{ {PRICES} }} }} }}\n  \
         an: {{ format: anthropic, base_url: \"http://{}\", models: {{ c: {{ {PRICES} }} }} }}\ndefault: {{ chain: [{chain}] }}\n",
        both.url(),
        own.url(),
        anthropic.address
    )
}

async fn idle() -> Provider {
    Provider::always(vec![Act::Close]).await
}

/// The daemon with only a provider of this API.
async fn alone(own: &Provider) -> Daemon {
    Daemon::start(&file(&idle().await, own, &idle().await, "re/r")).await
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

fn response(status: &str, output: &Value, usage: &Value) -> Value {
    json!({ "id": "resp_1", "object": "response", "created_at": 1, "status": status, "error": null, "model": "r", "output": output,
        "usage": usage })
}

fn usage() -> Value {
    json!({ "input_tokens": 2062, "input_tokens_details": { "cached_tokens": 2048 }, "output_tokens": 12,
        "output_tokens_details": { "reasoning_tokens": 4 }, "total_tokens": 2074 })
}

fn began() -> Vec<Value> {
    let body = response("in_progress", &json!([]), &Value::Null);
    vec![
        json!({ "type": "response.created", "sequence_number": 0, "response": body }),
        json!({ "type": "response.output_item.added", "sequence_number": 1, "output_index": 0,
            "item": { "type": "message", "id": "msg_1", "status": "in_progress", "role": "assistant", "content": [] } }),
    ]
}

fn said(number: u64, text: &str) -> Value {
    json!({ "type": "response.output_text.delta", "sequence_number": number, "item_id": "msg_1", "output_index": 0, "content_index": 0,
        "delta": text })
}

fn message(text: &str) -> Value {
    json!({ "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
        "content": [{ "type": "output_text", "text": text, "annotations": [] }] })
}

fn ended(number: u64, text: &str) -> Value {
    let body = response("completed", &json!([message(text)]), &usage());
    json!({ "type": "response.completed", "sequence_number": number, "response": body })
}

fn asked(stream: bool) -> String {
    json!({ "model": "auto", "stream": stream, "instructions": "Be brief.", "max_output_tokens": 100, "store": false,
        "include": ["reasoning.encrypted_content"], "input": [{ "role": "user", "content": [{ "type": "input_text", "text": "Say hello." }] }] })
    .to_string()
}

/// The answer, which is one as the API's description has it.
fn sound(got: &Got) -> Value {
    let json = got.json();
    assert_eq!(Described::Response.faults(&json), [""; 0], "{json:#}");
    json
}

/// The events of a stream, each as the API's description has it.
fn sound_events(got: &Got) -> Vec<Value> {
    let events = got.events();
    for event in &events {
        assert_eq!(Described::ResponseEvent.faults(event), [""; 0], "{event:#}");
    }
    events
}

fn kinds(got: &Got) -> Vec<String> {
    got.events().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_call_of_the_target_s_own_format_is_passed_on_byte_for_byte() {
    let body = "{ \"model\":\"auto\",\n\"input\":[{\"type\":\"new_item\",\"n\":12345678901234567890}], \"previous_response_id\":\"resp_0\",\
        \"tools\":[{\"type\":\"web_search\",\"x\":1.0}], \"text\":{\"format\":{\"type\":\"text\"}}, \"x\":\"caf\\u00e9\" }";
    let answer = "{ \"id\":\"resp_1\",\"object\":\"response\",\"model\":\"r\",\"status\":\"completed\",\"output\":[{\"type\":\"new_item\",\"x\":1.0},\
        {\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"hi\"}]}],\
        \"usage\":{\"input_tokens\":14,\"output_tokens\":12,\"total_tokens\":26,\"new\":12345678901234567890}}\n";
    let own = Provider::always(vec![send(json_answer("200 OK", answer))]).await;
    let daemon = alone(&own).await;
    let got = daemon.post("/v1/responses?x=1", &[("openai-beta", "new-2027")], body).await;
    assert_eq!((got.status, got.body.as_str()), (200, answer));
    // 14 × $3 + 12 × $15, per million.
    assert_eq!((got.header("x-tollgate-cost-usd"), got.target()), (Some("0.000222"), "re/r"));
    let seen = own.wait_for_requests(1).await.remove(0);
    assert_eq!((seen.body.as_str(), seen.header("openai-beta")), (body.replacen("\"auto\"", "\"r\"", 1).as_str(), Some("new-2027")));
    assert!(seen.head.starts_with("POST /v1/responses HTTP/1.1"), "{}", seen.head);
}

#[tokio::test]
async fn a_stream_of_the_target_s_own_format_is_passed_on_event_by_event() {
    let unknown = json!({ "type": "response.something_new", "sequence_number": 2, "value": 12_345_678_901_234_567_890_u64 });
    let all = [began(), vec![unknown, said(3, "caf\u{e9}"), said(4, "!"), ended(5, "caf\u{e9}!")]].concat();
    let own = Provider::always(events(&all)).await;
    let daemon = alone(&own).await;
    let got = daemon.post(PATH, &[], &asked(true)).await;
    let wanted = all.iter().fold(String::new(), |text, event| text + &told(event));
    assert_eq!((got.status, got.body, got.is_whole), (200, wanted, true));
    let seen = own.wait_for_requests(1).await.remove(0);
    assert_eq!(seen.body, asked(true).replacen("\"auto\"", "\"r\"", 1), "no usage has to be asked for");
    let record = daemon.records.wait_for(1).await.remove(0);
    // 14 × $3 + 2048 × $0.30 + 12 × $15, per million.
    assert_eq!((record["cost_nano_usd"].as_u64(), record["endpoint"].as_str()), (Some(836_400), Some("responses")), "{record}");
}

#[tokio::test]
async fn a_client_is_answered_by_providers_of_other_formats() {
    let anthropic = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "tool_use",
        "content": [{ "type": "thinking", "thinking": "hm", "signature": "U0lH" }, { "type": "text", "text": "One moment." },
            { "type": "tool_use", "id": "toolu_1", "name": "get_tide", "input": { "port": "Ystad" } }],
        "usage": { "input_tokens": 10, "output_tokens": 20 } });
    let anthropic = Provider::always(vec![send(json_answer("200 OK", &anthropic.to_string()))]).await;
    let (both, own) = (Provider::always(answers("Hi.")).await, idle().await);
    let daemon = Daemon::start(&file(&both, &own, &anthropic, "an/c")).await;
    let got = daemon.post(PATH, &[], &asked(false)).await;
    let json = sound(&got);
    assert_eq!((got.status, json["object"].as_str(), json["status"].as_str()), (200, Some("response"), Some("completed")));
    let kinds: Vec<&str> = json["output"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["reasoning", "message", "function_call"]);
    assert_eq!(json["output"][0]["summary"], json!([{ "type": "summary_text", "text": "hm" }]));
    assert_eq!((&json["output"][2]["call_id"], &json["output"][2]["arguments"]), (&json!("toolu_1"), &json!("{\"port\":\"Ystad\"}")));
    assert_eq!((json["usage"]["input_tokens"].as_u64(), json["usage"]["total_tokens"].as_u64()), (Some(10), Some(30)));
    assert_eq!(
        (json["instructions"].as_str(), json["max_output_tokens"].as_u64()),
        (Some("Be brief."), Some(100)),
        "it says again what was asked"
    );
    assert_eq!((got.header("x-tollgate-dropped-params"), got.header("x-tollgate-cost-usd")), (Some("include"), Some("0.00033")));
    let seen = anthropic.wait_for_requests(1).await.remove(0).json();
    assert_eq!((seen["max_tokens"].as_u64(), seen["system"][0]["text"].as_str()), (Some(100), Some("Be brief.")));
    let daemon = Daemon::start(&file(&both, &own, &anthropic, "oa/m")).await;
    let got = daemon.post(PATH, &[], &asked(false)).await;
    assert_eq!(got.json()["output"][0]["content"][0]["text"], "Hi.");
    let seen = both.wait_for_requests(1).await.remove(0);
    assert_eq!(seen.json()["messages"][0], json!({ "role": "system", "content": "Be brief." }));
    assert!(seen.head.starts_with("POST /v1/chat/completions HTTP/1.1"), "{}", seen.head);
}

#[tokio::test]
async fn a_stream_from_another_format_has_the_life_of_each_item() {
    let both = Provider::always(streams("Hel", "lo")).await;
    let daemon = Daemon::start(&file(&both, &idle().await, &idle().await, "oa/m")).await;
    let got = daemon.post(PATH, &[], &asked(true)).await;
    let wanted = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!((kinds(&got), got.is_done(), got.is_whole), (wanted.map(String::from).to_vec(), false, true));
    let events = sound_events(&got);
    assert!(events.iter().enumerate().all(|(number, event)| event["sequence_number"] == number), "{}", got.body);
    let last = &events[9]["response"];
    assert_eq!((last["output"][0]["content"][0]["text"].as_str(), last["usage"]["output_tokens"].as_u64()), (Some("Hello"), Some(2)));
    assert!(got.body.contains("\"usage\":{\"cost\":0.000057,"), "{}", got.body);
    assert_eq!(both.wait_for_requests(1).await[0].json()["stream_options"]["include_usage"], true);
}

#[tokio::test]
async fn clients_of_other_formats_are_answered_by_a_provider_of_this_one_alone() {
    let output = json!([{ "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "hm" }] }, message("One moment."),
        { "type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "get_tide", "arguments": "{\"port\":\"Ystad\"}", "status": "completed" }]);
    let whole = send(json_answer("200 OK", &response("completed", &output, &usage()).to_string()));
    let stream = events(&[began(), vec![said(2, "Hel"), said(3, "lo"), ended(4, "Hello")]].concat());
    let own = Provider::start(vec![vec![whole.clone()], stream, vec![whole]]).await;
    let daemon = alone(&own).await;
    let body = json!({ "model": "auto", "seed": 7, "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "Tide?" }],
        "tools": [{ "type": "function", "function": { "name": "get_tide" } }], "max_tokens": 50 });
    let got = daemon.post(CHAT, &[], &body.to_string()).await;
    let json = got.json();
    let choice = &json["choices"][0];
    assert_eq!((choice["message"]["content"].as_str(), choice["message"]["reasoning_content"].as_str()), (Some("One moment."), Some("hm")));
    assert_eq!((choice["message"]["tool_calls"][0]["id"].as_str(), choice["finish_reason"].as_str()), (Some("call_1"), Some("tool_calls")));
    assert_eq!((json["usage"]["prompt_tokens"].as_u64(), got.header("x-tollgate-dropped-params")), (Some(2062), Some("seed")));
    assert_eq!(got.header("x-tollgate-cost-usd"), Some("0.0008364"));
    let seen = own.wait_for_requests(1).await.remove(0);
    assert!(seen.head.starts_with("POST /v1/responses HTTP/1.1"), "{}", seen.head);
    let sent = seen.json();
    assert_eq!(
        (sent["instructions"].as_str(), sent["max_output_tokens"].as_u64(), sent["store"].as_bool()),
        (Some("Be brief."), Some(50), Some(false))
    );
    assert_eq!(sent["input"], json!([{ "role": "user", "content": "Tide?" }]));
    assert_eq!(
        sent["tools"][0],
        json!({ "type": "function", "name": "get_tide", "parameters": { "type": "object", "properties": {} }, "strict": false })
    );
    let got = daemon.post(CHAT, &[], &chat(true)).await;
    assert_eq!((got.text(), got.is_done(), got.is_whole), ("Hello".into(), true, true), "{}", got.body);
    let got = daemon.post("/v1/messages", &[], r#"{"model":"auto","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#).await;
    let json = got.json();
    assert_eq!((json["content"][0]["thinking"].as_str(), json["content"][2]["input"]["port"].as_str()), (Some("hm"), Some("Ystad")));
    assert_eq!((json["usage"]["cache_read_input_tokens"].as_u64(), json["stop_reason"].as_str()), (Some(2048), Some("tool_use")));
}

#[tokio::test]
async fn what_needs_the_provider_s_memory_goes_only_where_it_is() {
    let body = response("completed", &json!([message("Hi.")]), &usage());
    let own = Provider::always(vec![send(json_answer("200 OK", &body.to_string()))]).await;
    let both = Provider::always(answers("Hi.")).await;
    let daemon = Daemon::start(&file(&both, &own, &idle().await, "oa/m, an/c, re/r")).await;
    let only = Daemon::start(&file(&both, &own, &idle().await, "oa/m, an/c")).await;
    for (field, value) in [
        ("previous_response_id", json!("resp_0")),
        ("conversation", json!("conv_1")),
        ("background", json!(true)),
        ("prompt", json!({ "id": "pmpt_1" })),
        ("tools", json!([{ "type": "web_search" }])),
    ] {
        let mut call = json!({ "model": "auto", "input": "Hi" });
        call[field] = value;
        assert_eq!(daemon.post(PATH, &[], &call.to_string()).await.target(), "re/r", "{field}");
        let got = only.post(PATH, &[], &call.to_string()).await;
        let error = &got.json()["error"];
        assert_eq!((got.status, error["code"].as_str(), error["param"].as_str()), (400, Some("unsupported_parameter"), Some(field)));
    }
    // Nobody could say beforehand what these cost, so that no hard budget lets them through.
    let capped = file(&both, &own, &idle().await, "re/r").replacen("speaks:", "budget: $1/day, max_output_tokens: 1k, speaks:", 1);
    let capped = Daemon::start(&capped).await;
    for (field, value) in [("previous_response_id", json!("resp_0")), ("background", json!(true))] {
        let mut call = json!({ "model": "auto", "input": "Hi" });
        call[field] = value;
        let got = capped.post(PATH, &[], &call.to_string()).await;
        assert_eq!((got.status, got.code()), (400, "unpriceable_request".into()), "{}", got.body);
    }
    let got = capped.post(PATH, &[], r#"{"model":"auto","input":"Hi"}"#).await;
    assert!(got.header("x-tollgate-injected").is_some(), "{:?}", got.headers);
    assert!(own.seen().last().unwrap().json()["max_output_tokens"].is_u64());
}

#[tokio::test]
async fn u18_u19_u20_a_stream_that_fails_ends_in_both_of_the_format_s_words() {
    let failed = json!({ "type": "response.failed", "sequence_number": 1, "response": { "id": "resp_1", "status": "failed", "output": [],
        "error": { "code": "rate_limit_exceeded", "message": "slow down" } } });
    let early = events(&[began()[0].clone(), failed]);
    let cut = events(&[began(), vec![said(2, "Once")]].concat());
    let half = vec![send(format!("{STREAM_HEAD}{}0\r\n\r\n", chunk(&content("Once"))))];
    let (both, own) = (Provider::start(vec![streams("Hi", "."), half]).await, Provider::start(vec![early, cut]).await);
    let daemon = Daemon::start(&file(&both, &own, &idle().await, "re/r, oa/m")).await;
    let got = daemon.post(PATH, &[], &asked(true)).await;
    assert_eq!((got.target(), got.is_whole), ("oa/m", true), "before content the next target serves: {}", got.body);
    let own_only = Daemon::start(&file(&both, &own, &idle().await, "re/r")).await;
    let relayed = own_only.post(PATH, &[], &asked(true)).await;
    let other_only = Daemon::start(&file(&both, &own, &idle().await, "oa/m")).await;
    for (got, first, id) in [(relayed, 3, "resp_1"), (other_only.post(PATH, &[], &asked(true)).await, 5, "resp_tg")] {
        let events = got.events();
        assert_eq!(Described::ResponseEvent.faults(&events[events.len() - 1]), [""; 0]);
        assert_eq!(Described::ResponseEvent.faults(&events[events.len() - 2]), [""; 0]);
        let [.., error, failed] = &events[..] else { panic!("{}", got.body) };
        assert_eq!((error["type"].as_str(), failed["type"].as_str(), got.is_whole), (Some("error"), Some("response.failed"), false));
        assert_eq!((error["code"].as_str(), error["param"].is_null()), (Some("upstream_truncated"), true));
        assert_eq!((error["sequence_number"].as_u64(), failed["sequence_number"].as_u64()), (Some(first), Some(first + 1)), "{}", got.body);
        let told = &failed["response"];
        assert_eq!((told["status"].as_str(), told["error"]["code"].as_str()), (Some("failed"), Some("server_error")));
        assert!(told["id"].as_str().unwrap().starts_with(id) && got.body.contains("\"delta\":\"Once\""), "{}", got.body);
    }
}

#[tokio::test]
async fn refusals_are_told_as_errors_of_the_format() {
    let own = r#"{"error":{"message":"No tool output found","type":"invalid_request_error","param":"input","code":null}}"#;
    let own = Provider::always(vec![send(json_answer("400 Bad Request", own))]).await;
    let daemon = alone(&own).await;
    let got = daemon.post(PATH, &[], &asked(false)).await;
    assert_eq!((got.status, got.json()["error"]["message"].as_str()), (400, Some("No tool output found")), "the provider's own words");
    for (body, param) in [
        ("{", None),
        (r#"{"model":"auto","input":7}"#, Some("input")),
        (r#"{"model":"auto","max_output_tokens":0}"#, Some("max_output_tokens")),
    ] {
        let got = daemon.post(PATH, &[], body).await;
        let error = &got.json()["error"];
        assert_eq!((got.status, error["param"].as_str(), error["type"].as_str()), (400, param, Some("invalid_request_error")), "{body}");
    }
}

#[tokio::test]
async fn a_rule_sees_what_is_asked() {
    let routes = "version: 1\nproviders:\n  a: { format: sandbox, models: { m: {}, tools: {}, long: {} } }\nrules:\n  \
        - { name: tools, match: { endpoint: responses, needs: tools }, chain: [a/tools] }\n  \
        - { name: long, match: { endpoint: [responses], prompt_tokens: { min: 500 }, turns: { min: 2 } }, chain: [a/long] }\n\
        default: { chain: [a/m] }\n";
    let daemon = Daemon::start(routes).await;
    let long = json!({ "role": "user", "content": [{ "type": "input_text", "text": "word ".repeat(1_000) }] });
    for (body, target) in [
        (json!({ "model": "auto", "input": "Hi" }), "a/m"),
        (json!({ "model": "auto", "input": "Hi", "tools": [{ "type": "function", "name": "f", "parameters": {} }] }), "a/tools"),
        (json!({ "model": "auto", "input": [long, { "type": "function_call_output", "call_id": "c", "output": "x" }] }), "a/long"),
    ] {
        let got = daemon.post(PATH, &[], &body.to_string()).await;
        assert_eq!((got.status, got.target()), (200, target), "{}", got.body);
        let text = sound(&got)["output"][0]["content"][0]["text"].clone();
        assert!(text.as_str().unwrap().starts_with("[tollgate sandbox]"), "{text}");
    }
    let streamed = daemon.post(PATH, &[], r#"{"model":"auto","stream":true,"input":"Hi"}"#).await;
    assert_eq!(sound_events(&streamed).pop().unwrap()["type"], "response.completed", "{}", streamed.body);
    let schema =
        json!({ "model": "auto", "input": "Hi", "text": { "format": { "type": "json_schema", "name": "n", "schema": { "const": 7 } } } });
    let got = daemon.post(PATH, &[], &schema.to_string()).await;
    assert_eq!(got.json()["output"][0]["content"][0]["text"], "7");
}

#[tokio::test]
async fn a_tool_that_takes_a_text_is_called_with_one_by_any_provider() {
    let called = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "tool_use",
        "content": [{ "type": "tool_use", "id": "toolu_1", "name": "apply_patch", "input": { "input": "*** Begin\n" } }],
        "usage": { "input_tokens": 10, "output_tokens": 20 } });
    let streamed = "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"function\":{\"name\":\"apply_patch\",\
        \"arguments\":\"{\\\"input\\\":\\\"***\"}}]},\"finish_reason\":null}]}\n\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\" Begin\\\\n\\\"}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\n";
    let (both, own) = (Provider::always(vec![send(format!("{STREAM_HEAD}{}0\r\n\r\n", chunk(streamed)))]).await, idle().await);
    let anthropic = Provider::always(vec![send(json_answer("200 OK", &called.to_string()))]).await;
    let daemon = Daemon::start(&file(&both, &own, &anthropic, "an/c")).await;
    let mut body = json!({ "model": "auto", "tools": [{ "type": "custom", "name": "apply_patch", "description": "Edits.",
            "format": { "type": "grammar", "syntax": "lark", "definition": "start: \"x\"" } }],
        "input": [{ "type": "custom_tool_call", "call_id": "c0", "name": "apply_patch", "input": "old" },
            { "type": "custom_tool_call_output", "call_id": "c0", "output": "done" }] });
    let got = daemon.post(PATH, &[], &body.to_string()).await;
    let item = sound(&got)["output"][0].clone();
    assert_eq!((item["type"].as_str(), item["input"].as_str()), (Some("custom_tool_call"), Some("*** Begin\n")));
    assert_eq!(got.header("x-tollgate-adjusted-params"), Some("tools"));
    let seen = anthropic.wait_for_requests(1).await.remove(0).json();
    assert_eq!(seen["tools"][0]["input_schema"]["required"], json!(["input"]));
    assert!(seen["tools"][0]["description"].as_str().unwrap().contains("start: \"x\""));
    assert_eq!(
        (&seen["messages"][0]["content"][0]["input"], &seen["messages"][1]["content"][0]["tool_use_id"]),
        (&json!({ "input": "old" }), &json!("c0"))
    );
    let daemon = Daemon::start(&file(&both, &own, &anthropic, "oa/m")).await;
    body["stream"] = true.into();
    let got = daemon.post(PATH, &[], &body.to_string()).await;
    let done = sound_events(&got).into_iter().find(|event| event["type"] == "response.custom_tool_call_input.done").unwrap();
    assert_eq!(done["input"], "*** Begin\n");
    assert_eq!(got.events().pop().unwrap()["response"]["output"][0]["input"], "*** Begin\n");
}
