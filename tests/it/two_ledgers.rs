//! The provider's bill against ours: a provider that fails in every way keeps its own, and at the end the two are compared.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::*;

/// Billionths of a dollar for one token, in and out.
const PRICE: (u64, u64) = (3_000, 15_000);
/// The faults that a provider has, drawn at random; the rest are sound answers.
const FAULTS: [&str; 12] = [
    "503",
    "429",
    "error in a 200",
    "reset",
    "cut body",
    "cut stream",
    "no usage",
    "senseless usage",
    "page",
    "half JSON",
    "redirect",
    "silence",
];

/// What a provider charges for one attempt.
#[derive(Clone, Copy, Debug, Default)]
struct Bill {
    nano: u64,
    /// The client was told the usage.
    is_told: bool,
}

/// A provider with a bill of its own: by provider and request.
struct Biller {
    url: String,
    bills: Arc<Mutex<HashMap<u64, Vec<Bill>>>>,
}

impl Biller {
    async fn start(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let bills = Arc::<Mutex<HashMap<u64, Vec<Bill>>>>::default();
        let kept = Arc::clone(&bills);
        tokio::spawn(async move {
            let mut rng = Rng::with_seed(seed);
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                tokio::spawn(serve(stream, rng.fork(), Arc::clone(&kept)));
            }
        });
        Self { url, bills }
    }
}

/// What was asked, as far as money goes.
struct Asked {
    run: u64,
    most: u64,
    input: u64,
    is_streaming: bool,
}

async fn read_request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Asked> {
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length: usize = head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
            if bytes.len() >= end + 4 + length {
                let body: serde_json::Value = serde_json::from_slice(&bytes[end + 4..end + 4 + length]).ok()?;
                bytes.drain(..end + 4 + length);
                let prompt = body["messages"][0]["content"].as_str()?.len() as u64;
                return Some(Asked {
                    run: body["user"].as_str()?.parse().ok()?,
                    most: body["max_tokens"].as_u64()?,
                    // English has between four and five bytes in a token.
                    input: prompt / 5 + 1,
                    is_streaming: body["stream"] == true,
                });
            }
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn serve(mut stream: TcpStream, mut rng: Rng, bills: Arc<Mutex<HashMap<u64, Vec<Bill>>>>) {
    let mut bytes = Vec::new();
    while let Some(asked) = read_request(&mut stream, &mut bytes).await {
        let fault = if rng.u32(0..100) < 45 { FAULTS[rng.usize(0..FAULTS.len())] } else { "" };
        let output = rng.u64(1..=asked.most.min(60));
        // Whether a provider bills what it could not deliver is its own business; it never writes more than there was time for.
        let may_bill = rng.bool();
        let (bill, keeps) = answer(&mut stream, &asked, fault, output, may_bill).await;
        let nano = bill.map_or(0, |(input, output)| input * PRICE.0 + output * PRICE.1);
        let is_told = matches!(fault, "") && bill.is_some();
        bills.lock().unwrap().entry(asked.run).or_default().push(Bill { nano, is_told });
        if !keeps {
            return;
        }
    }
}

/// Answers with the fault; what is billed, in and out, and whether the connection lives on.
async fn answer(stream: &mut TcpStream, asked: &Asked, fault: &str, output: u64, may_bill: bool) -> (Option<(u64, u64)>, bool) {
    let text = "word ".repeat(usize::try_from(output).unwrap());
    let whole = |usage: &str| {
        let choice = format!(r#"[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}]"#);
        json_answer("200 OK", &format!(r#"{{"id":"1","object":"chat.completion","created":1,"model":"m","choices":{choice}{usage}}}"#))
    };
    let usage = |input: u64, output: u64| {
        format!(r#","usage":{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{}}}"#, input + output)
    };
    let streamed = |usage: &str, is_whole: bool| {
        let mut events = vec![content(&text)];
        if is_whole {
            events.push(delta("{}", Some("stop")));
            if !usage.is_empty() {
                events.push(format!(
                    "data: {{\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[]{usage}}}\n\n"
                ));
            }
            events.push("data: [DONE]\n\n".into());
        }
        let chunks: String = events.iter().map(|event| chunk(event)).collect();
        format!("{STREAM_HEAD}{chunks}{}", if is_whole { "0\r\n\r\n" } else { "" }).into_bytes()
    };
    let both = |usage: &str| if asked.is_streaming { streamed(usage, true) } else { whole(usage) };
    let maybe = may_bill.then_some((asked.input, 0));
    let (bytes, bill, keeps) = match fault {
        "503" => (json_answer("503 Service Unavailable", "{}"), None, true),
        "429" => (json_answer("429 Too Many Requests", r#"{"error":{"message":"slow down"}}"#), None, true),
        "error in a 200" => (json_answer("200 OK", r#"{"error":{"message":"no","type":"server_error"}}"#), None, true),
        "redirect" => (b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n".to_vec(), None, true),
        "reset" => (Vec::new(), may_bill.then_some((asked.input, output.min(60))), false),
        "page" => (b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\n<p/>".to_vec(), maybe, true),
        "half JSON" => (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\n{\"a\"".to_vec(), maybe, true),
        "cut body" => (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 400\r\n\r\n{\"a\"".to_vec(),
            may_bill.then_some((asked.input, output)),
            false,
        ),
        "cut stream" if asked.is_streaming => (streamed("", false), Some((asked.input, output)), false),
        "no usage" => (both(""), Some((asked.input, output)), true),
        "senseless usage" => {
            (both(r#","usage":{"prompt_tokens":-1,"completion_tokens":2.5,"total_tokens":"x"}"#), Some((asked.input, output)), true)
        }
        "silence" => {
            tokio::time::sleep(Duration::from_millis(400)).await;
            (Vec::new(), may_bill.then_some((asked.input, output.min(60))), false)
        }
        _ => (both(&usage(asked.input, output)), Some((asked.input, output)), true),
    };
    let keeps = stream.write_all(&bytes).await.is_ok() && keeps;
    (bill, keeps)
}

/// Every request's cost by our ledger, by provider and label.
fn ours(folder: &Folder) -> HashMap<(String, u64), (u64, bool)> {
    let ledger = rusqlite::Connection::open(folder.file("state/ledger.sqlite")).unwrap();
    let mut rows = ledger
        .prepare(
            "select c.target, e.labels, e.posted, e.disputed from entries e join contexts c on c.id = e.context where e.attempt is not null",
        )
        .unwrap();
    let mut sums: HashMap<(String, u64), (u64, bool)> = HashMap::new();
    let mut rows = rows.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (Some(target), Some(labels)) = (row.get::<_, Option<String>>(0).unwrap(), row.get::<_, Option<String>>(1).unwrap()) else {
            continue;
        };
        let run = labels.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap();
        let amount = |column: usize| row.get::<_, Option<i64>>(column).unwrap().map_or(0, |nano| u64::try_from(nano).unwrap());
        let sum = sums.entry((target, run)).or_default();
        *sum = (sum.0 + amount(2) + amount(3), sum.1 || amount(3) > 0);
    }
    sums
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_is_never_less_than_the_providers_bill_and_equal_where_usage_was_told() {
    let requests: u64 = std::env::var("TOLLGATE_BILLED").ok().and_then(|text| text.parse().ok()).unwrap_or(1_500);
    let billers = [Biller::start(1).await, Biller::start(2).await];
    let model = "m: { usd_per_mtok: { input: 3, output: 15 }, context: 128k, max_output: 4k }";
    let file = routes_to(&[&billers[0].url, &billers[1].url], "cooldown: off, timeouts: { first_content: 200ms }, budget: $900/month")
        .replace("m: {}", model)
        + "budgets:\n  company: { cap: $1000/month }\n  today: { cap: $500/day, mode: observe }\n";
    let daemon = Daemon::start(&file).await;
    let client = reqwest::Client::builder().pool_max_idle_per_host(64).build().unwrap();
    let url = format!("http://{}/v1/chat/completions", daemon.app.listen());
    let next = Arc::new(std::sync::atomic::AtomicU64::new(1));
    let mut workers = JoinSet::new();
    for worker in 0..32 {
        let (client, url, next) = (client.clone(), url.clone(), Arc::clone(&next));
        workers.spawn(async move {
            let mut rng = Rng::with_seed(worker);
            let (mut answered, mut left) = (0, 0);
            loop {
                let run = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if run > requests {
                    return (answered, left);
                }
                let stream = rng.bool();
                let prompt = "some words of a prompt ".repeat(rng.usize(1..40));
                let body = serde_json::json!({
                    "model": "auto", "stream": stream, "user": run.to_string(), "max_tokens": rng.u64(1..200),
                    "messages": [{ "role": "user", "content": prompt }],
                });
                let sent = client.post(&url).header("x-tollgate-labels", format!("run={run}")).json(&body).send();
                // One in twenty does not wait for its answer.
                if rng.u32(0..20) == 0 {
                    let patience = Duration::from_micros(rng.u64(100..30_000));
                    left += u64::from(tokio::time::timeout(patience, async { sent.await?.bytes().await }).await.is_err());
                    continue;
                }
                if let Ok(answer) = sent.await {
                    answered += u64::from(answer.status().is_success() && answer.bytes().await.is_ok());
                }
            }
        });
    }
    let (mut answered, mut left) = (0, 0);
    while let Some(done) = workers.join_next().await {
        let (more, gone) = done.unwrap();
        (answered, left) = (answered + more, left + gone);
    }
    // Whoever was left is settled when its task is dropped.
    eventually(|| (daemon.app.running().purse().levels().iter().all(|level| level.held == tollgate::units::Usd::ZERO)).then_some(())).await;
    let posted: Vec<u64> = daemon.app.running().purse().levels().iter().map(|level| level.posted.plus(level.disputed).nano()).collect();
    let folder = daemon.stop().await;
    let ours = ours(&folder);
    let (mut billed, mut exact, mut over) = ([0, 0], 0_u64, 0_u64);
    for (index, biller) in billers.iter().enumerate() {
        for (run, bills) in biller.bills.lock().unwrap().iter() {
            let theirs: u64 = bills.iter().map(|bill| bill.nano).sum();
            billed[index] += theirs;
            let (counted, is_disputed) = ours.get(&(format!("p{index}/m"), *run)).copied().unwrap_or_default();
            assert!(counted >= theirs, "request {run} at p{index}: {counted} counted, {theirs} billed: {bills:?}");
            // Where the client stayed to the end and the usage was told, to the last billionth.
            if bills.iter().all(|bill| bill.is_told) && !is_disputed {
                exact += u64::from(counted == theirs);
                over += u64::from(counted != theirs);
            }
        }
    }
    println!(
        "{requests} requests, {answered} answered, {left} left: {exact} equal to the last billionth, {over} of clients that left; billed {billed:?}, counted {posted:?}"
    );
    assert!(over <= left, "{over} told usages are not what was counted, and only {left} clients left");
    assert!(posted.iter().take(1).all(|posted| *posted >= billed[0] + billed[1]) && exact > requests / 4);
}
