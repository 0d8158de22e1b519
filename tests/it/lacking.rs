//! What a provider's API is known to lack of its own format: calls that cannot do without go elsewhere, and the rest is left out.

use serde_json::{Value, json};

use crate::support::*;

/// A file whose first provider lacks what `settings` say; the second lacks nothing.
fn two(first: &Provider, second: &Provider, settings: &str, end: &str) -> String {
    let (first, second) = (first.url(), second.url());
    format!(
        "version: 1\nproviders:\n  poor: {{ format: openai, base_url: \"{first}\", models: {{ m: {{ {settings} }} }} }}\n  \
         rich: {{ format: openai, base_url: \"{second}\", models: {{ m: {{}} }} }}\ndefault: {{ chain: [poor/m{}], {end} }}\n",
        if end.contains("alone") { "" } else { ", rich/m" }
    )
    .replace("alone", "")
}

fn asked(field: &str) -> String {
    format!(r#"{{"model":"auto",{field}"messages":[{{"role":"user","content":"x"}}]}}"#)
}

#[tokio::test]
async fn a_call_that_cannot_do_without_goes_to_a_target_that_has_it() {
    let (poor, rich) = (sound_provider("poor", false).await, sound_provider("rich", false).await);
    let daemon = Daemon::start(&two(&poor, &rich, "lacks: [n, logprobs], max_stops: 2", "")).await;
    for (field, target) in [
        (r#""n":2,"#, "rich/m"),
        (r#""n":1,"#, "poor/m"),
        (r#""logprobs":true,"top_logprobs":2,"#, "rich/m"),
        (r#""logprobs":false,"#, "poor/m"),
        (r#""stop":["a","b","c"],"#, "rich/m"),
        (r#""stop":["a","b"],"#, "poor/m"),
    ] {
        let got = daemon.ask(&asked(field)).await;
        assert_eq!((got.status, got.target(), got.header("x-tollgate-dropped-params")), (200, target, None), "{field} {got:?}");
    }
    let completion = r#"{"model":"auto","prompt":"x","logprobs":0}"#;
    assert_eq!(daemon.post("/v1/completions", &[], completion).await.target(), "rich/m");
    let alone = Daemon::start(&two(&poor, &rich, "lacks: [n]", "alone")).await;
    let got = alone.ask(&asked(r#""n":2,"#)).await;
    assert_eq!((got.status, got.code().as_str(), got.json()["error"]["param"].as_str()), (400, "unsupported_parameter", Some("n")));
    assert!(got.body.contains("poor/m: it has no `n`"), "{got:?}");
    assert_eq!(got.header("x-should-retry"), Some("false"));
}

#[tokio::test]
async fn what_an_answer_can_do_without_is_left_out_and_named() {
    let (poor, rich) = (sound_provider("poor", false).await, sound_provider("rich", false).await);
    let lacks = "lacks: [parallel_tools, developer_role]";
    let body = r#"{"model":"auto", "parallel_tool_calls":false,"messages":[{"role" : "developer","content":"a developer"},{"role":"user","content":"x"}],"x":1.0}"#;
    let daemon = Daemon::start(&two(&poor, &rich, lacks, "")).await;
    let got = daemon.ask(body).await;
    assert_eq!(got.header("x-tollgate-dropped-params"), Some("parallel_tool_calls"));
    assert_eq!(got.header("x-tollgate-adjusted-params"), Some("messages[0].role"));
    assert_eq!(
        poor.wait_for_requests(1).await[0].body,
        r#"{"model":"m", "messages":[{"role" : "system","content":"a developer"},{"role":"user","content":"x"}],"x":1.0}"#
    );
    let silent = Daemon::start(&two(&poor, &rich, lacks, "unsupported_params: drop")).await;
    let got = silent.ask(body).await;
    assert_eq!((got.target(), got.header("x-tollgate-dropped-params"), got.header("x-tollgate-adjusted-params")), ("poor/m", None, None));
    let strict = Daemon::start(&two(&poor, &rich, lacks, "unsupported_params: reject")).await;
    assert_eq!(strict.ask(body).await.target(), "rich/m");
    assert_eq!(strict.ask(&asked("")).await.target(), "poor/m");
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_for_usage_is_not() {
    let stream = [delta(r#"{"role":"assistant","content":""}"#, None), content("hi"), delta("{}", Some("stop")), "data: [DONE]\n\n".into()];
    let chunks: String = stream.iter().map(|event| chunk(event)).collect();
    let poor = Provider::always(vec![send(format!("{STREAM_HEAD}{chunks}0\r\n\r\n"))]).await;
    let daemon = Daemon::start(&two(&poor, &poor, "lacks: [stream_usage], usd_per_mtok: { input: 1, output: 1 }", "")).await;
    for asks in [true, false] {
        let options = if asks { r#""stream":true,"stream_options":{"include_usage":true},"# } else { r#""stream":true,"# };
        let got = daemon.ask(&asked(options)).await;
        let usage: Vec<Value> = got.events().into_iter().filter(|event| !event["usage"].is_null()).collect();
        assert_eq!((usage.len(), got.header("x-tollgate-dropped-params"), got.is_done()), (usize::from(asks), None, true), "{got:?}");
    }
    for seen in poor.wait_for_requests(2).await {
        assert_eq!(seen.body, r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}"#);
    }
    assert_eq!(daemon.records.wait_for(2).await[0]["usage_source"], "estimated");
}

#[tokio::test]
async fn the_catalogue_knows_what_providers_lack_and_the_file_may_know_better() {
    let (known, rich) = (sound_provider("known", false).await, sound_provider("rich", false).await);
    let file = |settings: &str| {
        two(&known, &rich, "", "").replacen("poor: { format: openai,", &format!("groq: {{ {settings}"), 1).replacen("poor/m", "groq/m", 1)
    };
    let daemon = Daemon::start(&file("")).await;
    assert_eq!(daemon.ask(&asked(r#""n":2,"#)).await.target(), "rich/m");
    let daemon = Daemon::start(&file("lacks: [nothing],")).await;
    assert_eq!(daemon.ask(&asked(r#""n":2,"#)).await.target(), "groq/m");
}

/// What a chat provider gets of a conversation that another format's client brings.
async fn translated(settings: &str, body: &Value) -> (Value, Got) {
    let poor = sound_provider("poor", false).await;
    let daemon = Daemon::start(&two(&poor, &poor, settings, "alone")).await;
    let got = daemon.post("/v1/messages", &[], &body.to_string()).await;
    assert_eq!(got.status, 200, "{got:?}");
    (poor.wait_for_requests(1).await[0].json(), got)
}

#[tokio::test]
async fn a_model_gets_back_what_it_thought_where_it_wants_to() {
    let body = json!({ "model": "auto", "max_tokens": 10, "tools": [{ "name": "f", "input_schema": { "type": "object" } }], "messages": [
        { "role": "user", "content": "x" },
        { "role": "assistant", "content": [{ "type": "thinking", "thinking": "first", "signature": "tg1:0" }, { "type": "text", "text": "a" }] },
        { "role": "user", "content": "y" },
        { "role": "assistant", "content": [{ "type": "thinking", "thinking": "second", "signature": "U0lH" },
            { "type": "redacted_thinking", "data": "xx" }, { "type": "tool_use", "id": "t1", "name": "f", "input": {} }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t1", "content": "z" }] },
    ] });
    let (first, second, hidden) =
        ("messages[1].content[0]:thinking", "messages[3].content[0]:thinking", "messages[3].content[1]:redacted_thinking");
    for (settings, thoughts, dropped) in [
        ("", [Value::Null, Value::Null], vec![first, second, hidden]),
        ("replay_reasoning: tools", [Value::Null, json!("second")], vec![first, hidden]),
        ("replay_reasoning: always", [json!("first"), json!("second")], vec![hidden]),
    ] {
        let (sent, got) = translated(settings, &body).await;
        let told = [&sent["messages"][1], &sent["messages"][3]].map(|message| message["reasoning_content"].clone());
        assert_eq!(told, thoughts, "{settings}: {sent:#}");
        assert_eq!(got.header("x-tollgate-dropped-params"), Some(dropped.join(", ").as_str()), "{settings}");
    }
}

#[tokio::test]
async fn a_translated_call_has_the_words_that_its_target_takes() {
    let body = |thinking: Value, effort: Value| {
        json!({ "model": "auto", "max_tokens": 10, "thinking": thinking, "output_config": { "effort": effort }, "messages": [{ "role": "user", "content": "x" }],
            "tools": [{ "name": "f", "input_schema": { "type": "object" }, "strict": true }],
            "tool_choice": { "type": "auto", "disable_parallel_tool_use": true } })
    };
    let adaptive = json!({ "type": "adaptive" });
    for (settings, thinking, effort, told, adjusted, dropped) in [
        ("", &adaptive, json!("max"), json!("max"), None, None),
        ("efforts: [low, high]", &adaptive, json!("max"), json!("high"), Some("thinking"), None),
        ("efforts: [low, high]", &adaptive, json!("low"), json!("low"), None, None),
        ("efforts: [none, high]", &json!({ "type": "disabled" }), Value::Null, json!("none"), None, None),
        ("lacks: [strict_tools, parallel_tools]", &adaptive, json!("low"), json!("low"), None, Some("parallel_tool_calls, tools.strict")),
    ] {
        let (sent, got) = translated(settings, &body(thinking.clone(), effort.clone())).await;
        assert_eq!(sent["reasoning_effort"], told, "{settings} {effort}");
        let named = [got.header("x-tollgate-adjusted-params"), got.header("x-tollgate-dropped-params")];
        assert_eq!(named, [adjusted, dropped], "{settings} {effort}");
        let has = |field: &Value| !field.is_null();
        let kept = [has(&sent["parallel_tool_calls"]), has(&sent["tools"][0]["function"]["strict"])];
        assert_eq!(kept, [dropped.is_none(); 2], "{settings} {effort}");
    }
}

#[test]
fn a_step_that_sets_what_its_target_lacks_is_told() {
    let file = |settings: &str, set: &str| {
        format!(
            "version: 1\nproviders:\n  house: {{ format: openai, base_url: \"http://127.0.0.1:1/v1\", models: {{ m: {{ {settings} }} }} }}\n\
             rules: [{{ name: r, match: {{ stream: true }}, chain: [{{ target: house/m, set: {{ {set} }} }}] }}]\ndefault: refuse\n"
        )
    };
    for (settings, set, told) in [
        ("lacks: [logprobs]", "logprobs: true", Some("the step sets `logprobs`, and it has none")),
        ("lacks: [logprobs]", "logprobs: false", None),
        ("lacks: [n]", "logprobs: true", None),
        ("max_stops: 1", "stop: [a, b]", Some("the step sets `stop`")),
    ] {
        let checking = tollgate::app::check_sources(tollgate::config::Sources::new("routes.yaml", file(settings, set)));
        let text = format!("{:?}", checking.findings);
        assert_eq!(text.contains("cannot-serve"), told.is_some(), "{settings} {set}: {text}");
        assert!(told.is_none_or(|told| text.contains(told)), "{settings} {set}: {text}");
    }
}

#[tokio::test]
async fn a_chat_clients_tool_that_takes_a_text_works_everywhere() {
    let called = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "tool_use",
        "content": [{ "type": "tool_use", "id": "t2", "name": "patch", "input": { "input": "*** Begin\n" } }],
        "usage": { "input_tokens": 10, "output_tokens": 20 } });
    let anthropic = Provider::always(vec![send(json_answer("200 OK", &called.to_string()))]).await;
    let file = |provider: &Provider| {
        let address = provider.address;
        format!(
            "version: 1\nproviders:\n  an: {{ format: anthropic, base_url: \"http://{address}\", models: {{ c: {{}} }} }}\ndefault: {{ chain: [an/c] }}\n"
        )
    };
    let daemon = Daemon::start(&file(&anthropic)).await;
    let grammar = json!({ "type": "grammar", "grammar": { "syntax": "lark", "definition": "start: \"x\"" } });
    let mut body = json!({ "model": "auto", "verbosity": "low",
        "tools": [{ "type": "custom", "custom": { "name": "patch", "description": "Edits.", "format": grammar } }],
        "tool_choice": { "type": "custom", "custom": { "name": "patch" } },
        "messages": [{ "role": "user", "content": "x" },
            { "role": "assistant", "tool_calls": [{ "id": "t1", "type": "custom", "custom": { "name": "patch", "input": "old" } }] },
            { "role": "tool", "tool_call_id": "t1", "content": "done" }] });
    let got = daemon.ask(&body.to_string()).await;
    let wanted = json!([{ "id": "t2", "type": "custom", "custom": { "name": "patch", "input": "*** Begin\n" } }]);
    assert_eq!(got.json()["choices"][0]["message"]["tool_calls"], wanted, "{got:?}");
    let named = [got.header("x-tollgate-adjusted-params"), got.header("x-tollgate-dropped-params")];
    assert_eq!(named, [Some("tools"), Some("verbosity")]);
    let seen = anthropic.wait_for_requests(1).await[0].json();
    assert!(seen["tools"][0]["description"].as_str().unwrap().contains("lark grammar:\nstart: \"x\""), "{seen:#}");
    assert_eq!(seen["tool_choice"], json!({ "type": "tool", "name": "patch" }));
    assert_eq!(seen["messages"][1]["content"][0]["input"], json!({ "input": "old" }));
    let event = |event: Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    let piece = |json: &str| {
        event(json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "input_json_delta", "partial_json": json } }))
    };
    let events = [
        event(
            json!({ "type": "message_start", "message": { "id": "m", "type": "message", "role": "assistant", "model": "c", "content": [],
            "usage": { "input_tokens": 1, "output_tokens": 1 } } }),
        ),
        event(
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "tool_use", "id": "t2", "name": "patch", "input": {} } }),
        ),
        piece("{\"input\":\"***"),
        piece(" Begin\\n\"}"),
        event(json!({ "type": "content_block_stop", "index": 0 })),
        event(json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" }, "usage": { "output_tokens": 9 } })),
        event(json!({ "type": "message_stop" })),
    ];
    let anthropic = Provider::always(vec![send(format!("{STREAM_HEAD}{}0\r\n\r\n", chunk(&events.concat())))]).await;
    let daemon = Daemon::start(&file(&anthropic)).await;
    body["stream"] = true.into();
    let told: Vec<Value> = daemon.ask(&body.to_string()).await.events();
    let calls: Vec<&Value> =
        told.iter().map(|event| &event["choices"][0]["delta"]["tool_calls"][0]).filter(|call| !call.is_null()).collect();
    assert_eq!(
        calls,
        [
            &json!({ "index": 0, "id": "t2", "type": "custom", "custom": { "name": "patch", "input": "" } }),
            &json!({ "index": 0, "custom": { "input": "*** Begin\n" } })
        ]
    );
}

#[test]
fn how_wordy_an_answer_is_to_be_is_said_where_it_is_known() {
    use tollgate::units::{Endpoint, Lacks, Quirks, Tokens, Wire};
    use tollgate::wire::{Call, Edits};
    let none = std::collections::BTreeMap::new();
    let edits =
        Edits { model: "m", include_usage: false, output_limit: None, assumed_limit: Tokens::new(1), set: &none, lacks: Lacks::default() };
    for (endpoint, to, body, pointer) in [
        (
            Endpoint::Chat,
            Wire::Responses,
            r#"{"model":"m","verbosity":"low","messages":[{"role":"user","content":"x"}]}"#,
            "/text/verbosity",
        ),
        (Endpoint::Responses, Wire::Chat, r#"{"model":"m","text":{"verbosity":"low"},"input":"x"}"#, "/verbosity"),
    ] {
        for takes_verbosity in [true, false] {
            let call = Call::parse(endpoint, body.into(), 1).unwrap();
            let quirks = Quirks { takes_verbosity, ..Quirks::default() };
            let translated = call.translate(to, &edits, &quirks).unwrap();
            let sent: Value = serde_json::from_slice(&translated.body).unwrap();
            assert_eq!(sent.pointer(pointer), takes_verbosity.then(|| json!("low")).as_ref(), "{sent}");
            let field = if endpoint == Endpoint::Chat { "verbosity" } else { "text.verbosity" };
            assert_eq!(translated.dropped, if takes_verbosity { vec![] } else { vec![field] }, "{body}");
        }
    }
}
