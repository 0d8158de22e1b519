//! Same format in and out: only the documented fields change, and every other byte survives in both directions.

use crate::support::*;

/// A body in which much is odd and nothing may change: unknown fields, order, white space, spellings of numbers, escapes.
const ODD: &str = "{ \"x_first\" : 1.0,\n\t\"messages\":[{\"role\":\"user\",\"content\":\"caf\\u00e9 \u{e9} \\/ \\ud83d\\ude00 \u{1f600} \\u0000\",\
    \"extra\":{\"b\":1,\"a\":[1e2,12345678901234567890,-0.0]}}] ,\"model\" :\"auto\" , \"seed\":12345678901234567890,\
    \"temperature\":1.0,\r\n\"unknown\":{\"z\":null,\"a\":true,\"model\":\"auto\"},\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\
    \"parameters\":{\"type\":\"object\",\"x\":1E+2}}}] }";

/// What the provider reads when `body` is sent to `path`.
async fn forwarded(routes_end: &str, path: &str, body: &str) -> String {
    let provider = Provider::always(answers("x")).await;
    let file = routes(&[&provider], "").replace("default: { chain: [p0/m] }\n", routes_end);
    let daemon = Daemon::start(&file).await;
    daemon.post(path, &[], body).await;
    provider.wait_for_requests(1).await[0].body.clone()
}

const PLAIN: &str = "default: { chain: [p0/m] }\n";
const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn only_the_model_changes_in_a_request() {
    assert_eq!(forwarded(PLAIN, CHAT, ODD).await, ODD.replacen("\"auto\"", "\"m\"", 1));
    let large = ODD.replace("caf", &"caf\\n \u{e9} \" ".replace(" \" ", " \\\" ").repeat(20_000));
    assert!(large.len() > 200_000);
    assert_eq!(forwarded(PLAIN, CHAT, &large).await, large.replacen("\"auto\"", "\"m\"", 1));
    let named = ODD.replacen("\"auto\"", "\"m\"", 1);
    assert_eq!(forwarded(PLAIN, CHAT, &named).await, named, "a model that is the target's own name needs no change at all");
    let completion = r#"{"prompt" : ["a\u0062", "c"] ,"model":"auto","logit_bias":{"50256":-100.0}}"#;
    assert_eq!(forwarded(PLAIN, "/v1/completions", completion).await, completion.replacen("\"auto\"", "\"m\"", 1));
    let embedding = r#"{"input":[[1,2,3],[4]],"encoding_format":"base64","model":"auto","dimensions":256}"#;
    assert_eq!(forwarded(PLAIN, "/v1/embeddings", embedding).await, embedding.replacen("\"auto\"", "\"m\"", 1));
    let marked = format!("\u{feff}{ODD}");
    assert_eq!(forwarded(PLAIN, CHAT, &marked).await, ODD.replacen("\"auto\"", "\"m\"", 1), "a byte order mark is no part of JSON");
}

#[tokio::test]
async fn a_streamed_request_asks_for_usage() {
    let usage = r#""m","stream_options":{"include_usage":true}"#;
    for (sent, got) in [
        (r#"{"model":"auto","stream":true,"messages":[]}"#, format!(r#"{{"model":{usage},"stream":true,"messages":[]}}"#)),
        (
            r#"{"model":"auto","stream":true,"stream_options":{"x":1.0},"messages":[]}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true,"x":1.0},"messages":[]}"#.into(),
        ),
        (
            r#"{"model":"auto","stream":true,"stream_options":{ "include_usage" : false, "x":1 },"messages":[]}"#,
            r#"{"model":"m","stream":true,"stream_options":{ "include_usage" : true, "x":1 },"messages":[]}"#.into(),
        ),
        (
            r#"{"model":"auto","stream":true,"stream_options":null,"messages":[]}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#.into(),
        ),
        (
            r#"{"stream_options":{"include_usage":true},"model":"auto","stream":true,"messages":[]}"#,
            r#"{"stream_options":{"include_usage":true},"model":"m","stream":true,"messages":[]}"#.into(),
        ),
    ] {
        assert_eq!(forwarded(PLAIN, CHAT, sent).await, got);
    }
}

#[tokio::test]
async fn what_the_file_sets_is_set_and_nothing_else() {
    let body = r#"{"model":"auto","max_tokens":900,"temperature":1.0,"messages":[],"max_completion_tokens":700,"zz":1.0}"#;
    for (chain, got) in [
        (
            "default: { chain: [{ target: p0/m, set: { temperature: 0, stop: [\"x\"] } }] }\n",
            r#"{"model":"m","stop":["x"],"max_tokens":900,"temperature":0,"messages":[],"max_completion_tokens":700,"zz":1.0}"#,
        ),
        (
            "default: { chain: [{ target: p0/m, max_output_tokens: 100 }] }\n",
            r#"{"model":"m","temperature":1.0,"messages":[],"max_completion_tokens":100,"zz":1.0}"#,
        ),
        (
            "default: { chain: [p0/m], max_output_tokens: 2000 }\n",
            r#"{"model":"m","max_tokens":900,"temperature":1.0,"messages":[],"max_completion_tokens":700,"zz":1.0}"#,
        ),
    ] {
        assert_eq!(forwarded(chain, CHAT, body).await, got, "{chain}");
    }
    let unlimited = r#"{"model":"auto","messages":[]}"#;
    let limited = "default: { chain: [p0/m], max_output_tokens: 300 }\n";
    assert_eq!(forwarded(limited, CHAT, unlimited).await, r#"{"model":"m","max_completion_tokens":300,"messages":[]}"#);
}

#[tokio::test]
async fn a_whole_answer_comes_back_byte_for_byte() {
    let odd = "\n\n { \"id\":\"c\",\"model\" : \"m\",\"object\":\"chat.completion\",\"choices\" : [{\"message\":{\"role\":\"assistant\",\"content\":\"caf\\u00e9 \\/ \u{1f600}\",\"x\":1.0},\"finish_reason\":\"stop\"}],\r\n\
        \"big\":12345678901234567890, \"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"total_tokens\":12,\"new\":{\"a\":1e2}} }\n";
    let embeddings = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPw=="}],"model":"m","usage":{"prompt_tokens":2,"total_tokens":2},"x":1.0}"#;
    let completion =
        r#"{"id":"c","object":"text_completion","model":"m","choices":[{"text":"hi","index":0,"finish_reason":"length","x":[]}],"y":1.50}"#;
    for (path, request, answer) in [
        (CHAT, chat(false), odd),
        ("/v1/embeddings", r#"{"model":"auto","input":"hello"}"#.into(), embeddings),
        ("/v1/completions", r#"{"model":"auto","prompt":"hello"}"#.into(), completion),
    ] {
        let provider = Provider::always(vec![send(json_answer("200 OK", answer))]).await;
        let daemon = Daemon::start(&routes(&[&provider], "")).await;
        let got = daemon.post(path, &[], &request).await;
        assert_eq!((got.status, got.body.as_str(), got.header("content-type")), (200, answer, Some("application/json")));
        assert_eq!(got.header("content-length"), Some(answer.len().to_string().as_str()));
    }
}

const ROLE: &str = r#"{"id":"c1","object":"o","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"odd":1.0}"#;
const WORD: &str = "{\"id\":\"c1\", \"object\":\"o\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"caf\\u00e9 \\/ \u{1f600}\"},\"finish_reason\":null}] ,\"n\":12345678901234567890}";
const NEW: &str = r#"{"type":"something.new","value":1e2}"#;
const STOP: &str = r#"{"id":"c1","object":"o","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str =
    r#"{"id":"c1","object":"o","model":"m","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"new":1.0}}"#;

/// What a client gets of the events that a provider sent as `text`, in pieces of `size` bytes.
async fn relayed(text: &str, size: usize, asks_for_usage: bool) -> Got {
    let mut acts = vec![send(STREAM_HEAD)];
    acts.extend(text.as_bytes().chunks(size).map(|piece| send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())));
    acts.push(send("0\r\n\r\n"));
    let provider = Provider::always(acts).await;
    let daemon = Daemon::start(&routes(&[&provider], "")).await;
    let options = if asks_for_usage { r#","stream_options":{"include_usage":true}"# } else { "" };
    daemon.ask(&chat(true).replace(r#","stream":true"#, &format!(r#","stream":true{options}"#))).await
}

fn lines(events: &[&str]) -> String {
    events.iter().fold(String::new(), |text, event| text + "data: " + event + "\n\n")
}

#[tokio::test]
async fn a_stream_comes_back_event_for_event() {
    let sent = format!(
        ": hello\n\nid: 7\nretry: 100\ndata: {ROLE}\n\ndata:{WORD}\r\n\r\n: ping\r\n\r\nevent: message\ndata: {NEW}\n\nunknown: field\ndata: {STOP}\r\rdata: {USAGE}\n\ndata: [DONE]\n\n"
    );
    let word = format!("data: {WORD}\n\nevent: message\ndata: {NEW}\n\n");
    for size in [1, 7, 64, 1 << 16] {
        let kept = relayed(&sent, size, false).await;
        assert_eq!(kept.body, format!("{}{word}{}", lines(&[ROLE]), lines(&[STOP, "[DONE]"])), "{size}");
        let passed = relayed(&sent, size, true).await;
        assert_eq!(passed.body, format!("{}{word}{}", lines(&[ROLE]), lines(&[STOP, USAGE, "[DONE]"])), "{size}");
        assert!(kept.is_whole && passed.is_whole);
        for (name, value) in
            [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"), ("x-accel-buffering", "no")]
        {
            assert_eq!(kept.header(name), Some(value));
        }
    }
}

#[tokio::test]
async fn done_comes_exactly_once() {
    for end in ["", "data: [DONE]\n\n", "data: [DONE]\n\ndata: [DONE]\n\n", "data: [DONE]", "data:[DONE]\r\n\r\n"] {
        let got = relayed(&format!("{}{end}", lines(&[ROLE, WORD, STOP])), 1 << 16, false).await;
        assert_eq!(got.body, lines(&[ROLE, WORD, STOP, "[DONE]"]), "{end:?}");
    }
}

#[tokio::test]
async fn a_client_that_asked_for_usage_gets_it_even_if_the_provider_tells_none() {
    let got = relayed(&lines(&[ROLE, WORD, STOP, "[DONE]"]), 1 << 16, true).await;
    let events = got.events();
    let last = events.last().unwrap();
    assert_eq!(last["choices"], serde_json::json!([]), "{got:?}");
    assert!(last["usage"]["prompt_tokens"].as_u64() > Some(0) && last["usage"]["completion_tokens"].as_u64() > Some(0), "{last}");
    assert_eq!(relayed(&lines(&[ROLE, WORD, STOP, "[DONE]"]), 1 << 16, false).await.body, lines(&[ROLE, WORD, STOP, "[DONE]"]));
}

#[tokio::test]
async fn a_legacy_completion_streams() {
    let event = r#"{"id":"c","object":"text_completion","model":"m","choices":[{"text":"hi","index":0,"finish_reason":null,"x":1.0}]}"#;
    let end = r#"{"id":"c","object":"text_completion","model":"m","choices":[{"text":"","index":0,"finish_reason":"stop"}]}"#;
    let body = lines(&[event, end, "[DONE]"]);
    let provider = Provider::always(vec![send(format!("{STREAM_HEAD}{}0\r\n\r\n", chunk(&body)))]).await;
    let daemon = Daemon::start(&routes(&[&provider], "")).await;
    let got = daemon.post("/v1/completions", &[], r#"{"model":"auto","prompt":"hello","stream":true}"#).await;
    assert_eq!((got.status, got.body), (200, body));
}

#[tokio::test]
async fn a_provider_gets_no_header_but_those_of_wire_10() {
    let provider = Provider::always(answers("x")).await;
    let daemon = Daemon::start(&routes(&[&provider], "api_key: sk-own-key")).await;
    let told = [
        ("authorization", "Bearer sk-client"),
        ("x-api-key", "sk-client"),
        ("api-key", "sk-client"),
        ("cookie", "a=b"),
        ("x-tollgate-task", "coding"),
        ("x-tollgate-labels", "a=b"),
        ("x-tollgate-max-cost", "9"),
        ("x-tollgate-session", "s"),
        ("x-tollgate-unheard-of", "x"),
        ("x-stainless-lang", "python"),
        ("user-agent", "OpenAI/Python"),
        ("accept-encoding", "gzip"),
        ("openai-beta", "assistants=v2"),
        ("openai-organization", "org"),
        ("anthropic-version", "2023-06-01"),
        ("idempotency-key", "i"),
        ("traceparent", "00-1-2-00"),
        ("baggage", "a=b"),
        ("referer", "http://x"),
        ("te", "trailers"),
        ("x-anything", "x"),
    ];
    // K26: a header named in `Connection` is dropped like the rest, and makes nothing else go away.
    let head = told.iter().chain(&[("connection", "authorization, close")]).copied().collect::<Vec<_>>();
    let got = daemon.post(CHAT, &head[..head.len() - 1], &chat(false)).await;
    assert_eq!(got.status, 400, "no target has a price, so none can be held to the declared ceiling: {got:?}");
    let head: Vec<_> = head.into_iter().filter(|(name, _)| *name != "x-tollgate-max-cost").collect();
    let got = daemon.post(CHAT, &head, &chat(false)).await;
    assert_eq!(got.status, 200, "{got:?}");
    let seen = provider.seen().remove(0);
    let mut names: Vec<String> = seen.head.lines().skip(1).map(|line| line.split(':').next().unwrap().to_ascii_lowercase()).collect();
    names.sort();
    assert_eq!(
        names,
        ["accept", "accept-encoding", "authorization", "content-length", "content-type", "host", "openai-beta", "user-agent"]
    );
    assert!(seen.head.starts_with("POST /v1/chat/completions HTTP/1.1"), "{}", seen.head);
    for (name, value) in [
        ("authorization", "Bearer sk-own-key"),
        ("user-agent", concat!("tollgate/", env!("CARGO_PKG_VERSION"))),
        ("accept-encoding", "identity"),
        ("openai-beta", "assistants=v2"),
        ("content-type", "application/json"),
        ("host", provider.address.to_string().as_str()),
    ] {
        assert_eq!(seen.header(name), Some(value));
    }
}

#[tokio::test]
async fn an_answer_carries_the_headers_of_wire_10() {
    let body = completion("hi").replace(r#""model":"m""#, r#""model":"m-2""#);
    let head = "server: x\r\nset-cookie: a=b\r\nalt-svc: h3\r\ncf-ray: 1\r\nopenai-organization: o\r\nstrict-transport-security: m\r\nx-ratelimit-remaining-requests: 3\r\nx-request-id: up-1\r\nx-other: 1";
    let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let failing = Provider::always(vec![send(json_answer("500 Internal Server Error", "{}"))]).await;
    let provider = Provider::always(vec![send(answer)]).await;
    let file = routes(&[&failing, &provider], "usd_per_mtok: { input: 1, output: 2 }");
    let file = file.replace("default:", "rules:\n  - { name: all, match: { task: coding }, chain: [p0/m, p1/m] }\ndefault:");
    let daemon = Daemon::start(&file).await;
    let got = daemon.post(CHAT, &[("x-tollgate-task", "coding")], &chat(false)).await;
    let revision = daemon.revision();
    for (name, value) in [
        ("x-tollgate-rule", "all"),
        ("x-tollgate-revision", revision.as_str()),
        ("x-tollgate-target", "p1/m"),
        ("x-tollgate-served-model", "m-2"),
        ("x-tollgate-task", "coding;source=declared"),
        ("x-tollgate-attempts", "2"),
        ("x-tollgate-fallback-index", "1"),
        ("x-tollgate-upstream-request-id", "up-1"),
        ("x-tollgate-cost-usd", "0.000015"),
        ("x-tollgate-usage-source", "provider"),
    ] {
        assert_eq!(got.header(name), Some(value), "{name}: {got:?}");
    }
    let id = got.header("x-request-id").unwrap();
    assert!(id.len() == 36 && got.header("request-id") == Some(id), "{got:?}");
    let timing = got.header("server-timing").unwrap();
    assert!(timing.contains("tollgate;dur=") && timing.contains("upstream;dur="), "{timing}");
    let known = [
        "content-type",
        "content-length",
        "date",
        "connection",
        "x-request-id",
        "request-id",
        "server-timing",
        "x-tollgate-rule",
        "x-tollgate-revision",
        "x-tollgate-target",
        "x-tollgate-served-model",
        "x-tollgate-task",
        "x-tollgate-attempts",
        "x-tollgate-fallback-index",
        "x-tollgate-upstream-request-id",
        "x-tollgate-cost-usd",
        "x-tollgate-usage-source",
    ];
    let strange: Vec<_> = got.headers.iter().map(|(name, _)| name.as_str()).filter(|name| !known.contains(name)).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[tokio::test]
async fn a_streams_answer_and_an_error_carry_them_too() {
    let provider = Provider::start(vec![streams("a", "b"), vec![send(json_answer("400 Bad Request", "{}"))]]).await;
    let daemon = Daemon::start(&routes(&[&provider], "")).await;
    let streamed = daemon.stream().await;
    let failed = daemon.chat().await;
    for got in [&streamed, &failed] {
        for (name, value) in [("x-tollgate-rule", "default"), ("x-tollgate-target", "p0/m"), ("x-tollgate-attempts", "1")] {
            assert_eq!(got.header(name), Some(value), "{got:?}");
        }
        assert!(got.header("x-request-id").is_some() && got.header("x-tollgate-revision").is_some());
    }
    assert!(streamed.header("server-timing").unwrap().contains("ttft;dur="));
    assert_eq!((failed.status, failed.header("x-should-retry")), (400, Some("false")));
}
