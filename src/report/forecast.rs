//! Where a month's spending leads, from the days that are over.

use std::collections::HashMap;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};

use super::{Range, day_of};
use crate::store::Sum;

/// Fewer days say nothing of those to come.
const FEWEST: usize = 3;

/// Nano-dollars: what is likely, and what it would be if every day to come were like one at the lower or upper quartile of the days so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Likely {
    pub low: i64,
    pub likely: i64,
    pub high: i64,
}

/// Where it leads, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Days of the month that are over, from the one of its first request on.
    pub days: usize,
    pub method: &'static str,
    /// Absent where too few days are over.
    pub month_end: Option<Likely>,
    /// 365 days at this pace.
    pub year: Option<Likely>,
}

pub(super) fn forecast(sums: &[Sum], range: &Range, now: Timestamp) -> Forecast {
    let day = |moment: Timestamp| moment.to_zoned(range.zone.clone()).date();
    let (first, today, next) = (day(range.since), day(now), day(range.until));
    let mut by_day: HashMap<Date, i64> = HashMap::new();
    for sum in sums {
        let spent = by_day.entry(day_of(sum, &range.zone)).or_default();
        *spent = spent.saturating_add(sum.posted);
    }
    // Days before the first request say nothing: perhaps there was no ledger yet.
    let first = by_day.keys().copied().min().map_or(first, |day| day.max(first));
    let spent_on = |day: Date| by_day.get(&day).copied().unwrap_or_default();
    let days = std::iter::successors(Some(first), |day| Some(day.saturating_add(1.day())));
    let mut over: Vec<i64> = days.clone().take_while(|day| *day < today).map(spent_on).collect();
    let left = i128::try_from(days.skip(over.len()).take_while(|day| *day < next).count()).unwrap_or_default();
    let method = "mean of the whole days since the first request for each day left, today among them; the range is that of the middle half of these days";
    if over.len() < FEWEST {
        return Forecast { days: over.len(), method, month_end: None, year: None };
    }
    let count = i128::try_from(over.len()).unwrap_or(1);
    let spent: i128 = over.iter().copied().map(i128::from).sum();
    let so_far = spent + i128::from(spent_on(today));
    over.sort_unstable();
    let quartile = |part: usize| i128::from(over[(over.len() - 1) * part / 4]);
    let capped = |nano: i128| i64::try_from(nano).unwrap_or(i64::MAX);
    // What is spent is spent, however quiet the other days were.
    let at = |daily: i128| capped((spent + daily * left).max(so_far));
    let likely = capped((spent + (spent * left).div_euclid(count)).max(so_far));
    let month_end = Likely { low: at(quartile(1)).min(likely), likely, high: at(quartile(3)).max(likely) };
    let mean = capped((spent * 365).div_euclid(count));
    let year = Likely { low: capped(quartile(1) * 365).min(mean), likely: mean, high: capped(quartile(3) * 365).max(mean) };
    Forecast { days: over.len(), method, month_end: Some(month_end), year: Some(year) }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn a_month_is_forecast_from_its_whole_days() {
        let day = |day: i64| 1_793_491_200 + (day - 1) * 86_400;
        let moment = |second: i64| Timestamp::from_second(second).unwrap();
        let range = Range { since: moment(day(1)), until: moment(day(31)), zone: TimeZone::UTC, is_month: true };
        let spent = |on: i64, posted: i64| Sum { quarter: day(on) + 3_600, posted, ..Sum::default() };
        let sums = [spent(1, 10), spent(2, 20), spent(3, 30), spent(4, 40), spent(5, 7)];
        let told = forecast(&sums, &range, moment(day(5) + 43_200));
        // 100 in four days, and 26 days left with today.
        assert_eq!((told.days, told.month_end), (4, Some(Likely { low: 360, likely: 750, high: 880 })));
        assert_eq!(told.year, Some(Likely { low: 3_650, likely: 9_125, high: 10_950 }));
        // A day without spending is a day.
        let told = forecast(&sums[..1], &range, moment(day(6)));
        assert_eq!((told.days, told.month_end), (5, Some(Likely { low: 10, likely: 60, high: 60 })));
        // Today's spending is never left out.
        let told = forecast(&[spent(1, 0), spent(4, 1_000)], &range, moment(day(4) + 1));
        assert_eq!(told.month_end, Some(Likely { low: 1_000, likely: 1_000, high: 1_000 }));
        let told = forecast(&sums[3..4], &range, moment(day(6)));
        assert_eq!((told.days, told.month_end), (2, None), "days before the first request do not count");
        let told = forecast(&sums[..2], &range, moment(day(3)));
        assert_eq!((told.days, told.month_end, told.year), (2, None, None));
    }
}
