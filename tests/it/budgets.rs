//! Caps at their edge: what is held, what is posted and disputed, who is refused, and what a restart remembers.

use std::time::Duration;

use crate::support::*;

/// A tenth of a cent for each token, so that sums are easily read.
const PRICED: &str = "m: { usd_per_mtok: { input: 1000, output: 1000 }, context: 128k, max_output: 64 }";

/// Providers whose only model has a price, and what stands behind them in the file.
fn priced(providers: &[&Provider], settings: &str, more: &str) -> String {
    routes(providers, settings).replace("m: {}", PRICED) + more
}

fn company(settings: &str) -> String {
    format!("budgets:\n  company: {{ {settings} }}\n")
}

/// What is spent, held and disputed in a window, in dollars.
fn sums(daemon: &Daemon, window: &str) -> (String, String, String) {
    let status = daemon.status();
    let named =
        |budget: &&serde_json::Value| format!("{}.{}", budget["name"].as_str().unwrap(), budget["window"].as_str().unwrap()) == window;
    let budget = status["budgets"].as_array().unwrap().iter().find(named).unwrap_or_else(|| panic!("no {window} in {status}"));
    let sum = |part: &str| budget[part].as_str().unwrap().to_owned();
    (sum("spent_usd"), sum("held_usd"), sum("disputed_usd"))
}

fn spent(amount: &str) -> (String, String, String) {
    (amount.to_owned(), "0".to_owned(), "0".to_owned())
}

#[track_caller]
fn refused(got: &Got, code: &str, status: u16, may_retry: bool) {
    assert_eq!((got.status, got.code().as_str()), (status, code), "{got:?}");
    assert_eq!(got.header("x-should-retry"), Some(if may_retry { "true" } else { "false" }), "{got:?}");
}

#[tokio::test]
async fn what_was_used_is_posted_to_every_window_and_told() {
    let provider = Provider::start(vec![answers("hello"), streams("hel", "lo")]).await;
    let more = company("cap: [$10/month, $1/day]");
    let (daemon, folder) = {
        let daemon = Daemon::start(&priced(&[&provider], "budget: $5/month", &more)).await;
        let got = daemon.chat().await;
        // Nine tokens in and three out.
        assert_eq!(
            (got.status, got.header("x-tollgate-cost-usd"), got.header("x-tollgate-usage-source")),
            (200, Some("0.012"), Some("provider"))
        );
        assert_eq!(got.header("x-tollgate-budget-remaining-usd"), Some("0.988"), "{got:?}");
        for window in ["company.month", "company.day", "provider.p0.month"] {
            assert_eq!(sums(&daemon, window), spent("0.012"), "{window}");
        }
        assert_eq!(daemon.stream().await.status, 200);
        daemon.records.wait_for(2).await;
        assert_eq!(sums(&daemon, "company.month"), spent("0.023"));
        (daemon.records.clone(), daemon.stop().await)
    };
    assert_eq!(daemon.all()[0]["cost_nano_usd"], 12_000_000);
    // What was spent is known again after a restart.
    let daemon = Daemon::start_in(folder, |_| {}).await.unwrap_or_else(|(_, error)| panic!("{error}"));
    assert_eq!((sums(&daemon, "company.month"), sums(&daemon, "provider.p0.month")), (spent("0.023"), spent("0.023")));
}

#[tokio::test]
async fn a_stream_that_tells_its_usage_tells_its_cost() {
    let asks = chat(true).replace("\"stream\":true", "\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    let gate = Gate::shut();
    gate.open_wide();
    // Told by the provider, and worked out by us where it tells none.
    let provider = Provider::start(vec![streams("hel", "lo"), streams_in_two("hel", &gate, "lo"), streams("hel", "lo")]).await;
    let daemon = Daemon::start(&priced(&[&provider], "", "")).await;
    for is_told in [true, false] {
        let events = daemon.ask(&asks).await.events();
        let usage = &events.last().unwrap()["usage"];
        let cost = usage["cost"].to_string();
        assert!(cost == "0.011" || (!is_told && usage["cost"].is_number()), "{usage}");
        assert!(usage["prompt_tokens"].is_number(), "{usage}");
    }
    // Nobody asked: nothing is added.
    let got = daemon.stream().await;
    assert!(!got.body.contains("cost"), "{}", got.body);
}

#[tokio::test]
async fn b03_where_no_limit_is_set_the_one_that_was_held_goes_along() {
    let provider = sound_provider("hello", false).await;
    let daemon = Daemon::start(&priced(&[&provider], "", &company("cap: $10/month"))).await;
    let got = daemon.chat().await;
    assert_eq!((got.status, got.header("x-tollgate-injected")), (200, Some("max_tokens=64")), "{got:?}");
    assert_eq!(provider.seen()[0].json()["max_completion_tokens"], 64);
    // Without a hard budget the request goes as it came.
    let daemon = Daemon::start(&priced(&[&provider], "", &company("cap: $10/month, mode: observe"))).await;
    assert_eq!(daemon.chat().await.header("x-tollgate-injected"), None);
    assert!(provider.seen()[1].json().get("max_completion_tokens").is_none());
}

#[tokio::test]
async fn a_providers_used_up_budget_sends_the_next_step() {
    let (first, second) = (sound_provider("one", false).await, sound_provider("two", false).await);
    let file = priced(&[&first, &second], "", "").replacen(" }\n", ", budget: { cap: $0.05/day, on_low: reject } }\n", 1);
    let daemon = Daemon::start(&file).await;
    let got = daemon.chat().await;
    assert_eq!((got.status, got.target(), first.count()), (200, "p1/m", 0), "{got:?}");
    let records = daemon.records.wait_for(1).await;
    assert_eq!(records[0]["skipped"][0]["reason"], "budget");
}

#[tokio::test]
async fn b02_an_exceeded_cap_refuses_with_its_numbers_and_no_retry() {
    let provider = sound_provider("hello", false).await;
    let daemon = Daemon::start(&priced(&[&provider], "", &company("cap: $0.09/day, on_low: reject"))).await;
    assert_eq!(daemon.chat().await.status, 200);
    let got = daemon.chat().await;
    refused(&got, "budget_exceeded", 429, false);
    for part in ["company.day", "$0.012 of $0.09 spent", "$0 held", "$0 disputed"] {
        assert!(got.body.contains(part), "{part} is in {}", got.body);
    }
    let seconds: u64 = got.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&seconds));
    assert_eq!(provider.count(), 1, "what was refused was not sent");
    // A raised cap admits the next request.
    daemon.write(&priced(&[&provider], "", &company("cap: $1/day, on_low: reject")));
    let revision = daemon.revision();
    daemon.app.reload(tollgate::reload::Cause::Command).await;
    assert_ne!(daemon.revision(), revision);
    assert_eq!(daemon.chat().await.status, 200);
    // A lowered one refuses at once (C18).
    daemon.write(&priced(&[&provider], "", &company("cap: $0.01/day, on_low: reject")));
    daemon.app.reload(tollgate::reload::Cause::Command).await;
    refused(&daemon.chat().await, "budget_exceeded", 429, false);
}

#[tokio::test]
async fn near_the_cap_the_answer_is_shortened_before_it_is_refused() {
    let provider = sound_provider("hello", false).await;
    let daemon = Daemon::start(&priced(&[&provider], "", &company("cap: $0.06/day, min_output_tokens: 8"))).await;
    let got = daemon.chat().await;
    assert_eq!(got.status, 200, "{got:?}");
    let limit: u64 = got.header("x-tollgate-clamped").unwrap().strip_prefix("max_tokens=").unwrap().parse().unwrap();
    assert!((8..64).contains(&limit), "{limit}");
    assert_eq!(provider.seen()[0].json()["max_completion_tokens"], limit);
    // The clients' own limit is lowered too.
    let body = chat(false).replace("\"stream\"", "\"max_tokens\":50,\"stream\"");
    let got = daemon.ask(&body).await;
    assert!(got.status == 200 && got.header("x-tollgate-clamped").is_some(), "{got:?}");
    let daemon = Daemon::start(&priced(&[&provider], "", &company("cap: $0.03/day, min_output_tokens: 32"))).await;
    refused(&daemon.chat().await, "budget_exceeded", 429, false);
}

#[tokio::test]
async fn where_only_holds_stand_in_the_way_the_next_waits_for_its_turn() {
    let gate = Gate::shut();
    let provider = Provider::always([vec![Act::Gate(gate.clone())], answers("hello")].concat()).await;
    let daemon = Daemon::start(&priced(&[&provider], "", &company("cap: $0.12/day, on_low: reject, wait: 10s"))).await;
    let first = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(false))).await;
    provider.wait_for_requests(1).await;
    let second = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(false))).await;
    gate.open_wide();
    assert_eq!((first.rest().await.status, second.rest().await.status), (200, 200));
    assert_eq!(sums(&daemon, "company.day"), spent("0.024"));
}

#[tokio::test]
async fn who_waits_in_vain_is_told_to_come_back() {
    let provider = Provider::always(vec![Act::Hang]).await;
    let daemon = Daemon::start(&priced(&[&provider], "", &company("cap: $0.12/day, on_low: reject, wait: 100ms"))).await;
    let _first = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(false))).await;
    provider.wait_for_requests(1).await;
    let got = daemon.chat().await;
    refused(&got, "budget_busy", 429, true);
    assert!(got.body.contains("held by requests in flight"), "{}", got.body);
}

#[tokio::test]
async fn b01_of_many_at_once_as_many_are_sent_as_fit() {
    let provider = Provider::always(vec![Act::Hang]).await;
    let daemon = Daemon::start(&priced(&[&provider], "", &company("cap: $1/day, on_low: reject, wait: 50ms, estimate: bytes"))).await;
    let got = daemon.post("/v1/chat/completions", &[("x-tollgate-dry-run", "true")], &chat(false)).await.json();
    let hold: tollgate::units::Usd = got["steps"][0]["worst_case_usd"].as_str().unwrap().parse().unwrap();
    let fit = usize::try_from(1_000_000_000 / hold.nano()).unwrap();
    let mut lines = Vec::new();
    for _ in 0..40 {
        lines.push(Line::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(false))).await);
    }
    let records = daemon.records.wait_for(40 - fit).await;
    assert!(records.iter().all(|record| record["code"] == "budget_busy"), "{records:?}");
    assert_eq!((records.len(), provider.count(), lines.len()), (40 - fit, fit, 40));
}

#[tokio::test]
async fn after_half_of_the_budget_the_thrifty_rule_decides() {
    let (dear, cheap) = (sound_provider("dear", false).await, sound_provider("cheap", false).await);
    let rules = "rules:\n  - name: late\n    match: { spent: { company.day: { min: 10% } } }\n    chain: [p1/m]\n";
    let file = priced(&[&dear, &cheap], "", &(company("cap: $0.20/day, on_low: reject") + rules));
    let daemon = Daemon::start(&file).await;
    let targets = [daemon.chat().await, daemon.chat().await, daemon.chat().await].map(|got| got.target().to_owned());
    assert_eq!(targets, ["p0/m", "p0/m", "p1/m"]);
    // The same question of a dry run, with the present state.
    let explained = daemon.post("/v1/chat/completions", &[("x-tollgate-dry-run", "true")], &chat(false)).await.json();
    assert_eq!(explained["rule"], "late");
}

#[tokio::test]
async fn b06_what_has_no_bound_in_dollars_is_refused_under_a_hard_budget() {
    let provider = sound_provider("hello", false).await;
    let image =
        r#"{"model":"auto","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x.example/y.png"}}]}]}"#;
    let tool = r#"{"model":"auto","messages":[{"role":"user","content":"hi"}],"tools":[{"type":"web_search"}]}"#;
    let tier = r#"{"model":"auto","messages":[{"role":"user","content":"hi"}],"service_tier":"priority"}"#;
    let hard = Daemon::start(&priced(&[&provider], "", &company("cap: $10/month"))).await;
    let soft = Daemon::start(&priced(&[&provider], "", &company("cap: $10/month, mode: soft"))).await;
    for body in [image, tool, tier] {
        let got = hard.ask(body).await;
        refused(&got, "unpriceable_request", 400, false);
        assert_eq!(soft.ask(body).await.status, 200, "{body}");
    }
    // An image with a bound is held.
    let bounded = priced(&[&provider], "", &company("cap: $10/month")).replace("context: 128k", "context: 128k, image_tokens: 1000");
    assert_eq!(Daemon::start(&bounded).await.ask(image).await.status, 200);
}

#[tokio::test]
async fn disputes_count_until_somebody_knows() {
    for (what, acts, left) in [
        ("u06 a reset", vec![Act::Reset], (0, 1)),
        (
            "u21 a body cut short",
            vec![send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"), Act::Close],
            (0, 1),
        ),
        ("u31 a web page", vec![send("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\n<p/>")], (0, 1)),
        ("u10 an overload", vec![send(json_answer("503 Service Unavailable", "{}"))], (0, 0)),
        ("u11 a rate limit", vec![send(json_answer("429 Too Many Requests", "{}"))], (0, 0)),
        ("u12 a rejected key", vec![send(json_answer("401 Unauthorized", "{}"))], (0, 0)),
        ("u15 a redirect", vec![send("HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n")], (0, 0)),
        ("u17 an error inside a 200", vec![send(json_answer("200 OK", r#"{"error":{"message":"no"}}"#))], (0, 0)),
        (
            "u32 no usage",
            vec![send(json_answer(
                "200 OK",
                r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}"#,
            ))],
            (1, 0),
        ),
    ] {
        let provider = Provider::always(acts).await;
        let daemon = Daemon::start(&priced(&[&provider], "", &company("cap: $10/month"))).await;
        daemon.chat().await;
        daemon.records.wait_for(1).await;
        let (spent, held, disputed) = sums(&daemon, "company.month");
        let is_some = |amount: &str| i32::from(amount != "0");
        assert_eq!(
            (is_some(&spent), is_some(&disputed), held.as_str()),
            (left.0, left.1, "0"),
            "{what}: {spent} spent, {disputed} disputed"
        );
    }
}

#[tokio::test]
async fn k04_k05_a_client_that_leaves_leaves_a_dispute_bounded_by_time() {
    let gate = Gate::shut();
    // Nothing yet: what was sent may be billed.
    let provider = Provider::always(vec![Act::Hang]).await;
    let daemon = Daemon::start(&priced(&[&provider], "", &company("cap: $10/month"))).await;
    let line = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(false))).await;
    provider.wait_for_requests(1).await;
    drop(line);
    daemon.records.wait_for(1).await;
    let (spent, held, disputed) = sums(&daemon, "company.month");
    assert!(spent == "0" && held == "0" && disputed != "0", "{spent} {held} {disputed}");
    // Content had come: what was seen is posted, and what may have followed is disputed.
    let provider = Provider::always(streams_in_two("hello", &gate, "world")).await;
    let daemon = Daemon::start(&priced(&[&provider], "", &company("cap: $10/month"))).await;
    let mut line = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(true))).await;
    line.until("hello").await;
    drop(line);
    daemon.records.wait_for(1).await;
    let (spent, held, _) = sums(&daemon, "company.month");
    assert!(spent != "0" && held == "0", "{spent} {held}");
    assert_eq!(daemon.records.all()[0]["usage_source"], "estimated");
}

#[tokio::test]
async fn b17_each_attempt_has_its_own_end() {
    let (first, second) =
        (Provider::always(vec![send(json_answer("503 Service Unavailable", "{}"))]).await, sound_provider("two", false).await);
    let daemon = Daemon::start(&priced(&[&first, &second], "budget: $1/month", "")).await;
    assert_eq!(daemon.chat().await.target(), "p1/m");
    assert_eq!((sums(&daemon, "provider.p0.month"), sums(&daemon, "provider.p1.month")), (spent("0"), spent("0.012")));
    let folder = daemon.stop().await;
    let ledger = rusqlite::Connection::open(folder.file("state/ledger.sqlite")).unwrap();
    let ends: i64 = ledger.query_row("select count(*) from entries", [], |row| row.get(0)).unwrap();
    assert!(ends >= 2);
}

#[tokio::test]
async fn a_pace_smooths_and_is_told_apart_from_the_cap() {
    let provider = sound_provider("hello", false).await;
    let daemon = Daemon::start(&priced(&[&provider], "", &company("cap: $10/month, pace: $0.10/hour"))).await;
    assert_eq!(daemon.chat().await.status, 200);
    let mut got = daemon.chat().await;
    for _ in 0..12 {
        if got.status != 200 {
            break;
        }
        got = daemon.chat().await;
    }
    refused(&got, "rate_limit_exceeded", 429, false);
    assert!(got.body.contains("pace"), "{}", got.body);
    let wait: Duration = Duration::from_secs(got.header("retry-after").unwrap().parse().unwrap());
    assert!(wait <= Duration::from_hours(1), "{wait:?}");
}

/// A whole answer of that model with a usage.
fn told(model: &str, usage: (u64, u64)) -> Vec<Act> {
    let (input, output) = usage;
    let choice = r#"[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]"#;
    let usage = format!(r#"{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{}}}"#, input + output);
    let body = format!(r#"{{"id":"1","object":"chat.completion","created":1,"model":"{model}","choices":{choice},"usage":{usage}}}"#);
    vec![send(json_answer("200 OK", &body))]
}

#[tokio::test]
async fn u33_a_usage_above_its_hold_is_charged_in_full_and_closes_the_budget() {
    let provider = Provider::always(told("m", (20_000, 10))).await;
    let daemon = Daemon::start(&priced(&[&provider], "", &company("cap: $10/month"))).await;
    assert_eq!(daemon.chat().await.header("x-tollgate-cost-usd"), Some("20.01"));
    assert_eq!(sums(&daemon, "company.month"), spent("20.01"));
    refused(&daemon.chat().await, "budget_exceeded", 429, false);
    let overrun: f64 = daemon.status()["ledger"]["overrun_usd"].as_str().unwrap().parse().unwrap();
    assert!(overrun > 19.0, "{overrun}");
}

#[tokio::test]
async fn u34_an_answer_of_another_model_costs_what_the_dearer_does() {
    for (model, cost) in [("m", "0.012"), ("dear", "0.024"), ("cheap", "0.012"), ("unknown", "0.012")] {
        let provider = Provider::always(told(model, (9, 3))).await;
        let more =
            PRICED.replace("m: {", "dear: {").replace("1000", "2000") + ", " + &PRICED.replace("m: {", "cheap: {").replace("1000", "1");
        let file = priced(&[&provider], "", &company("cap: $10/month")).replace(PRICED, &format!("{PRICED}, {more}"));
        let daemon = Daemon::start(&file).await;
        assert_eq!(daemon.chat().await.header("x-tollgate-cost-usd"), Some(cost), "{model}");
    }
}

#[tokio::test]
async fn c16_a_capped_model_without_a_price_is_refused_when_the_file_is_read() {
    let provider = sound_provider("hello", false).await;
    let daemon = Daemon::start(&priced(&[&provider], "", &company("cap: $10/month"))).await;
    daemon.write(&(routes(&[&provider], "") + &company("cap: $10/month")));
    assert!(!daemon.app.reload(tollgate::reload::Cause::Command).await.ok);
    assert_eq!(daemon.chat().await.status, 200);
}
