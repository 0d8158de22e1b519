//! Rest for a target that fails: when it begins, who may try meanwhile, and how it ends.

use std::time::Duration;

use tollgate::app::Options;
use tollgate::units::Clock;

use crate::support::*;

async fn standing_still(file: &str) -> (Daemon, Clock) {
    let clock = Clock::manual();
    let change = |options: &mut Options| options.clock = clock.clone();
    (Daemon::start_with(file, change).await, clock.clone())
}

fn state(daemon: &Daemon, target: usize) -> String {
    let status = daemon.status();
    let mut targets = status["providers"].as_array().unwrap().iter().flat_map(|provider| provider["targets"].as_array().unwrap());
    targets.nth(target).unwrap()["state"].as_str().unwrap().to_owned()
}

fn fails(status: &str) -> Vec<Act> {
    vec![send(json_answer(status, "{}"))]
}

const BROKEN: &str = "500 Internal Server Error";

fn without_retry(file: &str) -> String {
    file.replace("] }\n", "], retry: false }\n")
}

#[tokio::test]
async fn five_failures_rest_a_target_for_all_and_a_trial_ends_it() {
    let mut scripts = vec![fails(BROKEN); 5];
    scripts.push(answers("well again"));
    let ill = Provider::start(scripts).await;
    let sound = sound_provider("sound", false).await;
    let (daemon, clock) = standing_still(&routes(&[&ill, &sound], "")).await;
    let metric = r#"tollgate_target_resting{provider="p0",model="m"} "#;
    for count in 1..=5 {
        assert_eq!(state(&daemon, 0), "ready", "{count}");
        let got = daemon.chat().await;
        assert_eq!((got.target(), got.header("x-tollgate-attempts")), ("p1/m", Some("2")));
        clock.advance(Duration::from_secs(5));
    }
    assert_eq!(state(&daemon, 0), "resting");
    assert!(daemon.status()["providers"][0]["targets"][0]["cooldown_until"].is_string());
    assert_eq!(daemon.metric(metric).await, 1);
    for _ in 0..10 {
        let got = daemon.chat().await;
        assert_eq!((got.target(), got.header("x-tollgate-attempts")), ("p1/m", Some("1")), "nobody else tries it");
    }
    assert_eq!(ill.count(), 5);
    let record = daemon.records.wait_for(15).await.pop().unwrap();
    assert_eq!((record["skipped"][0]["reason"].as_str(), record["outcome"].as_str()), (Some("at_rest"), Some("ok")));
    // 20 s, a fifth more or less.
    clock.advance(Duration::from_secs(25));
    assert_eq!(daemon.chat().await.target(), "p0/m");
    assert_eq!(state(&daemon, 0), "ready");
    assert_eq!(daemon.metric(metric).await, 0);
}

#[tokio::test]
async fn failures_far_apart_or_with_successes_between_them_rest_nothing() {
    let ill = Provider::always(fails(BROKEN)).await;
    let sound = sound_provider("sound", false).await;
    let (daemon, clock) = standing_still(&routes(&[&ill, &sound], "")).await;
    for _ in 0..12 {
        daemon.chat().await;
        clock.advance(Duration::from_secs(8));
    }
    assert_eq!(state(&daemon, 0), "ready", "at most four in any thirty seconds");
    let scripts = (0..12).map(|index| if index % 5 == 4 { answers("x") } else { fails(BROKEN) }).collect();
    let moody = Provider::start(scripts).await;
    let (daemon, _clock) = standing_still(&routes(&[&moody, &sound], "")).await;
    for _ in 0..12 {
        daemon.chat().await;
        assert_eq!(state(&daemon, 0), "ready");
    }
}

#[tokio::test]
async fn a_failed_trial_rests_twice_as_long_and_only_one_is_out() {
    let gate = Gate::shut();
    let mut scripts = vec![fails(BROKEN)];
    scripts.push([vec![Act::Gate(gate.clone())], fails(BROKEN)].concat());
    let ill = Provider::start(scripts).await;
    let sound = sound_provider("sound", false).await;
    let (daemon, clock) = standing_still(&routes(&[&ill, &sound], "cooldown: { after: 1, rest: 10s }")).await;
    daemon.chat().await;
    assert_eq!(state(&daemon, 0), "resting");
    clock.advance(Duration::from_secs(13));
    let trial = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(false))).await;
    ill.wait_for_requests(2).await;
    for _ in 0..3 {
        assert_eq!(daemon.chat().await.header("x-tollgate-attempts"), Some("1"), "the trial is out, others pass by");
    }
    gate.open();
    assert_eq!(trial.rest().await.target(), "p1/m");
    clock.advance(Duration::from_secs(15));
    assert_eq!(state(&daemon, 0), "resting", "twenty seconds this time");
    clock.advance(Duration::from_secs(10));
    assert_eq!(state(&daemon, 0), "ready");
}

#[tokio::test]
async fn a_last_step_at_rest_is_probed_once_a_second() {
    let ill = Provider::always(fails(BROKEN)).await;
    let (daemon, clock) = standing_still(&without_retry(&routes(&[&ill], "cooldown: { after: 1, rest: 40s }"))).await;
    assert_eq!(daemon.chat().await.code(), "upstream_error");
    assert_eq!(state(&daemon, 0), "resting");
    assert_eq!(daemon.chat().await.code(), "upstream_error", "the one probe of this second");
    for _ in 0..4 {
        let got = daemon.chat().await;
        assert_eq!((got.status, got.code().as_str(), got.header("x-should-retry")), (503, "server_is_overloaded", Some("true")), "{got:?}");
        let wait: u64 = got.header("retry-after").unwrap().parse().unwrap();
        assert!((32..=48).contains(&wait), "{wait}");
    }
    assert_eq!(ill.count(), 2);
    clock.advance(Duration::from_secs(1));
    daemon.chat().await;
    daemon.chat().await;
    assert_eq!(ill.count(), 3);
}

#[tokio::test]
async fn a_probe_that_is_answered_ends_the_rest() {
    let ill = Provider::start(vec![fails(BROKEN), answers("well")]).await;
    let (daemon, _clock) = standing_still(&without_retry(&routes(&[&ill], "cooldown: { after: 1, rest: 60s }"))).await;
    daemon.chat().await;
    assert_eq!(daemon.chat().await.text(), "well");
    assert_eq!(state(&daemon, 0), "ready");
    assert_eq!(daemon.chat().await.text(), "well");
}

#[tokio::test]
async fn a_providers_retry_after_is_kept_to() {
    let limited = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 90\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    let ill = Provider::start(vec![vec![send(limited)], answers("well")]).await;
    let sound = sound_provider("sound", false).await;
    let (daemon, clock) = standing_still(&routes(&[&ill, &sound], "")).await;
    assert_eq!(daemon.chat().await.target(), "p1/m");
    for seconds in [40, 40, 9] {
        assert_eq!((state(&daemon, 0).as_str(), daemon.chat().await.target()), ("resting", "p1/m"));
        clock.advance(Duration::from_secs(seconds));
    }
    clock.advance(Duration::from_secs(2));
    assert_eq!(daemon.chat().await.target(), "p0/m");
}

#[tokio::test]
async fn a_rejected_key_takes_the_whole_provider_down_until_a_reload() {
    let ill = Provider::start(vec![fails("401 Unauthorized"), answers("well")]).await;
    let sound = sound_provider("sound", false).await;
    let file = routes(&[&ill, &sound], "").replacen("m: {}", "m: {}, n: {}", 1).replace("chain: [p0/m, p1/m]", "chain: [p0/m, p0/n, p1/m]");
    let (daemon, clock) = standing_still(&file).await;
    let got = daemon.chat().await;
    assert_eq!((got.target(), got.header("x-tollgate-attempts")), ("p1/m", Some("2")), "the other model has the same key: {got:?}");
    assert_eq!((state(&daemon, 0), state(&daemon, 1)), ("key_down".into(), "key_down".into()));
    clock.advance(Duration::from_mins(10));
    assert_eq!(daemon.chat().await.target(), "p1/m", "time alone brings no key back");
    assert_eq!(ill.seen().iter().filter(|seen| seen.head.starts_with("POST")).count(), 1);
    daemon.write(&format!("{file}# a new key\n"));
    assert!(daemon.app.reload(tollgate::reload::Cause::Command).await.ok);
    assert_eq!(daemon.chat().await.target(), "p0/m");
}

#[tokio::test]
async fn a_rest_outlives_a_reload_and_off_means_none() {
    let ill = Provider::always(fails(BROKEN)).await;
    let sound = sound_provider("sound", false).await;
    let file = routes(&[&ill, &sound], "cooldown: { after: 1, rest: 60s }");
    let (daemon, _clock) = standing_still(&file).await;
    daemon.chat().await;
    for round in 0..5 {
        daemon.write(&format!("{file}# {round}\n"));
        assert!(daemon.app.reload(tollgate::reload::Cause::Command).await.ok);
        assert_eq!(state(&daemon, 0), "resting");
    }
    assert_eq!((daemon.chat().await.target(), ill.count()), ("p1/m", 1));
    let (daemon, _clock) = standing_still(&routes(&[&ill, &sound], "cooldown: off")).await;
    for _ in 0..8 {
        assert_eq!(daemon.chat().await.header("x-tollgate-attempts"), Some("2"));
    }
    assert_eq!(state(&daemon, 0), "ready");
}
