//! What the ledger costs: rows per second, and processor time per attempt.
//!
//! `cargo bench --bench ledger` writes attempts as a busy daemon tells them, once with hold and settlement far apart, as calls of seconds
//! have them, and once together; then it opens the file as a start after a kill does.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tollgate::config::HoldFor;
use tollgate::store::Ledger;
use tollgate::units::{
    AttemptId, Basis, BudgetName, CallerName, EndedEntry, Endpoint, Entry, HeldEntry, LedgerQueue, MOST_WAITING, Pairs, Period, Prices,
    RequestFacts, RuleName, SettledEntry, TargetName, TaskName, Tokens, Usage, Usd, WindowKey,
};

const ATTEMPTS: u64 = 500_000;
/// How many attempts are in flight where they last.
const IN_FLIGHT: u64 = 10_000;
const MOST_TO_OPEN: Duration = Duration::from_millis(300);

fn main() -> anyhow::Result<ExitCode> {
    let folder = std::env::temp_dir().join(format!("tollgate-bench-{}", std::process::id()));
    let mut all_kept = true;
    for (name, in_flight) in [("hold and settlement apart", IN_FLIGHT), ("hold and settlement together", 1)] {
        std::fs::create_dir_all(&folder)?;
        write(&folder, name, in_flight)?;
        let began = Instant::now();
        let (ledger, remembered) = Ledger::open(&folder, Timestamp::now(), HoldFor::Window)?;
        let took = began.elapsed();
        all_kept &= took <= MOST_TO_OPEN;
        println!("  open after a stop: {took:.1?}, {} windows (at most {MOST_TO_OPEN:?})", remembered.windows.len());
        drop(ledger);
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(if all_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(folder: &Path, name: &str, in_flight: u64) -> anyhow::Result<()> {
    let (ledger, remembered) = Ledger::open(folder, Timestamp::now(), HoldFor::Window)?;
    let (queue, inbox) = LedgerQueue::new();
    let facts = Facts::new(remembered.epoch)?;
    let thread = ledger.run(inbox);
    let watch = thread.watch();
    let (began, used) = (Instant::now(), used()?);
    let mut telling = Duration::ZERO;
    for number in 1..=ATTEMPTS + in_flight {
        while queue.waiting() > MOST_WAITING / 4 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let start = Instant::now();
        if number <= ATTEMPTS {
            queue.tell(facts.held(number), None);
        }
        if let Some(number) = number.checked_sub(in_flight).filter(|number| *number > 0) {
            let (settled, ended) = facts.settled(number);
            queue.tell(settled, None);
            queue.tell(ended, None);
        }
        telling += start.elapsed();
    }
    anyhow::ensure!(thread.finish(Duration::from_mins(1)), "the ledger was not written");
    let (took, used) = (began.elapsed(), self::used()?.saturating_sub(used));
    let bytes = std::fs::metadata(folder.join("ledger.sqlite"))?.len();
    println!("{name}: {ATTEMPTS} attempts in {took:.2?}, {} entries, {} ignored", watch.written(), watch.ignored());
    let each = |of: Duration| of / u32::try_from(ATTEMPTS).unwrap_or(u32::MAX);
    println!("  {:.0} rows/s", f64::from(u32::try_from(ATTEMPTS)?) / took.as_secs_f64());
    println!("  {:.2?} of processor per attempt, of which telling takes at most {:.2?}", each(used), each(telling));
    println!("  {} bytes per attempt", bytes / ATTEMPTS);
    Ok(())
}

/// Processor time of this process so far, of all threads.
fn used() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).context("no processor time");
    Ok(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
}

/// What the attempts have in common.
struct Facts {
    epoch: u64,
    now: Timestamp,
    windows: Arc<[WindowKey]>,
    prices: Arc<Prices>,
    target: TargetName,
    rule: RuleName,
    caller: CallerName,
    served: Arc<str>,
    revision: Arc<str>,
}

impl Facts {
    fn new(epoch: u64) -> anyhow::Result<Self> {
        let now = Timestamp::now();
        let ends = Some(now.checked_add(SignedDuration::from_hours(24 * 30))?);
        let window =
            |name: &str| Ok::<_, anyhow::Error>(WindowKey { budget: BudgetName::parse(name)?, period: Period::Month, starts: now, ends });
        Ok(Self {
            epoch,
            now,
            windows: [window("company")?, window("provider.openai")?, window("caller.search")?].into(),
            prices: Arc::new(Prices { input: "2.5".parse()?, output: "10".parse()?, ..Prices::default() }),
            target: TargetName::parse("openai/gpt-4o")?,
            rule: RuleName::parse("coding")?,
            caller: CallerName::parse("search")?,
            served: "gpt-4o-2024-08-06".into(),
            revision: "7-3f2a9c1b04de".into(),
        })
    }

    fn request(&self, number: u64) -> Arc<RequestFacts> {
        Arc::new(RequestFacts {
            request_id: format!("0199a1b2-c3d4-7e5f-8a9b-{number:012}").into(),
            accepted: self.now,
            endpoint: Endpoint::Chat,
            rule: Some(self.rule.clone()),
            caller: Some(self.caller.clone()),
            tags: Pairs::default(),
            labels: Pairs::default(),
            task: TaskName::unknown(),
            revision: Arc::clone(&self.revision),
        })
    }

    fn held(&self, number: u64) -> Entry {
        Entry::Held(HeldEntry {
            id: AttemptId { epoch: self.epoch, number },
            at: self.now,
            request: self.request(number),
            attempt: 1,
            target: self.target.clone(),
            hold: Usd::from_nano(12_345_678),
            windows: Arc::clone(&self.windows),
        })
    }

    fn settled(&self, number: u64) -> (Entry, Entry) {
        let id = AttemptId { epoch: self.epoch, number };
        let usage = Usage { input_uncached: Tokens::new(900), output: Tokens::new(300 + number % 100), ..Usage::default() };
        let settled = SettledEntry {
            id,
            at: self.now,
            basis: Basis::Usage,
            posted: self.prices.cost(&usage),
            disputed: None,
            usage: Some(usage),
            prices: Some(Arc::clone(&self.prices)),
            provider_cost: None,
            fault: None,
            phase: "P4",
            upstream_status: Some(200),
            ttft: Some(Duration::from_millis(310)),
            duration: Duration::from_millis(2_710),
            served_model: Some(Arc::clone(&self.served)),
        };
        let ended = EndedEntry {
            at: self.now,
            request: self.request(number),
            outcome: "ok",
            status: 200,
            code: None,
            served: Some(id),
            attempts: 1,
            duration: Duration::from_millis(2_720),
        };
        (Entry::Settled(settled), Entry::Ended(ended))
    }
}
