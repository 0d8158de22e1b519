use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::admit::{BudgetLevel, MoneyEvent};
use crate::app::status::forecast;
use crate::units::{BudgetName, Moment, Period, TargetName, Usd};

/// Disputes and overruns of one target are told at most so often, as their sum.
const SUMMED: Duration = Duration::from_mins(1);

/// Something that people are told. Amounts are dollars, as plain decimals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Alert {
    /// More than one of `warn_at` is used.
    Crossed { budget: String, window: &'static str, share: String, used_usd: String, cap_usd: String },
    /// A request was refused because a cap leaves too little.
    Refused { budget: String, window: &'static str, used_usd: String, cap_usd: String },
    /// If it goes on like this, the window ends above its cap.
    Forecast { budget: String, window: &'static str, forecast_usd: String, used_usd: String, cap_usd: String, ends: Option<Timestamp> },
    /// Money that may have been spent.
    Disputed { target: String, amount_usd: String, attempts: u64 },
    /// A provider billed more than was held.
    Overrun { target: String, amount_usd: String, attempts: u64 },
}

impl Alert {
    /// One of a closed list.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Crossed { .. } => "crossed",
            Self::Refused { .. } => "refused",
            Self::Forecast { .. } => "forecast",
            Self::Disputed { .. } => "disputed",
            Self::Overrun { .. } => "overrun",
        }
    }

    pub(super) fn log(&self) {
        match self {
            Self::Crossed { budget, window, share, used_usd, cap_usd } => {
                tracing::warn!(budget, window, share, used_usd, cap_usd, "a budget has used more than a share that was to be told");
            }
            Self::Refused { budget, window, used_usd, cap_usd } => {
                tracing::warn!(budget, window, used_usd, cap_usd, "a budget refuses requests");
            }
            Self::Forecast { budget, window, forecast_usd, used_usd, cap_usd, .. } => {
                tracing::warn!(budget, window, forecast_usd, used_usd, cap_usd, "a budget leads above its cap");
            }
            Self::Disputed { target, amount_usd, attempts } => {
                tracing::warn!(target_name = target, amount_usd, attempts, "nobody knows whether this was billed");
            }
            Self::Overrun { target, amount_usd, attempts } => {
                tracing::warn!(target_name = target, amount_usd, attempts, "a provider billed more than was held");
            }
        }
    }
}

/// Keeps people from hearing the same thing again and again.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    /// What was told of each window.
    told: HashMap<(BudgetName, Period), Told>,
    /// Sums that wait for their turn, by target and whether they are overruns.
    sums: HashMap<(TargetName, bool), Summed>,
}

/// Of one window under one cap; another one begins anew.
#[derive(Debug)]
struct Told {
    starts: Option<Timestamp>,
    cap: Usd,
    words: HashSet<String>,
}

#[derive(Debug)]
struct Summed {
    told_at: Moment,
    amount: Usd,
    attempts: u64,
}

impl Quiet {
    /// What is to be told of an event, if anything now.
    pub(super) fn hear(&mut self, event: MoneyEvent, levels: &[BudgetLevel], now: Moment) -> Option<Alert> {
        let starts = |budget: &BudgetName, period: Period| {
            levels.iter().find(|level| level.key.budget == *budget && level.key.period == period).map(|level| level.key.starts)
        };
        match event {
            MoneyEvent::Crossed(crossed) => {
                let (budget, period, share) = (crossed.budget, crossed.period, crossed.share.to_string());
                let is_new = self.is_new(&budget, period, starts(&budget, period), crossed.cap, &share);
                is_new.then(|| Alert::Crossed {
                    budget: budget.to_string(),
                    window: period.as_str(),
                    share,
                    used_usd: crossed.used.plain(),
                    cap_usd: crossed.cap.plain(),
                })
            }
            MoneyEvent::Refused { budget, period, cap, used } => {
                let is_new = self.is_new(&budget, period, starts(&budget, period), cap, "refused");
                is_new.then(|| Alert::Refused {
                    budget: budget.to_string(),
                    window: period.as_str(),
                    used_usd: used.plain(),
                    cap_usd: cap.plain(),
                })
            }
            MoneyEvent::Disputed { target, amount, .. } => self.sum(target, false, amount, now),
            MoneyEvent::Overrun { target, amount } => self.sum(target, true, amount, now),
        }
    }

    /// Forecasts above their caps, each once, and sums whose turn has come.
    pub(super) fn look(&mut self, levels: &[BudgetLevel], wall: Timestamp, now: Moment) -> Vec<Alert> {
        self.told.retain(|(budget, period), _| levels.iter().any(|level| level.key.budget == *budget && level.key.period == *period));
        let mut alerts: Vec<Alert> = levels.iter().filter_map(|level| self.leads_above(level, wall)).collect();
        self.sums.retain(|(target, is_overrun), sum| {
            let is_over = now.since(sum.told_at) >= SUMMED;
            if is_over && sum.attempts > 0 {
                alerts.push(summed(target, *is_overrun, sum));
                *sum = Summed { told_at: now, amount: Usd::ZERO, attempts: 0 };
                return true;
            }
            !is_over
        });
        alerts
    }

    fn leads_above(&mut self, level: &BudgetLevel, wall: Timestamp) -> Option<Alert> {
        let forecast = forecast(level, wall).filter(|forecast| *forecast > level.cap)?;
        let (budget, period) = (&level.key.budget, level.key.period);
        self.is_new(budget, period, Some(level.key.starts), level.cap, "forecast").then(|| Alert::Forecast {
            budget: budget.to_string(),
            window: period.as_str(),
            forecast_usd: forecast.plain(),
            used_usd: level.posted.plus(level.disputed).plain(),
            cap_usd: level.cap.plain(),
            ends: level.key.ends,
        })
    }

    /// Whether this was not told yet of this window under this cap.
    fn is_new(&mut self, budget: &BudgetName, period: Period, starts: Option<Timestamp>, cap: Usd, word: &str) -> bool {
        let fresh = || Told { starts, cap, words: HashSet::new() };
        let told = self.told.entry((budget.clone(), period)).or_insert_with(fresh);
        if (told.starts, told.cap) != (starts, cap) {
            *told = fresh();
        }
        told.words.insert(word.to_owned())
    }

    fn sum(&mut self, target: TargetName, is_overrun: bool, amount: Usd, now: Moment) -> Option<Alert> {
        let first = Summed { told_at: now, amount, attempts: 1 };
        let Some(sum) = self.sums.get_mut(&(target.clone(), is_overrun)) else {
            let alert = summed(&target, is_overrun, &first);
            self.sums.insert((target, is_overrun), Summed { amount: Usd::ZERO, attempts: 0, ..first });
            return Some(alert);
        };
        (sum.amount, sum.attempts) = (sum.amount.plus(amount), sum.attempts + 1);
        if now.since(sum.told_at) < SUMMED {
            return None;
        }
        let alert = summed(&target, is_overrun, sum);
        *sum = Summed { told_at: now, amount: Usd::ZERO, attempts: 0 };
        Some(alert)
    }
}

fn summed(target: &TargetName, is_overrun: bool, sum: &Summed) -> Alert {
    let (target, amount_usd, attempts) = (target.to_string(), sum.amount.plain(), sum.attempts);
    if is_overrun { Alert::Overrun { target, amount_usd, attempts } } else { Alert::Disputed { target, amount_usd, attempts } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Clock, DisputeClass, WindowKey};

    const DOLLAR: u64 = 1_000_000_000;

    fn at(day: &str) -> Timestamp {
        format!("{day}T00:00:00Z").parse().unwrap()
    }

    fn level(starts: &str, ends: &str, cap: u64, posted: u64) -> BudgetLevel {
        let key =
            WindowKey { budget: BudgetName::parse("company").unwrap(), period: Period::Month, starts: at(starts), ends: Some(at(ends)) };
        let dollars = |amount: u64| Usd::from_nano(amount * DOLLAR);
        BudgetLevel { key, cap: dollars(cap), posted: dollars(posted), held: Usd::ZERO, disputed: Usd::ZERO, granted: Usd::ZERO }
    }

    fn refused(cap: u64) -> MoneyEvent {
        let budget = BudgetName::parse("company").unwrap();
        MoneyEvent::Refused { budget, period: Period::Month, cap: Usd::from_nano(cap * DOLLAR), used: Usd::from_nano(DOLLAR) }
    }

    #[test]
    fn a_refusal_is_told_once_until_the_window_or_the_cap_is_another() {
        let (mut quiet, now) = (Quiet::default(), Clock::manual().now());
        let may = [level("2026-05-01", "2026-06-01", 10, 9)];
        let june = [level("2026-06-01", "2026-07-01", 10, 9)];
        let mut told = |event, levels: &[BudgetLevel]| quiet.hear(event, levels, now).is_some();
        assert_eq!([told(refused(10), &may), told(refused(10), &may)], [true, false]);
        assert_eq!([told(refused(20), &may), told(refused(20), &may)], [true, false]);
        assert_eq!([told(refused(20), &june), told(refused(20), &june)], [true, false]);
    }

    #[test]
    fn a_forecast_above_the_cap_is_told_once_per_window() {
        let (mut quiet, now) = (Quiet::default(), Clock::manual().now());
        let mut looked = |level: BudgetLevel, day| quiet.look(&[level], at(day), now);
        let may = |posted| level("2026-05-01", "2026-06-01", 100, posted);
        assert_eq!(looked(may(10), "2026-05-11"), [], "it leads to 31 dollars");
        let alerts = looked(may(40), "2026-05-11");
        assert!(matches!(&alerts[..], [Alert::Forecast { forecast_usd, .. }] if forecast_usd == "124"), "{alerts:?}");
        assert_eq!(looked(may(50), "2026-05-12"), []);
        assert_eq!(looked(level("2026-06-01", "2026-07-01", 100, 50), "2026-06-03").len(), 1);
    }

    #[test]
    fn disputes_of_a_target_are_told_as_their_sum_once_a_minute() {
        let clock = Clock::manual();
        let mut quiet = Quiet::default();
        let dispute = |name: &str| MoneyEvent::Disputed {
            target: TargetName::parse(name).unwrap(),
            class: DisputeClass::Ambiguous,
            amount: Usd::from_nano(DOLLAR),
        };
        let sum = |target: &str, amount: &str, attempts| Alert::Disputed { target: target.into(), amount_usd: amount.into(), attempts };
        assert_eq!(quiet.hear(dispute("p/a"), &[], clock.now()), Some(sum("p/a", "1", 1)));
        assert_eq!(quiet.hear(dispute("p/b"), &[], clock.now()), Some(sum("p/b", "1", 1)));
        for _ in 0..3 {
            assert_eq!(quiet.hear(dispute("p/a"), &[], clock.now()), None);
        }
        assert_eq!(quiet.look(&[], at("2026-05-01"), clock.now()), []);
        clock.advance(SUMMED);
        assert_eq!(quiet.look(&[], at("2026-05-01"), clock.now()), [sum("p/a", "3", 3)]);
        assert_eq!(quiet.hear(dispute("p/a"), &[], clock.now()), None, "the next minute has begun");
        assert_eq!(quiet.hear(dispute("p/b"), &[], clock.now()), Some(sum("p/b", "1", 1)));
    }
}
