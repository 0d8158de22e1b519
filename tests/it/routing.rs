//! Which rule a request meets, and what its chain then does, condition by condition.

use tollgate::units::{Endpoint, Usd};

use crate::support::*;

/// A file whose rules are `conditions` in order, each named by its number, with an own sandbox target.
fn by_rule(conditions: &[&str]) -> String {
    let rules: Vec<String> =
        conditions.iter().enumerate().map(|(index, text)| format!("  - {{ name: r{index}, {text}, chain: [box/m] }}\n")).collect();
    format!(
        "version: 1\nproviders:\n  box: {{ format: sandbox, models: {{ m: {{ usd_per_mtok: {{ input: 1, output: 10 }}, context: 100k, max_output: 10k }}, other: {{}} }} }}\nrules:\n{}default: refuse\n",
        rules.concat()
    )
}

const CHAT: &str = r#"{"model":"auto","messages":[{"role":"user","content":"hello"}]}"#;

fn chat_with(fields: &str) -> String {
    format!("{},{fields}}}", CHAT.trim_end_matches('}'))
}

/// A condition, a request's headers and body, and whether the one holds for the other.
type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], &'c str, bool);

fn check(cases: &[Case<'_>]) {
    for (condition, headers, body, expected) in cases {
        assert_eq!(meets(condition, Endpoint::Chat, headers, body), *expected, "{condition} {headers:?} {body:.200}");
    }
}

/// Whether a request meets a rule with this condition alone.
fn meets(condition: &str, endpoint: Endpoint, headers: &[(&str, &str)], body: &str) -> bool {
    let inside = Inside::of(&by_rule(&[condition]));
    inside.explain(&inside.asked(endpoint, headers, body)).rule.is_some()
}

#[tokio::test]
async fn every_condition_holds_for_what_it_names_and_for_nothing_else() {
    let long = CHAT.replace("hello", &"hello ".repeat(2_000));
    let turns =
        r#"{"model":"auto","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]}"#;
    let tools = chat_with(r#""tools":[{"type":"function","function":{"name":"f","parameters":{}}}]"#);
    let image = CHAT.replace(r#""hello""#, r#"[{"type":"image_url","image_url":{"url":"https://x/y.png"}}]"#);
    let audio = CHAT.replace(r#""hello""#, r#"[{"type":"input_audio","input_audio":{"data":"","format":"wav"}}]"#);
    let file = CHAT.replace(r#""hello""#, r#"[{"type":"file","file":{"file_data":"data:application/pdf;base64,AA=="}}]"#);
    let schema = chat_with(r#""response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{}}}"#);
    let effort = chat_with(r#""reasoning_effort":"high""#);
    let nested = chat_with(r#""reasoning":{"effort":"high"}"#);
    let named = |model: &str| CHAT.replace("auto", model);
    let small = chat_with(r#""max_tokens":100"#);
    let huge = chat_with(r#""max_tokens":9000"#);
    let streamed = chat_with(r#""stream":true"#);
    let task = chat_with(r#""metadata":{"task":"coding"}"#);
    let header = |value: &'static str| [("x-tollgate-task", value)];
    let cost = |value: &'static str| [("x-tollgate-max-cost", value)];
    let labels = |value: &'static str| [("x-tollgate-labels", value)];
    let team = |value: &'static str| [("x-team", value)];
    check(&[
        ("match: { task: coding }", &header("coding"), CHAT, true),
        ("match: { task: coding }", &header("chat"), CHAT, false),
        ("match: { task: [chat, coding] }", &header("coding"), CHAT, true),
        ("match: { task: coding }", &[], &named("auto/coding"), true),
        ("match: { task: coding }", &[], &named("auto/chat"), false),
        ("match: { task: coding }", &[], &task, true),
        ("match: { task: coding }", &header("chat"), &task, false),
        ("match: { task: coding }", &header("coding"), &named("auto/chat"), true),
        ("match: { task: chat }", &[], &task.replace("\"auto\"", "\"auto/chat\""), true),
        ("match: { task: chat }", &[], CHAT, true),
        ("match: { task: unknown }", &[], CHAT, false),
        ("match: { task: unknown }", &header("coding"), CHAT, false),
        ("match: { prompt_tokens: { max: 100 } }", &[], CHAT, true),
        ("match: { prompt_tokens: { max: 100 } }", &[], &long, false),
        ("match: { prompt_tokens: { min: 1_000 } }", &[], &long, true),
        ("match: { prompt_tokens: { min: 1_000 } }", &[], CHAT, false),
        ("match: { prompt_tokens: { min: 1_000, max: 9_000 } }", &[], &long, true),
        ("match: { prompt_tokens: { min: 9_000 } }", &[], &long, false),
        // 10 dollars a million: 100 tokens cost 0.001, 9,000 cost 0.09.
        ("match: { cost_ceiling: $0.01 }", &[], &small, true),
        ("match: { cost_ceiling: $0.01 }", &[], &huge, false),
        ("match: { cost_ceiling: $0.01 }, on_ceiling: clamp", &[], &huge, true),
        ("match: { cost_ceiling: $0.01 }, on_ceiling: refuse", &[], &huge, true),
        ("match: { max_cost: { max: $0.002 } }", &cost("0.002"), CHAT, true),
        ("match: { max_cost: { max: $0.002 } }", &cost("0.0021"), CHAT, false),
        ("match: { max_cost: { max: $0.002 } }", &[], CHAT, false),
        ("match: { max_cost: { min: $1 } }", &cost("1"), CHAT, true),
        ("match: { max_cost: { min: $1 } }", &cost("0.9"), CHAT, false),
        ("match: { model: gpt-4o }", &[], &named("gpt-4o"), true),
        ("match: { model: gpt-4o }", &[], &named("gpt-4o-mini"), false),
        ("match: { model: \"gpt-*\" }", &[], &named("gpt-4o/mini"), true),
        ("match: { model: [\"a*\", \"*z\"] }", &[], &named("xyz"), true),
        ("match: { model: known }", &[], &named("box/m"), true),
        ("match: { model: known }", &[], &named("other"), true),
        ("match: { model: known }", &[], &named("gpt-4o"), false),
        ("match: { model: known }", &[], CHAT, false),
        ("match: { model: auto }", &[], CHAT, true),
        ("match: { model: auto }", &[], &named("auto/coding"), true),
        ("match: { model: auto }", &[], &named("m"), false),
        ("match: { labels: { team: search } }", &labels("team=search,run=7"), CHAT, true),
        ("match: { labels: { team: search } }", &labels("team=searching"), CHAT, false),
        ("match: { labels: { team: \"s*\" } }", &labels("team=searching"), CHAT, true),
        ("match: { labels: { team: search, run: 7 } }", &labels("team=search"), CHAT, false),
        ("match: { labels: { team: \"*\" } }", &[], CHAT, false),
        ("match: { headers: { X-Team: research } }", &team("research"), CHAT, true),
        ("match: { headers: { x-team: [a, \"res*\"] } }", &team("research"), CHAT, true),
        ("match: { headers: { x-team: research } }", &team("search"), CHAT, false),
        ("match: { headers: { x-team: \"*\" } }", &[], CHAT, false),
        ("match: { needs: tools }", &[], &tools, true),
        ("match: { needs: tools }", &[], CHAT, false),
        ("match: { needs: [vision, tools] }", &[], &image, true),
        ("match: { needs: audio }", &[], &audio, true),
        ("match: { needs: files }", &[], &file, true),
        ("match: { needs: json_schema }", &[], &schema, true),
        ("match: { needs: reasoning }", &[], &effort, true),
        ("match: { needs: reasoning }", &[], &effort.replace("high", "none"), false),
        ("match: { turns: { min: 3 } }", &[], turns, true),
        ("match: { turns: { max: 2 } }", &[], turns, false),
        ("match: { turns: { min: 1, max: 1 } }", &[], CHAT, true),
        ("match: { effort: [high, max] }", &[], &effort, true),
        ("match: { effort: high }", &[], &nested, true),
        ("match: { effort: low }", &[], &effort, false),
        ("match: { effort: low }", &[], CHAT, false),
        ("match: { endpoint: chat }", &[], CHAT, true),
        ("match: { endpoint: [completions, embeddings] }", &[], CHAT, false),
        ("match: { stream: true }", &[], &streamed, true),
        ("match: { stream: true }", &[], CHAT, false),
        ("match: { stream: false }", &[], CHAT, true),
    ]);
    let input = r#"{"model":"auto","input":"hello"}"#;
    assert!(meets("match: { endpoint: embeddings }", Endpoint::Embeddings, &[], input));
    assert!(!meets("match: { endpoint: chat }", Endpoint::Embeddings, &[], input));
    assert!(meets("match: { endpoint: [completions] }", Endpoint::Completions, &[], r#"{"model":"auto","prompt":"x"}"#));
}

#[tokio::test]
async fn what_a_request_lacks_fulfils_nothing_in_match_or_unless() {
    let header = |value: &'static str| [("x-tollgate-task", value)];
    check(&[
        // All of match must hold; unless must not hold as a whole.
        ("match: { stream: true, task: coding }", &header("coding"), CHAT, false),
        ("match: { endpoint: chat }, unless: { task: coding }", &header("coding"), CHAT, false),
        ("match: { endpoint: chat }, unless: { task: coding }", &header("chat"), CHAT, true),
        ("match: { endpoint: chat }, unless: { task: coding, stream: true }", &header("coding"), CHAT, true),
        // What the request lacks fulfils nothing, here or there.
        ("match: { endpoint: chat }, unless: { effort: [none, low] }", &[], CHAT, true),
        ("match: { endpoint: chat }, unless: { max_cost: { min: 0 } }", &[], CHAT, true),
        ("match: { endpoint: chat }, unless: { labels: { team: \"*\" } }", &[], CHAT, true),
        ("match: { endpoint: chat }, unless: { headers: { x-team: \"*\" } }", &[], CHAT, true),
        ("match: { endpoint: chat }, unless: { max_cost: { min: 0 } }", &[("x-tollgate-max-cost", "1")], CHAT, false),
    ]);
}

#[tokio::test]
async fn the_first_rule_in_file_order_wins_and_default_comes_last() {
    let inside = Inside::of(&by_rule(&["match: { task: coding }", "match: { stream: false }", "match: { endpoint: chat }"]));
    for (task, stream, rule) in
        [("coding", true, Some("r0")), ("coding", false, Some("r0")), ("x", false, Some("r1")), ("x", true, Some("r2"))]
    {
        let body = chat_with(&format!("\"stream\":{stream}"));
        let explained = inside.explain(&inside.asked(Endpoint::Chat, &[("x-tollgate-task", task)], &body));
        assert_eq!(explained.rule.as_deref(), rule);
        let got = inside.handle(inside.asked(Endpoint::Chat, &[("x-tollgate-task", task)], &body)).await;
        assert_eq!((got.status, got.header("x-tollgate-rule")), (200, rule));
    }
    let got = inside.handle(inside.asked(Endpoint::Embeddings, &[], r#"{"model":"auto","input":"x","encoding_format":"float"}"#)).await;
    assert_eq!((got.status, got.header("x-tollgate-rule")), (200, Some("r1")));
    let refusing = Inside::of(&by_rule(&["match: { task: coding }"]));
    let got = refusing.handle(refusing.asked(Endpoint::Chat, &[], CHAT)).await;
    assert_eq!((got.status, got.code().as_str(), got.header("x-should-retry")), (404, "model_not_found", Some("false")));
    let record = &refusing.into_records()[0];
    assert_eq!((record["outcome"].as_str(), record["rule"].as_str()), (Some("refused"), None));
}

#[tokio::test]
async fn requested_goes_to_the_target_that_the_client_named() {
    let first = sound_provider("first", false).await;
    let second = sound_provider("second", false).await;
    let file = routes(&[&first, &second], "").replace("chain: [p0/m, p1/m]", "chain: [requested]");
    let daemon = Daemon::start(&file).await;
    for (model, target) in [("p1/m", "p1/m"), ("p0/m", "p0/m"), ("m", "p0/m")] {
        let got = daemon.ask(&chat(false).replace("\"auto\"", &format!("\"{model}\""))).await;
        assert_eq!((got.status, got.target()), (200, target), "{model}: {got:?}");
    }
    assert_eq!(second.seen()[0].json()["model"], "m");
    for model in ["auto", "gpt-4o", "p0/other"] {
        let got = daemon.ask(&chat(false).replace("\"auto\"", &format!("\"{model}\""))).await;
        assert_eq!((got.status, got.code().as_str()), (404, "model_not_found"), "{model}: {got:?}");
        assert_eq!(got.header("x-should-retry"), Some("false"));
    }
}

#[tokio::test]
async fn split_draws_by_weight_and_keeps_the_rest_as_fallbacks() {
    let file = "version: 1\nproviders:\n  a: { format: sandbox, models: { m: {} } }\n  b: { format: sandbox, models: { m: {} } }\n  c: { format: sandbox, models: { m: {} } }\n  d: { format: sandbox, models: { m: {} } }\ndefault:\n  chain:\n    - { pick: split, of: [{ target: b/m, weight: 5 }, { target: a/m, weight: 80 }, { target: c/m, weight: 15 }] }\n    - d/m\n";
    let inside = Inside::of(file);
    fastrand::seed(7);
    let asked = inside.asked(Endpoint::Chat, &[], CHAT);
    let (mut first, draws) = (std::collections::BTreeMap::<String, u32>::new(), 4_000);
    for _ in 0..draws {
        let mut order = inside.explain(&asked).order;
        assert_eq!(order.pop().as_deref(), Some("d/m"));
        *first.entry(order[0].clone()).or_default() += 1;
        let rest: Vec<&str> = ["a/m", "c/m", "b/m"].into_iter().filter(|name| *name != order[0]).collect();
        assert_eq!(order[1..], rest, "the others by weight");
    }
    for (name, share) in [("a/m", 0.80), ("c/m", 0.15), ("b/m", 0.05)] {
        let found = f64::from(first[name]) / f64::from(draws);
        assert!((found - share).abs() < 0.03, "{name}: {found} of {share}");
    }
}

#[tokio::test]
async fn split_falls_back_to_the_members_that_were_not_drawn() {
    let failing = Provider::always(vec![send(json_answer("500 Internal Server Error", "{}"))]).await;
    let sound = sound_provider("sound", false).await;
    let pool = "chain: [{ pick: split, of: [{ target: p0/m, weight: 1000000 }, p1/m] }]";
    let daemon = Daemon::start(&routes(&[&failing, &sound], "").replace("chain: [p0/m, p1/m]", pool)).await;
    let got = daemon.chat().await;
    assert_eq!((got.status, got.target(), got.header("x-tollgate-attempts")), (200, "p1/m", Some("2")));
}

#[tokio::test]
async fn a_steps_settings_hold_for_that_step_alone() {
    let failing = Provider::always(vec![send(json_answer("500 Internal Server Error", "{}"))]).await;
    let sound = sound_provider("sound", false).await;
    let chain = "chain: [{ target: p0/m, set: { temperature: 0, top_p: 0.5 }, max_output_tokens: 50 }, { target: p1/m, set: { seed: 3 } }], max_output_tokens: 400";
    let daemon = Daemon::start(&routes(&[&failing, &sound], "").replace("chain: [p0/m, p1/m]", chain)).await;
    let got = daemon.ask(&chat(false).replace("\"stream\"", "\"temperature\":1.0,\"max_tokens\":500,\"stream\"")).await;
    assert_eq!((got.status, got.header("x-tollgate-clamped")), (200, Some("max_tokens=400")));
    let (first, second) = (failing.seen()[0].json(), sound.seen()[0].json());
    assert_eq!((&first["temperature"], &first["top_p"], &first["max_tokens"]), (&0.into(), &0.5.into(), &50.into()));
    assert_eq!((&second["temperature"], &second["seed"], &second["max_tokens"]), (&1.0.into(), &3.into(), &400.into()));
    assert!(second.get("top_p").is_none() && first.get("seed").is_none());
    let got = daemon.chat().await;
    assert_eq!((got.header("x-tollgate-injected"), got.header("x-tollgate-clamped")), (Some("max_tokens=400"), None));
    assert_eq!(sound.seen()[1].json()["max_completion_tokens"], 400);
    let got = daemon.ask(&chat(false).replace("\"stream\"", "\"max_tokens\":20,\"stream\"")).await;
    assert_eq!((got.header("x-tollgate-injected"), got.header("x-tollgate-clamped")), (None, None));
    assert_eq!(sound.seen()[2].json()["max_tokens"], 20, "a lower limit stays as the client set it");
}

#[tokio::test]
async fn a_steps_timeouts_go_before_the_rules_and_the_providers() {
    for (provider, rule, step) in [
        ("timeouts: { first_content: 60s }", "", "timeouts: { first_content: 100ms }"),
        ("timeouts: { first_content: 60s }", "timeouts: { first_content: 100ms }", ""),
        ("timeouts: { first_content: 50ms }", "timeouts: { first_content: 60s }", "timeouts: { first_content: 100ms }"),
        ("timeouts: { first_content: 100ms }", "", ""),
    ] {
        let silent = Provider::always(vec![Act::Hang]).await;
        let sound = sound_provider("sound", true).await;
        let join = |text: &str| if text.is_empty() { String::new() } else { format!(", {text}") };
        let chain = format!("chain: [{{ target: p0/m{} }}, p1/m]{}", join(step), join(rule));
        let daemon = Daemon::start(&routes(&[&silent, &sound], provider).replace("chain: [p0/m, p1/m]", &chain)).await;
        let got = daemon.stream().await;
        assert_eq!((got.status, got.target()), (200, "p1/m"), "{provider} {rule} {step}");
    }
}

#[tokio::test]
async fn the_deadline_is_the_whole_requests() {
    let begun = tokio::time::Instant::now();
    let silent = Provider::always(vec![Act::Hang]).await;
    for (wait, status, code) in [("", 504, "upstream_timeout"), ("limits: { requests: 1/hour, wait: 5s }", 429, "rate_limit_exceeded")] {
        let file = routes(&[&silent], wait).replace("] }\n", "], deadline: 300ms, retry: false }\n");
        let daemon = Daemon::start(&file).await;
        let first = daemon.chat().await;
        assert_eq!((first.status, first.code().as_str()), (504, "upstream_timeout"), "{first:?}");
        let second = daemon.chat().await;
        assert_eq!((second.status, second.code().as_str()), (status, code), "{second:?}");
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(4));
}

/// Two priced targets, `box/dear` and `box/cheap`, and one whose price nobody knows.
fn priced(provider: &Provider, rest: &str) -> String {
    let url = provider.url();
    format!(
        "version: 1\nproviders:\n  box:\n    format: openai\n    base_url: {url}\n    models:\n      dear: {{ usd_per_mtok: {{ input: 10, output: 100 }}, context: 100k, max_output: 8k }}\n      cheap: {{ usd_per_mtok: {{ input: 1, output: 1 }}, context: 100k, max_output: 8k }}\n      unpriced: {{}}\n{rest}"
    )
}

#[tokio::test]
async fn what_a_ceiling_cannot_hold_is_left_out_clamped_or_refused() {
    let provider = sound_provider("sound", false).await;
    let rule = |settings: &str| {
        priced(
            &provider,
            &format!(
                "rules:\n  - {{ name: ceiling, match: {{ cost_ceiling: $0.1 }}, chain: [box/dear, box/unpriced, box/cheap]{settings} }}\ndefault: {{ chain: [box/unpriced] }}\n"
            ),
        )
    };
    let ask = |max_tokens: u64| chat_with(&format!("\"max_tokens\":{max_tokens}"));
    // 8,000 tokens: 0.8 dollars at the dear one, 0.008 at the cheap one.
    let inside = Inside::of(&rule(""));
    let explained = inside.explain(&inside.asked(Endpoint::Chat, &[], &ask(8_000)));
    assert_eq!((explained.rule.as_deref(), explained.order.as_slice()), (Some("ceiling"), ["box/cheap".to_owned()].as_slice()));
    let got = inside.handle(inside.asked(Endpoint::Chat, &[], &ask(8_000))).await;
    assert_eq!((got.status, got.target()), (200, "box/cheap"));
    let explained = inside.explain(&inside.asked(Endpoint::Chat, &[], &ask(500)));
    assert_eq!(explained.order, ["box/dear", "box/cheap"], "a target without a price cannot be held to a ceiling");

    let only_dear = |on_ceiling: &str| {
        priced(
            &provider,
            &format!(
                "rules:\n  - {{ name: ceiling, match: {{ cost_ceiling: $0.1 }}, chain: [box/dear], on_ceiling: {on_ceiling} }}\ndefault: {{ chain: [box/unpriced] }}\n"
            ),
        )
    };
    let next = Inside::of(&only_dear("next_rule"));
    assert_eq!(next.explain(&next.asked(Endpoint::Chat, &[], &ask(8_000))).rule.as_deref(), Some("default"));
    let clamping = Inside::of(&only_dear("clamp"));
    let got = clamping.handle(clamping.asked(Endpoint::Chat, &[], &ask(8_000))).await;
    let clamped: u64 = got.header("x-tollgate-clamped").unwrap().strip_prefix("max_tokens=").unwrap().parse().unwrap();
    assert!(got.status == 200 && (900..1_000).contains(&clamped), "{got:?}");
    let explained = clamping.explain(&clamping.asked(Endpoint::Chat, &[], &ask(8_000)));
    let worst: Usd = explained.steps[0].worst_case_usd.as_deref().unwrap().parse().unwrap();
    assert!(worst <= "0.1".parse().unwrap() && worst > "0.0999".parse().unwrap(), "{worst}");
    let unsaid = clamping.handle(clamping.asked(Endpoint::Chat, &[], CHAT)).await;
    assert!(unsaid.header("x-tollgate-injected").is_some(), "{unsaid:?}");
    let refusing = Inside::of(&only_dear("refuse"));
    let got = refusing.handle(refusing.asked(Endpoint::Chat, &[], &ask(8_000))).await;
    assert_eq!((got.status, got.code().as_str(), got.header("x-should-retry")), (400, "cost_ceiling_exceeded", Some("false")));
    assert!(got.body.contains("box/dear") && got.body.contains("0.1"), "the refusal names step and reason: {}", got.body);
}

#[tokio::test]
async fn no_target_above_the_declared_ceiling_is_used_whatever_the_rule() {
    let provider = sound_provider("sound", false).await;
    for (rules, chain) in [
        ("", "default: { chain: [box/dear, box/unpriced, box/cheap] }\n"),
        ("", "default: { chain: [{ pick: split, of: [box/dear, box/unpriced, box/cheap] }] }\n"),
        ("rules:\n  - { name: a, match: { endpoint: chat }, chain: [box/dear, box/unpriced, box/cheap] }\n", "default: refuse\n"),
        (
            "rules:\n  - { name: a, match: { cost_ceiling: $9 }, chain: [box/dear, box/unpriced, box/cheap], on_ceiling: refuse }\n",
            "default: refuse\n",
        ),
    ] {
        let inside = Inside::of(&priced(&provider, &format!("{rules}{chain}")));
        let ceiling = [("x-tollgate-max-cost", "0.01")];
        let body = chat_with("\"max_tokens\":5000");
        for _ in 0..5 {
            let explained = inside.explain(&inside.asked(Endpoint::Chat, &ceiling, &body));
            assert_eq!(explained.order, ["box/cheap"], "{rules}{chain}");
            assert_eq!(inside.handle(inside.asked(Endpoint::Chat, &ceiling, &body)).await.target(), "box/cheap");
        }
        let got = inside.handle(inside.asked(Endpoint::Chat, &[("x-tollgate-max-cost", "0.000001")], &body)).await;
        assert_eq!((got.status, got.code().as_str()), (400, "cost_ceiling_exceeded"), "{got:?}");
    }
    let inside = Inside::of(&priced(&provider, "default: { chain: [requested] }\n"));
    let got = inside.handle(inside.asked(Endpoint::Chat, &[("x-tollgate-max-cost", "0.01")], &CHAT.replace("auto", "box/dear"))).await;
    assert_eq!(got.code(), "cost_ceiling_exceeded", "{got:?}");
}

#[tokio::test]
async fn a_target_that_cannot_serve_the_call_is_left_out() {
    let file = "version: 1\nproviders:\n  box:\n    format: sandbox\n    models:\n      small: { context: 1k, can: [tools] }\n      large: { context: 10k, can: [vision] }\ndefault: { chain: [box/small, box/large] }\n";
    let inside = Inside::of(file);
    let order = |body: &str| inside.explain(&inside.asked(Endpoint::Chat, &[], body)).order;
    let long = CHAT.replace("hello", &"hello ".repeat(3_000));
    let tools = chat_with(r#""tools":[{"type":"function","function":{"name":"f"}}]"#);
    assert_eq!(order(CHAT), ["box/small", "box/large"]);
    assert_eq!(order(&long), ["box/large"]);
    assert_eq!(order(&tools), ["box/small"]);
    let both = CHAT
        .replace(r#""hello""#, &format!(r#"[{{"type":"input_audio","input_audio":{{}}}},{{"type":"text","text":"{}"}}]"#, "x ".repeat(9)));
    for (body, code) in [
        (both.as_str(), "unsupported_parameter"),
        (&long.replace("hello ", "hello hello hello hello hello hello hello hello "), "context_length_exceeded"),
    ] {
        let got = inside.handle(inside.asked(Endpoint::Chat, &[], body)).await;
        assert_eq!((got.status, got.code().as_str()), (400, code), "{got:?}");
        assert!(got.body.contains("box/small") && got.body.contains("box/large"), "{}", got.body);
    }
}

#[tokio::test]
async fn a_dry_run_tells_the_decision_and_sends_nothing() {
    let provider = sound_provider("hello", false).await;
    let daemon = Daemon::start(&routes(&[&provider], "")).await;
    let got = daemon.post("/v1/chat/completions", &[("x-tollgate-dry-run", "true")], &chat(true)).await;
    let told = got.json();
    assert_eq!((got.status, got.header("content-type")), (200, Some("application/json")));
    assert_eq!(
        (told["rule"].as_str(), told["order"][0].as_str(), told["features"]["stream"].as_bool()),
        (Some("default"), Some("p0/m"), Some(true))
    );
    assert_eq!(told["revision"].as_str(), got.header("x-tollgate-revision"));
    assert_eq!((provider.count(), daemon.records.all().len()), (0, 0));
}

/// The words of a request decide where nothing is declared.
#[tokio::test]
async fn a_task_that_nobody_declares_is_recognised() {
    let asks = |text: &str| format!(r#"{{"model":"auto","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    for (condition, text, expected) in [
        ("match: { task: translation }", "Translate this to Spanish: the shop is closed", true),
        ("match: { task: coding }", "Translate this to Spanish: the shop is closed", false),
        ("match: { task: unknown }", "Translate this to Spanish: the shop is closed", false),
        ("match: { task: coding }", "python: how do I parse json from a string? my function throws an exception", true),
        ("match: { stream: false }, unless: { task: chat }", "hello!", false),
    ] {
        assert_eq!(meets(condition, Endpoint::Chat, &[], &asks(text)), expected, "{condition}: {text}");
    }
    let declared = [("x-tollgate-task", "math")];
    assert!(meets("match: { task: math }", Endpoint::Chat, &declared, &asks("Translate this to Spanish: the shop is closed")));
    let tool_turn = r#"{"model":"auto","messages":[{"role":"user","content":"go"},{"role":"tool","tool_call_id":"1","content":"4"}],
        "tools":[{"type":"function","function":{"name":"f"}}]}"#;
    assert!(meets("match: { task: tool_use }", Endpoint::Chat, &[], tool_turn));
    let long = asks(&"a ``` translate ".repeat(50_000));
    assert!(!meets("match: { task: legal }", Endpoint::Chat, &[], &long));
}

#[tokio::test]
async fn classify_sets_the_floor_own_labels_or_is_off() {
    let spanish = r#"{"model":"auto","messages":[{"role":"user","content":"Translate this contract to Spanish"}]}"#;
    for (classify, rule, expected) in [
        ("", "translation", true),
        ("classify: off\n", "translation", false),
        ("classify: off\n", "unknown", true),
        ("classify: { floor: 100% }\n", "unknown", true),
        ("classify: { labels: { legal: [contract*] } }\n", "legal", true),
        ("classify: { labels: { legal: [treaty] } }\n", "legal", false),
    ] {
        let inside = Inside::of(&(by_rule(&[&format!("match: {{ task: {rule} }}")]) + classify));
        let explained = inside.explain(&inside.asked(Endpoint::Chat, &[], spanish));
        assert_eq!(explained.rule.is_some(), expected, "{classify:?} {rule}: {:?}", explained.features);
    }
}

#[tokio::test]
async fn the_answer_says_where_its_task_comes_from_and_how_sure_that_is() {
    let inside = Inside::of(&by_rule(&["match: { task: translation }"]));
    let body = r#"{"model":"auto","messages":[{"role":"user","content":"Translate this to Spanish: the shop is closed"}]}"#;
    let got = inside.handle(inside.asked(Endpoint::Chat, &[], body)).await;
    assert_eq!(got.header("x-tollgate-task"), Some("translation;source=structure;confidence=0.95"), "{got:?}");
    let shown = inside.explain(&inside.asked(Endpoint::Chat, &[], body)).features.task_shown.unwrap();
    assert!(shown.signs.iter().any(|sign| sign == "names a language") && shown.runner_up.is_some(), "{shown:?}");
    // Nobody asks for a task: the words are not looked at.
    let inside = Inside::of(&by_rule(&["match: { stream: false }"]));
    let got = inside.handle(inside.asked(Endpoint::Chat, &[], body)).await;
    assert_eq!(got.header("x-tollgate-task"), None, "{got:?}");
    let inside = Inside::of(&(by_rule(&["match: { stream: false }"]) + "classify: { when: always }\n"));
    let got = inside.handle(inside.asked(Endpoint::Chat, &[], body)).await;
    assert_eq!(got.header("x-tollgate-task"), Some("translation;source=structure;confidence=0.95"), "{got:?}");
}
