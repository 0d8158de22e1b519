//! Counters for Prometheus. A registry is a value; whoever counts holds handles, resolved once when a file is adopted.

mod histogram;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use histogram::{ADDED_LATENCY, Histogram, TTFT};
use jiff::Timestamp;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::Outcome;
use crate::units::{BudgetName, LimitOwner, RuleName, TargetName, Usd};

/// The `rule` label of requests that ended before a rule was looked for, or for which there was none.
const NO_RULE: &str = "none";
/// Kinds of alerts.
const ALERTS: [&str; 5] = ["crossed", "refused", "forecast", "disputed", "overrun"];
/// Kinds of attempts of one target whose counters are found without a lock.
const KINDS: usize = 48;

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    attempts: Family<AttemptLabels, Counter>,
    ttft: Family<TargetLabels, Histogram, fn() -> Histogram>,
    added_latency: Histogram,
    reloads: Counter,
    reload_failures: Counter,
    last_reload_success: Gauge,
    last_reload: Gauge,
    config_present: Gauge,
    alerts: Family<AlertLabels, Counter>,
    alerts_lost: Counter,
    adopted: Mutex<Adopted>,
}

/// What the file in force names, and so what has series.
#[derive(Debug, Default)]
struct Adopted {
    rules: BTreeSet<String>,
    targets: BTreeMap<TargetName, Arc<TargetSeries>>,
}

/// One window of one budget, read at the moment of a scrape.
#[derive(Clone, Debug)]
pub struct BudgetSums {
    pub budget: BudgetName,
    pub window: &'static str,
    /// `cap`, `posted`, `held`, `disputed`.
    pub sums: [(&'static str, Usd); 4],
}

/// What is left of a limit, read at the moment of a scrape.
#[derive(Clone, Debug)]
pub struct Remaining {
    pub whose: LimitOwner,
    /// `requests`, `tokens` or `concurrent`.
    pub limit: &'static str,
    pub remaining: u64,
}

/// What others keep, read at the moment of a scrape.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    pub remaining: Vec<Remaining>,
    /// Each target, and whether it rests or is down.
    pub resting: Vec<(TargetName, bool)>,
    pub budgets: Vec<BudgetSums>,
    /// What providers billed above what was held for it.
    pub overrun: Usd,
    /// Entries that wait for the ledger's writer.
    pub ledger_waiting: usize,
    pub records_dropped: u64,
    /// Client connections.
    pub connections: i64,
    /// Streams being relayed.
    pub open_streams: i64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("tollgate");
        let ttft: fn() -> Histogram = || Histogram::new(&TTFT);
        let (requests, attempts, ttft) = (Family::default(), Family::default(), Family::new_with_constructor(ttft));
        registry.register("requests", "Requests by rule and outcome", Family::clone(&requests));
        registry.register("attempts", "Attempts by target, fault, phase reached and outcome", Family::clone(&attempts));
        registry.register("ttft_seconds", "From sending an attempt to its first content", Family::clone(&ttft));
        let alerts = Family::<AlertLabels, Counter>::default();
        for kind in ALERTS {
            drop(alerts.get_or_create(&AlertLabels { kind }));
        }
        registry.register("alerts", "What people were told of money, by kind", alerts.clone());
        let added_latency = Histogram::new(&ADDED_LATENCY);
        registry.register("added_latency_seconds", "Time that tollgate itself adds to a request", added_latency.clone());
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let alerts_lost = counter("alerts_lost", "Alerts that the webhook did not get");
        let reloads = counter("config_reloads", "Reloads tried");
        let reload_failures = counter("config_reload_failures", "Reloads that were refused");
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let last_reload_success = gauge("config_last_reload_success", "1 if the last reload was accepted");
        let last_reload = gauge("config_last_reload_timestamp_seconds", "When the last reload was tried");
        let config_present = gauge("config_present", "1 while the file can be found");
        Self {
            registry,
            requests,
            attempts,
            ttft,
            added_latency,
            reloads,
            reload_failures,
            last_reload_success,
            last_reload,
            config_present,
            alerts,
            alerts_lost,
            adopted: Mutex::default(),
        }
    }

    /// Handles for the rules and targets of a new file. The series of rules and targets that are gone end here.
    pub fn adopt(&self, rules: &[RuleName], targets: &[TargetName]) -> Series {
        let mut adopted = self.lock();
        let others = [RuleName::default_rule().to_string(), NO_RULE.to_owned()];
        let named: Vec<String> = rules.iter().map(RuleName::to_string).chain(others).collect();
        for gone in adopted.rules.iter().filter(|rule| !named.contains(rule)) {
            for outcome in Outcome::ALL {
                self.requests.remove(&RequestLabels { rule: gone.clone(), outcome });
            }
        }
        adopted.rules = named.iter().cloned().collect();
        adopted.targets.retain(|name, series| {
            let stays = targets.contains(name);
            if !stays {
                series.end();
                self.ttft.remove(&TargetLabels(name.clone()));
            }
            stays
        });
        let requests = named
            .into_iter()
            .map(|rule| Outcome::ALL.map(|outcome| self.requests.get_or_create_owned(&RequestLabels { rule: rule.clone(), outcome })));
        let requests = requests.collect();
        let targets = targets.iter().map(|name| {
            let series = || Arc::new(TargetSeries::new(name, &self.attempts, self.ttft.get_or_create_owned(&TargetLabels(name.clone()))));
            Arc::clone(adopted.targets.entry(name.clone()).or_insert_with(series))
        });
        Series { requests, targets: targets.collect(), added_latency: self.added_latency.clone() }
    }

    /// The first file is in force: the one on disk, or an older one in its place, which counts as a refused reload.
    pub fn started(&self, is_on_disk: bool, at: Timestamp) {
        self.config_present(true);
        if is_on_disk {
            self.last_reload_success.set(1);
            self.last_reload.set(at.as_second());
        } else {
            self.reloaded(false, at);
        }
    }

    /// A reload was tried.
    pub fn reloaded(&self, ok: bool, at: Timestamp) {
        self.reloads.inc();
        if !ok {
            self.reload_failures.inc();
        }
        self.last_reload_success.set(ok.into());
        self.last_reload.set(at.as_second());
    }

    /// People were told of money. `kind`: one of the closed list.
    pub fn alerted(&self, kind: &'static str) {
        self.alerts.get_or_create(&AlertLabels { kind }).inc();
    }

    /// The webhook did not get an alert.
    pub fn alert_lost(&self) {
        self.alerts_lost.inc();
    }

    /// Whether the file can be found.
    pub fn config_present(&self, is_present: bool) {
        self.config_present.set(is_present.into());
    }

    /// Everything as `OpenMetrics` text, with what others keep.
    #[must_use]
    pub fn encode(&self, kept: &Kept) -> String {
        let mut now = Registry::with_prefix("tollgate");
        let limits = Family::<LimitLabels, Gauge>::default();
        for limit in &kept.remaining {
            let labels = LimitLabels { whose: limit.whose.clone(), limit: limit.limit };
            limits.get_or_create(&labels).set(i64::try_from(limit.remaining).unwrap_or(i64::MAX));
        }
        now.register("limit_remaining", "What a limit would let through now", limits);
        let rests = Family::<TargetLabels, Gauge>::default();
        for (target, rests_now) in &kept.resting {
            rests.get_or_create(&TargetLabels(target.clone())).set((*rests_now).into());
        }
        now.register("target_resting", "1 while a target is at rest or down", rests);
        let sums = Family::<BudgetLabels, Gauge<f64, AtomicU64>>::default();
        for BudgetSums { budget, window, sums: of } in &kept.budgets {
            for (sum, amount) in of {
                sums.get_or_create(&BudgetLabels { budget: budget.clone(), window, sum }).set(dollars(*amount));
            }
        }
        now.register("budget_usd", "Dollars of a budget's window: its cap, and what is posted, held and disputed", sums);
        now.register("overrun_usd", "Dollars billed above what was held", ConstGauge::new(dollars(kept.overrun)));
        let waiting = i64::try_from(kept.ledger_waiting).unwrap_or(i64::MAX);
        now.register("ledger_queue", "Entries that wait to be written", ConstGauge::new(waiting));
        now.register("records_dropped", "Records that were lost", ConstCounter::new(kept.records_dropped));
        now.register("connections", "Client connections", ConstGauge::new(kept.connections));
        now.register("open_streams", "Streams being relayed", ConstGauge::new(kept.open_streams));
        let mut text = String::new();
        let written =
            encode_registry(&mut text, &self.registry).and_then(|()| encode_registry(&mut text, &now)).and_then(|()| encode_eof(&mut text));
        if written.is_err() {
            // Writing to a string does not fail; if it ever does, half an answer would look whole.
            text.clear();
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, Adopted> {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handles of one adopted file, by index.
#[derive(Debug)]
pub struct Series {
    requests: Vec<[Counter; 6]>,
    targets: Vec<Arc<TargetSeries>>,
    added_latency: Histogram,
}

impl Series {
    /// One request ended. `rule`: its index; the number of rules for the default, one more for a request without a rule.
    pub fn request(&self, rule: usize, outcome: Outcome) {
        self.requests[rule][outcome as usize].inc();
    }

    /// One attempt ended. The words are of closed lists.
    pub fn attempt(&self, target: usize, fault: &'static str, phase: &'static str, outcome: &'static str) {
        self.targets[target].count(Kind { fault, phase, outcome });
    }

    /// What tollgate itself added to one request.
    pub fn added_latency(&self, added: Duration) {
        self.added_latency.observe(added);
    }

    /// From sending an attempt to its first content.
    pub fn ttft(&self, target: usize, ttft: Duration) {
        self.targets[target].ttft.observe(ttft);
    }
}

/// How an attempt went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    fault: &'static str,
    phase: &'static str,
    outcome: &'static str,
}

/// The handles of one target. Its kinds of attempts show themselves one by one; each is looked up once.
#[derive(Debug)]
struct TargetSeries {
    name: TargetName,
    ttft: Histogram,
    kinds: [OnceLock<(Kind, Counter)>; KINDS],
    attempts: Family<AttemptLabels, Counter>,
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    kinds: Vec<Kind>,
    /// The target left the file: a request that is still under way must not bring its series back.
    has_ended: bool,
}

impl TargetSeries {
    fn new(name: &TargetName, attempts: &Family<AttemptLabels, Counter>, ttft: Histogram) -> Self {
        let kinds = [const { OnceLock::new() }; KINDS];
        Self { name: name.clone(), ttft, kinds, attempts: attempts.clone(), made: Mutex::default() }
    }

    fn count(&self, kind: Kind) {
        for place in &self.kinds {
            let (of, counter) = place.get_or_init(|| (kind, self.make(kind)));
            if *of == kind {
                counter.inc();
                return;
            }
        }
        self.make(kind).inc();
    }

    fn make(&self, kind: Kind) -> Counter {
        let mut made = self.lock();
        if made.has_ended {
            return Counter::default();
        }
        if !made.kinds.contains(&kind) {
            made.kinds.push(kind);
        }
        self.attempts.get_or_create_owned(&AttemptLabels { target: self.name.clone(), kind })
    }

    fn end(&self) {
        let mut made = self.lock();
        made.has_ended = true;
        for kind in made.kinds.drain(..) {
            self.attempts.remove(&AttemptLabels { target: self.name.clone(), kind });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RequestLabels {
    rule: String,
    outcome: Outcome,
}

impl EncodeLabelSet for RequestLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        encode(encoder, [("rule", &self.rule), ("outcome", self.outcome.as_str())])
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct AttemptLabels {
    target: TargetName,
    kind: Kind,
}

impl EncodeLabelSet for AttemptLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        encode(encoder, [("provider", self.target.provider()), ("model", self.target.model())])?;
        encode(encoder, [("fault", self.kind.fault), ("phase", self.kind.phase), ("outcome", self.kind.outcome)])
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TargetLabels(TargetName);

impl EncodeLabelSet for TargetLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        encode(encoder, [("provider", self.0.provider()), ("model", self.0.model())])
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct AlertLabels {
    kind: &'static str,
}

impl EncodeLabelSet for AlertLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        encode(encoder, [("kind", self.kind)])
    }
}

/// Dollars as a scrape reads them: nobody computes with these again.
fn dollars(amount: Usd) -> f64 {
    amount.plain().parse().unwrap_or(f64::NAN)
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct BudgetLabels {
    budget: BudgetName,
    window: &'static str,
    sum: &'static str,
}

impl EncodeLabelSet for BudgetLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        encode(encoder, [("budget", self.budget.as_str()), ("window", self.window), ("sum", self.sum)])
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LimitLabels {
    whose: LimitOwner,
    limit: &'static str,
}

impl EncodeLabelSet for LimitLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        match &self.whose {
            LimitOwner::Provider(name) => encode(encoder, [("provider", name.as_str()), ("model", "")]),
            LimitOwner::Target(name) => encode(encoder, [("provider", name.provider()), ("model", name.model())]),
            LimitOwner::Caller(name) => encode(encoder, [("caller", name.as_str())]),
        }?;
        encode(encoder, [("limit", self.limit)])
    }
}

fn encode<const N: usize>(encoder: &mut LabelSetEncoder<'_>, labels: [(&str, &str); N]) -> fmt::Result {
    labels.iter().try_for_each(|label| label.encode(encoder.encode_label()))
}

#[cfg(test)]
mod tests;
