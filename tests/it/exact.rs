//! The exact count of a prompt: taken only where its bytes do not fit a budget, for models whose vocabulary is public, and bounded in time.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::*;

/// A dollar for a thousand tokens, and a model of OpenAI's.
const PRICED: &str = "gpt-4o: { usd_per_mtok: { input: 1000, output: 1000 }, context: 1M, max_output: 16 }";

async fn daemon(provider: &Provider, model: &str, budget: &str) -> Daemon {
    let file = routes(&[provider], "").replace("m: {}", &PRICED.replace("gpt-4o", model)).replace("p0/m", &format!("p0/{model}"));
    Daemon::start(&format!("{file}budgets:\n  company: {{ {budget} }}\n")).await
}

fn asks(text: &str) -> String {
    serde_json::json!({ "model": "auto", "max_tokens": 16, "messages": [{ "role": "user", "content": text }] }).to_string()
}

/// 400 words and a dot: 401 tokens, 2,001 bytes. With the frame and the answer, 0.43 dollars or 2.03.
fn four_hundred_words() -> String {
    format!("{}.", " word".repeat(400))
}

#[tokio::test]
async fn an_exact_count_admits_what_bytes_refuse() {
    for (model, settings, is_served) in [
        ("gpt-4o", "cap: $0.50/day, on_low: reject, estimate: exact", true),
        ("gpt-4o", "cap: $0.50/day, on_low: reject", true),
        ("gpt-4", "cap: $0.50/day, on_low: reject, estimate: exact", true),
        ("gpt-4o", "cap: $0.42/day, on_low: reject, estimate: exact", false),
        ("gpt-4o", "cap: $0.50/day, on_low: reject, estimate: bytes", false),
        // A vocabulary that nobody has published.
        ("claude-sonnet-4-6", "cap: $0.50/day, on_low: reject, estimate: exact", false),
    ] {
        let provider = sound_provider("hello", false).await;
        let daemon = daemon(&provider, model, settings).await;
        let got = daemon.ask(&asks(&four_hundred_words())).await;
        assert_eq!((got.status == 200, provider.count() == 1), (is_served, is_served), "{model}, {settings}: {got:?}");
    }
}

#[tokio::test]
async fn explain_says_what_counts_and_decides_by_it() {
    for (model, settings, counted_by, is_served) in [
        ("gpt-4o", "cap: $0.50/day, on_low: reject, estimate: exact", Some("o200k"), true),
        ("gpt-4", "cap: $0.50/day, on_low: reject", Some("cl100k"), true),
        ("llama3", "cap: $0.50/day, on_low: reject, estimate: exact", Some("bytes"), false),
        ("gpt-4o", "cap: $0.50/day, on_low: reject, estimate: calibrated", Some("estimate"), false),
        ("gpt-4o", "cap: $0.50/day, mode: observe", None, true),
    ] {
        let provider = sound_provider("hello", false).await;
        let daemon = daemon(&provider, model, settings).await;
        let told = daemon.post("/v1/chat/completions", &[("x-tollgate-dry-run", "true")], &asks(&four_hundred_words())).await.json();
        let step = &told["steps"][0];
        assert_eq!((step["counted_by"].as_str(), step["skip"].is_null()), (counted_by, is_served), "{model}, {settings}: {told}");
    }
}

/// The text is escaped as strangely as JSON allows; what counts is what it says. Tools and the like count their bytes.
#[tokio::test]
async fn text_counts_as_it_is_meant_and_the_rest_in_bytes() {
    for (body, is_served) in [
        (asks(&four_hundred_words()).replace("word", "\\u0077ord"), true),
        (asks(&four_hundred_words()).replacen('{', &format!("{{\"tools\":[{{\"name\":\"{}\"}}],", "x y ".repeat(40)), 1), false),
    ] {
        let provider = sound_provider("hello", false).await;
        let daemon = daemon(&provider, "gpt-4o", "cap: $0.50/day, on_low: reject").await;
        assert_eq!(daemon.ask(&body).await.status == 200, is_served, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_kilobytes_of_one_character_hold_nobody_up() {
    let provider = sound_provider("hello", false).await;
    let daemon = daemon(&provider, "gpt-4o", "cap: $0.50/day, on_low: reject, estimate: exact").await;
    // The vocabulary is there afterwards.
    assert_eq!(daemon.ask(&asks(&four_hundred_words())).await.status, 200);
    for text in ["a".repeat(200_000), " ".repeat(200_000), "ab1.".repeat(50_000)] {
        let began = Instant::now();
        assert_eq!(daemon.ask(&asks(&text)).await.code(), "budget_exceeded");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?} for {:?}", began.elapsed(), &text[..4]);
    }
}
