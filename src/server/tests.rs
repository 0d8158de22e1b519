use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;
use tokio_util::io::InspectWriter;

use super::connection::{Service, Turns};
use super::*;
use crate::admit::{Budgets, Failures};
use crate::config::{Env, Sources, read};
use crate::record::Sink;
use crate::rules::{Revision, RuleSet};
use crate::units::Clock;
use crate::upstream::Resolver;

/// A client's end of a connection to a listener that has the sandbox behind it.
fn connected(server_settings: &str) -> DuplexStream {
    let file = format!(
        "version: 1\nserver: {{ {server_settings} }}\nproviders:\n  box: {{ format: sandbox, models: {{ m: {{}} }} }}\ndefault: {{ chain: [box/m] }}\n"
    );
    let nothing = |_: &str| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    let env = Env { variable: &|_| None, file: &nothing, credential: &nothing };
    let checked = read(&Sources::new("routes.yaml", file), &env).0.unwrap();
    let clock = Clock::System;
    let failures = Failures::new(clock.clone());
    let parts = Arc::new(Parts::new(clock.clone(), Budgets::offline(clock), Resolver::System, Sink::to(std::io::sink()).0));
    let running = parts.adopt(RuleSet::from((checked, Revision { number: 1, hash: String::new() })));
    let (client, stream) = tokio::io::duplex(64 << 10);
    let drain = Drain::default();
    let server = Arc::new(Server { parts, live: Arc::new(Live::new(running)), load: Arc::default(), drain: drain.clone(), failures });
    let service = http::Applications { server: Arc::clone(&server), peer: Some(([127, 0, 0, 1], 1).into()) };
    server.parts.tracker.spawn(async move { serve_connection(stream, service, &drain).await });
    client
}

fn post(body: &str, length: usize) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// Everything that comes, each read with its second.
async fn heard(client: &mut DuplexStream) -> Vec<(u64, String)> {
    let begun = Instant::now();
    let mut heard = Vec::new();
    let mut chunk = [0; 4 << 10];
    while let Ok(read @ 1..) = client.read(&mut chunk).await {
        heard.push((begun.elapsed().as_secs(), String::from_utf8_lossy(&chunk[..read]).into_owned()));
    }
    heard
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_content_is_kept_alive_every_fifteen_seconds() {
    let mut client = connected("");
    let body = r#"{"model":"auto","stream":true,"messages":[{"role":"user","content":"hang:50s"}]}"#;
    client.write_all(post(body, body.len()).as_bytes()).await.unwrap();
    let heard = heard(&mut client).await;
    let kept: Vec<u64> = heard.iter().filter(|(_, text)| text.contains(": keep-alive\n\n")).map(|(at, _)| *at).collect();
    assert_eq!(kept, [10, 25, 40], "{heard:?}");
    assert!(heard[0].1.starts_with("HTTP/1.1 200 OK\r\n"), "{heard:?}");
    let text: String = heard.iter().map(|(_, text)| text.as_str()).collect();
    assert!(text.contains("sandbox] ") && text.contains("data: [DONE]"), "{text}");
    assert!(heard.iter().find(|(_, text)| text.contains("data: ")).unwrap().0 >= 50);
}

#[tokio::test(start_paused = true)]
async fn k01_a_head_that_never_ends_closes_the_connection() {
    let mut client = connected("");
    let begun = Instant::now();
    let head = post("", 2);
    let mut bytes = head.bytes();
    // The other side has gone when a write fails.
    while let Some(byte) = bytes.next()
        && client.write_all(&[byte]).await.is_ok()
    {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let took = begun.elapsed().as_secs();
    assert!((10..=12).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn k02_a_body_slower_than_a_kibibyte_a_second_is_refused() {
    let mut client = connected("");
    let long = "x".repeat(4 << 10);
    client.write_all(post("{", 100_000).as_bytes()).await.unwrap();
    // Fast enough for a while: 10 s of grace, and a second for each KiB.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        client.write_all(long.as_bytes()).await.unwrap();
    }
    let begun = Instant::now();
    let mut heard = heard(&mut client).await;
    let (_, answer) = heard.remove(0);
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request_timeout"), "{answer}");
    assert!((9..=11).contains(&begun.elapsed().as_secs()), "12 s went by, and 22 s are what 12 KiB may take: {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_waits_as_long_as_its_deadline() {
    let mut client = connected("deadline: 30s");
    let body = r#"{"model":"auto","messages":[{"role":"user","content":"hang:9m"}]}"#;
    client.write_all(post(body, body.len()).as_bytes()).await.unwrap();
    let heard = heard(&mut client).await;
    assert!(heard[0].0 == 30 && heard[0].1.starts_with("HTTP/1.1 504 ") && heard[0].1.contains("upstream_timeout"), "{heard:?}");
}

/// Answers at once, with something left to be done.
#[derive(Clone)]
struct Hasty(Arc<Mutex<Vec<&'static str>>>);

struct Remainder(Arc<Mutex<Vec<&'static str>>>);

impl Drop for Remainder {
    fn drop(&mut self) {
        self.0.lock().unwrap().push("done");
    }
}

impl Service for Hasty {
    type Body = Full<Bytes>;
    type Epilogue = Remainder;

    async fn answer(self, _: Request<Incoming>, turns: &Turns<Remainder>) -> Result<Response<Full<Bytes>>, Infallible> {
        turns.end_with(Remainder(self.0));
        Ok(Response::new(Full::new(Bytes::from_static(b"{}"))))
    }
}

#[tokio::test]
async fn what_is_left_to_be_done_is_done_when_the_answer_has_been_written() {
    let order = Arc::<Mutex<Vec<&str>>>::default();
    let (mut client, stream) = tokio::io::duplex(64 << 10);
    let stream = InspectWriter::new(stream, {
        let order = Arc::clone(&order);
        move |_| order.lock().unwrap().push("written")
    });
    let (service, drain) = (Hasty(Arc::clone(&order)), Drain::default());
    tokio::join!(serve_connection(stream, service, &drain), async move {
        for _ in 0..2 {
            client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            let read = client.read(&mut [0; 1 << 10]).await.unwrap();
            assert!(read > 0);
        }
    });
    let mut order = order.lock().unwrap();
    // A head and its body are two slices.
    order.dedup();
    assert_eq!(*order, ["written", "done", "written", "done"]);
}
