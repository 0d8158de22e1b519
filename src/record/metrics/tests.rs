use super::*;
use crate::units::{CallerName, ProviderName};

fn rules(names: &[&str]) -> Vec<RuleName> {
    names.iter().map(|name| RuleName::parse(name).unwrap()).collect()
}

fn targets(names: &[&str]) -> Vec<TargetName> {
    names.iter().map(|name| TargetName::parse(name).unwrap()).collect()
}

/// The lines of `text` that begin with `start`, in order.
fn lines<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    let mut lines: Vec<&str> = text.lines().filter(|line| line.starts_with(start)).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn what_is_counted_is_told() {
    let metrics = Metrics::new();
    let series = metrics.adopt(&rules(&["coding"]), &targets(&["openai/gpt-4o"]));
    series.request(0, Outcome::Ok);
    series.request(1, Outcome::FellBack);
    series.request(2, Outcome::Refused);
    for _ in 0..3 {
        series.attempt(0, "none", "P4", "ok");
    }
    series.attempt(0, "reset", "P1", "failed");
    series.added_latency(Duration::from_micros(10));
    series.added_latency(Duration::from_nanos(10_001));
    series.ttft(0, Duration::from_secs(700));
    metrics.reloaded(true, Timestamp::from_second(1_000).unwrap());
    metrics.reloaded(false, Timestamp::from_second(2_000).unwrap());
    metrics.config_present(true);
    let owners = [
        LimitOwner::Provider(ProviderName::parse("openai").unwrap()),
        LimitOwner::Target(TargetName::parse("openai/gpt-4o").unwrap()),
        LimitOwner::Caller(CallerName::parse("search").unwrap()),
    ];
    let left = [("requests", 7), ("tokens", 100), ("concurrent", 2)];
    let limits: Vec<_> = owners.into_iter().zip(left).map(|(whose, (limit, remaining))| Remaining { whose, limit, remaining }).collect();
    let text = metrics.encode(&Kept {
        budgets: vec![BudgetSums {
            budget: BudgetName::parse("company").unwrap(),
            window: "month",
            sums: [("cap", 2_000_000_000_000), ("posted", 1_500_000_000), ("held", 0), ("disputed", 1)]
                .map(|(sum, nano)| (sum, Usd::from_nano(nano))),
        }],
        overrun: Usd::from_nano(250_000_000),
        ledger_waiting: 3,

        remaining: limits,
        resting: vec![(TargetName::parse("openai/gpt-4o").unwrap(), true)],
        records_dropped: 9,
        connections: 2,
        open_streams: 1,
    });
    for line in [
        r#"tollgate_requests_total{rule="coding",outcome="ok"} 1"#,
        r#"tollgate_requests_total{rule="coding",outcome="hung_up"} 0"#,
        r#"tollgate_requests_total{rule="default",outcome="fell_back"} 1"#,
        r#"tollgate_requests_total{rule="none",outcome="refused"} 1"#,
        r#"tollgate_attempts_total{provider="openai",model="gpt-4o",fault="none",phase="P4",outcome="ok"} 3"#,
        r#"tollgate_attempts_total{provider="openai",model="gpt-4o",fault="reset",phase="P1",outcome="failed"} 1"#,
        r#"tollgate_added_latency_seconds_bucket{le="0.00001"} 1"#,
        r#"tollgate_added_latency_seconds_bucket{le="0.00002"} 2"#,
        r#"tollgate_added_latency_seconds_bucket{le="+Inf"} 2"#,
        "tollgate_added_latency_seconds_count 2",
        "tollgate_added_latency_seconds_sum 0.000020001",
        r#"tollgate_ttft_seconds_bucket{le="600.0",provider="openai",model="gpt-4o"} 0"#,
        r#"tollgate_ttft_seconds_sum{provider="openai",model="gpt-4o"} 700.0"#,
        r#"tollgate_budget_usd{budget="company",window="month",sum="posted"} 1.5"#,
        "tollgate_overrun_usd 0.25",
        "tollgate_ledger_queue 3",
        "tollgate_config_reloads_total 2",
        "tollgate_config_reload_failures_total 1",
        "tollgate_config_last_reload_success 0",
        "tollgate_config_last_reload_timestamp_seconds 2000",
        "tollgate_config_present 1",
        "tollgate_connections 2",
        "tollgate_open_streams 1",
        r#"tollgate_limit_remaining{provider="openai",model="",limit="requests"} 7"#,
        r#"tollgate_limit_remaining{provider="openai",model="gpt-4o",limit="tokens"} 100"#,
        r#"tollgate_limit_remaining{caller="search",limit="concurrent"} 2"#,
        r#"tollgate_target_resting{provider="openai",model="gpt-4o"} 1"#,
        "tollgate_records_dropped_total 9",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} is missing in\n{text}");
    }
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
}

#[test]
fn series_of_what_left_the_file_end_and_the_others_go_on() {
    let metrics = Metrics::new();
    let old = metrics.adopt(&rules(&["a", "b"]), &targets(&["p/x", "p/y"]));
    for place in [0, 1] {
        old.request(place, Outcome::Ok);
        old.attempt(place, "none", "P4", "ok");
        old.ttft(place, Duration::from_secs(1));
    }
    let new = metrics.adopt(&rules(&["b"]), &targets(&["p/y", "p/z"]));
    // A request of the file before is still under way.
    old.request(0, Outcome::Failed);
    old.attempt(0, "late", "P1", "failed");
    old.attempt(1, "none", "P4", "ok");
    new.request(0, Outcome::Ok);
    new.attempt(0, "none", "P4", "ok");
    let text = metrics.encode(&Kept::default());
    assert!(!text.contains("p\",model=\"x") && !text.contains("rule=\"a\""), "{text}");
    assert!(text.contains(r#"tollgate_requests_total{rule="b",outcome="ok"} 2"#));
    assert_eq!(
        lines(&text, "tollgate_attempts_total"),
        [r#"tollgate_attempts_total{provider="p",model="y",fault="none",phase="P4",outcome="ok"} 3"#]
    );
    assert!(text.contains(r#"tollgate_ttft_seconds_count{provider="p",model="y"} 1"#));
}

#[test]
fn more_kinds_than_places_are_counted_all_the_same() {
    let words: Vec<&'static str> = (0..100).map(|number: u32| &*number.to_string().leak()).collect();
    let metrics = Metrics::new();
    let series = metrics.adopt(&[], &targets(&["p/x"]));
    for _ in 0..2 {
        for word in &words {
            series.attempt(0, word, "P1", "failed");
        }
    }
    let text = metrics.encode(&Kept::default());
    let told = lines(&text, "tollgate_attempts_total");
    assert!(told.len() == 100 && told.iter().all(|line| line.ends_with(" 2")), "{told:?}");
    metrics.adopt(&[], &[]);
    assert!(!metrics.encode(&Kept::default()).contains("tollgate_attempts_total{"));
}
