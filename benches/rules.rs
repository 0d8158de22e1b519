//! What many rules cost: 2,000 of them in one file, to match and to check.
//!
//! `cargo bench --bench rules` prints how long it takes to find the rule of a request, for requests of several kinds, and how long
//! the whole check of the file takes; it ends with exit code 1 when one of them takes longer than is promised.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use tokio::time::Instant;
use tollgate::app;
use tollgate::config::{Checked, Env, Sources};
use tollgate::flow::features;
use tollgate::rules::{Features, Revision, RuleSet};
use tollgate::units::Endpoint;
use tollgate::wire::Call;

const RULES: usize = 2_000;
/// Rounds of which the middle one counts.
const ROUNDS: usize = 15;
const FINDS: u32 = 2_000;
const MOST_TO_FIND: Duration = Duration::from_micros(20);
const MOST_TO_CHECK: Duration = Duration::from_millis(300);

fn main() -> anyhow::Result<ExitCode> {
    let mut all_kept = true;
    let mut say = |what: &str, took: Duration, most: Duration| {
        let is_kept = took <= most;
        all_kept &= is_kept;
        println!("{}{what}: {took:.1?} (at most {most:?})", if is_kept { "" } else { "MISSED  " });
    };
    for (kind, file) in [("exact and other conditions in turns", mixed()), ("bounds, needs and patterns that begin with a star", lengths())]
    {
        println!("{RULES} rules, {kind}");
        say("  check", middle(|| drop(checked(&file)))?, MOST_TO_CHECK);
        let checked = checked(&file).with_context(|| format!("a file of {kind} is refused"))?;
        let rules = RuleSet::from((checked, Revision { number: 0, hash: String::new() }));
        for (name, features) in requests()? {
            let found = rules.find(&features).map(|found| found.name.to_string()).unwrap_or_default();
            let finds = || {
                for _ in 0..FINDS {
                    std::hint::black_box(rules.find(std::hint::black_box(&features)));
                }
            };
            say(&format!("  {name}, which meets `{found}`"), middle(finds)? / FINDS, MOST_TO_FIND);
        }
    }
    Ok(if all_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The middle of several rounds.
fn middle(what: impl Fn()) -> anyhow::Result<Duration> {
    let round = |_| {
        let began = Instant::now();
        what();
        began.elapsed()
    };
    let mut rounds: Vec<Duration> = (0..ROUNDS).map(round).collect();
    rounds.sort_unstable();
    rounds.get(ROUNDS / 2).copied().context("no round was run")
}

fn checked(text: &str) -> Option<Checked> {
    let nothing = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    app::check(Sources::new("routes.yaml", text), &Env { variable: &|_| None, file: &nothing, credential: &nothing }).checked
}

fn file(conditions: impl Fn(usize) -> String) -> String {
    let mut text = String::from("version: 1\nproviders:\n  house:\n    format: openai\n    base_url: https://house.example/v1\n");
    text.push_str(
        "    usd_per_mtok: { input: 1, output: 2 }\n    models: { small: {}, large: {} }\ndefault: { chain: [house/small] }\nrules:\n",
    );
    for number in 0..RULES {
        // Writing to a String cannot fail.
        _ = write!(text, "  - name: rule-{number}\n    match: {{ {} }}\n    chain: [house/small, house/large]\n", conditions(number));
    }
    text
}

/// Rules of which most ask for something by its whole name.
fn mixed() -> String {
    file(|n| match n % 10 {
        0 => format!("task: task-{n}"),
        1 => format!("model: [model-{n}, big-{n}]"),
        2 => format!("labels: {{ team: team-{n} }}"),
        3 => format!("headers: {{ x-app: app-{n} }}"),
        4 => format!("task: [task-{n}, other-{n}], prompt_tokens: {{ max: {}k }}", 1 + n % 64),
        5 => format!("model: family-{n}-*, stream: {}", n % 4 < 2),
        6 => format!("task: task-{}, turns: {{ min: {} }}, needs: [tools, vision], labels: {{ run: r{n} }}", n % 200, 1 + n % 7),
        7 => format!("endpoint: embeddings, labels: {{ feature: f{n}-* }}"),
        8 => format!("max_cost: {{ max: $0.{n:04} }}, task: cheap-{n}"),
        _ => format!("effort: [high, max], model: [model-{n}, \"*-{n}\"], headers: {{ x-app: app-{n}-* }}"),
    })
}

/// Rules that all ask for numbers, or for the middle of a text.
fn lengths() -> String {
    file(|n| match n % 4 {
        0 => format!("turns: {{ min: {0}, max: {0} }}, stream: true", 10 + n),
        1 => format!("prompt_tokens: {{ min: {0}00k, max: {0}10k }}", 10 + n),
        2 => format!("model: \"*-x{n}\", needs: [tools]"),
        _ => format!("needs: [vision, audio], turns: {{ min: {n} }}, labels: {{ team: \"*-{n}\" }}"),
    })
}

/// Requests as they come in, each with what it is.
fn requests() -> anyhow::Result<Vec<(&'static str, Features)>> {
    let usual = [
        ("host", "127.0.0.1:8080"),
        ("user-agent", "OpenAI/Python 2.8.1"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate"),
        ("content-type", "application/json"),
        ("authorization", "Bearer sk-nothing"),
        ("x-stainless-lang", "python"),
        ("x-stainless-os", "Linux"),
        ("x-stainless-runtime", "CPython"),
        ("x-stainless-async", "false"),
    ];
    let request = |extra: &[(&'static str, &'static str)], model: &str, effort: Option<&str>| -> anyhow::Result<Features> {
        let pair = |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let headers: HeaderMap = usual.iter().chain(extra).map(pair).collect();
        let prompt = "The quick brown fox jumps over the lazy dog. ".repeat(180);
        let body = json!({
            "model": model,
            "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": prompt }],
            "reasoning_effort": effort,
            "stream": true
        });
        let call = Call::parse(Endpoint::Chat, body.to_string().into(), 1).map_err(|bad| anyhow::anyhow!(bad.message))?;
        features(&Arc::new(call), &Arc::new(headers)).map_err(|_| anyhow::anyhow!("the request is refused"))
    };
    Ok(vec![
        ("a request that says nothing", request(&[], "auto", None)?),
        ("one that names a task", request(&[("x-tollgate-task", "task-1990")], "auto", None)?),
        ("one that names a model", request(&[], "model-1991", None)?),
        ("one that names a model of a family", request(&[], "family-1985-large", None)?),
        ("one with labels", request(&[("x-tollgate-labels", "team=team-1992,run=r7,feature=f9")], "gpt-4o", None)?),
        (
            "one with all of that",
            request(
                &[
                    ("x-tollgate-task", "task-186"),
                    ("x-tollgate-labels", "team=none,run=r1986"),
                    ("x-tollgate-max-cost", "0.5"),
                    ("x-app", "app-1999-x"),
                ],
                "model-1999",
                Some("high"),
            )?,
        ),
    ])
}
