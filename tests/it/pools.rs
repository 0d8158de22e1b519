//! Pools: how `cheapest`, `fastest` and `best` put their members in order, and sessions that stay on a target.

use std::time::Duration;

use tollgate::config;
use tollgate::flow::Explained;
use tollgate::units::{Clock, Endpoint};
use tollgate::upstream::Awaited;
use tollgate::wire::Mark;

use crate::support::*;

const CHAT: &str = r#"{"model":"auto","messages":[{"role":"user","content":"hi"}]}"#;

/// A file of the sandbox: its models with `settings`, one chain, and what follows.
fn file(models: &str, chain: &str, more: &str) -> String {
    format!(
        "version: 1\nserver: {{ early_head: off }}\nproviders:\n  box: {{ format: sandbox, models: {{ {models} }} }}\n\
         default: {{ chain: {chain} }}\n{more}"
    )
}

fn explain(inside: &Inside, headers: &[(&'static str, &'static str)], body: &str) -> Explained {
    inside.explain(&inside.asked(Endpoint::Chat, headers, body))
}

fn why(explained: &Explained) -> Vec<(&str, &str)> {
    explained.steps.iter().map(|step| (step.pick.as_deref().unwrap_or("-"), step.why.as_deref().unwrap_or("-"))).collect()
}

const PRICED: &str = "dear: { usd_per_mtok: { input: 1, output: 10 } }, long: { usd_per_mtok: { input: 5, output: 1 } }, unpriced: {}, \
                      free: { usd_per_mtok: { input: 0, output: 0 }, context: 1k }";

#[tokio::test(start_paused = true)]
async fn cheapest_goes_by_the_worst_case_of_the_very_request() {
    let inside = Inside::of(&file(PRICED, "[{ pick: cheapest, of: [box/dear, box/long] }, box/free]", ""));
    // Much to read and little to write, and the other way round.
    let reads = format!(r#"{{"model":"auto","max_tokens":10,"messages":[{{"role":"user","content":"{}"}}]}}"#, "word ".repeat(4_000));
    let writes = r#"{"model":"auto","max_tokens":5000,"messages":[{"role":"user","content":"hi"}]}"#;
    for (body, order) in [(&*reads, ["box/dear", "box/long", "box/free"]), (writes, ["box/long", "box/dear", "box/free"])] {
        let explained = explain(&inside, &[], body);
        let steps: Vec<&str> = explained.steps.iter().map(|step| step.target.as_str()).collect();
        assert_eq!(steps, order);
        let worst = explained.steps[0].worst_case_usd.as_ref().unwrap();
        assert_eq!(why(&explained)[0], ("cheapest", format!("at most ${worst}").as_str()));
        assert_eq!(why(&explained)[2..], [("-", "-")]);
        assert_eq!(inside.handle(inside.asked(Endpoint::Chat, &[], body)).await.target(), order[0]);
    }
}

#[tokio::test]
async fn best_takes_the_cheapest_that_reaches_the_floor_and_leaves_out_what_nobody_measured() {
    let evals = "evals:\n  coding: { box/dear: { score: 9.1 }, box/long: { score: 8.4 }, box/free: { score: 8.5 } }\n  math: { box/long: { score: 7 } }\n";
    let of = "of: [box/dear, box/long, box/unpriced, box/free]";
    for (pick, task, order) in [
        ("pick: best, min_score: 8.5", "coding", &["box/free", "box/dear"][..]),
        ("pick: best, min_score: 9.2", "coding", &[]),
        ("pick: best", "coding", &["box/dear", "box/free", "box/long"]),
        ("pick: best", "math", &["box/long"]),
        ("pick: best, min_score: 8.5, for: coding", "math", &["box/free", "box/dear"]),
        ("pick: best", "chat", &[]),
    ] {
        let inside = Inside::of(&file(PRICED, &format!("[{{ {pick}, {of} }}, box/unpriced]"), evals));
        let task: &'static str = task;
        let explained = explain(&inside, &[("x-tollgate-task", task)], CHAT);
        // What the pool leaves out may stand behind it.
        let expected: Vec<&str> = order.iter().copied().chain(["box/unpriced"]).collect();
        assert_eq!(explained.order, expected, "{pick} for {task}: {explained:#?}");
        let skips = explained.steps.iter().filter_map(|step| step.skip.as_deref()).collect::<Vec<_>>();
        assert!(skips.iter().all(|skip| ["no_score", "below_floor"].contains(skip)) && skips.len() == 4 - order.len(), "{skips:?}");
    }
    let inside = Inside::of(&file(PRICED, &format!("[{{ pick: best, min_score: 8.5, {of} }}]"), evals));
    let explained = explain(&inside, &[("x-tollgate-task", "coding")], CHAT);
    assert!(why(&explained)[0].1.starts_with("score 8.5 reaches 8.5, and of those the cheapest is first; at most $0"), "{explained:#?}");
    let reasons: Vec<&str> = explained.steps.iter().filter_map(|step| step.reason.as_deref()).collect();
    assert_eq!(reasons, ["no score for `coding` under `evals`", "its score of 8.4 is below 8.5"]);
}

#[tokio::test(start_paused = true)]
async fn fastest_goes_by_what_it_saw_and_what_it_saw_survives_a_reload() {
    let text = "version: 1\nserver: { early_head: off }\nproviders:\n  slow: { format: sandbox, latency: 400ms, models: { m: {} } }\n  \
                quick: { format: sandbox, latency: 40ms, models: { m: {} } }\ndefault: { chain: [{ pick: fastest, of: [slow/m, quick/m] }] }\n";
    let mut inside = Inside::at(Clock::System, text);
    assert_eq!(why(&explain(&inside, &[], CHAT)), [("fastest", "not measured yet"); 2]);
    let streamed = CHAT.replace("\"model\"", "\"stream\":true,\"model\"");
    for _ in 0..60 {
        inside.handle(inside.asked(Endpoint::Chat, &[], &streamed)).await;
    }
    fastrand::seed(1);
    let explained = |inside: &Inside| {
        // Of a few draws the most are to the fastest.
        let all: Vec<Explained> = (0..9).map(|_| explain(inside, &[], &streamed)).collect();
        let quick = all.iter().filter(|explained| explained.order == ["quick/m", "slow/m"]).count();
        assert!(quick >= 7, "{quick} of 9");
        all.into_iter().find(|explained| explained.order[0] == "quick/m").unwrap()
    };
    let told = why(&explained(&inside)).into_iter().map(|(_, why)| why.to_owned()).collect::<Vec<_>>();
    let quick: u64 = told[0].strip_suffix(" ms lately").unwrap().parse().unwrap();
    let slow: u64 = told[1].strip_suffix(" ms lately").unwrap().parse().unwrap();
    assert!((38..=50).contains(&quick) && (380..=450).contains(&slow), "{told:?}");
    assert_eq!(inside.running.rests().pace(inside.target("quick/m"), Awaited::Whole), None, "whole answers are another matter");

    // Another file that names the same targets the other way round.
    inside = inside.reloaded(&text.replace("[slow/m, quick/m]", "[quick/m, slow/m]").replace("version: 1\n", "version: 1\n\n"));
    explained(&inside);
}

#[tokio::test(start_paused = true)]
async fn a_chain_without_such_a_pool_measures_nothing_for_it() {
    let inside = Inside::at(Clock::System, &file("m: {}, n: {}", "[{ pick: cheapest, of: [box/m, box/n] }]", ""));
    inside.handle(inside.asked(Endpoint::Chat, &[], CHAT)).await;
    assert_eq!(inside.running.rests().pace(inside.target("box/m"), Awaited::Whole), None);
}

const SPLIT: &str = "[{ pick: split, of: [{ target: box/a, weight: 1 }, { target: box/b, weight: 1 }, { target: box/c, weight: 1 }] }]";

/// Who serves a session, several times.
async fn served(inside: &Inside, headers: &[(&'static str, &'static str)]) -> Vec<String> {
    let mut targets = Vec::new();
    for _ in 0..12 {
        targets.push(inside.handle(inside.asked(Endpoint::Chat, headers, CHAT)).await.target().to_owned());
    }
    targets.dedup();
    targets
}

#[tokio::test(start_paused = true)]
async fn a_session_stays_on_one_target_and_only_where_the_rule_says_so() {
    fastrand::seed(3);
    let models = "a: {}, b: {}, c: {}";
    let sticky = file(models, SPLIT, "").replace(&format!("{SPLIT} }}"), &format!("{SPLIT}, sticky: session }}"));
    let inside = Inside::of(&sticky);
    for headers in [&[("x-tollgate-session", "one")][..], &[("x-tollgate-session", "two")], &[("x-claude-code-session-id", "three")]] {
        assert_eq!(served(&inside, headers).await.len(), 1, "{headers:?}");
    }
    assert!(served(&inside, &[]).await.len() > 1, "a request of no session is drawn");
    let stays = explain(&inside, &[("x-tollgate-session", "one")], CHAT);
    assert_eq!(stays.session.as_ref(), stays.order.first());
    assert!(served(&Inside::of(&file(models, SPLIT, "")), &[("x-tollgate-session", "one")]).await.len() > 1, "the rule does not say so");
}

#[tokio::test(start_paused = true)]
async fn a_session_moves_when_its_target_rests_and_ends_with_its_rule() {
    fastrand::seed(3);
    let models = "a: {}, b: {}, c: {}";
    let sticky = file(models, SPLIT, "").replace(&format!("{SPLIT} }}"), &format!("{SPLIT}, sticky: session }}"));
    let inside = Inside::of(&sticky);
    let headers = [("x-tollgate-session", "one")];
    let first = served(&inside, &headers).await.remove(0);
    inside.running.rests().failed(inside.target(&first), Mark::Rest, Some(Duration::from_mins(5)), None);
    let second = served(&inside, &headers).await;
    assert!(second.len() == 1 && second[0] != first, "{second:?}");

    // A reload that leaves the rule as it is leaves the session where it is; another rule begins anew.
    let inside = inside.reloaded(&sticky.replace("version: 1\n", "version: 1\n# moved\n"));
    assert_eq!(explain(&inside, &headers, CHAT).session.as_deref(), Some(second[0].as_str()));
    let inside = inside.reloaded(&sticky.replace("weight: 1", "weight: 2"));
    assert_eq!(explain(&inside, &headers, CHAT).session, None);
}

#[test]
fn a_rules_print_is_of_what_it_says_and_not_of_where() {
    let print = |text: &str| config::prints(&crate::config::read(text).0.unwrap());
    let text = file("m: {}", "[box/m], sticky: session", "");
    assert_eq!(print(&text), print(&text.replace("version: 1\n", "version: 1\n\n\n")));
    assert_ne!(print(&text), print(&text.replace("sticky: session", "sticky: session, deadline: 1m")));
}
