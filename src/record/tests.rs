use std::collections::BTreeMap;

use super::*;

/// A record with every field filled, named `request_id`.
pub(super) fn record(request_id: &str) -> Box<Record> {
    let target = TargetName::parse("openai/gpt-4o").unwrap();
    Box::new(Record {
        request_id: request_id.into(),
        at: Timestamp::from_millisecond(1_795_000_000_120).unwrap(),
        endpoint: Endpoint::Chat,
        rule: Some(RuleName::parse("coding").unwrap()),
        revision: "3-abc".into(),
        task: TaskName::parse("coding").unwrap(),
        task_source: "declared",
        task_confidence: None,
        task_runner_up: None,
        task_signs: Vec::new(),
        requested_model: "auto".into(),
        stream: true,
        caller: Some(CallerName::parse("search").unwrap()),
        tags: BTreeMap::from([("team".into(), "search".into())]).into(),
        labels: BTreeMap::from([("feature".into(), "x".into())]).into(),
        target: Some(target.clone()),
        served_model: None,
        outcome: Outcome::FellBack,
        status: 200,
        code: None,
        attempts: vec![AttemptRecord {
            target: target.clone(),
            fault: Some("reset"),
            class: Some("connect"),
            phase: "P1",
            status: None,
            duration: Duration::from_micros(1_234),
        }],
        skipped: vec![SkipRecord { target, reason: "no_key".into() }],
        prompt_tokens_estimate: Some(12),
        usage: Some(UsageRecord { input: 10, cache_read: 2, cache_write: 0, output: 7, reasoning: 0 }),
        usage_source: UsageSource::Provider,
        cost_nano_usd: Some(Usd::from_nano(1_500)),
        ttft: Some(Duration::from_millis(31)),
        duration: Duration::from_nanos(45_678_901),
        own: Duration::from_micros(21),
    })
}

#[test]
fn a_record_is_one_line_of_documented_fields() {
    assert_eq!(
        serde_json::to_string(&record("r1")).unwrap(),
        concat!(
            r#"{"request_id":"r1","at":"2026-11-18T11:06:40.120Z","endpoint":"chat","rule":"coding","revision":"3-abc","task":"coding","#,
            r#""task_source":"declared","requested_model":"auto","stream":true,"caller":"search","tags":{"team":"search"},"labels":{"feature":"x"},"target":"openai/gpt-4o","#,
            r#""outcome":"fell_back","status":200,"attempts":[{"target":"openai/gpt-4o","fault":"reset","#,
            r#""class":"connect","phase":"P1","duration_ms":1.234}],"skipped":[{"target":"openai/gpt-4o","reason":"no_key"}],"#,
            r#""prompt_tokens_estimate":12,"usage":{"input":10,"cache_read":2,"cache_write":0,"output":7,"reasoning":0},"#,
            r#""usage_source":"provider","cost_nano_usd":1500,"ttft_ms":31.0,"duration_ms":45.679,"own_ms":0.021}"#
        )
    );
}

#[test]
fn records_match_their_schema() {
    let schema = serde_json::to_value(schemars::schema_for!(Record)).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let bare = Record {
        rule: None,
        caller: None,
        tags: Pairs::default(),
        labels: Pairs::default(),
        target: None,
        prompt_tokens_estimate: None,
        usage: None,
        cost_nano_usd: None,
        ttft: None,
        ..*record("r2")
    };
    for record in [*record("r1"), bare] {
        let value = serde_json::to_value(&record).unwrap();
        assert!(validator.is_valid(&value), "{value}");
    }
}

#[test]
fn outcomes_are_spelt_alike_in_records_and_metrics() {
    for outcome in Outcome::ALL {
        assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
    }
}
