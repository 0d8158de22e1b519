//! What a reload keeps: the requests under way, the limits, the rests, and the rules in force when the new file is refused.

use std::fs;

use serde_json::Value;
use tollgate::reload::Cause;

use crate::support::*;

/// A file with one rule for chat calls, its chain, and a default that is another one.
fn named(rule: &str, providers: &[&Provider], chain: &str, settings: &str) -> String {
    let text = routes(providers, settings);
    let rules = format!("rules:\n  - {{ name: {rule}, match: {{ endpoint: chat }}, chain: [{chain}] }}\ndefault:");
    text.replace("default:", &rules)
}

fn limit(daemon: &Daemon, name: &str) -> u64 {
    let status = daemon.status();
    let limits = status["providers"].as_array().unwrap().iter().flat_map(|provider| provider["limits"].as_array().unwrap());
    limits.clone().find(|limit| limit["name"] == name).unwrap_or_else(|| panic!("no limit {name}"))["remaining"].as_u64().unwrap()
}

fn target(daemon: &Daemon, name: &str) -> Value {
    let status = daemon.status();
    let mut targets = status["providers"].as_array().unwrap().iter().flat_map(|provider| provider["targets"].as_array().unwrap());
    targets.find(|target| target["name"] == name).unwrap_or_else(|| panic!("no target {name}")).clone()
}

#[tokio::test]
async fn one_request_sees_one_rule_set_from_first_byte_to_record() {
    let gate = Gate::shut();
    let (old, new) = (Provider::always(streams_in_two("one ", &gate, "two")).await, sound_provider("new", false).await);
    let daemon = Daemon::start(&named("first", &[&old, &new], "p0/m", "")).await;
    let before = daemon.revision();
    let mut open = OpenCall::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(true))).await;
    open.until("one ").await;

    daemon.write(&named("second", &[&old, &new], "p1/m", ""));
    let after = daemon.wait_for_another(&before).await;
    let next = daemon.chat().await;
    assert_eq!(
        (next.target(), next.header("x-tollgate-rule"), next.header("x-tollgate-revision")),
        ("p1/m", Some("second"), Some(&*after))
    );

    gate.open_wide();
    let streamed = open.rest().await;
    assert_eq!((streamed.text().as_str(), streamed.is_done(), streamed.is_whole), ("one two", true, true));
    assert_eq!((streamed.header("x-tollgate-rule"), streamed.header("x-tollgate-revision")), (Some("first"), Some(&*before)));
    let records = daemon.records.wait_for(2).await;
    let told: Vec<_> = records.iter().map(|record| (record["rule"].as_str().unwrap(), record["revision"].as_str().unwrap())).collect();
    assert_eq!(told, [("second", &*after), ("first", &*before)]);
}

#[tokio::test]
async fn one_request_falls_back_by_the_rule_set_it_began_with() {
    let gate = Gate::shut();
    let fails = Provider::always(vec![Act::Gate(gate.clone()), send(json_answer("503 Service Unavailable", "{}"))]).await;
    let (old, new) = (sound_provider("old", false).await, sound_provider("new", false).await);
    let daemon = Daemon::start(&named("first", &[&fails, &old, &new], "p0/m, p1/m", "")).await;
    let before = daemon.revision();
    let open = OpenCall::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(false))).await;
    eventually(|| (fails.count() == 1).then_some(())).await;
    daemon.write(&named("first", &[&fails, &old, &new], "p0/m, p2/m", ""));
    daemon.wait_for_another(&before).await;
    gate.open_wide();
    let got = open.rest().await;
    assert_eq!((got.text().as_str(), got.target(), got.header("x-tollgate-revision")), ("old", "p1/m", Some(&*before)));
    assert_eq!(new.count(), 0);
}

#[tokio::test]
async fn a_bad_file_never_replaces_a_good_one() {
    let provider = sound_provider("hello", false).await;
    let good = routes(&[&provider], "");
    let daemon = Daemon::start(&good).await;
    let revision = daemon.revision();
    assert_eq!((daemon.metric("tollgate_config_last_reload_success").await, daemon.reloads().await), (1, (0, 0)));
    daemon.write(&good.replace("[p0/m]", "[p0/n]"));
    let said = daemon.wait_for_refusal().await;
    assert!(said.contains("routes.yaml:") && said.ends_with(&format!("not reloaded: revision {revision} goes on\n")), "{said}");
    assert_eq!((daemon.metric("tollgate_config_last_reload_success").await, daemon.reloads().await), (0, (1, 1)));
    // Asked for by hand it is refused in the same words.
    let verdict = daemon.app.reload(Cause::Command).await;
    assert_eq!((verdict.ok, verdict.text, verdict.revision), (false, said, revision.clone()));
    assert_eq!(daemon.reloads().await, (2, 2));
    // Taken back, all is well and nothing changed.
    daemon.write(&good);
    daemon.wait_for_reload(|last| last["ok"] == true).await;
    assert_eq!((daemon.metric("tollgate_config_last_reload_success").await, daemon.revision()), (1, revision.clone()));
    daemon.write(&named("better", &[&provider], "p0/m", ""));
    daemon.wait_for_another(&revision).await;
    assert_eq!((daemon.metric("tollgate_config_last_reload_success").await, daemon.chat().await.status), (1, 200));
}

#[tokio::test]
async fn every_kind_of_bad_file_is_refused_in_words_that_fit() {
    let provider = sound_provider("hello", false).await;
    let good = routes(&[&provider], "");
    let daemon = Daemon::start(&good).await;
    let revision = daemon.revision();
    let mut tried = 0;
    for (text, part) in [
        (good.replace("[p0/m]", "[p0/n]"), "p0/n"),
        (good.replace("version: 1", "version: 1\nrulez: []"), "rulez"),
        (good.replace("version: 1", "version: 1\notlp: {}"), "otlp"),
        (good.replace("format: openai", "api_key: \"${TOLLGATE_NOT_THERE}\", format: openai"), "TOLLGATE_NOT_THERE"),
        (format!("{good}tests:\n  - {{ name: never, expect: {{ refusal: no_provider }} }}\n"), "test `never` expects"),
        (String::new(), "half-written"),
        ("just words\n".into(), "routes.yaml:1:1"),
    ] {
        assert_ne!(text, good);
        fs::write(daemon.file(), with_server(&text)).unwrap();
        tried += 1;
        let last =
            daemon.wait_for_reload(|last| last["ok"] == false && last["text"].as_str().is_some_and(|text| text.contains(part))).await;
        assert!(last["text"].as_str().unwrap().ends_with(&format!("revision {revision} goes on\n")), "{last}");
        assert_eq!((daemon.chat().await.header("x-tollgate-revision"), daemon.admin("/readyz").await.status), (Some(&*revision), 200));
        assert_eq!((daemon.metric("tollgate_config_last_reload_success").await, daemon.reloads().await), (0, (tried, tried)), "{part}");
    }
}

#[tokio::test]
async fn a_reload_loses_no_state_of_an_unchanged_limit() {
    let provider = sound_provider("hello", false).await;
    let file = |rule: &str| named(rule, &[&provider], "p0/m", "limits: { requests: 4/hour, tokens: 100k/hour }");
    let daemon = Daemon::start(&file("first")).await;
    assert_eq!((daemon.chat().await.status, daemon.chat().await.status), (200, 200));
    let tokens = limit(&daemon, "p0.tokens");
    assert_eq!(limit(&daemon, "p0.requests"), 2);
    for round in 0..20 {
        daemon.write(&file(&format!("rule-{round}")));
        assert!(daemon.app.reload(Cause::Command).await.changed);
    }
    assert_eq!(limit(&daemon, "p0.requests"), 2);
    assert!(limit(&daemon, "p0.tokens").abs_diff(tokens) < 1_000, "only time refills it");
    assert_eq!((daemon.chat().await.status, daemon.chat().await.status), (200, 200));
    let refused = daemon.chat().await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limit_exceeded"));
}

#[tokio::test]
async fn a_reload_loses_no_seat_that_is_taken() {
    let gate = Gate::shut();
    let provider = Provider::always(streams_in_two("one ", &gate, "two")).await;
    let file = |rule: &str| named(rule, &[&provider], "p0/m", "limits: { concurrent: 1 }");
    let daemon = Daemon::start(&file("first")).await;
    let mut open = OpenCall::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(true))).await;
    open.until("one ").await;
    daemon.write(&file("second"));
    assert!(daemon.app.reload(Cause::Command).await.changed);
    assert_eq!((limit(&daemon, "p0.concurrent"), daemon.stream().await.status), (0, 429));
    gate.open_wide();
    assert!(open.rest().await.is_done());
    eventually(|| (limit(&daemon, "p0.concurrent") == 1).then_some(())).await;
    assert_eq!(daemon.stream().await.status, 200);
}

#[tokio::test]
async fn a_reload_loses_no_cooldown() {
    let (fails, sound) = (Provider::always(vec![Act::Reset]).await, sound_provider("sound", false).await);
    let file = |rule: &str| named(rule, &[&fails, &sound], "p0/m, p1/m", "cooldown: { after: 1, rest: 60s }");
    let daemon = Daemon::start(&file("first")).await;
    assert_eq!(daemon.chat().await.header("x-tollgate-attempts"), Some("2"));
    assert_eq!(target(&daemon, "p0/m")["state"], "resting");
    let until = |daemon: &Daemon| target(daemon, "p0/m")["cooldown_until"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let before = until(&daemon);
    for round in 0..5 {
        daemon.write(&file(&format!("rule-{round}")));
        assert!(daemon.app.reload(Cause::Command).await.changed);
    }
    assert_eq!(target(&daemon, "p0/m")["state"], "resting");
    assert!(until(&daemon).duration_since(before).abs() < jiff::SignedDuration::from_millis(100), "the rest ends when it would have");
    let next = daemon.chat().await;
    assert_eq!((next.target(), next.header("x-tollgate-attempts"), fails.count()), ("p1/m", Some("1"), 1));
}

#[tokio::test]
async fn what_a_file_removes_is_told_by_name() {
    let (one, two) = (sound_provider("one", false).await, sound_provider("two", false).await);
    let before = named("coding", &[&one, &two], "p0/m, p1/m", "limits: { requests: 5/min }");
    let daemon = Daemon::start(&before).await;
    daemon.write(&routes(&[&one], ""));
    let verdict = daemon.app.reload(Cause::Command).await;
    for name in ["provider `p1`", "model `p1/m`", "rule `coding`", "limits.requests of provider `p0`", "step `p1/m` of `default`"] {
        assert!(verdict.removed.iter().any(|removed| removed == name), "{name}: {:?}", verdict.removed);
        assert!(verdict.text.contains(&format!("removed: {name}\n")), "{}", verdict.text);
    }
}

#[tokio::test]
async fn a_key_in_a_file_is_read_again_when_it_changes_there() {
    let provider = sound_provider("hello", false).await;
    let folder = Folder::new();
    let key = folder.file("key");
    fs::write(&key, "key-one\n").unwrap();
    let text = routes(&[&provider], &format!("api_key: \"${{file:{}}}\"", key.display()));
    let daemon = Daemon::start(&text).await;
    let revision = daemon.revision();
    daemon.chat().await;
    // As Kubernetes and systemd do it: another file in its place.
    fs::write(folder.file("new"), "key-two\n").unwrap();
    fs::rename(folder.file("new"), &key).unwrap();
    let last = daemon.wait_for_reload(|last| last["cause"] != "start").await;
    assert!(last["ok"] == true && last["cause"] != "command", "{last}");
    daemon.chat().await;
    // An empty one is refused, and the one before goes on.
    fs::write(&key, "").unwrap();
    let said = daemon.wait_for_refusal().await;
    assert!(said.contains("key") && !said.contains("key-two"), "{said}");
    daemon.chat().await;
    fs::write(&key, "key-three").unwrap();
    daemon.wait_for_reload(|last| last["ok"] == true).await;
    daemon.chat().await;
    let keys: Vec<_> = provider.seen().iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(keys, ["Bearer key-one", "Bearer key-two", "Bearer key-two", "Bearer key-three"]);
    assert_eq!(daemon.revision(), revision, "the text is the same");
}

#[tokio::test]
async fn a_saved_change_is_in_force_within_half_a_second() {
    let provider = sound_provider("hello", false).await;
    let daemon = Daemon::start(&named("rule-0", &[&provider], "p0/m", "")).await;
    let mut best = std::time::Duration::MAX;
    for round in 1..4 {
        let (before, saved) = (daemon.revision(), tokio::time::Instant::now());
        daemon.write(&named(&format!("rule-{round}"), &[&provider], "p0/m", ""));
        daemon.wait_for_another(&before).await;
        best = best.min(saved.elapsed());
    }
    assert!(best < std::time::Duration::from_millis(500), "{best:?}");
}
