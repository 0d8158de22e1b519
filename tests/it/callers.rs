//! Who may ask: keys, their ends and their exchange, what a caller may use, and what it cannot say of itself.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tollgate::app::Unstarted;
use tollgate::reload::Cause;
use tollgate::units::Clock;

use crate::support::*;

/// A key as the file has it.
fn hash(key: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(key).iter().fold("sha256:".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The file of these providers with callers behind it, one line each.
fn file(providers: &[&Provider], callers: &[String]) -> String {
    routes(providers, "") + "callers:\n  " + &callers.join("\n  ") + "\n"
}

/// A caller with one key, which is its name behind `tg_`.
fn caller(name: &str, settings: &str) -> String {
    let settings = if settings.is_empty() { String::new() } else { format!(", {settings}") };
    format!("{name}: {{ key: {}{settings} }}", hash(&format!("tg_{name}")))
}

async fn ask(daemon: &Daemon, headers: &[(&str, &str)]) -> Got {
    daemon.post("/v1/chat/completions", headers, &chat(false)).await
}

async fn ask_as(daemon: &Daemon, key: &str) -> Got {
    ask(daemon, &[("authorization", &format!("Bearer {key}"))]).await
}

async fn get(daemon: &Daemon, path: &str, key: &str) -> Got {
    got(daemon.app.listen(), &format!("GET {path} HTTP/1.1\r\nhost: gateway.example\r\nx-api-key: {key}\r\nconnection: close\r\n\r\n"))
        .await
}

async fn reload(daemon: &Daemon, file: &str) {
    daemon.write(file);
    let verdict = daemon.app.reload(Cause::Command).await;
    assert!(verdict.ok, "{verdict:?}");
}

#[track_caller]
fn unknown(got: &Got) {
    assert_eq!((got.status, got.code().as_str()), (401, "invalid_api_key"), "{got:?}");
    assert_eq!(got.header("x-should-retry"), Some("false"), "{got:?}");
    assert_eq!(got.json()["error"]["type"], "authentication_error");
}

#[tokio::test]
async fn only_a_key_of_the_file_is_served_and_one_answer_says_so() {
    let provider = sound_provider("hello", false).await;
    let ended = format!("ended: {{ key: {}, expires: 2020-01-01 }}", hash("tg_ended"));
    let daemon = Daemon::start(&file(&[&provider], &[caller("app", ""), ended])).await;
    assert_eq!(ask_as(&daemon, "tg_app").await.status, 200);
    assert_eq!(ask(&daemon, &[("x-api-key", "tg_app")]).await.status, 200);
    let without = daemon.chat().await;
    unknown(&without);
    for key in ["tg_ended", "tg_wrong", &hash("tg_app")] {
        let got = ask_as(&daemon, key).await;
        unknown(&got);
        assert_eq!(got.body, without.body, "{key}");
    }
    assert_eq!(provider.count(), 2, "what was refused was not sent");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(daemon.get(path).await.status, 200, "{path} needs no key");
    }
    unknown(&daemon.get("/v1/models").await);
}

#[tokio::test]
async fn with_a_key_it_does_not_matter_where_a_request_comes_from() {
    let provider = sound_provider("hello", false).await;
    let daemon = Daemon::start(&file(&[&provider], &[caller("app", "")])).await;
    let headers = [("x-api-key", "tg_app"), ("x-forwarded-for", "198.51.100.7"), ("origin", "https://app.example")];
    assert_eq!(ask(&daemon, &headers).await.status, 200);
    assert_eq!(get(&daemon, "/v1/models", "tg_app").await.status, 200, "another Host");
}

#[tokio::test]
async fn k24_two_different_keys_and_keys_in_the_query_are_refused() {
    let provider = sound_provider("hello", false).await;
    let daemon = Daemon::start(&file(&[&provider], &[caller("app", ""), caller("other", "")])).await;
    let got = ask(&daemon, &[("authorization", "Bearer tg_app"), ("x-api-key", "tg_other")]).await;
    assert_eq!((got.status, got.code().as_str()), (400, "ambiguous_auth"), "{got:?}");
    assert_eq!(ask(&daemon, &[("authorization", "Bearer tg_app"), ("x-api-key", "tg_app")]).await.status, 200);
    for query in ["key=tg_app", "api_key=tg_app"] {
        let got = daemon.post(&format!("/v1/chat/completions?{query}"), &[("x-api-key", "tg_app")], &chat(false)).await;
        assert_eq!((got.status, got.code().as_str()), (400, "invalid_parameter"), "{got:?}");
        assert!(!got.body.contains("tg_app"), "{got:?}");
    }
}

#[tokio::test]
async fn k16_a_body_is_asked_for_only_behind_a_key() {
    let provider = sound_provider("hello", false).await;
    let daemon = Daemon::start(&file(&[&provider], &[caller("app", "")])).await;
    let body = chat(false);
    for (key, status) in [("tg_wrong", 401), ("tg_app", 200)] {
        let whole = post("/v1/chat/completions", &[("x-api-key", key), ("expect", "100-continue")], &body);
        let mut line = Line::send(daemon.app.listen(), whole.strip_suffix(&body).unwrap()).await;
        if status == 200 {
            line.until("100 Continue\r\n\r\n").await;
            line.bytes.clear();
            line.send_more(&body).await;
        }
        let got = line.rest().await;
        assert_eq!(got.status, status, "{got:?}");
    }
}

#[tokio::test]
async fn a_source_that_goes_on_failing_is_told_to_wait_and_a_good_key_still_passes() {
    let provider = sound_provider("hello", false).await;
    let daemon = Daemon::start_with(&file(&[&provider], &[caller("app", "")]), |options| {
        options.clock = Clock::manual();
    })
    .await;
    for _ in 0..30 {
        unknown(&ask_as(&daemon, "tg_guess").await);
    }
    let got = ask_as(&daemon, "tg_guess").await;
    assert_eq!((got.status, got.code().as_str(), got.header("x-should-retry")), (429, "rate_limit_exceeded", Some("false")), "{got:?}");
    assert_eq!(got.header("retry-after"), Some("2"));
    assert_eq!(ask_as(&daemon, "tg_app").await.status, 200);
}

#[tokio::test]
async fn two_keys_work_while_one_takes_the_others_place() {
    let provider = sound_provider("hello", false).await;
    let daemon = Daemon::start(&file(&[&provider], &[caller("app", "")])).await;
    let statuses = async |daemon: &Daemon| (ask_as(daemon, "tg_app").await.status, ask_as(daemon, "tg_new").await.status);
    assert_eq!(statuses(&daemon).await, (200, 401));
    let both = format!("app: {{ keys: [{}, {}] }}", hash("tg_app"), hash("tg_new"));
    reload(&daemon, &file(&[&provider], &[both])).await;
    assert_eq!(statuses(&daemon).await, (200, 200));
    let ending = format!(
        "app: {{ keys: [{{ sha256: {}, expires: 2020-01-01 }}, {}] }}",
        hash("tg_app").trim_start_matches("sha256:"),
        hash("tg_new")
    );
    reload(&daemon, &file(&[&provider], &[ending])).await;
    assert_eq!(statuses(&daemon).await, (401, 200), "the old key has ended");
    reload(&daemon, &file(&[&provider], &[caller("other", "")])).await;
    assert_eq!(statuses(&daemon).await, (401, 401), "a caller taken away is refused at once");
}

#[tokio::test]
async fn a_caller_uses_what_it_is_allowed_whatever_a_rule_says() {
    let (first, second) = (sound_provider("one", false).await, sound_provider("two", false).await);
    let callers = [caller("all", ""), caller("legal", "allow: [p1/*]"), caller("none", "allow: [p1/none, p0/none]")];
    let daemon = Daemon::start(&file(&[&first, &second], &callers)).await;
    assert_eq!(ask_as(&daemon, "tg_all").await.target(), "p0/m");
    assert_eq!(ask_as(&daemon, "tg_legal").await.target(), "p1/m");
    let got = ask_as(&daemon, "tg_none").await;
    assert_eq!((got.status, got.code().as_str(), got.header("x-should-retry")), (403, "target_forbidden", Some("false")), "{got:?}");
    let listed = async |key: &str| {
        let list = get(&daemon, "/v1/models", key).await.json();
        list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed("tg_all").await, ["auto", "p0/m", "p1/m"]);
    assert_eq!(listed("tg_legal").await, ["auto", "p1/m"]);
    assert_eq!(get(&daemon, "/v1/models/p0%2Fm", "tg_legal").await.status, 404);
    assert_eq!(get(&daemon, "/v1/models/p1%2Fm", "tg_legal").await.status, 200);
}

#[tokio::test]
async fn k26_tags_are_the_files_and_no_client_can_say_them() {
    let (first, second) = (sound_provider("one", false).await, sound_provider("two", false).await);
    let rules = "rules:\n  - { name: research, match: { tags: { team: research } }, chain: [p1/m] }\n";
    let callers = [caller("search", "tags: { team: search }"), caller("research", "tags: { team: research }")];
    let daemon = Daemon::start(&(file(&[&first, &second], &callers) + rules)).await;
    assert_eq!(ask_as(&daemon, "tg_research").await.target(), "p1/m");
    for name in ["x-tollgate-tags", "x-tollgate-tag", "tags", "x-tollgate-caller", "x-tollgate-labels"] {
        let got = ask(&daemon, &[("x-api-key", "tg_search"), (name, "team=research")]).await;
        assert_eq!((got.status, got.target()), (200, "p0/m"), "{name}");
    }
}

#[tokio::test]
async fn a_callers_key_goes_to_nobody_and_nowhere() {
    let provider = sound_provider("hello", false).await;
    let rules = "rules:\n  - { name: peeks, match: { headers: { authorization: \"*\" } }, chain: [p0/m] }\n";
    let daemon = Daemon::start(&(file(&[&provider], &[caller("app", "")]) + rules)).await;
    let got = ask_as(&daemon, "tg_app").await;
    assert_eq!((got.status, got.header("x-tollgate-rule")), (200, Some("default")), "no rule sees the key");
    let dry = ask(&daemon, &[("x-api-key", "tg_app"), ("x-tollgate-dry-run", "true")]).await;
    let seen = &provider.seen()[0];
    let record = daemon.records.wait_for(1).await.remove(0).to_string();
    for (place, text) in [("the provider's head", &seen.head), ("the record", &record), ("a dry run", &dry.body)] {
        assert!(!text.contains("tg_app") && !text.contains(hash("tg_app").trim_start_matches("sha256:")), "{place}: {text}");
    }
}

#[tokio::test]
async fn a_listener_for_other_machines_needs_callers_or_the_word() {
    let provider = sound_provider("hello", false).await;
    let server = "version: 1\nserver: { listen: \"0.0.0.0:0\", admin: \"127.0.0.1:0\" }\n";
    let start = async |more: &str| {
        let folder = Folder::new();
        std::fs::write(folder.file("routes.yaml"), routes(&[&provider], "").replacen("version: 1\n", server, 1) + more).unwrap();
        Daemon::start_in(folder, |_| {}).await.map_err(|(_, error)| error)
    };
    let refused = start("").await.err().unwrap();
    assert!(matches!(&refused, Unstarted::Config(text) if text.contains("open-listener")), "{refused}");
    let open = start("callers: open\n").await.unwrap();
    let got = got_at(&open, "198.51.100.7").await;
    assert_eq!(got.status, 200, "`open` serves everybody");
    let closed = start(&format!("callers:\n  {}\n", caller("app", ""))).await.unwrap();
    unknown(&got_at(&closed, "198.51.100.7").await);
}

/// A call as a proxy passes it on.
async fn got_at(daemon: &Daemon, source: &str) -> Got {
    let address = ([127, 0, 0, 1], daemon.app.listen().port()).into();
    got(address, &post("/v1/chat/completions", &[("x-forwarded-for", source)], &chat(false))).await
}

/// What is left of each limit of the first caller, in the order of status.
fn left(daemon: &Daemon) -> Vec<(String, u64)> {
    let status = daemon.status();
    let limits = status["callers"][0]["limits"].as_array().unwrap();
    limits.iter().map(|limit| (limit["name"].as_str().unwrap().to_owned(), limit["remaining"].as_u64().unwrap())).collect()
}

#[track_caller]
fn limited(got: &Got, limit: &str) {
    assert_eq!((got.status, got.code().as_str()), (429, "rate_limit_exceeded"), "{got:?}");
    assert!(got.body.contains(&format!("limits.{limit} of caller app")), "{}", got.body);
}

#[tokio::test]
async fn a_callers_requests_are_counted_once_each_and_refused_at_the_edge() {
    let (broken, sound) = (Provider::always(vec![Act::Reset]).await, sound_provider("hello", false).await);
    let clock = Clock::manual();
    let callers = [caller("app", "limits: { requests: 3/min }"), caller("other", "")];
    let daemon = Daemon::start_with(&file(&[&broken, &sound], &callers), |options| options.clock = clock.clone()).await;
    for remaining in [2, 1, 0] {
        assert_eq!(ask_as(&daemon, "tg_app").await.status, 200);
        assert_eq!(left(&daemon), [("caller.app.requests".to_owned(), remaining)], "two attempts are one request");
    }
    let got = ask_as(&daemon, "tg_app").await;
    limited(&got, "requests");
    assert_eq!((got.header("retry-after"), got.header("x-should-retry")), (Some("20"), Some("true")), "{got:?}");
    assert_eq!(sound.count(), 3, "what was refused was not sent");
    assert_eq!(ask_as(&daemon, "tg_other").await.status, 200, "another caller has its own");
    assert_eq!(daemon.metric(r#"tollgate_limit_remaining{caller="app",limit="requests"}"#).await, 0);
    // A reload refills nothing; what was used counts against the new rate.
    reload(&daemon, &file(&[&broken, &sound], &[caller("app", "limits: { requests: 4/min }"), caller("other", "")])).await;
    assert_eq!(left(&daemon), [("caller.app.requests".to_owned(), 1)]);
    clock.advance(Duration::from_mins(1));
    assert_eq!(ask_as(&daemon, "tg_app").await.status, 200);
    let records = daemon.records.wait_for(6).await;
    assert_eq!(
        (&records[3]["outcome"], &records[3]["caller"], records[3]["attempts"].as_array().unwrap().len()),
        (&"refused".into(), &"app".into(), 0)
    );
}

#[tokio::test]
async fn a_callers_tokens_are_corrected_to_what_was_used() {
    let provider =
        Provider::start(vec![answers("hello"), streams("hel", "lo"), vec![Act::Send(json_answer("400 Bad Request", "{}"))]]).await;
    let file = file(&[&provider], &[caller("app", "tags: { team: search }, limits: { tokens: 2k/min }")]);
    let daemon = Daemon::start_with(&file, |options| options.clock = Clock::manual()).await;
    assert_eq!(ask_as(&daemon, "tg_app").await.status, 200);
    assert_eq!(left(&daemon)[0].1, 1_988, "nine in and three out");
    let headers = [("x-api-key", "tg_app")];
    assert_eq!(daemon.post("/v1/chat/completions", &headers, &chat(true)).await.status, 200);
    let records = daemon.records.wait_for(2).await;
    assert_eq!(left(&daemon)[0].1, 1_977, "nine in and two out");
    assert_eq!((&records[1]["caller"], &records[1]["tags"]["team"]), (&"app".into(), &"search".into()));
    let huge = chat(false).replacen('{', r#"{"max_tokens":5000,"#, 1);
    let got = daemon.post("/v1/chat/completions", &headers, &huge).await;
    limited(&got, "tokens");
    assert_eq!((got.header("retry-after"), got.header("x-should-retry")), (None, Some("false")), "it never fits");
    assert_eq!(left(&daemon)[0].1, 1_977, "a refusal takes nothing");
}

#[tokio::test]
async fn a_caller_waits_for_its_own_calls_at_once() {
    let gate = Gate::shut();
    let provider = Provider::start(vec![[vec![Act::Gate(gate.clone())], answers("one")].concat(), answers("two")]).await;
    let caller = |wait: &str| caller("app", &format!("limits: {{ concurrent: 1, wait: {wait} }}"));
    let daemon = Daemon::start(&file(&[&provider], &[caller("0s")])).await;
    let headers = [("x-api-key", "tg_app")];
    let first = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &headers, &chat(false))).await;
    provider.wait_for_requests(1).await;
    limited(&ask_as(&daemon, "tg_app").await, "concurrent");
    reload(&daemon, &file(&[&provider], &[caller("10s")])).await;
    let second = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &headers, &chat(false))).await;
    eventually(|| (daemon.status()["connections"] == 2).then_some(())).await;
    gate.open();
    assert_eq!((first.rest().await.text(), second.rest().await.text()), ("one".into(), "two".into()));
    assert_eq!(left(&daemon), [("caller.app.concurrent".to_owned(), 1)]);
}
