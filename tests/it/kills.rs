//! The daemon killed under load, again and again, while a provider keeps a bill of its own: what it counts is never less than the
//! bill, and more only by what was on its way and a hundredth of the cap.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use rusqlite::{Connection, OpenFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::*;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tollgate");
/// Billionths of a dollar for one token, in and out.
const PRICE: (u64, u64) = (3_000, 15_000);
const WORKERS: usize = 80;
/// So many requests are at the provider when the daemon is killed.
const IN_FLIGHT: usize = 50;
/// Windows that every request counts in.
const WINDOWS: usize = 3;
/// What no start may take, whatever built the program.
const LONGEST_START: Duration = Duration::from_secs(2);

/// What the provider charges for one request, and whether it told the usage.
#[derive(Clone, Copy, Debug)]
struct Bill {
    nano: u64,
    is_told: bool,
}

/// A provider that takes its time and charges for whatever it has read.
#[derive(Clone, Default)]
struct Biller {
    bills: Arc<Mutex<HashMap<u64, Bill>>>,
    open: Arc<AtomicUsize>,
    at_work: Arc<AtomicUsize>,
    /// Nobody is there any more to wait for an answer.
    hurry: Arc<Notify>,
}

/// What is counted up and down with something's life.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn one(of: &Arc<AtomicUsize>) -> Self {
        of.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(of))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Biller {
    async fn start() -> (Self, SocketAddr) {
        let (biller, listener) = (Self::default(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (address, shared) = (listener.local_addr().unwrap(), biller.clone());
        tokio::spawn(async move {
            let mut rng = Rng::with_seed(1);
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(shared.clone().serve(stream, rng.fork()));
            }
        });
        (biller, address)
    }

    async fn serve(self, mut stream: TcpStream, mut rng: Rng) {
        let _open = Counted::one(&self.open);
        let mut bytes = Vec::new();
        while let Some((run, prompt, most)) = read_request(&mut stream, &mut bytes).await {
            let _at_work = Counted::one(&self.at_work);
            // English has between four and five bytes in a token.
            let (input, output) = (prompt / 5 + 1, rng.u64(1..=most));
            let (is_unwell, is_cut) = (rng.u32(0..50) == 0, rng.u32(0..20) == 0);
            if !is_unwell {
                let bill = Bill { nano: input * PRICE.0 + output * PRICE.1, is_told: !is_cut };
                let before = self.bills.lock().unwrap().insert(run, bill);
                assert!(before.is_none(), "request {run} came twice");
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(rng.u64(5..300))) => {}
                () = self.hurry.notified() => {}
            }
            let usage = format!(r#""usage":{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{}}}"#, input + output);
            let choice = r#"[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]"#;
            let whole = format!(r#"{{"id":"1","object":"chat.completion","created":1,"model":"m","choices":{choice},{usage}}}"#);
            let mut answer = if is_unwell { json_answer("503 Service Unavailable", "{}") } else { json_answer("200 OK", &whole) };
            if is_cut {
                answer.truncate(answer.len() / 2);
            }
            if stream.write_all(&answer).await.is_err() || is_cut {
                return;
            }
        }
    }
}

/// Which request it is, the length of its prompt and its limit.
async fn read_request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<(u64, u64, u64)> {
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length: usize = head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
            if bytes.len() >= end + 4 + length {
                let body: serde_json::Value = serde_json::from_slice(&bytes[end + 4..end + 4 + length]).ok()?;
                bytes.drain(..end + 4 + length);
                let prompt = body["messages"][0]["content"].as_str()?.len() as u64;
                return Some((body["user"].as_str()?.parse().ok()?, prompt, body["max_tokens"].as_u64()?));
            }
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// The daemon as a process, killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    /// From its spawning to the first 200 of `/readyz`.
    took: Duration,
}

impl Daemon {
    pub(crate) async fn start(folder: &Folder, admin: SocketAddr) -> Self {
        Self::start_with(folder, admin, |_| {}).await
    }

    pub(crate) async fn start_with(folder: &Folder, admin: SocketAddr, change: impl FnOnce(&mut Command)) -> Self {
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.file("log")).unwrap();
        let began = Instant::now();
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--state", "state"]).current_dir(folder.path()).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        change(&mut command);
        let mut child = command.env("RUNTIME_DIRECTORY", folder.file("state")).stderr(log).spawn().unwrap();
        loop {
            if is_ready(admin).await {
                return Self { child, took: began.elapsed() };
            }
            let said = || fs::read_to_string(folder.file("log")).unwrap();
            assert!(child.try_wait().unwrap().is_none() && began.elapsed() < PATIENCE, "it does not start: {}", said());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

async fn is_ready(admin: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(admin).await else { return false };
    let mut answer = Vec::new();
    let asked = stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    asked.is_ok() && stream.read_to_end(&mut answer).await.is_ok() && answer.starts_with(b"HTTP/1.1 200")
}

/// Ports below those that the system gives to connections, so that nobody takes them while the daemon is down.
pub(crate) fn two_ports() -> (SocketAddr, SocketAddr) {
    let mut rng = Rng::new();
    let mut free = std::iter::repeat_with(|| SocketAddr::from(([127, 0, 0, 1], rng.u16(12_000..30_000))))
        .filter(|address| std::net::TcpListener::bind(address).is_ok());
    (free.next().unwrap(), free.next().unwrap())
}

/// Asks without end, whatever becomes of the answers. Stands still while `goes` is false.
struct Load {
    goes: watch::Sender<bool>,
    busy: Arc<AtomicUsize>,
    sent: Arc<AtomicU64>,
    answered: Arc<Mutex<HashSet<u64>>>,
    is_over: Arc<AtomicBool>,
    workers: JoinSet<()>,
}

impl Load {
    fn on(listen: SocketAddr) -> Self {
        let (goes, watched) = watch::channel(false);
        let (busy, sent) = (Arc::<AtomicUsize>::default(), Arc::<AtomicU64>::default());
        let (answered, is_over) = (Arc::<Mutex<HashSet<u64>>>::default(), Arc::<AtomicBool>::default());
        let client = reqwest::Client::builder().pool_max_idle_per_host(WORKERS).build().unwrap();
        let url = format!("http://{listen}/v1/chat/completions");
        let mut workers = JoinSet::new();
        for worker in 0..WORKERS {
            let (client, url, mut watched) = (client.clone(), url.clone(), watched.clone());
            let (busy, sent, answered, is_over) = (Arc::clone(&busy), Arc::clone(&sent), Arc::clone(&answered), Arc::clone(&is_over));
            workers.spawn(async move {
                let mut rng = Rng::with_seed(worker as u64);
                while !is_over.load(Ordering::Acquire) {
                    let at_it = Counted::one(&busy);
                    if !*watched.borrow_and_update() {
                        drop(at_it);
                        watched.changed().await.ok();
                        continue;
                    }
                    let run = sent.fetch_add(1, Ordering::Relaxed) + 1;
                    let prompt = "some words of a prompt ".repeat(rng.usize(1..40));
                    let body = serde_json::json!({
                        "model": "auto", "user": run.to_string(), "max_tokens": rng.u64(1..200),
                        "messages": [{ "role": "user", "content": prompt }],
                    });
                    let Ok(answer) = client.post(&url).header("x-tollgate-labels", format!("run={run}")).json(&body).send().await else {
                        tokio::task::yield_now().await;
                        continue;
                    };
                    let is_ok = answer.status().is_success();
                    assert!(is_ok || answer.status().is_server_error(), "{}", answer.status());
                    if is_ok && answer.bytes().await.is_ok() {
                        answered.lock().unwrap().insert(run);
                    }
                }
            });
        }
        Self { goes, busy, sent, answered, is_over, workers }
    }

    /// Lets everybody end what they are at, and nobody begin.
    async fn pause(&self) {
        self.goes.send_replace(false);
        eventually(|| (self.busy.load(Ordering::Acquire) == 0).then_some(())).await;
    }

    async fn end(mut self) {
        self.is_over.store(true, Ordering::Release);
        self.goes.send_replace(true);
        while let Some(ended) = self.workers.join_next().await {
            ended.unwrap();
        }
    }
}

/// The ledger as its file stands.
struct Rows(Connection);

impl Rows {
    fn of(folder: &Folder) -> Self {
        Self(Connection::open_with_flags(folder.file("state/ledger.sqlite"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap())
    }

    fn last(&self) -> i64 {
        self.0.query_row("SELECT max(seq) FROM entries", [], |row| row.get(0)).unwrap()
    }

    /// What a start after `seq` counted that no row explains: the most in any window.
    fn unexplained(&self, seq: i64) -> HashMap<i64, u64> {
        let mut rows = self.0.prepare("SELECT windows, disputed FROM entries WHERE kind = 5 AND seq > ?").unwrap();
        let rows = rows.query_map([seq], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// What every request after `seq` was counted with, and whether some of it is disputed.
    fn counted(&self, seq: i64) -> HashMap<u64, (u64, bool)> {
        let select = "SELECT labels, posted, disputed FROM entries WHERE kind = 1 AND attempt IS NOT NULL AND seq > ?";
        let mut rows = self.0.prepare(select).unwrap();
        let (mut rows, mut sums) = (rows.query([seq]).unwrap(), HashMap::<u64, (u64, bool)>::new());
        while let Some(row) = rows.next().unwrap() {
            let amount = |column: usize| row.get::<_, Option<i64>>(column).unwrap().unwrap_or_default().unsigned_abs();
            let run = row.get::<_, String>(0).unwrap().chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap();
            // An overload costs nothing, and is tried again.
            let sum: &mut (u64, bool) = sums.entry(run).or_default();
            assert!(sum.0 == 0 || amount(1) + amount(2) == 0, "request {run} is counted twice");
            *sum = (sum.0 + amount(1) + amount(2), sum.1 || amount(2) > 0);
        }
        sums
    }

    /// Posted and disputed of all windows, the smallest first.
    fn totals(&self) -> Vec<u64> {
        let mut rows = self.0.prepare("SELECT posted + disputed FROM windows ORDER BY 1").unwrap();
        rows.query_map([], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs())).unwrap().map(Result::unwrap).collect()
    }

    fn attempts_that_stand_twice(&self) -> i64 {
        let select = "SELECT count(*) - count(DISTINCT attempt) FROM entries WHERE kind = 1 AND attempt IS NOT NULL";
        self.0.query_row(select, [], |row| row.get(0)).unwrap()
    }
}

fn of_env(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or)
}

/// The value below which `share` percent of the sorted times lie.
fn percentile(sorted: &[Duration], share: usize) -> Duration {
    sorted[(sorted.len() * share / 100).min(sorted.len() - 1)]
}

/// What was found so far.
#[derive(Default)]
struct Found {
    /// Requests that were compared: what no row tells of is covered by what the next start counted.
    compared: HashSet<u64>,
    exact: u64,
    /// The most that a start counted beyond the attempts in flight, in nano-dollars.
    over: u64,
}

impl Found {
    /// Compares what stands in the ledger since `seq` with the bills since the last comparison.
    fn compare(&mut self, rows: &Rows, seq: i64, bills: &HashMap<u64, Bill>, answered: &HashSet<u64>, largest_part: u64) {
        let (counted, unexplained) = (rows.counted(seq), rows.unexplained(seq));
        let mut unknown = 0;
        for (run, bill) in bills.iter().filter(|(run, _)| !self.compared.contains(run)) {
            // After an overload the row of the next try may be missing.
            let Some((counted, is_disputed)) = counted.get(run).filter(|(counted, _)| *counted > 0) else {
                unknown += bill.nano;
                continue;
            };
            assert!(*counted >= bill.nano, "request {run} counts {counted}, billed {bill:?}");
            if bill.is_told && !is_disputed && answered.contains(run) {
                assert_eq!(*counted, bill.nano, "the usage of request {run} was told");
                self.exact += 1;
            }
        }
        self.compared.extend(bills.keys());
        let least = unexplained.values().copied().min().filter(|_| unexplained.len() >= WINDOWS).unwrap_or(0);
        assert!(unknown <= least, "{unknown} billed that no row tells of, {unexplained:?} counted for it");
        let over = unexplained.values().copied().max().unwrap_or(0).saturating_sub(unknown);
        assert!(over <= largest_part, "{over} counted beyond what was in flight");
        self.over = self.over.max(over);
        let (totals, billed): (_, u64) = (rows.totals(), bills.values().map(|bill| bill.nano).sum());
        assert!(totals.len() >= WINDOWS && totals[0] >= billed, "{totals:?} counted, {billed} billed");
        assert_eq!(rows.attempts_that_stand_twice(), 0);
    }
}

/// A file with a cap of so many dollars on three windows.
fn file(provider: SocketAddr, (listen, admin): (SocketAddr, SocketAddr), cap: u64) -> String {
    routes_to(&[&format!("http://{provider}/v1")], &format!("cooldown: off, on_disconnect: finishes, budget: ${cap}/month"))
        .replace("m: {}", "m: { usd_per_mtok: { input: 3, output: 15 }, context: 128k, max_output: 4k }")
        .replacen("version: 1\n", &format!("version: 1\nserver: {{ listen: {listen}, admin: {admin} }}\n"), 1)
        + &format!("budgets:\n  company: {{ cap: [${cap}/month, ${cap}/day] }}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_daemon_counts_no_less_than_the_bill_and_little_more() {
    let kills = of_env("TOLLGATE_KILLS", 20);
    // What is disputed after a kill stays so: many kills need a larger cap.
    let cap = 1_000 * kills.div_ceil(200);
    let ((biller, provider), ports, folder) = (Biller::start().await, two_ports(), Folder::new());
    let (listen, admin) = ports;
    fs::write(folder.file("routes.yaml"), file(provider, ports, cap)).unwrap();
    let largest_part = cap * 1_000_000_000 / 100;
    let mut daemon = Daemon::start(&folder, admin).await;
    let (load, mut rng, mut found) = (Load::on(listen), Rng::with_seed(kills), Found::default());
    let (mut times, mut least_at_work) = (Vec::new(), usize::MAX);
    for kill in 0..=kills {
        let seq = Rows::of(&folder).last();
        load.goes.send_replace(true);
        let is_busy = || (biller.at_work.load(Ordering::Acquire) >= IN_FLIGHT).then_some(());
        eventually(is_busy).await;
        tokio::time::sleep(Duration::from_millis(rng.u64(0..200))).await;
        if kill < kills {
            eventually(is_busy).await;
            least_at_work = least_at_work.min(biller.at_work.load(Ordering::Acquire));
            daemon.kill();
        }
        load.pause().await;
        if kill < kills {
            daemon = Daemon::start(&folder, admin).await;
            times.push(daemon.took);
        } else {
            stop(&mut daemon);
        }
        // Whatever the dead one had sent has been read when its connections are gone.
        let is_quiet = || {
            biller.hurry.notify_waiters();
            (biller.open.load(Ordering::Acquire) == 0).then_some(())
        };
        eventually(is_quiet).await;
        let (bills, answered) = (biller.bills.lock().unwrap().clone(), load.answered.lock().unwrap().clone());
        found.compare(&Rows::of(&folder), seq, &bills, &answered, largest_part);
    }
    let requests = load.sent.load(Ordering::Relaxed);
    load.end().await;
    let verified = Command::new(PROGRAM).args(["ledger", "verify", "--state", "state"]).current_dir(folder.path()).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let sum: u64 = biller.bills.lock().unwrap().values().map(|bill| bill.nano).sum();
    times.sort_unstable();
    println!(
        "{kills} kills, {requests} requests, at least {least_at_work} at the provider; ready again after {:?} at the median, {:?} at p99, {:?} at \
         most; at most {}.{:03} % of the cap over-counted beyond the attempts in flight; {} equal to the last billionth; \
         {sum} billed, {:?} counted",
        percentile(&times, 50),
        percentile(&times, 99),
        times.last().unwrap(),
        found.over / largest_part,
        found.over * 1_000 / largest_part % 1_000,
        found.exact,
        Rows::of(&folder).totals(),
    );
    assert!(times.last().unwrap() < &LONGEST_START, "{times:?}");
}

/// Ends the daemon as a service manager does.
fn stop(daemon: &mut Daemon) {
    assert!(Command::new("sh").args(["-c", &format!("kill -TERM {}", daemon.child.id())]).status().unwrap().success());
    assert!(daemon.child.wait().unwrap().success());
}
