//! The end: nothing new is accepted, what is open finishes within its time, the rest is told that it was cut.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use tokio_util::sync::CancellationToken;

use crate::support::*;

/// A daemon in its drain.
struct Draining {
    daemon: Daemon,
    cut: CancellationToken,
    stopped: JoinHandle<()>,
}

/// `settings` go into `server:`.
fn file(provider: &Provider, settings: &str) -> String {
    let text = with_server(&routes(&[provider], ""));
    text.replace("early_head: off", &format!("early_head: off{settings}"))
}

/// Begins the drain, and waits until readiness says so.
async fn drain(daemon: Daemon) -> Draining {
    let cut = CancellationToken::new();
    let (app, now) = (Arc::clone(&daemon.app), cut.clone());
    let stopped = tokio::spawn(async move { app.stop(now.cancelled_owned()).await });
    while !stopped.is_finished() && daemon.admin("/readyz").await.status != 503 {
        tokio::task::yield_now().await;
    }
    Draining { daemon, cut, stopped }
}

impl Draining {
    /// Waits for the end, and answers how long it took from now.
    async fn end(self) -> (Daemon, Duration) {
        let begun = tokio::time::Instant::now();
        tokio::time::timeout(PATIENCE, self.stopped).await.expect("it does not stop").unwrap();
        (self.daemon, begun.elapsed())
    }
}

async fn stream_to(daemon: &Daemon) -> OpenCall {
    let mut open = OpenCall::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(true))).await;
    open.until("one ").await;
    open
}

#[tokio::test]
async fn l13_an_open_stream_finishes_while_nothing_new_is_accepted() {
    let gate = Gate::shut();
    let provider = Provider::always(streams_in_two("one ", &gate, "two")).await;
    let daemon = Daemon::start(&file(&provider, "")).await;
    let open = stream_to(&daemon).await;
    let (listen, admin) = (daemon.app.listen(), daemon.app.admin());
    let draining = drain(daemon).await;
    assert_eq!(draining.daemon.admin("/healthz").await.status, 200);
    assert!(TcpStream::connect(listen).await.is_err(), "new connections are refused");
    assert_eq!(draining.daemon.metric("tollgate_open_streams").await, 1, "metrics are told to the end");
    gate.open_wide();
    let got = open.rest().await;
    assert_eq!((got.text().as_str(), got.is_done(), got.is_whole), ("one two", true, true));
    let (daemon, _) = draining.end().await;
    assert!(TcpStream::connect(admin).await.is_err(), "the operators' listener closes last");
    let records = daemon.records.all();
    assert_eq!((records.len(), &records[0]["outcome"], &records[0]["status"]), (1, &"ok".into(), &200.into()));
}

#[tokio::test]
async fn l13_an_answer_under_way_is_given_whole_and_says_that_the_connection_closes() {
    let gate = Gate::shut();
    let provider = Provider::always([vec![Act::Gate(gate.clone())], answers("hello")].concat()).await;
    let daemon = Daemon::start(&file(&provider, "")).await;
    let request = post("/v1/chat/completions", &[], &chat(false)).replace("connection: close\r\n", "");
    let open = OpenCall::send(daemon.app.listen(), &request).await;
    eventually(|| (provider.count() == 1).then_some(())).await;
    let draining = drain(daemon).await;
    gate.open_wide();
    let got = open.rest().await;
    assert_eq!((got.status, got.text().as_str(), got.is_whole, got.header("connection")), (200, "hello", true, Some("close")));
    draining.end().await;
}

#[tokio::test]
async fn connections_without_a_request_do_not_hold_the_drain_up() {
    let provider = sound_provider("hello", false).await;
    let daemon = Daemon::start(&file(&provider, "")).await;
    let mut silent = TcpStream::connect(daemon.app.listen()).await.unwrap();
    let request = post("/v1/chat/completions", &[], &chat(false)).replace("connection: close\r\n", "");
    let mut idle = OpenCall::send(daemon.app.listen(), &request).await;
    idle.until("total_tokens\":12}}").await;
    eventually(|| (daemon.status()["connections"] == 2).then_some(())).await;
    let begun = tokio::time::Instant::now();
    let _folder = daemon.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!((idle.rest().await.status, silent.read(&mut [0]).await.unwrap()), (200, 0));
}

#[tokio::test]
async fn l13_a_stream_that_outlives_the_drain_is_told_so_and_never_looks_whole() {
    let provider = Provider::always(streams_in_two("one ", &Gate::shut(), "two")).await;
    let daemon = Daemon::start(&file(&provider, ", drain: 200ms")).await;
    let open = stream_to(&daemon).await;
    let draining = drain(daemon).await;
    let got = open.rest().await;
    assert_eq!((got.text().as_str(), got.stream_code().as_str(), got.is_done(), got.is_whole), ("one ", "draining", false, false));
    let (daemon, took) = draining.end().await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    let records = daemon.records.all();
    assert_eq!((&records[0]["outcome"], &records[0]["code"]), (&"cut_off".into(), &"draining".into()), "{records:?}");
    // We cut it, so the target is not to blame.
    assert_eq!(daemon.status()["providers"][0]["targets"][0]["state"], "ready");
}

#[tokio::test]
async fn l13_told_twice_the_daemon_cuts_at_once() {
    let provider = Provider::always(streams_in_two("one ", &Gate::shut(), "two")).await;
    let daemon = Daemon::start(&file(&provider, "")).await;
    let open = stream_to(&daemon).await;
    let draining = drain(daemon).await;
    draining.cut.cancel();
    let got = open.rest().await;
    assert_eq!((got.stream_code().as_str(), got.is_done(), got.is_whole), ("draining", false, false));
    let (_, took) = draining.end().await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn l13_an_answer_that_never_begins_is_refused_at_the_drains_end() {
    for (streamed, more) in [(false, ""), (true, ""), (false, ", on_client_disconnect: finish")] {
        let provider = Provider::always(vec![Act::Hang]).await;
        let daemon = Daemon::start(&file(&provider, &format!(", drain: 200ms{more}"))).await;
        let open = OpenCall::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(streamed))).await;
        eventually(|| (provider.count() == 1).then_some(())).await;
        let draining = drain(daemon).await;
        let got = open.rest().await;
        assert_eq!((got.status, got.code().as_str(), got.is_whole), (503, "draining", true), "{got:?}");
        assert_eq!((got.header("retry-after"), got.header("x-should-retry")), (Some("1"), Some("true")));
        let (daemon, _) = draining.end().await;
        let records = daemon.records.all();
        assert_eq!((&records[0]["status"], &records[0]["code"]), (&503.into(), &"draining".into()), "{records:?}");
        assert_eq!(daemon.status()["providers"][0]["targets"][0]["state"], "ready");
    }
}

#[tokio::test]
async fn a_stream_with_an_early_head_is_told_of_the_drains_end() {
    let provider = Provider::always(vec![Act::Hang]).await;
    let text = file(&provider, ", drain: 200ms").replace("early_head: off", "early_head: 100ms");
    let daemon = Daemon::start(&text).await;
    let mut open = OpenCall::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(true))).await;
    open.until("keep-alive").await;
    let draining = drain(daemon).await;
    let got = open.rest().await;
    assert_eq!((got.status, got.stream_code().as_str(), got.is_done(), got.is_whole), (200, "draining", false, false), "{got:?}");
    draining.end().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_hold_the_end_up() {
    let events: String = (0..2_000).map(|_| chunk(&content(&"x".repeat(4_000)))).collect();
    let provider = Provider::always(vec![send(format!("{STREAM_HEAD}{events}")), Act::Hang]).await;
    let daemon = Daemon::start(&file(&provider, ", drain: 200ms")).await;
    let mut deaf = TcpStream::connect(daemon.app.listen()).await.unwrap();
    deaf.write_all(post("/v1/chat/completions", &[], &chat(true)).as_bytes()).await.unwrap();
    eventually(|| (daemon.status()["open_streams"] == 1).then_some(())).await;
    let (_, took) = drain(daemon).await.end().await;
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn what_was_recorded_is_written_before_the_end() {
    let provider = sound_provider("hello", false).await;
    let daemon = Daemon::start(&file(&provider, "")).await;
    for _ in 0..5 {
        daemon.chat().await;
    }
    let records = daemon.records.clone();
    let _folder = daemon.stop().await;
    assert_eq!(records.all().len(), 5);
}
