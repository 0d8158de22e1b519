//! Promise 6: `explain` and a real request plan alike, whatever the file, the request and the state.

use std::fmt::Write as _;
use std::time::Duration;

use proptest::prelude::*;
use tollgate::units::{Clock, Endpoint};
use tollgate::upstream::Entry;
use tollgate::wire::Mark;

use crate::support::*;

/// Decisions drawn one after the other; when none is left, always the first choice.
struct Choices<'c>(std::slice::Iter<'c, u8>);

impl Choices<'_> {
    fn below(&mut self, count: usize) -> usize {
        self.0.next().map_or(0, |byte| usize::from(*byte) % count)
    }

    fn of<'t>(&mut self, options: &[&'t str]) -> &'t str {
        options[self.below(options.len())]
    }

    /// Some of `all`, each once, in any order, at least one.
    fn some<'t>(&mut self, all: &[&'t str]) -> Vec<&'t str> {
        let mut left = all.to_vec();
        let count = 1 + self.below(all.len());
        (0..count).map(|_| left.remove(self.below(left.len()))).collect()
    }
}

const TARGETS: [&str; 5] = ["s0/m", "s1/m", "s2/m", "k0/m", "k1/m"];

fn file(choices: &mut Choices<'_>) -> String {
    let mut text = "version: 1\nserver: { early_head: off }\nproviders:\n".to_owned();
    for name in ["s0", "s1", "s2", "k0", "k1"] {
        let own = if name.starts_with('s') {
            choices.of(&["format: sandbox", "format: sandbox, failure: 100%"]).to_owned()
        } else {
            format!("format: openai, base_url: \"http://127.0.0.1:9/v1\", api_key: \"${{NOT_SET_{}}}?\"", name.to_uppercase())
        };
        let price = choices.of(&["", "usd_per_mtok: { input: 1, output: 1 }", "usd_per_mtok: { input: 100, output: 1000 }"]);
        let bounds = choices.of(&["", "context: 1k", "context: 100k, max_output: 4k"]);
        let can = choices.of(&["", "can: [tools]", "can: [vision]"]);
        let limits = choices.of(&[
            "",
            "limits: { requests: 1/hour }",
            "limits: { concurrent: 1 }",
            "limits: { tokens: { rate: 10k/hour, burst: 2k } }",
            "limits: { requests: { rate: 30/hour, burst: 1 }, wait: 5m }",
        ]);
        let model: Vec<&str> = [price, bounds, can, limits].into_iter().filter(|part| !part.is_empty()).collect();
        writeln!(text, "  {name}: {{ {own}, models: {{ m: {{ {} }} }} }}", model.join(", ")).unwrap();
    }
    let rules = choices.below(4);
    text.push_str(if rules == 0 { "rules: []\n" } else { "rules:\n" });
    for index in 0..rules {
        let condition = choices.of(&[
            "stream: false",
            "task: coding",
            "prompt_tokens: { max: 500 }",
            "cost_ceiling: $0.01",
            "max_cost: { min: $0.001 }",
            "model: known",
            "needs: tools",
            "endpoint: chat",
        ]);
        writeln!(text, "  - {{ name: r{index}, match: {{ {condition} }}, {} }}", route(choices)).unwrap();
    }
    writeln!(text, "default: {}", if choices.below(4) == 3 { "refuse".into() } else { format!("{{ {} }}", route(choices)) }).unwrap();
    text.push_str("evals: { coding: { s0/m: { score: 8.5 }, s1/m: { score: 7 }, k0/m: { score: 9 } } }\n");
    text
}

fn route(choices: &mut Choices<'_>) -> String {
    let members = choices.some(&TARGETS);
    let chain = match choices.below(4) {
        0 => {
            let pick = choices.of(&["split", "cheapest", "fastest", "best, for: coding", "best, for: coding, min_score: 8"]);
            format!("[{{ pick: {pick}, of: [{}] }}]", members.join(", "))
        }
        1 => format!("[requested, {}]", members.join(", ")),
        2 => format!(
            "[{{ target: {}, max_output_tokens: 300 }}{}]",
            members[0],
            members[1..].iter().fold(String::new(), |a, b| a + ", " + b)
        ),
        _ => format!("[{}]", members.join(", ")),
    };
    let on_ceiling = choices.of(&["clamp", "refuse"]);
    let limit = choices.of(&["", ", max_output_tokens: 1k"]);
    format!("chain: {chain}, retry: false, on_ceiling: {on_ceiling}{limit}")
}

fn request(choices: &mut Choices<'_>) -> (Vec<(&'static str, &'static str)>, String) {
    let mut headers = Vec::new();
    match choices.below(4) {
        0 => {}
        1 => headers.push(("x-tollgate-max-cost", "0.005")),
        2 => headers.push(("x-tollgate-max-cost", "50")),
        _ => headers.push(("x-tollgate-task", "coding")),
    }
    let model = choices.of(&["auto", "m", "s1/m", "k0/m", "unheard-of"]);
    let length = [3, 400, 8_000][choices.below(3)];
    let limit = choices.of(&["", r#","max_tokens":100"#, r#","max_tokens":3000"#, r#","max_completion_tokens":900000"#]);
    let tools = choices.of(&["", r#","tools":[{"type":"function","function":{"name":"f"}}]"#]);
    let stream = choices.of(&["", r#","stream":true"#]);
    let text = "word ".repeat(length);
    (headers, format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"{text}"}}]{limit}{tools}{stream}}}"#))
}

/// Brings targets into their states; what is returned keeps some of them there.
async fn disturb(inside: &Inside, choices: &mut Choices<'_>) -> (Vec<Entry>, Vec<tollgate::admit::Open>) {
    let (mut trials, mut open) = (Vec::new(), Vec::new());
    let rests = inside.running.rests();
    let states: Vec<usize> = TARGETS.iter().map(|_| choices.below(8)).collect();
    let index_of = |name| inside.target(name);
    for (name, _) in TARGETS.iter().zip(&states).filter(|(_, state)| matches!(state, 1 | 2)) {
        rests.failed(index_of(name), Mark::Rest, Some(Duration::from_secs(5)), None);
    }
    // What rested until now waits for its trial; one has it already.
    tokio::time::advance(Duration::from_secs(6)).await;
    for (name, state) in TARGETS.iter().zip(&states) {
        let index = index_of(name);
        match state {
            2 => trials.extend(rests.enter(index, false)),
            3 => rests.failed(index, Mark::Rest, Some(Duration::from_mins(1)), None),
            4 => {
                rests.failed(index, Mark::Rest, Some(Duration::from_mins(1)), None);
                drop(rests.enter(index, true));
            }
            5 => rests.failed(index, Mark::KeyDown, None, None),
            6 => open.extend(inside.running.gate().reserve(index, tollgate::units::Tokens::new(1_500)).map(tollgate::admit::Held::sent)),
            7 => rests.failed(index, Mark::TargetDown, None, None),
            _ => {}
        }
    }
    (trials, open)
}

fn texts(value: &serde_json::Value, key: &str) -> Vec<String> {
    value.as_array().unwrap().iter().map(|entry| entry[key].as_str().unwrap().to_owned()).collect()
}

async fn check(decisions: &[u8], seed: u64) -> Result<(), TestCaseError> {
    let choices = &mut Choices(decisions.iter());
    let file = file(choices);
    let (headers, body) = request(choices);
    let inside = Inside::at(Clock::System, &file);
    let kept = disturb(&inside, choices).await;
    let asked = || inside.asked(Endpoint::Chat, &headers, &body);

    fastrand::seed(seed);
    let explained = inside.explain(&asked());
    fastrand::seed(seed);
    let mut dry = headers.clone();
    dry.push(("x-tollgate-dry-run", "true"));
    let told = inside.handle(inside.asked(Endpoint::Chat, &dry, &body)).await;
    prop_assert_eq!(told.json(), serde_json::to_value(&explained).unwrap(), "{}", &file);

    fastrand::seed(seed);
    let got = inside.handle(asked()).await;
    drop(kept);
    let records = inside.into_records();
    prop_assert_eq!(records.len(), 1, "a dry run leaves no record");
    let record = &records[0];
    let context = format!("{file}\n{headers:?} {body:.80}\n{explained:#?}\n{record:#}\n{got:?}");
    prop_assert_eq!(record["rule"].as_str(), explained.rule.as_deref(), "{}", &context);
    let attempts = texts(&record["attempts"], "target");
    prop_assert!(explained.order.starts_with(&attempts), "{}", &context);
    let answered = record["outcome"] == "ok" || record["outcome"] == "fell_back";
    prop_assert_eq!(answered, got.status == 200, "{}", &context);
    if answered {
        prop_assert_eq!(attempts.last().map(String::as_str), record["target"].as_str(), "{}", &context);
        prop_assert_eq!(attempts.last().map(String::as_str), Some(got.target()), "{}", &context);
    } else {
        prop_assert_eq!(&attempts, &explained.order, "{}", &context);
    }
    let before_the_answer: Vec<_> = match attempts.last().filter(|_| answered) {
        Some(last) => explained.steps.iter().take_while(|step| step.target != *last).collect(),
        None => explained.steps.iter().collect(),
    };
    let skips: Vec<_> = before_the_answer.iter().filter_map(|step| Some((step.target.clone(), step.skip.clone()?))).collect();
    let skipped: Vec<_> = texts(&record["skipped"], "target").into_iter().zip(texts(&record["skipped"], "reason")).collect();
    prop_assert_eq!(skipped, skips, "{}", &context);
    prop_assert_eq!(explained.refusal.is_some(), attempts.is_empty(), "{}", &context);
    if answered {
        let step = explained.steps.iter().find(|step| step.target == got.target()).unwrap();
        let set = got.header("x-tollgate-injected").or_else(|| got.header("x-tollgate-clamped"));
        prop_assert_eq!(set.map(str::to_owned), step.sets_max_tokens.map(|limit| format!("max_tokens={limit}")), "{}", &context);
    }
    Ok(())
}

/// `PROPTEST_CASES`, or few enough for every run.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_does_what_explain_says(decisions in prop::collection::vec(any::<u8>(), 0..120), seed in any::<u64>()) {
        // Paused: nothing here waits for anything but timers.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(check(&decisions, seed))?;
    }
}

#[tokio::test]
async fn explain_says_why_each_rule_did_not_match() {
    let file = "version: 1\nproviders:\n  box: { format: sandbox, models: { m: {} } }\nrules:\n  - { name: a, match: { task: coding }, chain: [box/m] }\n  - { name: b, match: { endpoint: chat }, unless: { stream: false }, chain: [box/m] }\n  - { name: c, match: { prompt_tokens: { max: 100 } }, chain: [box/m] }\n  - { name: d, match: { stream: true }, chain: [box/m] }\ndefault: refuse\n";
    let inside = Inside::of(file);
    let explained = inside.explain(&inside.asked(Endpoint::Chat, &[], r#"{"model":"auto","messages":[{"role":"user","content":"hi"}]}"#));
    let told: Vec<_> =
        explained.rules.iter().map(|rule| (rule.name.as_str(), rule.line, rule.matched, rule.condition.as_deref())).collect();
    assert_eq!(
        told,
        [("a", Some(5), false, Some("task")), ("b", Some(6), false, Some("unless")), ("c", Some(7), true, None)],
        "down to the one that matched"
    );
    assert_eq!((explained.rules[0].wanted.as_deref(), explained.rules[0].actual.as_deref()), (Some("coding"), Some("chat")));
}

#[tokio::test]
async fn explain_says_what_the_caller_may_still_use_and_what_becomes_of_its_session() {
    let file = "version: 1
providers: { box: { format: sandbox, models: { echo: { usd_per_mtok: { input: 1, output: 1 }, max_output: 1k } } } }
budgets:
  research: { match: { tags: { team: research } }, cap: $9/month }
  company: { cap: $100/day }
callers:
  team:
    key: sha256:6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918
    tags: { team: research }
    limits: { requests: 60/hour }
    budget: $5/day
  other: { key: sha256:ef2d127de37b942baad06145e54b0c619a1f22327b2ebbcfbec78f5564afe39d }
rules: [{ name: kept, match: { task: chat }, sticky: session, chain: [box/echo] }]
default: { chain: [box/echo] }
";
    let daemon = Daemon::start(file).await;
    let explain = |given: &str| daemon.app.explain(format!("{{\"given\":{given}}}").as_bytes()).unwrap();
    let told = explain(r#"{"caller":"team","task":"chat","prompt_tokens":100}"#);
    let allowance = serde_json::json!({
        "limits": [{ "limit": "requests", "capacity": 60, "remaining": 60 }],
        "budgets": [
            { "window": "research.month", "cap_usd": "9", "left_usd": "9" },
            { "window": "caller.team.day", "cap_usd": "5", "left_usd": "5" },
        ],
    });
    assert_eq!((&told["allowance"], &told["sticky"]), (&allowance, &"unnamed".into()), "{told}");
    let told = explain(r#"{"caller":"other","task":"chat","headers":{"x-tollgate-session":"a"}}"#);
    assert_eq!((&told["allowance"]["budgets"], &told["sticky"]), (&serde_json::json!([]), &"begins".into()), "{told}");
    let told = explain(r#"{"task":"coding"}"#);
    assert!(told["allowance"].is_null() && told["sticky"].is_null(), "{told}");
}
