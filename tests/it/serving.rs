//! The listener for applications: who is served, what is refused before a rule is looked at, and in which words.

use crate::support::*;

const PATH: &str = "/v1/chat/completions";

async fn daemon() -> (Daemon, Provider) {
    let provider = sound_provider("hello", false).await;
    (Daemon::start(&routes(&[&provider], "")).await, provider)
}

#[track_caller]
fn refused(got: &Got, status: u16, code: &str) {
    assert_eq!((got.status, got.code().as_str()), (status, code), "{got:?}");
    let error = &got.json()["error"];
    for key in ["message", "type", "param", "code"] {
        assert!(error.get(key).is_some(), "{key} is missing: {got:?}");
    }
    assert_eq!(got.header("content-type"), Some("application/json"));
    assert!(got.header("x-request-id").is_some() && got.header("request-id").is_some(), "{got:?}");
    assert!(got.header("x-tollgate-attempts").is_some() && got.header("x-should-retry").is_some(), "{got:?}");
}

#[tokio::test]
async fn a_keyless_listener_serves_only_programs_on_this_machine() {
    let (daemon, provider) = daemon().await;
    for (name, value) in [
        ("origin", "http://localhost:3000"),
        ("via", "1.1 nginx"),
        ("forwarded", "for=10.0.0.1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-host", "localhost"),
        ("x-forwarded-proto", "https"),
    ] {
        let got = daemon.post(PATH, &[(name, value)], &chat(false)).await;
        refused(&got, 401, "invalid_api_key");
        assert!(got.body.contains("tollgate key new"), "{got:?}");
    }
    let body = chat(false);
    for (host, served) in [
        ("localhost", true),
        ("LocalHost:8080", true),
        ("127.0.0.1:1", true),
        ("[::1]:8080", true),
        ("evil.example", false),
        ("127.0.0.1.evil.example", false),
        ("0.0.0.0", false),
        ("", false),
    ] {
        let text = post(PATH, &[], &body).replacen("host: localhost", &format!("host: {host}"), 1);
        let got = got(daemon.app.listen(), &text).await;
        assert_eq!(got.status, if served { 200 } else { 401 }, "{host}: {got:?}");
    }
    assert_eq!(provider.count(), 4);
    let twice = post(PATH, &[("host", "localhost")], &body);
    assert_eq!(got(daemon.app.listen(), &twice).await.status, 400, "two hosts are none");
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let (daemon, provider) = daemon().await;
    for (content_type, served) in [
        ("application/json", true),
        ("application/json; charset=utf-8", true),
        ("Application/JSON", true),
        ("text/plain", false),
        ("application/x-www-form-urlencoded", false),
        ("application/jsonp", false),
    ] {
        let text = post(PATH, &[], &chat(false)).replacen("application/json", content_type, 1);
        let got = got(daemon.app.listen(), &text).await;
        if served { assert_eq!(got.status, 200, "{content_type}") } else { refused(&got, 415, "unsupported_media_type") }
    }
    let none = post(PATH, &[], &chat(false)).replacen("content-type: application/json\r\n", "", 1);
    refused(&got(daemon.app.listen(), &none).await, 415, "unsupported_media_type");
    refused(&daemon.post(PATH, &[("content-encoding", "x")], &chat(false)).await, 415, "unsupported_encoding");
    assert_eq!(daemon.post(PATH, &[("content-encoding", "identity")], &chat(false)).await.status, 200);
    refused(&daemon.post(PATH, &[("expect", "200-maybe")], &chat(false)).await, 417, "invalid_parameter");
    assert_eq!(provider.count(), 4);
}

#[tokio::test]
async fn k08_a_body_above_the_limit_is_refused() {
    let provider = sound_provider("hello", false).await;
    let file = routes(&[&provider], "").replacen(
        "version: 1\n",
        "version: 1\nserver: { listen: 127.0.0.1:0, admin: 127.0.0.1:0, body_limit: 2KiB }\n",
        1,
    );
    let daemon = Daemon::start(&file).await;
    let large = chat(false).replace("hello", &"x".repeat(3_000));
    let address = daemon.app.listen();
    // Declared: refused before any of the body is there.
    let head =
        format!("POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", large.len());
    let mut line = Line::send(address, &head).await;
    line.until("request_too_large").await;
    assert!(line.text().starts_with("HTTP/1.1 413 "), "{}", line.text());
    refused(&daemon.ask(&large).await, 413, "request_too_large");
    // Chunked: refused when the limit is passed, although the end never came.
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut line = Line::send(address, &format!("{head}{}", chunk(&large))).await;
    line.until("request_too_large").await;
    let mut line = Line::send(address, &format!("{head}{}0\r\n\r\n", chunk(&chat(false)))).await;
    line.until("hello").await;
    assert_eq!(provider.count(), 1);
    // K16: who asks before sending is told no at once, or yes.
    let asking = |length: usize| {
        format!(
            "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let mut line = Line::send(address, &asking(large.len())).await;
    line.until("request_too_large").await;
    assert!(line.text().starts_with("HTTP/1.1 413 "), "{}", line.text());
    let mut line = Line::send(address, &asking(chat(false).len())).await;
    line.until("HTTP/1.1 100 ").await;
    line.send_more(&chat(false)).await;
    line.until("HTTP/1.1 200 ").await;
}

#[tokio::test]
async fn a_body_that_is_no_call_is_refused_with_its_reason() {
    let (daemon, provider) = daemon().await;
    for body in
        ["", "{", "[]", "\"x\"", "null", r#"{"model":"auto","messages":[]} x"#, "{\"model\":\"auto\",\"messages\":[],\"a\":\"\u{1}\"}"]
    {
        let got = daemon.ask(body).await;
        assert_eq!((got.status, got.code().as_str()), (400, "invalid_json"), "{body:?}: {got:?}");
    }
    for (body, param) in [
        (r#"{"model":"auto","messages":[],"model":"m"}"#, "model"),
        (r#"{"model":"auto","messages":[],"mod\u0065l":"m"}"#, "model"),
        (r#"{"model":"auto","messages":[],"stream":true,"stream":false}"#, "stream"),
        (r#"{"model":"auto","messages":[],"metadata":{"task":"a","task":"b"}}"#, "metadata.task"),
    ] {
        let got = daemon.ask(body).await;
        refused(&got, 400, "duplicate_key");
        assert_eq!(got.json()["error"]["param"], param);
    }
    for (field, param) in [
        (r#""stream":"true""#, "stream"),
        (r#""stream":1"#, "stream"),
        (r#""max_tokens":-1"#, "max_tokens"),
        (r#""max_tokens":0"#, "max_tokens"),
        (r#""max_tokens":1.5"#, "max_tokens"),
        (r#""max_tokens":"10""#, "max_tokens"),
        (r#""max_tokens":1e9"#, "max_tokens"),
        (r#""max_completion_tokens":-1"#, "max_completion_tokens"),
        (r#""n":0"#, "n"),
        (r#""n":1000000"#, "n"),
        (r#""n":5"#, "n"),
        (r#""best_of":5"#, "best_of"),
        (r#""stream_options":[]"#, "stream_options"),
        (r#""stream_options":{"include_usage":"yes"}"#, "stream_options.include_usage"),
    ] {
        let got = daemon.ask(&format!(r#"{{"model":"auto","messages":[],{field}}}"#)).await;
        refused(&got, 400, "invalid_parameter");
        assert_eq!(got.json()["error"]["param"], param, "{field}");
        assert_eq!(got.header("x-should-retry"), Some("false"));
    }
    for body in [r#"{"messages":[]}"#, r#"{"model":"","messages":[]}"#, r#"{"model":7,"messages":[]}"#, r#"{"model":"a\nb","messages":[]}"#]
    {
        let got = daemon.ask(body).await;
        refused(&got, 400, "invalid_parameter");
        assert_eq!(got.json()["error"]["param"], "model", "{body}");
    }
    for (name, value) in [("x-tollgate-task", "no task"), ("x-tollgate-max-cost", "cheap"), ("x-tollgate-labels", "a")] {
        let got = daemon.post(PATH, &[(name, value)], &chat(false)).await;
        refused(&got, 400, "invalid_parameter");
        assert_eq!(got.json()["error"]["param"], name);
    }
    assert_eq!(provider.count(), 0);
    assert_eq!(daemon.ask(r#"{"model":"auto","messages":[],"n":4}"#).await.status, 200);
}

#[tokio::test]
async fn max_n_bounds_how_many_answers_a_call_may_ask_for() {
    let provider = sound_provider("hello", false).await;
    let file =
        routes(&[&provider], "").replacen("version: 1\n", "version: 1\nserver: { listen: 127.0.0.1:0, admin: 127.0.0.1:0, max_n: 8 }\n", 1);
    let daemon = Daemon::start(&file).await;
    for (n, status) in [(8, 200), (9, 400)] {
        assert_eq!(daemon.ask(&format!(r#"{{"model":"auto","messages":[],"n":{n}}}"#)).await.status, status, "{n}");
    }
}

async fn asked(daemon: &Daemon, method: &str, path: &str) -> Got {
    got(daemon.app.listen(), &format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn paths_and_methods_that_are_none_are_refused_in_the_envelope() {
    let (daemon, _provider) = daemon().await;
    for path in ["/v1", "/v1/chat", "/v1/message", "/chat/completions", "/v1/chat/completions/", "/v2/models", "/x?y=z"] {
        let got = asked(&daemon, "GET", path).await;
        refused(&got, 404, "not_found");
    }
    for (method, path) in [
        ("GET", PATH),
        ("PUT", PATH),
        ("DELETE", "/v1/embeddings"),
        ("POST", "/v1/models"),
        ("DELETE", "/v1/models/p0%2Fm"),
        ("TRACE", PATH),
    ] {
        refused(&asked(&daemon, method, path).await, 405, "method_not_allowed");
    }
    refused(&asked(&daemon, "CONNECT", "localhost:80").await, 405, "method_not_allowed");
    refused(&asked(&daemon, "GET", &format!("/v1/models?x={}", "y".repeat(9_000))).await, 414, "uri_too_long");
    let plain = |got: &Got| (got.status, got.body.clone());
    assert_eq!(plain(&asked(&daemon, "HEAD", "/").await), (200, String::new()));
    assert_eq!(asked(&daemon, "HEAD", "/v1/models").await.status, 200);
    let options = asked(&daemon, "OPTIONS", PATH).await;
    assert_eq!(plain(&options), (204, String::new()));
    assert!(options.headers.iter().all(|(name, _)| !name.starts_with("access-control")), "{options:?}");
    assert_eq!(plain(&asked(&daemon, "GET", "/healthz").await), (200, "ok\n".into()));
    assert_eq!(plain(&asked(&daemon, "GET", "/readyz").await), (200, "ready\n".into()));
    assert_eq!(daemon.post("/v1/chat/completions?beta=true", &[], &chat(false)).await.status, 200, "unknown parameters are ignored");
}

#[tokio::test]
async fn k07_a_head_beyond_bounds_is_refused() {
    let (daemon, _provider) = daemon().await;
    let address = daemon.app.listen();
    let many = (0..120).fold(String::new(), |text, index| text + &format!("x-{index}: 1\r\n"));
    let large = format!("x-large: {}\r\n", "x".repeat(70_000));
    for headers in [many, large] {
        let mut line = Line::send(address, &format!("GET /v1/models HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")).await;
        while line.read().await > 0 {}
        assert!(line.text().starts_with("HTTP/1.1 431 "), "{:?}", line.text());
    }
    for garbage in [
        "\x16\x03\x01\x02\x00\x01\x00",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "GET / HTTP/1.1\nhost : x\n\n",
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: +5\r\n\r\n",
    ] {
        let mut line = Line::send(address, garbage).await;
        line.half_close().await;
        while line.read().await > 0 {}
        assert!(line.bytes.is_empty() || line.text().starts_with("HTTP/1.1 400 "), "{garbage:?}: {:?}", line.text());
    }
    assert_eq!(daemon.chat().await.status, 200);
}

#[tokio::test]
async fn k12_http_1_0_is_served_without_chunks() {
    let provider = Provider::always(streams("a", "b")).await;
    let daemon = Daemon::start(&routes(&[&provider], "")).await;
    let body = chat(true);
    let text = format!(
        "POST {PATH} HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut line = Line::send(daemon.app.listen(), &text).await;
    while line.read().await > 0 {}
    let text = line.text();
    assert!(text.starts_with("HTTP/1.0 200 OK\r\n") && !text.contains("transfer-encoding"), "{text}");
    assert!(text.split("\r\n\r\n").nth(1).unwrap().starts_with("data: ") && text.ends_with("data: [DONE]\n\n"), "{text}");
}

#[tokio::test]
async fn k13_pipelined_requests_are_answered_in_order() {
    let scripts = (0..50).map(|index| answers(&format!("answer-{index}"))).collect();
    let provider = Provider::start(scripts).await;
    let daemon = Daemon::start(&routes(&[&provider], "")).await;
    let one = post(PATH, &[], &chat(false)).replace("connection: close\r\n", "");
    let last = post(PATH, &[], &chat(false));
    let mut line = Line::send(daemon.app.listen(), &format!("{}{last}", one.repeat(49))).await;
    while line.read().await > 0 {}
    let text = line.text();
    let places: Vec<usize> = (0..50).map(|index| text.find(&format!("answer-{index}\"")).unwrap_or_else(|| panic!("{index}"))).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 50);
}

#[tokio::test]
async fn k15_an_upgrade_is_ignored_and_ends_the_connection() {
    let (daemon, _provider) = daemon().await;
    for protocol in ["h2c", "websocket"] {
        let text = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n");
        let got = Line::send(daemon.app.listen(), &text).await.rest().await;
        assert_eq!((got.status, got.header("connection")), (200, Some("close")), "{got:?}");
    }
}

#[tokio::test]
async fn k19_a_connection_above_the_cap_is_turned_away() {
    let provider = sound_provider("hello", false).await;
    let file = routes(&[&provider], "").replacen(
        "version: 1\n",
        "version: 1\nserver: { listen: 127.0.0.1:0, admin: 127.0.0.1:0, connections: 2 }\n",
        1,
    );
    let daemon = Daemon::start(&file).await;
    let open = [Line::send(daemon.app.listen(), "").await, Line::send(daemon.app.listen(), "").await];
    eventually(|| (daemon.status()["connections"] == 2).then_some(())).await;
    let refused = Line::send(daemon.app.listen(), "").await.rest().await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "server_is_overloaded"), "{refused:?}");
    assert_eq!((refused.header("retry-after"), refused.header("x-should-retry")), (Some("1"), Some("true")));
    assert_eq!(daemon.admin("/healthz").await.status, 200, "operators are not counted");
    drop(open);
    eventually(|| (daemon.status()["connections"] == 0).then_some(())).await;
    assert_eq!(daemon.chat().await.status, 200);
}

#[tokio::test]
async fn models_are_listed_for_both_kinds_of_clients() {
    let provider = sound_provider("hello", false).await;
    let rules = "rules:\n  - { name: a, match: { model: [gpt-4o, \"gpt-*\", known] }, chain: [p0/m] }\n";
    let daemon = Daemon::start(&routes(&[&provider], "").replace("default:", &format!("{rules}default:"))).await;
    let list = daemon.get("/v1/models").await.json();
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["auto", "gpt-4o", "p0/m"]);
    assert_eq!((list["object"].as_str(), list["has_more"].as_bool()), (Some("list"), Some(false)));
    assert_eq!((list["first_id"].as_str(), list["last_id"].as_str()), (Some("auto"), Some("p0/m")));
    for entry in list["data"].as_array().unwrap() {
        for key in ["id", "object", "created", "owned_by", "type", "display_name", "created_at"] {
            assert!(!entry[key].is_null(), "{key}: {entry}");
        }
    }
    assert_eq!(daemon.get("/v1/models?client_version=1").await.status, 200);
    for id in ["auto", "gpt-4o", "p0/m", "p0%2Fm", "p0%2fm", "m"] {
        let got = daemon.get(&format!("/v1/models/{id}")).await;
        assert_eq!(
            (got.status, got.json()["id"].as_str().map(str::to_owned)),
            (200, Some(id.replace("%2F", "/").replace("%2f", "/"))),
            "{id}"
        );
    }
    assert_eq!(daemon.get("/v1/models/p0%2Fm").await.json()["owned_by"], "p0");
    for id in ["other", "p0/x", "gpt-5", "%FF"] {
        refused(&daemon.get(&format!("/v1/models/{id}")).await, 404, "model_not_found");
    }
}
