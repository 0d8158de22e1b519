use std::collections::BTreeMap;

use serde::Serialize;

use super::{Outcome, Stopped};
use crate::units::{Score, Usd};

/// Of a normal distribution: 95 % lie within so many standard deviations.
const Z: f64 = 1.96;
/// The task whose right answers are told by themselves.
const CODING: &str = "coding";

/// All that a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub targets: Vec<TargetReport>,
    pub decision: Vec<Decision>,
    /// What is meant by quality here.
    pub quality: String,
    /// Why not everything was asked; absent where it was.
    pub stopped: Option<Stopped>,
}

/// One target, over all tasks and by task.
#[derive(Clone, Debug, Serialize)]
pub struct TargetReport {
    pub target: String,
    pub all: Sums,
    pub tasks: BTreeMap<String, Sums>,
}

/// The figures of some outcomes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sums {
    /// Answers that were graded.
    pub n: u64,
    pub right: u64,
    /// The share of right answers, 0 to 1, with its Wilson interval of 95 %.
    pub quality: Option<Interval>,
    /// Dollars in all.
    pub cost_usd: String,
    pub usd_per_case: Option<String>,
    pub usd_per_right_answer: Option<String>,
    /// Milliseconds to the first content.
    pub ttft_ms: Option<Percentiles>,
    pub tokens_per_second: Option<Percentiles>,
    /// By code: what was not answered or could not be graded.
    pub failures: BTreeMap<String, u64>,
    #[serde(skip)]
    cost: Usd,
    #[serde(skip)]
    asked: u64,
    #[serde(skip)]
    ttft: Vec<u64>,
    #[serde(skip)]
    speeds: Vec<u64>,
}

/// A figure and the interval in which it may as well lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
}

/// One row of the table that decides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    pub metric: &'static str,
    pub best: Option<Placed>,
    pub runner_up: Option<Placed>,
}

/// A target and its score in one metric, with interval and number of answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Placed {
    pub target: String,
    pub score: String,
    pub n: u64,
    /// Whether its interval and that of the other one overlap, so that the order may be chance.
    pub may_be_chance: bool,
}

impl Sums {
    fn add(&mut self, outcome: &Outcome) {
        self.asked += 1;
        self.cost = self.cost.plus(Usd::from_nano(outcome.cost_nano_usd));
        if let Some(code) = &outcome.failure {
            *self.failures.entry(code.clone()).or_default() += 1;
        }
        let Some(right) = outcome.right else { return };
        self.n += 1;
        self.right += u64::from(right);
        self.ttft.push(outcome.ttft_us);
        let writing = outcome.took_us.saturating_sub(outcome.ttft_us);
        if let Some(speed) = (outcome.output_tokens.saturating_sub(1) * 1_000_000_000).checked_div(writing).filter(|speed| *speed > 0) {
            self.speeds.push(speed);
        }
    }

    fn finish(mut self) -> Self {
        self.ttft.sort_unstable();
        self.speeds.sort_unstable();
        self.quality = wilson(self.right, self.n);
        self.cost_usd = self.cost.plain();
        self.usd_per_case = self.share_of_cost(self.asked).map(Usd::plain);
        self.usd_per_right_answer = self.share_of_cost(self.right).map(Usd::plain);
        self.ttft_ms = percentiles(&self.ttft);
        self.tokens_per_second = percentiles(&self.speeds);
        self
    }

    /// Rounded up.
    fn share_of_cost(&self, parts: u64) -> Option<Usd> {
        (parts > 0).then(|| Usd::from_nano(self.cost.nano().div_ceil(parts)))
    }

    /// Ten times the share of right answers.
    #[must_use]
    pub fn score(&self) -> Option<Score> {
        (self.n > 0).then(|| Score::of_ten(self.right, self.n))
    }
}

/// The share of right answers with its Wilson interval.
#[must_use]
fn wilson(right: u64, n: u64) -> Option<Interval> {
    if n == 0 {
        return None;
    }
    let (n, share) = (real(n), real(right) / real(n));
    let denominator = 1.0 + Z * Z / n;
    let middle = (share + Z * Z / (2.0 * n)) / denominator;
    let half = Z / denominator * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some(Interval { value: rounded(share), low: rounded((middle - half).max(0.0)), high: rounded((middle + half).min(1.0)) })
}

/// The median, with the interval that the order of the values gives it.
fn median(sorted: &[u64]) -> Option<Interval> {
    let n = real(sorted.len() as u64);
    let half = Z * n.sqrt() / 2.0;
    let at = |place: f64| sorted.get(place_of(place, sorted.len())).map(|value| real(*value) / 1e3);
    Some(Interval { value: at(n / 2.0)?, low: at(n / 2.0 - half)?, high: at(n / 2.0 + half)? })
}

/// Of values in thousandths.
fn percentiles(sorted: &[u64]) -> Option<Percentiles> {
    let at = |share: f64| sorted.get(place_of(real(sorted.len() as u64) * share, sorted.len())).map(|value| real(*value) / 1e3);
    Some(Percentiles { p50: at(0.5)?, p90: at(0.9)?, p99: at(0.99)? })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held between 0 and the last place")]
fn place_of(place: f64, len: usize) -> usize {
    (place.max(0.0) as usize).min(len.saturating_sub(1))
}

#[expect(clippy::cast_precision_loss, reason = "counts of cases and microseconds are far below 2^52")]
fn real(count: u64) -> f64 {
    count as f64
}

/// Four decimals.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// Sums up what a run came to. `targets`: in the order in which they were named. `judge`: who judged, and the hash of what it was told.
#[must_use]
pub fn report(outcomes: &[Outcome], targets: &[String], judge: Option<(&str, &str)>, stopped: Option<Stopped>) -> Report {
    let of_target = |target: &String| {
        let (mut all, mut tasks) = (Sums::default(), BTreeMap::<String, Sums>::new());
        for outcome in outcomes.iter().filter(|outcome| outcome.target == *target) {
            all.add(outcome);
            tasks.entry(outcome.task.clone()).or_default().add(outcome);
        }
        let tasks = tasks.into_iter().map(|(task, sums)| (task, sums.finish())).collect();
        TargetReport { target: target.clone(), all: all.finish(), tasks }
    };
    let targets: Vec<TargetReport> = targets.iter().map(of_target).collect();
    let quality = match judge {
        None => "the share of answers that the cases' own graders accept; no judge ran, so style and helpfulness are not in it".into(),
        Some((judge, hash)) => format!(
            "the share of answers that the cases' own graders accept, with {judge} as the judge where a case has a rubric (prompt sha256:{hash})"
        ),
    };
    Report { decision: decisions(&targets), targets, quality, stopped }
}

/// What one target has in one metric.
struct Measured<'t> {
    target: &'t str,
    /// Smaller is better.
    rank: f64,
    low: f64,
    high: f64,
    told: String,
    n: u64,
}

/// Target, rank, low, high, in words, n.
type Row = (String, f64, f64, f64, String, u64);

fn decisions(targets: &[TargetReport]) -> Vec<Decision> {
    let quality = |target: &'_ str, sums: &Sums| {
        let Interval { value, low, high } = sums.quality?;
        let told = format!("{:.1} % ({:.1} to {:.1})", value * 100.0, low * 100.0, high * 100.0);
        Some((target.to_owned(), -value, -high, -low, told, sums.n))
    };
    let cost = |target: &'_ str, sums: &Sums| {
        let each = sums.share_of_cost(sums.right)?;
        let Interval { low, high, .. } = sums.quality?;
        let of = |share: f64| real(sums.cost.nano()) / real(sums.n) / share;
        let bounds = if low > 0.0 { format!("(${:.6} to ${:.6})", of(high) / 1e9, of(low) / 1e9) } else { "(no upper bound)".into() };
        let upper = if low > 0.0 { of(low) } else { f64::INFINITY };
        Some((target.to_owned(), real(each.nano()), of(high), upper, format!("${} a right answer {bounds}", each.plain()), sums.n))
    };
    let speed = |target: &'_ str, sums: &Sums| {
        let Interval { value, low, high } = median(&sums.ttft)?;
        Some((target.to_owned(), value, low, high, format!("{value:.0} ms ({low:.0} to {high:.0})"), sums.n))
    };
    let row = |metric: &'static str, all: Vec<Row>| {
        let measured = all.iter().map(|(target, rank, low, high, told, n)| Measured {
            target,
            rank: *rank,
            low: *low,
            high: *high,
            told: told.clone(),
            n: *n,
        });
        placed(metric, measured.collect())
    };
    let of_all = |figure: &dyn Fn(&str, &Sums) -> Option<Row>| targets.iter().filter_map(|one| figure(&one.target, &one.all)).collect();
    let of_coding = targets.iter().filter_map(|one| quality(&one.target, one.tasks.get(CODING)?)).collect();
    vec![
        row("Response Quality", of_all(&quality)),
        row("Cost Efficiency", of_all(&cost)),
        row("Speed (TTFT)", of_all(&speed)),
        row("Coding Accuracy", of_coding),
    ]
}

fn placed(metric: &'static str, mut all: Vec<Measured<'_>>) -> Decision {
    // Stable: of equals the one that was named first.
    all.sort_by(|one, other| one.rank.total_cmp(&other.rank));
    let overlap = all.first().zip(all.get(1)).is_some_and(|(best, second)| second.low <= best.high);
    let place = |one: &Measured<'_>| Placed { target: one.target.to_owned(), score: one.told.clone(), n: one.n, may_be_chance: overlap };
    Decision { metric, best: all.first().map(place), runner_up: all.get(1).map(place) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_intervals_are_those_of_the_books() {
        for (right, n, low, high) in [(35, 50, 0.5625, 0.8090), (280, 400, 0.6534, 0.7429), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0)] {
            let Interval { low: told_low, high: told_high, .. } = wilson(right, n).unwrap();
            assert!((told_low - low).abs() < 2e-4 && (told_high - high).abs() < 2e-4, "{right} of {n}: {told_low} to {told_high}");
        }
        assert_eq!(wilson(0, 0), None);
    }

    fn outcome(target: &str, right: Option<bool>, cost: u64, ttft_us: u64) -> Outcome {
        Outcome {
            key: String::new(),
            case: String::new(),
            task: CODING.into(),
            target: target.into(),
            right,
            failure: right.is_none().then(|| "upstream_timeout".into()),
            cost_nano_usd: cost,
            output_tokens: 101,
            ttft_us,
            took_us: ttft_us + 500_000,
        }
    }

    #[test]
    fn the_table_names_best_and_runner_up_and_what_may_be_chance() {
        let mut outcomes = Vec::new();
        for at in 0..40 {
            outcomes.push(outcome("a/m", Some(at % 10 != 0), 4_000_000, 300_000));
            outcomes.push(outcome("b/m", Some(at % 2 == 0), 1_000_000, 200_000 + at * 10));
        }
        outcomes.push(outcome("b/m", None, 0, 0));
        let names = ["a/m".to_owned(), "b/m".to_owned()];
        let report = report(&outcomes, &names, None, None);
        let told: Vec<(&str, &str, &str, bool)> = report
            .decision
            .iter()
            .map(|row| {
                (
                    row.metric,
                    row.best.as_ref().unwrap().target.as_str(),
                    row.runner_up.as_ref().unwrap().score.as_str(),
                    row.best.as_ref().unwrap().may_be_chance,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("Response Quality", "a/m", "50.0 % (35.2 to 64.8)", false),
                ("Cost Efficiency", "b/m", "$0.004444445 a right answer ($0.004165 to $0.005198)", false),
                ("Speed (TTFT)", "b/m", "300 ms (300 to 300)", false),
                ("Coding Accuracy", "a/m", "50.0 % (35.2 to 64.8)", false),
            ]
        );
        let b = &report.targets[1].all;
        assert_eq!((b.n, b.right, b.failures["upstream_timeout"], b.score().unwrap().to_string().as_str()), (40, 20, 1, "5"));
        assert!((b.tokens_per_second.unwrap().p50 - 200.0).abs() < 1e-9);
        assert_eq!((b.usd_per_right_answer.as_deref(), b.usd_per_case.as_deref()), (Some("0.002"), Some("0.00097561")));
    }
}
