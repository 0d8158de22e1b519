//! What is told about requests: metrics, records, and nothing of what was asked or answered.

use crate::support::*;

const NAMES: [&str; 15] = [
    "tollgate_requests_total",
    "tollgate_attempts_total",
    "tollgate_added_latency_seconds_bucket",
    "tollgate_ttft_seconds_bucket",
    "tollgate_config_reloads_total",
    "tollgate_config_reload_failures_total",
    "tollgate_config_last_reload_success",
    "tollgate_config_present",
    "tollgate_limit_remaining",
    "tollgate_target_resting",
    "tollgate_connections",
    "tollgate_open_streams",
    "tollgate_records_dropped_total",
    "tollgate_alerts_total",
    "tollgate_alerts_lost_total",
];

#[tokio::test]
async fn every_metric_is_there_and_counts() {
    let failing = Provider::always(vec![send(json_answer("500 Internal Server Error", "{}"))]).await;
    let gate = Gate::shut();
    let held = vec![send(format!("{STREAM_HEAD}{}", chunk(&content("half")))), Act::Gate(gate.clone()), Act::Close];
    let sound = Provider::start(vec![answers("x"), streams("a", "b"), held]).await;
    let file = routes(&[&failing, &sound], "limits: { requests: 100/hour }")
        .replace("default:", "rules:\n  - { name: none-of-these, match: { task: x }, chain: [p0/m] }\n  - { name: streams, match: { stream: true }, chain: [p1/m] }\ndefault:");
    let daemon = Daemon::start(&file).await;
    daemon.chat().await;
    daemon.stream().await;
    let mut open = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(true))).await;
    open.until("half").await;
    daemon.write(&format!("{file}# more\n"));
    assert!(daemon.app.reload(tollgate::reload::Cause::Command).await.ok);
    daemon.write("version: 2\n");
    assert!(!daemon.app.reload(tollgate::reload::Cause::Command).await.ok);
    let scraped = daemon.admin("/metrics").await;
    assert!(scraped.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    for name in NAMES {
        assert!(scraped.body.lines().any(|line| line.starts_with(name)), "{name} is missing in\n{}", scraped.body);
    }
    for (line, value) in [
        (r#"tollgate_requests_total{rule="default",outcome="fell_back"}"#, 1),
        (r#"tollgate_requests_total{rule="streams",outcome="ok"}"#, 1),
        (r#"tollgate_requests_total{rule="none-of-these",outcome="ok"}"#, 0),
        (r#"tollgate_attempts_total{provider="p0",model="m",fault="server_error",phase="p2",outcome="failed"}"#, 1),
        (r#"tollgate_attempts_total{provider="p1",model="m",fault="none",phase="p4",outcome="ok"}"#, 2),
        ("tollgate_added_latency_seconds_count", 2),
        (r#"tollgate_ttft_seconds_count{provider="p1",model="m"}"#, 1),
        ("tollgate_config_last_reload_success", 0),
        ("tollgate_config_present", 1),
        (r#"tollgate_target_resting{provider="p0",model="m"}"#, 0),
        ("tollgate_connections", 1),
        ("tollgate_open_streams", 1),
        ("tollgate_records_dropped_total", 0),
    ] {
        assert_eq!(daemon.metric(&format!("{line} ")).await, value, "{line} in\n{}", scraped.body);
    }
    // The watcher may have seen the saved files as well.
    assert!(daemon.metric("tollgate_config_reloads_total ").await >= 2);
    assert!(daemon.metric("tollgate_config_reload_failures_total ").await >= 1);
    gate.open();
    open.rest().await;
    daemon.records.wait_for(3).await;
    let cut = r#"tollgate_requests_total{rule="streams",outcome="cut_off"} "#;
    assert_eq!(daemon.metric(cut).await, 1);
    assert_eq!(daemon.metric("tollgate_open_streams ").await, 0);
}

#[tokio::test]
async fn operators_are_answered_only_under_names_of_this_machine() {
    let sound = sound_provider("x", false).await;
    let daemon = Daemon::start(&routes(&[&sound], "")).await;
    let asked = |host: &str, path: &str, method: &str| {
        let text = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let admin = daemon.app.admin();
        async move { got(admin, &text).await.status }
    };
    for (host, path, method, status) in [
        ("localhost", "/healthz", "GET", 200),
        ("127.0.0.1:8081", "/readyz", "GET", 200),
        ("[::1]:8081", "/status", "GET", 200),
        ("evil.example", "/metrics", "GET", 421),
        ("evil.example:8081", "/healthz", "GET", 421),
        ("localhost", "/metrics", "POST", 405),
        ("localhost", "/v1/chat/completions", "GET", 404),
    ] {
        assert_eq!(asked(host, path, method).await, status, "{method} {path} for {host}");
    }
    for path in ["/metrics", "/status"] {
        assert_eq!(daemon.get(path).await.status, 404, "never on the applications' port");
    }
    assert_eq!(daemon.admin("/status").await.json()["revision"].as_str(), Some(daemon.revision().as_str()));
}

#[tokio::test]
async fn a_record_tells_the_whole_story() {
    let failing = Provider::always(vec![send(json_answer("500 Internal Server Error", "{}"))]).await;
    let sound = Provider::always(streams("a", "b")).await;
    let file = routes(&[&failing, &sound], "usd_per_mtok: { input: 1, output: 2 }");
    let daemon = Daemon::start(&file).await;
    let headers = [("x-tollgate-task", "coding"), ("x-tollgate-labels", "team=search,run=7")];
    let got = daemon.post("/v1/chat/completions", &headers, &chat(true)).await;
    let record = &daemon.records.wait_for(1).await[0];
    for (path, value) in [
        ("/request_id", serde_json::json!(got.header("x-request-id"))),
        ("/endpoint", "chat".into()),
        ("/rule", "default".into()),
        ("/revision", serde_json::json!(daemon.revision())),
        ("/task", "coding".into()),
        ("/task_source", "declared".into()),
        ("/requested_model", "auto".into()),
        ("/stream", true.into()),
        ("/labels", serde_json::json!({"team": "search", "run": "7"})),
        ("/target", "p1/m".into()),
        ("/outcome", "fell_back".into()),
        ("/status", 200.into()),
        ("/attempts/0/target", "p0/m".into()),
        ("/attempts/0/fault", "server_error".into()),
        ("/attempts/0/class", "server_error".into()),
        ("/attempts/0/phase", "p2".into()),
        ("/attempts/0/status", 500.into()),
        ("/attempts/1/target", "p1/m".into()),
        ("/attempts/1/phase", "p4".into()),
        ("/usage/input", 9.into()),
        ("/usage/output", 2.into()),
        ("/usage_source", "provider".into()),
        // 9 at a millionth of a dollar and 2 at two.
        ("/cost_nano_usd", 13_000.into()),
    ] {
        assert_eq!(record.pointer(path), Some(&value), "{path} in {record:#}");
    }
    for path in ["/served_model", "/code", "/caller", "/tags", "/attempts/1/fault"] {
        assert_eq!(record.pointer(path), None, "{path} in {record:#}");
    }
    for path in ["/ttft_ms", "/duration_ms", "/own_ms", "/attempts/0/duration_ms"] {
        assert!(record.pointer(path).unwrap().as_f64().unwrap() >= 0.0, "{path} in {record:#}");
    }
    assert!(record["at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    assert!(record["own_ms"].as_f64() <= record["duration_ms"].as_f64());
}

#[tokio::test]
async fn every_outcome_has_its_record() {
    let broken = || send(json_answer("500 Internal Server Error", "{}"));
    let cut = vec![send(format!("{STREAM_HEAD}{}", chunk(&content("half")))), Act::Close];
    let first = Provider::start(vec![answers("x"), vec![broken()], vec![broken()], cut, vec![Act::Hang]]).await;
    let second = Provider::start(vec![answers("y"), vec![broken()]]).await;
    let file = routes(&[&first, &second], "can: [tools]").replace("p1/m] }\n", "p1/m], retry: false }\n");
    let daemon = Daemon::start(&file).await;
    daemon.chat().await;
    daemon.chat().await;
    let failed = daemon.chat().await;
    daemon.stream().await;
    let line = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(false))).await;
    first.wait_for_requests(5).await;
    drop(line);
    daemon.records.wait_for(5).await;
    let refused = daemon.ask(&chat(false).replace("\"Say hello.\"", r#"[{"type":"image_url","image_url":{"url":"x"}}]"#)).await;
    let records = daemon.records.wait_for(6).await;
    let told: Vec<_> = records
        .iter()
        .map(|record| (record["outcome"].as_str().unwrap(), record["status"].as_u64().unwrap(), record["code"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("ok", 200, None),
            ("fell_back", 200, None),
            ("failed", u64::from(failed.status), Some(failed.code().as_str())),
            ("cut_off", 200, Some("upstream_truncated")),
            ("hung_up", 499, None),
            ("refused", u64::from(refused.status), Some("unsupported_parameter")),
        ]
    );
    assert_eq!(records[5]["skipped"][1]["reason"], "needs");
    assert!(records.iter().all(|record| record["request_id"].as_str().unwrap().len() == 36));
}

#[tokio::test]
async fn neither_content_nor_keys_are_told_anywhere() {
    let told = r#"{"error":{"message":"bad key sk-own-key-1234567890 at SECRET-HOST for PROMPT-WORD","type":"x","param":null,"code":"invalid_api_key"}}"#;
    let refusing = Provider::always(vec![send(json_answer("401 Unauthorized", told))]).await;
    let server = Provider::always(vec![send(json_answer("500 Internal Server Error", &told.replace("invalid_api_key", "boom")))]).await;
    let sound = Provider::start(vec![answers("ANSWER-WORD"), streams("ANSWER-WORD", "x")]).await;
    let daemon = Daemon::start(&routes(&[&refusing, &server, &sound], "api_key: sk-own-key-1234567890")).await;
    let body = |stream| chat(stream).replace("Say hello.", "PROMPT-WORD");
    let key = [("authorization", "Bearer sk-client-key-123456")];
    daemon.post("/v1/chat/completions", &key, &body(false)).await;
    daemon.post("/v1/chat/completions", &key, &body(true)).await;
    let alone = Daemon::start(&routes(&[&refusing, &server], "api_key: sk-own-key-1234567890")).await;
    let failed = alone.post("/v1/chat/completions", &key, &body(false)).await;
    let bad = daemon.ask(r#"{"model":"auto","messages":[{"role":"user","content":"PROMPT-WORD"}],"stream":"PROMPT-WORD","n":0}"#).await;
    daemon.records.wait_for(2).await;
    alone.records.wait_for(1).await;
    for (what, text) in [
        ("records", format!("{:?}{:?}", daemon.records.all(), alone.records.all())),
        ("metrics", daemon.admin("/metrics").await.body + &alone.admin("/metrics").await.body),
        ("status", daemon.status().to_string()),
        ("an error", failed.body + &format!("{:?}", failed.headers)),
        ("a refusal", bad.body),
    ] {
        for word in ["PROMPT-WORD", "ANSWER-WORD", "sk-own-key", "sk-client-key", "SECRET-HOST"] {
            assert!(!text.contains(word), "{word} stands in {what}: {text}");
        }
    }
    let address = refusing.address.to_string();
    assert!(!bad.headers.iter().any(|(_, value)| value.contains(&address)));
}
