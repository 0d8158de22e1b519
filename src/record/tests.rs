use std::collections::BTreeMap;

use proptest::prelude::*;

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

proptest! {
    #[test]
    fn a_line_is_what_serde_writes(
        texts in proptest::collection::vec(any::<String>(), 4),
        micros in proptest::collection::vec(0_u64..100_000_000_000, 4),
        numbers in proptest::collection::vec(any::<u64>(), 5),
        thousandths in 0_u16..=1_000,
        status: u16,
        attempts in 0_usize..4,
        has: u16,
    ) {
        let full = record(&texts[0]);
        let option = |bit: u32| (has & 1 << bit != 0).then_some(());
        let text = |at: usize| texts[at].clone();
        let took = |at: usize| Duration::from_micros(micros[at]);
        let name = TaskName::parse("other").unwrap();
        let one = AttemptRecord { fault: option(0).map(|()| "reset"), class: option(1).map(|()| "connect"), status: option(2).map(|()| status), duration: took(0), ..full.attempts[0].clone() };
        let record = Record {
            rule: option(3).and_then(|()| full.rule.clone()),
            revision: texts[1].as_str().into(),
            task_confidence: option(4).map(|()| Confidence::from_thousandths(thousandths)),
            task_runner_up: option(5).map(|()| name.clone()),
            task_signs: option(6).map(|()| vec!["a \"sign\"", "b"]).unwrap_or_default(),
            requested_model: text(2),
            stream: option(7).is_some(),
            caller: option(8).and_then(|()| full.caller.clone()),
            tags: option(9).map(|()| BTreeMap::from([(text(0), text(1)), (text(2), text(3))]).into()).unwrap_or_default(),
            labels: option(10).map(|()| full.labels.clone()).unwrap_or_default(),
            target: option(11).and_then(|()| full.target.clone()),
            served_model: option(12).map(|()| text(3)),
            status,
            code: option(13).map(|()| Arc::from(text(3))),
            attempts: vec![one; attempts],
            skipped: option(14).map(|()| full.skipped.clone()).unwrap_or_default(),
            prompt_tokens_estimate: option(15).map(|()| numbers[0]),
            usage: option(0).map(|()| UsageRecord { input: numbers[0], cache_read: numbers[1], cache_write: numbers[2], output: numbers[3], reasoning: numbers[4] }),
            cost_nano_usd: option(1).map(|()| Usd::from_nano(numbers[1])),
            ttft: option(2).map(|()| took(1)),
            duration: took(2),
            own: took(3),
            ..*full
        };
        let mut line = Vec::new();
        line::write(&record, &mut line);
        prop_assert_eq!(String::from_utf8(line).unwrap(), serde_json::to_string(&record).unwrap());
    }
}
