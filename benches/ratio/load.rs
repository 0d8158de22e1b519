//! The load: a fixed number of connections, each with one request at a time.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::Client;
use crate::daemon::rss_kib;
use crate::gateway::{LABELS, MODEL, TASK};
use crate::process::CpuTime;

/// Before the clock starts: connections are made and code and caches are warm.
const WARM_UP: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Shape {
    /// A short chat call that declares its task, 64 connections.
    Small,
    /// A streamed chat call, 64 at once.
    Stream,
    /// A chat call with a prompt of 200 KB that declares its task, 16 connections.
    Large,
    /// The same two without a word on their task, so that it has to be recognised.
    SmallUndeclared,
    LargeUndeclared,
    /// One streamed call at a time: when the first event comes.
    FirstEvent,
    /// 200 short calls a second, one every 5 ms: what one call waits.
    Calm,
    /// 256 connections, to see the memory that they take.
    Connections,
}

impl Shape {
    pub(crate) const MEASURED: [Self; 7] =
        [Self::Small, Self::SmallUndeclared, Self::Stream, Self::Large, Self::LargeUndeclared, Self::FirstEvent, Self::Calm];

    fn connections(self) -> usize {
        match self {
            Self::Small | Self::SmallUndeclared | Self::Stream => 64,
            Self::Large | Self::LargeUndeclared => 16,
            Self::FirstEvent => 1,
            Self::Calm => 8,
            Self::Connections => 256,
        }
    }

    /// From one request of a connection to its next, however long it takes; none: the next follows the answer.
    fn gap(self) -> Option<Duration> {
        (self == Self::Calm).then(|| Duration::from_millis(40))
    }

    /// How much later than the one before it a connection begins: those that start together would ask and answer in step.
    fn stagger(self) -> Duration {
        if self == Self::Calm { Duration::from_millis(5) } else { Duration::from_micros(613) }
    }

    fn task(self) -> Option<&'static str> {
        matches!(self, Self::Small | Self::Stream | Self::Large).then_some(TASK)
    }

    fn body(self) -> Bytes {
        let (bytes, stream, max_tokens) = match self {
            Self::Small | Self::SmallUndeclared | Self::Calm | Self::Connections => (200, false, 256),
            Self::Stream => (200, true, 256),
            // Short, so that many first events are seen.
            Self::FirstEvent => (200, true, 4),
            Self::Large | Self::LargeUndeclared => (200_000, false, 256),
        };
        let sentence = "What is the capital of France, and which river runs through it? ";
        let prompt: String = sentence.chars().cycle().take(bytes).collect();
        let messages = format!(r#"[{{"role":"system","content":"Answer briefly."}},{{"role":"user","content":"{prompt}"}}]"#);
        let ending = if stream { r#","stream":true"# } else { "" };
        Bytes::from(format!(r#"{{"model":"{MODEL}","messages":{messages},"temperature":0.2,"max_tokens":{max_tokens}{ending}}}"#))
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) to: SocketAddr,
    pub(crate) shape: Shape,
    pub(crate) seconds: f64,
    /// Whose CPU time is read when the clock starts and when it stops.
    pub(crate) server: u32,
}

/// What one load saw while its clock ran.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) first_failure: String,
    pub(crate) events: u64,
    pub(crate) cpu_ns: u64,
    /// The server's memory when the clock stopped, every connection still open.
    pub(crate) rss_kib: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    /// Median time from the request to the first event with content.
    pub(crate) first_event_us: u64,
    /// How long each calm call took, the shortest first.
    pub(crate) calm_us: Vec<u64>,
}

/// What one connection saw.
#[derive(Default)]
struct Seen {
    times: Vec<Duration>,
    first_events: Vec<Duration>,
    events: u64,
    failure: Option<String>,
}

pub(crate) async fn under_load(load: Load) -> anyhow::Result<Told> {
    let begin = Instant::now() + WARM_UP;
    let end = begin + Duration::from_secs_f64(load.seconds);
    let mut connections = JoinSet::new();
    for number in 0..load.shape.connections() {
        connections.spawn(one_connection(load.to, load.shape, number, begin, end));
    }
    tokio::time::sleep_until(begin).await;
    let (before, started) = (CpuTime::of(load.server)?, Instant::now());
    tokio::time::sleep_until(end).await;
    let (cpu_ns, seconds) = (CpuTime::of(load.server)?.since(&before), started.elapsed().as_secs_f64());
    let mut told = Told { cpu_ns, seconds, rss_kib: rss_kib(load.server)?, ..Told::default() };
    let (mut times, mut first_events) = (Vec::new(), Vec::new());
    while let Some(seen) = connections.join_next().await {
        let seen = seen?;
        told.requests += seen.times.len() as u64;
        told.events += seen.events;
        times.extend(seen.times);
        first_events.extend(seen.first_events);
        if let Some(failure) = seen.failure {
            told.failed += 1;
            told.first_failure = failure;
        }
    }
    let (times, first_events) = (microseconds(times), microseconds(first_events));
    told.p50_us = percentile(&times, 50);
    told.p99_us = percentile(&times, 99);
    told.first_event_us = percentile(&first_events, 50);
    if load.shape == Shape::Calm {
        told.calm_us = times;
    }
    Ok(told)
}

/// The shortest first.
fn microseconds(mut times: Vec<Duration>) -> Vec<u64> {
    times.sort_unstable();
    times.into_iter().map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)).collect()
}

/// Of times of which the shortest comes first.
pub(crate) fn percentile(times: &[u64], percent: usize) -> u64 {
    let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default()
}

async fn one_connection(to: SocketAddr, shape: Shape, number: usize, begin: Instant, end: Instant) -> Seen {
    let mut seen = Seen::default();
    if let Err(error) = requests(to, shape, number, begin, end, &mut seen).await {
        seen.failure = Some(format!("{error:#}"));
    }
    seen
}

async fn requests(to: SocketAddr, shape: Shape, number: usize, begin: Instant, end: Instant, seen: &mut Seen) -> anyhow::Result<()> {
    let body = shape.body();
    tokio::time::sleep(shape.stagger() * u32::try_from(number)?).await;
    let mut client = Client::connect(to).await?;
    let mut due = Instant::now();
    while Instant::now() < end {
        one_request(&mut client, (shape.task(), body.clone()), begin..end, seen).await?;
        let now = Instant::now();
        if (begin..end).contains(&now) || shape == Shape::Connections {
            seen.times.push(now - due);
        }
        if shape == Shape::Connections {
            tokio::time::sleep_until(end + Duration::from_millis(500)).await;
        }
        due = match shape.gap() {
            None => Instant::now(),
            Some(gap) => due + gap,
        };
        wait_until(due).await;
    }
    Ok(())
}

/// To the microsecond: a timer goes by whole milliseconds, and calls that it lets go together would wait for each other.
async fn wait_until(due: Instant) {
    const TIMER: Duration = Duration::from_millis(2);
    if due.saturating_duration_since(Instant::now()) > TIMER {
        tokio::time::sleep_until(due - TIMER).await;
    }
    while Instant::now() < due {
        tokio::task::yield_now().await;
    }
}

async fn one_request(
    client: &mut Client,
    (task, body): (Option<&str>, Bytes),
    clock: std::ops::Range<Instant>,
    seen: &mut Seen,
) -> anyhow::Result<()> {
    let asked = Instant::now();
    let mut response = client.chat(LABELS, task, body).await?;
    let mut first_event = None;
    while let Some(frame) = response.frame().await {
        let frame = frame?;
        let Some(data) = frame.data_ref() else { continue };
        if response.status() != StatusCode::OK {
            bail!("{}: {}", response.status(), String::from_utf8_lossy(data));
        }
        let events = memchr::memmem::find_iter(data, b"data: ").count() as u64;
        let now = Instant::now();
        if first_event.is_none() && memchr::memmem::find(data, b"\"content\":\" ").is_some() {
            first_event = Some(now);
        }
        if clock.contains(&now) {
            seen.events += events;
        }
    }
    seen.first_events.extend(first_event.map(|at| at - asked));
    Ok(())
}
