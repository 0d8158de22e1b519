//! Near its cap a budget is still of use: how much of it can be spent where holds are far above what things cost, and how much is lost
//! to providers that hang and clients that leave. Each prints its figure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::*;

/// A model at $3 and $15 per million tokens, with a window of 200k and answers of up to 64k.
const MODEL: &str = "m: { usd_per_mtok: { input: 3, output: 15, cache_read: 0.3 }, context: 200k, max_output: 64k }";

/// What a budget of the whole company has posted, disputed and held.
fn level(daemon: &Daemon) -> (u64, u64, u64) {
    let levels = daemon.app.running().purse().levels();
    let company = levels.iter().find(|level| level.key.budget.as_str() == "company").unwrap();
    (company.posted.nano(), company.disputed.nano(), company.held.nano())
}

async fn at_rest(daemon: &Daemon) {
    eventually(|| daemon.app.running().purse().levels().iter().all(|level| level.held.nano() == 0).then_some(())).await;
}

fn words(tokens: usize) -> String {
    // Four bytes for a token, as in English.
    "cat ".repeat(tokens)
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().pool_max_idle_per_host(64).build().unwrap()
}

/// A provider whose every answer, after a few milliseconds, tells the same usage.
async fn telling(usage: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let choice = r#"[{"index":0,"message":{"role":"assistant","content":"done"},"finish_reason":"stop"}]"#;
    let body = format!(r#"{{"id":"1","object":"chat.completion","created":1,"model":"m","choices":{choice},"usage":{usage}}}"#);
    let answer: Arc<[u8]> = json_answer("200 OK", &body).into();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(tell(stream, Arc::clone(&answer)));
        }
    });
    address
}

/// Reads bodies without looking at them: they are large.
async fn tell(mut stream: TcpStream, answer: Arc<[u8]>) -> Option<()> {
    use tokio::io::AsyncWriteExt;
    let (mut head, mut chunk) = (Vec::new(), vec![0; 256 << 10]);
    loop {
        let end = loop {
            if let Some(at) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut head).await.ok()? == 0 {
                return None;
            }
        };
        let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
        let length: usize = text.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
        let mut left = length - (head.len() - end);
        while left > 0 {
            left -= stream.read(&mut chunk[..left.min(256 << 10)]).await.ok().filter(|read| *read > 0)?;
        }
        head.clear();
        tokio::time::sleep(Duration::from_millis(5)).await;
        stream.write_all(&answer).await.ok()?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b19_fifty_agents_spend_a_budget_to_its_end() {
    // 115,000 tokens from the cache, 5,000 anew and 1,367 out: seven cents.
    const TURN: u64 = 70_005_000;
    const BUDGET: u64 = 25_000_000_000;
    let provider = telling(
        r#"{"prompt_tokens":120000,"completion_tokens":1367,"total_tokens":121367,"prompt_tokens_details":{"cached_tokens":115000}}"#,
    )
    .await;
    let file =
        routes_to(&[&format!("http://{provider}/v1")], "").replace("m: {}", MODEL) + "budgets:\n  company: { cap: $25/month, wait: 60s }\n";
    let daemon = Daemon::start(&file).await;
    let body: bytes::Bytes = serde_json::json!({
        "model": "auto", "max_tokens": 64_000, "messages": [{ "role": "user", "content": words(120_000) }],
    })
    .to_string()
    .into();
    let (client, url) = (client(), format!("http://{}/v1/chat/completions", daemon.app.listen()));
    let (turns, busy) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut agents = JoinSet::new();
    for _ in 0..50 {
        let (client, url, body, turns, busy) = (client.clone(), url.clone(), body.clone(), Arc::clone(&turns), Arc::clone(&busy));
        agents.spawn(async move {
            loop {
                let request = client.post(&url).header("content-type", "application/json").body(body.clone());
                let answer = request.send().await.unwrap();
                let (status, text) = (answer.status(), answer.text().await.unwrap());
                match status.as_u16() {
                    200 => drop(turns.fetch_add(1, Ordering::Relaxed)),
                    429 if text.contains("budget_busy") => drop(busy.fetch_add(1, Ordering::Relaxed)),
                    429 if text.contains("budget_exceeded") => return,
                    _ => panic!("{status} {text}"),
                }
            }
        });
    }
    while let Some(ended) = agents.join_next().await {
        ended.unwrap();
    }
    at_rest(&daemon).await;
    let (turns, oracle) = (turns.load(Ordering::Relaxed), BUDGET / TURN);
    println!(
        "{turns} turns of {oracle} that an oracle would admit ({} %), {} told to come back",
        turns * 100 / oracle,
        busy.load(Ordering::Relaxed)
    );
    assert!(turns * 100 >= oracle * 95 && turns <= oracle, "{turns} of {oracle}");
    assert_eq!(level(&daemon).0, turns * TURN);
    // After all is quiet nobody is locked out: what still fits is sent.
    let small = r#"{"model":"auto","max_tokens":300,"messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(daemon.ask(small).await.status, 200);
}

/// How much is disputed before a provider that accepts and hangs is left alone, of $300.
async fn hangs(model: &str) -> (u64, String) {
    let provider = Provider::always(vec![Act::Hang]).await;
    // A fifth of the time at five times the rate: as many are open.
    let file =
        routes(&[&provider], "timeouts: { first_content: 1s }").replace("m: {}", model) + "budgets:\n  company: { cap: $300/month }\n";
    let daemon = Daemon::start(&file).await;
    let body = serde_json::json!({
        "model": "auto", "stream": true, "max_tokens": 256, "messages": [{ "role": "user", "content": words(1_000) }],
    })
    .to_string();
    let (client, url) = (client(), format!("http://{}/v1/chat/completions", daemon.app.listen()));
    let mut every = tokio::time::interval(Duration::from_millis(4));
    let mut asked = JoinSet::new();
    // Ten seconds of the scenario; the cooldown must have come by then.
    for _ in 0..500 {
        every.tick().await;
        let request = client.post(&url).header("content-type", "application/json").body(body.clone());
        asked.spawn(async move { request.send().await.unwrap().text().await.unwrap() });
    }
    let mut left_out = 0;
    while let Some(text) = asked.join_next().await {
        left_out += u64::from(text.unwrap().contains("at rest"));
    }
    at_rest(&daemon).await;
    let (posted, disputed, _) = level(&daemon);
    let figure = format!(
        "{} of 500 requests reached the provider that hangs, {left_out} did not: {} disputed of $300",
        provider.count(),
        tollgate::units::Usd::from_nano(disputed)
    );
    assert!(posted == 0 && left_out > 0, "{posted} posted, {left_out} left out");
    (disputed, figure)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_hangs_disputes_little_before_its_cooldown() {
    let most = 300_000_000_000 / 20;
    for model in [MODEL, "m: { usd_per_mtok: { input: 15, output: 75 }, context: 200k, max_output: 64k }"] {
        let (disputed, figure) = hangs(model).await;
        println!("{figure}");
        assert!(disputed <= most, "{disputed} of at most {most}");
    }
}

/// What is left of $50 after 30 turns that were cancelled within three seconds.
async fn cancelled(tokens: usize, has_begun: bool) -> (u64, String) {
    let gate = Gate::shut();
    let acts = if has_begun { streams_in_two("a few words", &gate, "more") } else { vec![Act::Hang] };
    let provider = Provider::always(acts).await;
    let file = routes(&[&provider], "on_disconnect: stops").replace("m: {}", MODEL) + "budgets:\n  company: { cap: $50/month }\n";
    let daemon = Daemon::start(&file).await;
    let body = serde_json::json!({
        "model": "auto", "stream": true, "max_tokens": 64_000, "messages": [{ "role": "user", "content": words(tokens) }],
    });
    let (client, url) = (client(), format!("http://{}/v1/chat/completions", daemon.app.listen()));
    let mut turns = JoinSet::new();
    for turn in 0..30_u64 {
        let request = client.post(&url).json(&body);
        turns.spawn(async move {
            // Cancelled after a time of up to three seconds, all at once.
            let patience = Duration::from_millis(100 * (turn + 1));
            tokio::time::timeout(patience, async { request.send().await?.bytes().await }).await.unwrap_err();
        });
    }
    while let Some(ended) = turns.join_next().await {
        ended.unwrap();
    }
    at_rest(&daemon).await;
    let (posted, disputed, _) = level(&daemon);
    let usable = 50_000_000_000 - posted - disputed;
    let when = if has_begun { "while they are answered" } else { "before any content" };
    let part = usable / 50_000_000;
    let [posted, disputed] = [posted, disputed].map(tollgate::units::Usd::from_nano);
    let figure = format!(
        "30 turns of {tokens} tokens cancelled {when}: {posted} posted, {disputed} disputed, {}.{} % of $50 usable",
        part / 10,
        part % 10
    );
    (usable, figure)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_that_are_cancelled_leave_the_budget_usable() {
    for has_begun in [false, true] {
        let (usable, figure) = cancelled(20_000, has_begun).await;
        println!("{figure}");
        assert!(usable >= 40_000_000_000, "{usable} of $50 usable");
        // Such a prompt alone is billed with 36 cents, so that no gateway can leave four fifths.
        println!("{}", cancelled(120_000, has_begun).await.1);
    }
}
