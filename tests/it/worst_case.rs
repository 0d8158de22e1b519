//! What is held against what is billed, call by call: limits in every shape, answers by the dozen, tiers, caches, audio and reasoning.

use proptest::prelude::*;
use tollgate::units::{Price, Prices, Tier, Tokens, Usage, Usd};

use crate::support::*;

/// A thousandth of a dollar in and two out for each token, so that sums are easily read.
const MODEL: &str = "m: { usd_per_mtok: { input: 1000, output: 2000 }, context: 128k, max_output: 1k }";
const COMPANY: &str = "budgets:\n  company: { cap: $100000/month, estimate: bytes }\n";
const IN: u64 = 1_000_000;
const OUT: u64 = 2_000_000;

/// An answer of so many tokens in and out.
fn using(input: u64, output: u64) -> Vec<Act> {
    usage(&format!(r#""usage":{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{}}},"#, input + output))
}

/// An answer with this text before its choices.
fn usage(usage: &str) -> Vec<Act> {
    let choice = r#"[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]"#;
    vec![send(json_answer(
        "200 OK",
        &format!(r#"{{"id":"c1","object":"chat.completion","created":1,"model":"m",{usage}"choices":{choice}}}"#),
    ))]
}

/// A chat call with these fields before its messages.
fn with(fields: &str) -> String {
    format!(r#"{{"model":"auto",{fields}"messages":[{{"role":"user","content":"Say hello."}}]}}"#)
}

/// The hold of a call, as a dry run tells it. Nothing where the call is refused.
async fn hold(daemon: &Daemon, body: &str) -> Option<u64> {
    let got = daemon.post("/v1/chat/completions", &[("x-tollgate-dry-run", "true")], body).await;
    if got.status != 200 {
        assert_eq!(got.status, 400, "{got:?}");
        return None;
    }
    Some(got.json()["steps"][0]["worst_case_usd"].as_str().unwrap().parse::<Usd>().unwrap().nano())
}

fn posted_and_disputed(daemon: &Daemon) -> (u64, u64) {
    let levels = daemon.app.running().purse().levels();
    let company = levels.iter().find(|level| level.key.budget.as_str() == "company").unwrap();
    (company.posted.nano(), company.disputed.nano())
}

async fn at_rest(daemon: &Daemon) {
    eventually(|| daemon.app.running().purse().levels().iter().all(|level| level.held == Usd::ZERO).then_some(())).await;
}

#[tokio::test]
async fn b04_a_limit_is_what_it_says_or_the_call_is_refused() {
    let provider = sound_provider("hello", false).await;
    let daemon = Daemon::start(&(routes(&[&provider], "").replace("m: {}", MODEL) + COMPANY)).await;
    let whole = hold(&daemon, &with("")).await.unwrap();
    for field in ["max_tokens", "max_completion_tokens"] {
        for value in ["-1", "1.5", "\"5\"", "9223372036854775808", "99999999999999999999999", "true", "[5]", "1e400", "-0.0"] {
            let body = with(&format!("\"{field}\":{value},"));
            let got = daemon.ask(&body).await;
            assert!(got.status == 400 && hold(&daemon, &body).await.is_none(), "{field}: {value} {got:?}");
        }
        assert_eq!(provider.count(), 0, "what was refused was not sent");
        // Nothing, or more than the model has: all that it can write is held, and told upstream.
        for value in ["null", "1000000000", "1e9", "1000.0"] {
            let body = with(&format!("\"{field}\":{value},"));
            match hold(&daemon, &body).await {
                Some(hold) => assert_eq!(hold, whole, "{field}: {value}"),
                None => assert_ne!(value, "null"),
            }
        }
        // A limit of nothing limits nothing.
        let nothing = (field == "max_completion_tokens").then_some(whole);
        assert_eq!(hold(&daemon, &with(&format!("\"{field}\":0,"))).await, nothing, "{field}");
        for (value, output) in [("1", 1), ("7", 7), ("999", 999)] {
            let hold = hold(&daemon, &with(&format!("\"{field}\":{value},"))).await;
            assert_eq!(hold, Some(whole - (1_000 - output) * OUT), "{field}: {value} {whole}");
        }
    }
}

#[tokio::test]
async fn b05_of_several_limits_the_largest_is_held_and_one_goes_along() {
    let provider = sound_provider("hello", false).await;
    let daemon = Daemon::start(&(routes(&[&provider], "").replace("m: {}", MODEL) + COMPANY)).await;
    let whole = hold(&daemon, &with("")).await.unwrap();
    for (fields, largest) in [
        (r#""max_tokens":10,"max_completion_tokens":90,"#, 90),
        (r#""max_completion_tokens":90,"max_tokens":10,"#, 90),
        (r#""max_tokens":90,"max_completion_tokens":10,"#, 90),
        (r#""max_completion_tokens":10,"max_tokens":90,"#, 90),
        (r#""max_tokens":90,"max_completion_tokens":null,"#, 90),
        (r#""max_completion_tokens":null,"max_tokens":90,"#, 90),
        (r#""max_tokens":5000,"max_completion_tokens":10,"#, 1_000),
        (r#""max_completion_tokens":10,"max_tokens":5000,"#, 1_000),
    ] {
        let before = provider.count();
        assert_eq!(hold(&daemon, &with(fields)).await, Some(whole - (1_000 - largest) * OUT), "{fields}");
        assert_eq!(daemon.ask(&with(fields)).await.status, 200, "{fields}");
        let sent = provider.seen()[before].json();
        let limits: Vec<_> = ["max_tokens", "max_completion_tokens"].iter().filter_map(|name| sent[name].as_u64()).collect();
        // What goes along may be less than what is held, never more.
        assert!(limits.len() == 1 && limits[0] <= largest, "{fields}: {sent}");
    }
}

#[test]
fn b07_one_token_above_a_tier_prices_the_whole_call() {
    let price = |text: &str| text.parse::<Price>().unwrap();
    let tier = |above, input, output| Tier { above: Tokens::new(above), input: price(input), output: price(output), cache_read: None };
    let prices =
        Prices { input: price("1"), output: price("2"), tiers: vec![tier(1_000, "3", "5"), tier(10_000, "2", "9")], ..Prices::default() };
    for (input, nano) in [(999, 999_000), (1_000, 1_000_000), (1_001, 3_003_000), (10_000, 30_000_000), (10_001, 20_002_000)] {
        let usage = Usage { input_uncached: Tokens::new(input), ..Usage::default() };
        assert_eq!(prices.cost(&usage).nano(), nano, "{input}");
        assert!(prices.worst_case(Tokens::new(input), Tokens::ZERO) >= prices.cost(&usage), "{input}");
    }
    // A tier that is reached may be cheaper than the one before it: fewer tokens than the bound can cost more.
    assert_eq!(prices.worst_case(Tokens::new(10_001), Tokens::ZERO).nano(), 30_003_000);
}

fn a_price() -> impl Strategy<Value = Price> {
    (0..100_000_u64).prop_map(|milli| format!("{}.{:03}", milli / 1_000, milli % 1_000).parse().unwrap())
}

fn some_prices() -> impl Strategy<Value = Prices> {
    let maybe = || proptest::option::of(a_price());
    let tier = (1..2_000_u64, a_price(), a_price(), maybe());
    let tiers = proptest::collection::vec(tier, 0..4).prop_map(|mut tiers| {
        tiers.sort_by_key(|tier| tier.0);
        tiers.dedup_by_key(|tier| tier.0);
        tiers.into_iter().map(|(above, input, output, cache_read)| Tier { above: Tokens::new(above), input, output, cache_read }).collect()
    });
    (a_price(), a_price(), [maybe(), maybe(), maybe(), maybe(), maybe()], tiers).prop_map(
        |(input, output, [cache_read, cache_write, cache_write_1h, audio_input, audio_output], tiers)| Prices {
            input,
            output,
            cache_read,
            cache_write,
            cache_write_1h,
            audio_input,
            audio_output,
            tiers,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn b07_no_usage_within_its_bounds_costs_more_than_was_held(
        prices in some_prices(),
        parts in [0..1_000_u64, 0..1_000, 0..1_000, 0..1_000],
        shares in [0..=100_u64, 0..=100, 0..=100],
        beyond in [0..3_u64, 0..3],
    ) {
        let [input_uncached, cache_read, cache_write, output] = parts;
        let share = |whole: u64, index: usize| Tokens::new(whole * shares[index] / 100);
        let usage = Usage {
            input_uncached: Tokens::new(input_uncached),
            cache_read: Tokens::new(cache_read),
            cache_write: Tokens::new(cache_write),
            cache_write_1h: share(cache_write, 0),
            output: Tokens::new(output),
            reasoning: Tokens::ZERO,
            audio_input: share(input_uncached, 1),
            audio_output: share(output, 2),
        };
        let bound = prices.worst_case(usage.input_total().plus(Tokens::new(beyond[0])), Tokens::new(output + beyond[1]));
        prop_assert!(bound >= prices.cost(&usage), "{bound} held, {} billed for {usage:?}", prices.cost(&usage));
    }
}

#[tokio::test]
async fn b11_to_b14_what_is_told_is_charged_to_the_last_billionth() {
    let prices = "input: 1.25, output: 10, cache_read: 0.125, cache_write: 1.5625";
    let model = format!("m: {{ usd_per_mtok: {{ {prices} }}, context: 128k, max_output: 1k }}");
    let read = 8 * 1_250 + 4 * 125 + 5 * 10_000;
    for (what, told, nano) in [
        ("b12 nothing of a cache", r#""prompt_tokens":12,"completion_tokens":5,"total_tokens":17"#, 12 * 1_250 + 5 * 10_000),
        ("b12 no total", r#""prompt_tokens":12,"completion_tokens":5"#, 12 * 1_250 + 5 * 10_000),
        // Four ways to tell of a cache.
        ("b13 details", r#""prompt_tokens":12,"completion_tokens":5,"total_tokens":17,"prompt_tokens_details":{"cached_tokens":4}"#, read),
        (
            "b13 hits and misses",
            r#""prompt_tokens":12,"completion_tokens":5,"total_tokens":17,"prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":8"#,
            read,
        ),
        ("b13 beside the counts", r#""prompt_tokens":12,"completion_tokens":5,"total_tokens":17,"cached_tokens":4"#, read),
        (
            "b13 written",
            r#""prompt_tokens":12,"completion_tokens":5,"total_tokens":17,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":6}"#,
            2 * 1_250 + 4 * 125 + 6 * 1_562 + 3 + 5 * 10_000,
        ),
        // Three ways to tell of reasoning.
        (
            "b14 within the completion",
            r#""prompt_tokens":12,"completion_tokens":35,"total_tokens":47,"completion_tokens_details":{"reasoning_tokens":30}"#,
            12 * 1_250 + 35 * 10_000,
        ),
        (
            "b14 beside the completion",
            r#""prompt_tokens":12,"completion_tokens":5,"total_tokens":47,"completion_tokens_details":{"reasoning_tokens":30}"#,
            12 * 1_250 + 35 * 10_000,
        ),
        ("b14 in the total alone", r#""prompt_tokens":12,"completion_tokens":5,"total_tokens":47"#, 12 * 1_250 + 35 * 10_000),
    ] {
        let provider = Provider::always(usage(&format!("\"usage\":{{{told}}},"))).await;
        let daemon = Daemon::start(&(routes(&[&provider], "").replace("m: {}", &model) + COMPANY)).await;
        assert_eq!(daemon.chat().await.status, 200);
        assert_eq!(posted_and_disputed(&daemon), (nano, 0), "{what}");
    }
    // Nothing is told, whole or streamed: more is charged than can have been billed.
    let silent =
        [delta(r#"{"role":"assistant","content":""}"#, None), content("hello"), delta("{}", Some("stop")), "data: [DONE]\n\n".into()];
    let silent = format!("{STREAM_HEAD}{}0\r\n\r\n", silent.iter().map(|event| chunk(event)).collect::<String>());
    for (what, acts, is_streamed) in
        [("b11 absent", usage(""), false), ("b11 null", usage("\"usage\":null,"), false), ("b12 opted out", vec![send(silent)], true)]
    {
        let provider = Provider::always(acts).await;
        let daemon = Daemon::start(&(routes(&[&provider], "").replace("m: {}", &model) + COMPANY)).await;
        let got = daemon.ask(&chat(is_streamed)).await;
        assert_eq!(got.status, 200, "{what}");
        at_rest(&daemon).await;
        let (posted, disputed) = posted_and_disputed(&daemon);
        assert!(posted >= 12 * 1_250 + 10_000 && disputed == 0, "{what}: {posted} {disputed}");
    }
}

#[tokio::test]
async fn b18_many_answers_and_tools_are_held_for() {
    let tool = r#"{"type":"function","function":{"name":"get_weather","description":"the weather of a place","parameters":{"type":"object","properties":{"place":{"type":"string"}}}}}"#;
    for n in 1..=4_u64 {
        for tools in [0, 1, 20] {
            let list = vec![tool; tools].join(",");
            let tools = if tools == 0 { String::new() } else { format!("\"tools\":[{list}],") };
            let body = with(&format!("\"n\":{n},\"max_tokens\":100,{tools}"));
            // All answers as long as they may be; every four bytes of the texts are a token, and each message and tool adds some.
            let (input, output) = (7 + (list.len() / 4) as u64, n * 100);
            let provider = Provider::always(using(input, output)).await;
            let daemon = Daemon::start(&(routes(&[&provider], "").replace("m: {}", MODEL) + COMPANY)).await;
            let hold = hold(&daemon, &body).await.unwrap();
            let bill = input * IN + output * OUT;
            assert!(hold >= bill, "{n} answers, {} bytes: {hold} held, {bill} billed", body.len());
            assert_eq!(daemon.ask(&body).await.status, 200);
            assert_eq!(posted_and_disputed(&daemon), (bill, 0), "{n} answers, {} bytes", body.len());
        }
    }
    let daemon = Daemon::start(&(routes(&[&sound_provider("hello", false).await], "").replace("m: {}", MODEL) + COMPANY)).await;
    assert_eq!(hold(&daemon, &with("\"n\":5,")).await, None, "more answers than the file allows");
}
