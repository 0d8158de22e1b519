//! The traffic that must not notice: paced calls, open streams, and a limit that is always at its edge.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::client::Client;
use crate::mock::Script;
use crate::revisions::EDGE_MODEL;

pub(crate) const STREAMS: u32 = 50;
/// 12 connections with one call every 30 ms: 400 calls a second.
const CALLERS: u32 = 12;
const PACE: Duration = Duration::from_millis(30);

/// What the traffic saw so far.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) requests: u32,
    pub(crate) failed: u32,
    pub(crate) whole_streams: u32,
    pub(crate) cut_streams: u32,
    /// Answers whose rule, target, model and revision belong to more than one file.
    pub(crate) mixed: u32,
    pub(crate) edge_passed: u32,
    /// The first few faults, as they looked.
    pub(crate) first_faults: Vec<String>,
}

pub(crate) struct Traffic {
    to: SocketAddr,
    script: Script,
    seen: Mutex<Seen>,
    /// Which file each revision turned out to be.
    revisions: Mutex<HashMap<String, String>>,
    is_stopping: AtomicBool,
    busy: AtomicU32,
}

/// What one answer said about the file it followed.
struct Followed {
    number: String,
    is_one: bool,
}

impl Traffic {
    pub(crate) fn new(to: SocketAddr, script: Script) -> Self {
        let (seen, revisions, is_stopping, busy) = Default::default();
        Self { to, script, seen, revisions, is_stopping, busy }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets every open call and stream run to its end, and begins no more.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    fn goes_on(&self) -> bool {
        !self.is_stopping.load(Ordering::Relaxed)
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn fault(&self, what: String, change: impl FnOnce(&mut Seen)) {
        self.note(|seen| {
            change(seen);
            if seen.first_faults.len() < 5 {
                seen.first_faults.push(what);
            }
        });
    }

    /// Reads the rule, the target and the revision of an answer and holds them against each other.
    fn followed(&self, response: &Response<Incoming>) -> anyhow::Result<Followed> {
        let header = |name: &str| -> anyhow::Result<String> {
            Ok(response.headers().get(name).with_context(|| format!("no {name}"))?.to_str()?.to_owned())
        };
        let number = header("x-tollgate-rule")?.strip_prefix("rule-").context("another rule")?.to_owned();
        let is_target = header("x-tollgate-target")? == format!("mock/m-{number}");
        let mut revisions = self.revisions.lock().unwrap_or_else(PoisonError::into_inner);
        let known = revisions.entry(header("x-tollgate-revision")?).or_insert_with(|| number.clone());
        let is_one = is_target && *known == number;
        Ok(Followed { number, is_one })
    }

    fn judge(&self, followed: &Followed, answer: &[u8]) {
        let (wanted, any) = (format!("\"model\":\"m-{}\"", followed.number), "\"model\":\"m-");
        let count = |text: &str| memchr::memmem::find_iter(answer, text.as_bytes()).count();
        if !followed.is_one || count(&wanted) == 0 || count(&wanted) != count(any) {
            self.fault(format!("an answer of rule-{} that is not of one file", followed.number), |seen| seen.mixed += 1);
        }
    }
}

fn body(model: &str, stream: bool) -> Bytes {
    Bytes::from(format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}],"stream":{stream}}}"#))
}

pub(crate) fn start(traffic: &Arc<Traffic>, tasks: &mut JoinSet<bool>) {
    traffic.busy.store(STREAMS + CALLERS + 1, Ordering::Relaxed);
    for number in 0..CALLERS {
        tasks.spawn(counted(Arc::clone(traffic), calls(Arc::clone(traffic), Duration::from_micros(2500) * number)));
    }
    for number in 0..STREAMS {
        tasks.spawn(counted(Arc::clone(traffic), streams(Arc::clone(traffic), Duration::from_millis(19) * number)));
    }
    tasks.spawn(counted(Arc::clone(traffic), at_the_edge(Arc::clone(traffic))));
}

async fn counted(traffic: Arc<Traffic>, work: impl Future<Output = ()>) -> bool {
    work.await;
    traffic.busy.fetch_sub(1, Ordering::Relaxed);
    true
}

/// Calls at a fixed pace, on one connection as long as it holds.
async fn calls(traffic: Arc<Traffic>, offset: Duration) {
    let mut ticks = tokio::time::interval_at(Instant::now() + offset, PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client = None;
    while traffic.goes_on() {
        ticks.tick().await;
        match one_call(&traffic, &mut client).await {
            Ok(()) => traffic.note(|seen| seen.requests += 1),
            Err(error) => {
                client = None;
                traffic.fault(format!("failed request: {error:#}"), |seen| seen.failed += 1);
            }
        }
    }
}

async fn connected(client: &mut Option<Client>, to: SocketAddr) -> anyhow::Result<&mut Client> {
    if client.is_none() {
        *client = Some(Client::connect(to).await?);
    }
    client.as_mut().context("no connection")
}

async fn one_call(traffic: &Traffic, client: &mut Option<Client>) -> anyhow::Result<()> {
    let response = connected(client, traffic.to).await?.chat("run=reloads", None, body("auto", false)).await?;
    let status = response.status();
    let followed = traffic.followed(&response);
    let answer = response.into_body().collect().await?.to_bytes();
    ensure!(status == StatusCode::OK, "{status}: {}", String::from_utf8_lossy(&answer));
    traffic.judge(&followed?, &answer);
    Ok(())
}

/// One stream after the other.
async fn streams(traffic: Arc<Traffic>, offset: Duration) {
    tokio::time::sleep(offset).await;
    let mut client = None;
    while traffic.goes_on() {
        match one_stream(&traffic, &mut client).await {
            Ok(()) => traffic.note(|seen| seen.whole_streams += 1),
            Err(error) => {
                client = None;
                traffic.fault(format!("cut stream: {error:#}"), |seen| seen.cut_streams += 1);
            }
        }
    }
}

async fn one_stream(traffic: &Traffic, client: &mut Option<Client>) -> anyhow::Result<()> {
    let response = connected(client, traffic.to).await?.chat("run=reloads", None, body("auto", true)).await?;
    let status = response.status();
    let followed = traffic.followed(&response);
    let answer = response.into_body().collect().await?.to_bytes();
    ensure!(status == StatusCode::OK, "{status}: {}", String::from_utf8_lossy(&answer));
    let words = memchr::memmem::find_iter(&answer, b"\" word\"").count();
    if words != traffic.script.events as usize || !answer.ends_with(b"data: [DONE]\n\n") {
        bail!(
            "{words} of {} events, the end: {}",
            traffic.script.events,
            String::from_utf8_lossy(&answer[answer.len().saturating_sub(60)..])
        );
    }
    traffic.judge(&followed?, &answer);
    Ok(())
}

/// Asks ten times a second for what one call a minute is allowed.
async fn at_the_edge(traffic: Arc<Traffic>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let mut client = None;
    while traffic.goes_on() {
        ticks.tick().await;
        match edge_call(&traffic, &mut client).await {
            Ok(true) => traffic.note(|seen| seen.edge_passed += 1),
            Ok(false) => {}
            Err(error) => {
                client = None;
                traffic.fault(format!("at the edge: {error:#}"), |seen| seen.failed += 1);
            }
        }
    }
}

async fn edge_call(traffic: &Traffic, client: &mut Option<Client>) -> anyhow::Result<bool> {
    let response = connected(client, traffic.to).await?.chat("run=edge", None, body(EDGE_MODEL, false)).await?;
    let status = response.status();
    let answer = response.into_body().collect().await?.to_bytes();
    match status {
        StatusCode::OK => Ok(true),
        StatusCode::TOO_MANY_REQUESTS => Ok(false),
        other => bail!("{other}: {}", String::from_utf8_lossy(&answer)),
    }
}
