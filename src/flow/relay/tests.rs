use std::time::Duration;

use http::HeaderMap;

use super::*;
use crate::admit::Budgets;
use crate::config::{Env, Sources, read};
use crate::flow::classify::features;
use crate::flow::settle::{Bill, Booked, Place};
use crate::flow::{Asked, plan};
use crate::record::Sink;
use crate::rules::{Revision, RuleSet};
use crate::units::{Clock, Endpoint};
use crate::upstream::Resolver;
use crate::wire::Call;

const FIRST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";
const LAST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

/// What a client hears, with the second of each piece, of a provider that says each piece so many seconds after the one before.
async fn relayed(script: &[(u64, &'static str)]) -> Vec<(u64, Result<String, CutShort>)> {
    let file = "version: 1\nproviders:\n  box: { format: sandbox, models: { m: {} } }\ndefault: { chain: [box/m] }\n";
    let nothing = |_: &str| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    let checked = read(&Sources::new("routes.yaml", file), &Env { variable: &|_| None, file: &nothing, credential: &nothing }).0.unwrap();
    let clock = Clock::System;
    let parts = Arc::new(Parts::new(clock.clone(), Budgets::offline(clock.clone()), Resolver::System, Sink::to(std::io::sink()).0));
    let running = Arc::new(parts.adopt(RuleSet::from((checked, Revision { number: 1, hash: String::new() }))));
    let call = Arc::new(Call::parse(Endpoint::Chat, r#"{"model":"auto","stream":true,"messages":[]}"#.into(), 1).unwrap());
    let asked = Asked { request_id: "1".into(), call, headers: Arc::default(), caller: None, accepted: clock.now(), at: clock.wall() };
    let features = features(&asked.call, &asked.headers).unwrap();
    let plan = plan::plan(&running, running.rules().find(&features).unwrap(), &features);
    let bill = Bill::new(&running, 0, &asked.call, Tokens::ZERO, Tokens::ZERO);
    let mut tap = Tap::new(Endpoint::Chat, false, None);
    let mut ready = Vec::new();
    tap.push(FIRST.into(), &mut ready).unwrap();
    let stream = Box::new(Stream {
        lost: None,
        headers: HeaderMap::new(),
        body: ReplyBody::scripted(
            script.iter().map(|(wait, text)| (Duration::from_secs(*wait), Bytes::from_static(text.as_bytes()))).collect(),
        ),
        tap: Box::new(tap),
        ready,
        has_ended: false,
        ttft: Duration::ZERO,
        sent: clock.now(),
    });
    let account = Account::open(&parts, &running, &asked);
    let deadline = Deadline::of(plan.found.route, running.rules().server(), true);
    let booked = Booked::new(running.gate().reserve(0, Tokens::ZERO).unwrap().sent(), bill, &clock);
    let place = Place { entry: running.rests().enter(0, true).unwrap(), booked };
    let mut body = parts.relay(&running, &plan.steps[0], stream, deadline, account, place).body;
    let begun = Instant::now();
    let mut heard = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let text = frame.map(|frame| String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap());
        heard.push((begun.elapsed().as_secs(), text));
    }
    assert_eq!(parts.open_streams.load(Ordering::Relaxed), 1, "counted until the body is dropped");
    drop(body);
    assert_eq!(parts.open_streams.load(Ordering::Relaxed), 0);
    heard
}

fn seconds_of(heard: &[(u64, Result<String, CutShort>)], wanted: &str) -> Vec<u64> {
    heard.iter().filter(|(_, text)| text.as_ref().is_ok_and(|text| text.contains(wanted))).map(|(at, _)| *at).collect()
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_kept_alive_every_fifteen_seconds() {
    let heard = relayed(&[(40, FIRST), (20, LAST)]).await;
    assert_eq!(seconds_of(&heard, ": keep-alive\n\n"), [15, 30, 55], "{heard:?}");
    assert_eq!(seconds_of(&heard, "\"content\":\"a\""), [0, 40], "{heard:?}");
    assert_eq!(seconds_of(&heard, "[DONE]"), [60], "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_says_only_comments_is_alive_and_one_that_says_nothing_is_not() {
    let heard = relayed(&[(100, ": ping\n\n"), (100, ": ping\n\n"), (10, LAST)]).await;
    assert_eq!(seconds_of(&heard, "[DONE]"), [210], "{heard:?}");
    // 120 s is the longest silence that is waited for.
    let heard = relayed(&[(10, FIRST), (121, LAST)]).await;
    assert_eq!(seconds_of(&heard, "upstream_timeout"), [130], "{heard:?}");
    assert!(seconds_of(&heard, "[DONE]").is_empty() && heard.last().unwrap().1 == Err(CutShort), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_after_done_is_not_waited_for() {
    let heard = relayed(&[(1, LAST), (0, "data: [DONE]\n\n"), (600, ": late\n\n")]).await;
    assert_eq!(seconds_of(&heard, "[DONE]"), [2], "{heard:?}");
    assert!(heard.iter().all(|(_, piece)| piece.is_ok()), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn u20_what_comes_together_with_an_early_end_is_told_before_the_error() {
    let heard = relayed(&[(1, FIRST)]).await;
    assert_eq!(seconds_of(&heard, "\"content\":\"a\""), [0, 1], "{heard:?}");
    assert_eq!((seconds_of(&heard, "upstream_truncated"), heard.last().unwrap().1.clone()), (vec![1], Err(CutShort)), "{heard:?}");
}
