//! What was spent, by whom and on what, and where it leads.
//!
//! Floor 5. Sums of the ledger in, lines and a forecast out: whole numbers throughout, printed elsewhere.

mod forecast;

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::store::Sum;

pub use forecast::{Forecast, Likely};

/// What a line stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    Provider,
    Model,
    Target,
    Rule,
    Caller,
    Tag(String),
    Label(String),
    Task,
    Day,
}

impl By {
    /// `provider`, `tag:team`, …; nothing where it is none of them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.split_once(':') {
            Some(("tag", name)) if !name.is_empty() => Self::Tag(name.to_owned()),
            Some(("label", name)) if !name.is_empty() => Self::Label(name.to_owned()),
            Some(_) => return None,
            None => match text {
                "provider" => Self::Provider,
                "model" => Self::Model,
                "target" => Self::Target,
                "rule" => Self::Rule,
                "caller" => Self::Caller,
                "task" => Self::Task,
                "day" => Self::Day,
                _ => return None,
            },
        })
    }

    /// As [`Self::parse`] takes it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Provider => "provider".into(),
            Self::Model => "model".into(),
            Self::Target => "target".into(),
            Self::Rule => "rule".into(),
            Self::Caller => "caller".into(),
            Self::Tag(name) => format!("tag:{name}"),
            Self::Label(name) => format!("label:{name}"),
            Self::Task => "task".into(),
            Self::Day => "day".into(),
        }
    }

    /// The line that a sum belongs to.
    fn line(&self, sum: &Sum, zone: &TimeZone) -> String {
        if *self == Self::Day {
            return day_of(sum, zone).to_string();
        }
        let Some(facts) = &sum.context else {
            return if sum.is_crash { "(left by a crash)" } else { "(corrections)" }.to_owned();
        };
        let target = || facts.target.as_deref().and_then(|target| target.split_once('/'));
        let (found, without) = match self {
            Self::Provider => (target().map(|(provider, _)| provider), "(nothing sent)"),
            Self::Model => (target().map(|(_, model)| model), "(nothing sent)"),
            Self::Target => (facts.target.as_deref(), "(nothing sent)"),
            Self::Rule => (facts.rule.as_deref(), "(no rule)"),
            Self::Caller => (facts.caller.as_deref(), "(no caller)"),
            Self::Tag(name) => (facts.tags.get(name).map(String::as_str), "(without)"),
            Self::Label(name) => (sum.labels.get(name).map(String::as_str), "(without)"),
            Self::Task | Self::Day => (Some(&*facts.task), ""),
        };
        found.unwrap_or(without).to_owned()
    }
}

/// The time that a report is about: from `since` up to, not including, `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub since: Timestamp,
    pub until: Timestamp,
    pub zone: TimeZone,
    /// It is one calendar month, so that a forecast of its end makes sense.
    pub is_month: bool,
}

/// What a line, or all of them, come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Nano-dollars; below zero where more was credited than spent.
    pub spent: i64,
    /// Nano-dollars that may have been spent.
    pub disputed: i64,
    pub requests: u64,
    pub failures: u64,
    pub fallbacks: u64,
    pub attempts: u64,
    /// Attempts in which the provider let us down.
    pub faults: u64,
    pub input: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub output: u64,
    pub reasoning: u64,
}

impl Figures {
    fn add(&mut self, sum: &Sum) {
        self.spent = self.spent.saturating_add(sum.posted);
        self.disputed = self.disputed.saturating_add(sum.disputed);
        for (figure, more) in [
            (&mut self.requests, sum.requests),
            (&mut self.failures, sum.failures),
            (&mut self.fallbacks, sum.fallbacks),
            (&mut self.attempts, sum.attempts),
            (&mut self.faults, sum.faults),
            (&mut self.input, sum.input),
            (&mut self.cache_read, sum.cache_read),
            (&mut self.cache_write, sum.cache_write),
            (&mut self.output, sum.output),
            (&mut self.reasoning, sum.reasoning),
        ] {
            *figure = figure.saturating_add(more);
        }
    }

    /// Nano-dollars for a thousand requests, rounded up. Absent without requests.
    #[must_use]
    pub fn per_thousand(&self) -> Option<i64> {
        let requests = i128::from(self.requests);
        let thousand = i128::from(self.spent) * 1_000;
        (requests > 0).then(|| i64::try_from((thousand + requests - 1).div_euclid(requests)).unwrap_or(i64::MAX))
    }
}

/// A report as it is printed in any form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Days in their order; everything else by what was spent, the most first.
    pub lines: Vec<(String, Figures)>,
    pub total: Figures,
    /// Absent but for a month that is not over.
    pub forecast: Option<Forecast>,
}

/// Puts sums into lines.
#[must_use]
pub fn report(sums: &[Sum], by: &By, range: &Range, now: Timestamp) -> Report {
    let mut lines: HashMap<String, Figures> = HashMap::new();
    let mut total = Figures::default();
    for sum in sums {
        lines.entry(by.line(sum, &range.zone)).or_default().add(sum);
        total.add(sum);
    }
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort_unstable_by(|(one, first), (other, second)| {
        let by_spending = (second.spent, second.disputed, second.requests).cmp(&(first.spent, first.disputed, first.requests));
        if *by == By::Day { one.cmp(other) } else { by_spending.then_with(|| one.cmp(other)) }
    });
    let is_open = range.is_month && range.since <= now && now < range.until;
    Report { lines, total, forecast: is_open.then(|| forecast::forecast(sums, range, now)) }
}

/// The day in which a sum counts.
fn day_of(sum: &Sum, zone: &TimeZone) -> Date {
    Timestamp::from_second(sum.quarter).unwrap_or_default().to_zoned(zone.clone()).date()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::ContextFacts;

    fn sum(target: Option<&str>, time: &str, posted: i64, requests: u64) -> Sum {
        let facts = ContextFacts { target: target.map(str::to_owned), task: "coding".into(), ..ContextFacts::default() };
        let quarter = time.parse::<Timestamp>().unwrap().as_second();
        Sum { context: Some(Arc::new(facts)), quarter, posted, requests, attempts: requests, ..Sum::default() }
    }

    fn range(month: &str, next: &str, zone: &str) -> Range {
        let zone = jiff::tz::TimeZoneDatabase::bundled().get(zone).unwrap();
        let begin = |day: &str| day.parse::<Date>().unwrap().to_zoned(zone.clone()).unwrap().timestamp();
        Range { since: begin(month), until: begin(next), zone: zone.clone(), is_month: true }
    }

    #[test]
    fn lines_are_sorted_by_what_was_spent_and_add_up() {
        let range = range("2026-11-01", "2026-12-01", "UTC");
        let mut sums = vec![
            sum(Some("house/llama"), "2026-11-02T10:00:00Z", 5, 1),
            sum(Some("openai/gpt-4o"), "2026-11-02T10:00:00Z", 70, 2),
            sum(Some("openai/gpt-5"), "2026-11-03T10:15:00Z", 30, 1),
            sum(None, "2026-11-03T10:15:00Z", 0, 4),
        ];
        sums.push(Sum { context: None, posted: -10, quarter: sums[0].quarter, ..Sum::default() });
        sums.push(Sum { context: None, is_crash: true, disputed: 8, quarter: sums[0].quarter, ..Sum::default() });
        let report = |by: &By| {
            let told = report(&sums, by, &range, range.until);
            assert_eq!((told.total.spent, told.total.disputed, told.total.requests, told.forecast), (95, 8, 8, None));
            told.lines.into_iter().map(|(line, figures)| (line, figures.spent, figures.requests)).collect::<Vec<_>>()
        };
        let line = |name: &str, spent, requests| (name.to_owned(), spent, requests);
        let rest = [line("(left by a crash)", 0, 0), line("(nothing sent)", 0, 4), line("(corrections)", -10, 0)];
        assert_eq!(report(&By::Provider)[..2], [line("openai", 100, 3), line("house", 5, 1)]);
        assert_eq!(report(&By::Provider)[2..], rest);
        assert_eq!(report(&By::Model)[0], line("gpt-4o", 70, 2));
        assert_eq!(report(&By::Day), [line("2026-11-02", 65, 3), line("2026-11-03", 30, 5)]);
        assert_eq!(report(&By::Tag("team".into()))[0], line("(without)", 105, 8));
    }

    #[test]
    fn a_day_is_a_day_of_its_zone() {
        let late = sum(Some("openai/gpt-4o"), "2026-11-02T23:15:00Z", 5, 1);
        let day = |zone: &str| {
            let range = range("2026-11-01", "2026-12-01", zone);
            report(std::slice::from_ref(&late), &By::Day, &range, range.until).lines[0].0.clone()
        };
        assert_eq!(
            (day("UTC"), day("Europe/Berlin"), day("Asia/Kathmandu")),
            ("2026-11-02".into(), "2026-11-03".into(), "2026-11-03".into())
        );
    }

    #[test]
    fn a_thousand_requests_are_rounded_up() {
        for (spent, requests, each) in
            [(1, 3, Some(334)), (0, 3, Some(0)), (7, 0, None), (-10, 3, Some(-3_333)), (i64::MAX, 1, Some(i64::MAX))]
        {
            let figures = Figures { spent, requests, ..Figures::default() };
            assert_eq!(figures.per_thousand(), each, "{spent} {requests}");
        }
    }

    #[test]
    fn what_a_line_stands_for_is_parsed_as_it_is_named() {
        for text in ["provider", "model", "target", "rule", "caller", "tag:team", "label:run:7", "task", "day"] {
            assert_eq!(By::parse(text).unwrap().name(), text);
        }
        for text in ["", "tag", "tag:", "label:", "week", "team:x"] {
            assert_eq!(By::parse(text), None, "{text}");
        }
    }
}
