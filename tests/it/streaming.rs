//! Streams as they flow: at once, kept alive, cut with the client, and never in another's way.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::*;

fn role() -> String {
    delta(r#"{"role":"assistant","content":""}"#, None)
}

fn with_server_of(settings: &str, file: &str) -> String {
    file.replacen("version: 1\n", &format!("version: 1\nserver: {{ listen: 127.0.0.1:0, admin: 127.0.0.1:0, {settings} }}\n"), 1)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test]
async fn an_event_written_alone_arrives_at_once() {
    const ROUNDS: usize = 7;
    let gate = Gate::shut();
    let end = format!("{}0\r\n\r\n", chunk(&delta("{}", Some("stop"))));
    let two = vec![
        send(format!("{STREAM_HEAD}{}", chunk(&content("first ")))),
        Act::Gate(gate.clone()),
        send(chunk(&content("second "))),
        Act::Gate(gate.clone()),
        send(end),
    ];
    let provider = Provider::start((0..ROUNDS).flat_map(|_| [answers("one"), answers("two"), two.clone()]).collect()).await;
    let daemon = Daemon::start(&routes(&[&provider], "")).await;
    let request = |stream| post("/v1/chat/completions", &[], &chat(stream)).replace("connection: close\r\n", "");
    let mut waits = Vec::new();
    for _ in 0..ROUNDS {
        // A connection that goes to and fro acknowledges late, in the hope of something to send along: a buffered write waits 40 ms for it.
        let mut line = Line::send(daemon.app.listen(), &request(false)).await;
        line.until("\"one\"").await;
        line.send_more(&request(false)).await;
        line.until("\"two\"").await;
        line.send_more(&request(true)).await;
        line.until("first ").await;
        let opened = Instant::now();
        gate.open();
        line.until("second ").await;
        waits.push(opened.elapsed());
        gate.open();
        line.until("data: [DONE]").await;
    }
    assert!(median(waits.clone()) < Duration::from_millis(30), "{waits:?}");
}

#[tokio::test]
async fn a_request_in_many_pieces_leaves_at_once() {
    let provider = Provider::always(answers("x")).await;
    let daemon = Daemon::start(&routes(&[&provider], "")).await;
    let body = chat(false).replace("Say hello.", &"hello ".repeat(50_000));
    let mut times = Vec::new();
    for _ in 0..7 {
        let begun = Instant::now();
        assert_eq!(daemon.ask(&body).await.status, 200);
        times.push(begun.elapsed());
    }
    assert!(median(times.clone()) < Duration::from_millis(30), "{times:?}");
}

#[tokio::test]
async fn the_status_goes_out_early_and_the_answer_follows() {
    let gate = Gate::shut();
    let acts = [
        vec![send(format!("{STREAM_HEAD}{}", chunk(&role()))), Act::Gate(gate.clone())],
        vec![send(chunk(&content("late"))), send(chunk(&delta("{}", Some("stop")))), send("0\r\n\r\n")],
    ]
    .concat();
    let provider = Provider::always(acts).await;
    let daemon = Daemon::start(&with_server_of("early_head: 50ms", &routes(&[&provider], ""))).await;
    let asked = Instant::now();
    let mut line = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(true))).await;
    line.until(": keep-alive\n\n").await;
    assert!((50..5_000).contains(&asked.elapsed().as_millis()), "{:?}", asked.elapsed());
    assert!(line.text().starts_with("HTTP/1.1 200 OK") && !line.text().contains("data:"), "{}", line.text());
    gate.open();
    let got = line.rest().await;
    assert_eq!((got.text().as_str(), got.is_done(), got.is_whole), ("late", true, true));
    assert!(got.header("x-request-id").is_some() && got.header("content-type").unwrap().starts_with("text/event-stream"));
    assert_eq!(daemon.records.wait_for(1).await[0]["outcome"], "ok");
}

#[tokio::test]
async fn after_an_early_status_another_target_may_still_answer() {
    let gate = Gate::shut();
    let failing = Provider::always(vec![Act::Gate(gate.clone()), send(json_answer("500 Internal Server Error", "{}"))]).await;
    let sound = sound_provider("sound", true).await;
    let daemon = Daemon::start(&with_server_of("early_head: 50ms", &routes(&[&failing, &sound], ""))).await;
    let mut line = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(true))).await;
    line.until(": keep-alive\n\n").await;
    gate.open();
    let got = line.rest().await;
    assert_eq!((got.text().as_str(), got.is_done()), ("sound!", true));
    assert_eq!(daemon.records.wait_for(1).await[0]["outcome"], "fell_back");
}

#[tokio::test]
async fn after_an_early_status_a_failure_is_told_in_the_stream() {
    let gate = Gate::shut();
    let failing = Provider::always(vec![Act::Gate(gate.clone()), send(json_answer("503 Service Unavailable", "{}"))]).await;
    let file = routes(&[&failing], "").replace("] }\n", "], retry: false }\n");
    let daemon = Daemon::start(&with_server_of("early_head: 50ms", &file)).await;
    let mut line = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(true))).await;
    line.until(": keep-alive\n\n").await;
    gate.open();
    let got = line.rest().await;
    assert_eq!((got.status, got.stream_code().as_str()), (200, "server_is_overloaded"), "{got:?}");
    assert!(!got.is_done() && !got.is_whole, "{got:?}");
    assert_eq!(daemon.records.wait_for(1).await[0]["outcome"], "failed");
}

#[tokio::test]
async fn a_call_that_is_not_streamed_gets_no_early_status() {
    let gate = Gate::shut();
    let provider = Provider::always([vec![Act::Gate(gate.clone())], answers("whole")].concat()).await;
    let daemon = Daemon::start(&with_server_of("early_head: 1ms", &routes(&[&provider], ""))).await;
    let mut line = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(false))).await;
    provider.wait_for_requests(1).await;
    tokio::time::timeout(Duration::from_millis(50), line.read()).await.expect_err("nothing comes before the answer");
    gate.open();
    assert_eq!(line.rest().await.text(), "whole");
}

/// How long the provider's connection stays open after its client left.
async fn closed_after(acts: Vec<Act>, streamed: bool, seen_first: &str, half: bool) -> Duration {
    let provider = Provider::always(acts).await;
    let daemon = Daemon::start(&routes(&[&provider], "")).await;
    let mut line = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(streamed))).await;
    provider.wait_for_requests(1).await;
    line.until(seen_first).await;
    let left = Instant::now();
    if half {
        line.half_close().await;
    } else {
        drop(line);
    }
    provider.wait_for_closed(1).await;
    let took = left.elapsed();
    let record = &daemon.records.wait_for(1).await[0];
    assert_eq!((record["outcome"].as_str(), record["status"].as_u64()), (Some("hung_up"), Some(499)), "{record}");
    let attempt = &record["attempts"][0];
    assert_eq!((attempt["target"].as_str(), attempt["fault"].as_str()), (Some("p0/m"), Some("client_gone")), "{record}");
    assert_eq!(attempt["phase"], if seen_first.is_empty() { "p1" } else { "p3" });
    assert_eq!(daemon.status()["providers"][0]["targets"][0]["state"], "ready");
    took
}

#[tokio::test]
async fn k04_k05_a_client_that_leaves_ends_the_providers_work() {
    let content = vec![send(format!("{STREAM_HEAD}{}", chunk(&content("half")))), Act::Hang];
    for (acts, streamed, first) in [
        (vec![Act::Hang], false, ""),
        (vec![Act::Hang], true, ""),
        (vec![send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"), Act::Hang], false, ""),
        (content.clone(), true, "half"),
    ] {
        let mut times = Vec::new();
        for _ in 0..3 {
            times.push(closed_after(acts.clone(), streamed, first, false).await);
        }
        assert!(median(times.clone()) < Duration::from_millis(100), "{acts:?} {times:?}");
    }
    // K06: half a close is a whole one.
    closed_after(content, true, "half", true).await;
}

#[tokio::test]
async fn k05_where_the_file_says_finish_the_answer_is_read_to_its_end() {
    for streamed in [true, false] {
        let gate = Gate::shut();
        let acts = if streamed {
            let usage = r#"data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#;
            let rest = [content(" rest"), delta("{}", Some("stop")), format!("{usage}\n\n"), "data: [DONE]\n\n".into()];
            let rest: String = rest.iter().map(|event| chunk(event)).collect();
            vec![send(format!("{STREAM_HEAD}{}", chunk(&content("half")))), Act::Gate(gate.clone()), send(format!("{rest}0\r\n\r\n"))]
        } else {
            [vec![Act::Gate(gate.clone())], answers("whole")].concat()
        };
        let provider = Provider::always(acts).await;
        let daemon = Daemon::start(&with_server_of("early_head: off, on_client_disconnect: finish", &routes(&[&provider], ""))).await;
        let mut line = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(streamed))).await;
        provider.wait_for_requests(1).await;
        line.until(if streamed { "half" } else { "" }).await;
        drop(line);
        eventually(|| (daemon.status()["connections"] == 0).then_some(())).await;
        gate.open();
        let record = &daemon.records.wait_for(1).await[0];
        assert_eq!(record["usage"]["input"], 9, "{record}");
        assert_eq!(record["outcome"], if streamed { "hung_up" } else { "ok" });
    }
}

#[tokio::test]
async fn a_slow_reader_gets_everything_and_holds_up_nobody() {
    let word = "x".repeat(1_000);
    let events: String = (0..8_000).map(|_| chunk(&content(&word))).collect();
    let end = format!("{}0\r\n\r\n", chunk(&delta("{}", Some("stop"))));
    let provider = Provider::start(vec![vec![send(format!("{STREAM_HEAD}{events}{end}"))], answers("quick")]).await;
    let daemon = Daemon::start(&routes(&[&provider], "")).await;
    let mut slow = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(true))).await;
    slow.until("data:").await;
    for _ in 0..20 {
        assert_eq!(daemon.chat().await.text(), "quick");
    }
    assert_eq!(daemon.status()["open_streams"], 1, "most of it still waits at the provider");
    let got = slow.rest().await;
    assert!(got.is_done() && got.is_whole);
    assert_eq!(got.text().len(), 8_000_000);
}

#[tokio::test]
async fn a_content_filter_before_any_content_falls_back_where_the_rule_says_so() {
    let blocked = completion("").replace(r#""finish_reason":"stop""#, r#""finish_reason":"content_filter""#);
    let stream = [role(), delta("{}", Some("content_filter")), "data: [DONE]\n\n".into()];
    let stream: String = stream.iter().map(|event| chunk(event)).collect();
    for streamed in [false, true] {
        let acts = if streamed { send(format!("{STREAM_HEAD}{stream}0\r\n\r\n")) } else { send(json_answer("200 OK", &blocked)) };
        let (strict, sound) = (Provider::always(vec![acts]).await, sound_provider("sound", streamed).await);
        let file = routes(&[&strict, &sound], "");
        let passed = Daemon::start(&file).await.ask(&chat(streamed)).await;
        assert_eq!((passed.status, passed.target()), (200, "p0/m"), "{passed:?}");
        assert!(passed.body.contains("content_filter"));
        let daemon = Daemon::start(&file.replace("] }\n", "], fallback_on: [content_policy] }\n")).await;
        let fell_back = daemon.ask(&chat(streamed)).await;
        assert_eq!((fell_back.status, fell_back.target()), (200, "p1/m"), "{fell_back:?}");
        assert!(fell_back.text().starts_with("sound"));
        let record = &daemon.records.wait_for(1).await[0];
        assert_eq!(record["attempts"][0]["class"], "content_policy", "{record}");
        assert_eq!(daemon.status()["providers"][0]["targets"][0]["state"], "ready");
        let alone = routes(&[&strict], "").replace("] }\n", "], fallback_on: [content_policy] }\n");
        let last = Daemon::start(&alone).await.ask(&chat(streamed)).await;
        assert_eq!(last.status, 200, "nobody else is there to ask: {last:?}");
    }
}
