//! The figures and their bounds.

use std::fmt;
use std::time::Duration;

use crate::load::{Shape, Told};
use crate::nginx::Beside;

/// The same measurement on the bare proxy and on the server under test.
pub(crate) struct Pair<T> {
    pub(crate) bare: T,
    pub(crate) tested: T,
}

#[derive(Default)]
pub(crate) struct Report {
    rounds: Vec<(Shape, Pair<Told>)>,
    /// What recognising a task added to the ratio of a small request, each time that it was measured.
    pub(crate) recognising: Vec<f64>,
    /// KiB in use, and when.
    pub(crate) rss: Vec<(&'static str, Pair<u64>)>,
    pub(crate) first_answer: Option<Duration>,
    /// Where nginx was measured too.
    pub(crate) beside: Option<Beside>,
}

/// A ratio of CPU time and how large it may be.
struct Figure {
    name: &'static str,
    shape: Shape,
    bound: f64,
}

const FIGURES: [Figure; 5] = [
    Figure { name: "CPU per small request, 64 connections", shape: Shape::Small, bound: 1.7 },
    Figure { name: "CPU per streamed event, 64 streams", shape: Shape::Stream, bound: 1.3 },
    Figure { name: "CPU per request with a 200 KB prompt", shape: Shape::Large, bound: 1.8 },
    Figure { name: "small, the task to be recognised", shape: Shape::SmallUndeclared, bound: 2.0 },
    Figure { name: "200 KB, the task to be recognised", shape: Shape::LargeUndeclared, bound: 1.9 },
];
/// By how much recognising tasks may raise the ratio of a small request.
const RECOGNISING: f64 = 0.1;

impl Report {
    pub(crate) fn add(&mut self, shape: Shape, pair: Pair<Told>) {
        self.rounds.push((shape, pair));
    }

    /// Whether every figure is within its bound.
    pub(crate) fn holds(&self) -> bool {
        FIGURES.iter().all(|figure| self.ratio(figure.shape) <= figure.bound)
            && self.recognising() <= RECOGNISING
            && self.beside.as_ref().is_none_or(Beside::holds)
    }

    /// The middle of the rounds' ratios: a round that something else disturbed does not decide.
    fn ratio(&self, shape: Shape) -> f64 {
        middle(self.ratios(shape))
    }

    fn recognising(&self) -> f64 {
        middle(self.recognising.clone())
    }

    fn ratios(&self, shape: Shape) -> Vec<f64> {
        self.of(shape).map(|pair| cpu_us(shape, &pair.tested) / cpu_us(shape, &pair.bare)).collect()
    }

    fn of(&self, shape: Shape) -> impl Iterator<Item = &Pair<Told>> {
        self.rounds.iter().filter(move |(other, _)| *other == shape).map(|(_, pair)| pair)
    }

    fn middles(&self, shape: Shape, value: impl Fn(&Told) -> f64) -> Pair<f64> {
        Pair {
            bare: middle(self.of(shape).map(|pair| value(&pair.bare)).collect()),
            tested: middle(self.of(shape).map(|pair| value(&pair.tested)).collect()),
        }
    }

    fn write_waits(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.middles(Shape::FirstEvent, |told| told.first_event_us as f64 / 1e3);
        writeln!(
            out,
            "first event after: bare {:.2} ms, tollgate {:.2} ms: {:.2} ms later",
            first.bare,
            first.tested,
            first.tested - first.bare
        )?;
        for (name, value) in
            [("p50", (|told: &Told| told.p50_us as f64 / 1e3) as fn(&Told) -> f64), ("p99", |told| told.p99_us as f64 / 1e3)]
        {
            let calm = self.middles(Shape::Calm, value);
            writeln!(out, "one call at 200/s, {name}: bare {:.2} ms, tollgate {:.2} ms", calm.bare, calm.tested)?;
        }
        let full = self.middles(Shape::Small, |told| told.requests as f64 / told.seconds);
        writeln!(out, "calls a second at 64 connections: bare {:.0}, tollgate {:.0}", full.bare, full.tested)
    }
}

/// CPU per request, or per event where the load streams, in microseconds.
pub(crate) fn cpu_us(shape: Shape, told: &Told) -> f64 {
    let count = if shape == Shape::Stream { told.events } else { told.requests };
    told.cpu_ns as f64 / 1e3 / count.max(1) as f64
}

pub(crate) fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count.is_multiple_of(2) => f64::midpoint(values[count / 2 - 1], values[count / 2]),
        count => values[count / 2],
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{:<40} {:>9} {:>9} {:>7} {:>6}   rounds", "µs", "bare", "tollgate", "ratio", "bound")?;
        for figure in &FIGURES {
            let cpu = self.middles(figure.shape, |told| cpu_us(figure.shape, told));
            let ratio = self.ratio(figure.shape);
            let rounds: Vec<String> = self.ratios(figure.shape).iter().map(|ratio| format!("{ratio:.2}")).collect();
            let verdict = if ratio <= figure.bound { "" } else { "  MISSED" };
            let Figure { name, bound, .. } = figure;
            writeln!(out, "{name:<40} {:>9.1} {:>9.1} {ratio:>7.2} {bound:>6.2}   {}{verdict}", cpu.bare, cpu.tested, rounds.join(" "))?;
        }
        let (added, verdict) = (self.recognising(), if self.recognising() <= RECOGNISING { "" } else { "  MISSED" });
        writeln!(out, "recognising the task of a small request adds {added:.2} to its ratio, bound {RECOGNISING:.2}{verdict}")?;
        self.write_waits(out)?;
        for (when, rss) in &self.rss {
            writeln!(out, "RSS, {when}: bare {:.1} MiB, tollgate {:.1} MiB", rss.bare as f64 / 1024.0, rss.tested as f64 / 1024.0)?;
        }
        if let Some(time) = self.first_answer {
            writeln!(out, "start to first answer: {:.0} ms", time.as_secs_f64() * 1e3)?;
        }
        self.beside.as_ref().map_or(Ok(()), |beside| beside.fmt(out))
    }
}
