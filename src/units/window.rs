use std::fmt;
use std::num::NonZeroU8;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// How long a window lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    Hour,
    Day,
    /// From Monday on.
    Week,
    Month,
    /// Never ends.
    Total,
}

impl Period {
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Total];

    /// As it stands behind the `/` of a cap.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// The period of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.as_str() == text)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The day on which a month begins, for money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartsOn {
    /// 1 to 28.
    Day(NonZeroU8),
    /// The last day of the calendar's month.
    Last,
}

impl Default for StartsOn {
    fn default() -> Self {
        Self::Day(NonZeroU8::MIN)
    }
}

/// A period in a time zone: which stretch of time a moment falls into follows from the moment alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub period: Period,
    pub zone: TimeZone,
    /// Only months look at it.
    pub starts_on: StartsOn,
}

/// One stretch of a window: from its first instant up to, not including, the first of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stretch {
    pub start: Timestamp,
    /// Absent: it never ends.
    pub end: Option<Timestamp>,
}

impl Window {
    /// The stretch that holds `at`. Where the clocks skip a day's beginning it begins with the first instant that exists, where they
    /// repeat it with the earlier one.
    #[must_use]
    pub fn stretch(&self, at: Timestamp) -> Stretch {
        let zone = &self.zone;
        let (start, next) = match self.period {
            Period::Total => return Stretch { start: Timestamp::UNIX_EPOCH, end: None },
            Period::Hour => return self.hour(at),
            Period::Day => {
                let day = at.to_zoned(zone.clone()).date();
                (day, day.saturating_add(1.day()))
            }
            Period::Week => {
                let day = at.to_zoned(zone.clone()).date();
                let monday = day.saturating_sub(i64::from(day.weekday().to_monday_zero_offset()).days());
                (monday, monday.saturating_add(7.days()))
            }
            Period::Month => {
                let day = at.to_zoned(zone.clone()).date();
                let this = self.begin_of_month(day);
                if day < this {
                    (self.begin_of_month(day.first_of_month().saturating_sub(1.day())), this)
                } else {
                    (this, self.begin_of_month(day.last_of_month().saturating_add(1.day())))
                }
            }
        };
        Stretch { start: begin_of_day(start, zone), end: Some(begin_of_day(next, zone)) }
    }

    /// The day on which the money's month begins that begins in this calendar month.
    fn begin_of_month(&self, day: Date) -> Date {
        match self.starts_on {
            StartsOn::Day(of_month) => day.first_of_month().saturating_add(i64::from(of_month.get() - 1).days()),
            StartsOn::Last => day.last_of_month(),
        }
    }

    /// Hours are cut by the zone's distance from UTC, so that each lasts an hour whatever its clocks do.
    fn hour(&self, at: Timestamp) -> Stretch {
        let offset = i64::from(self.zone.to_offset(at).seconds());
        let local = at.as_second().saturating_add(offset);
        let start = Timestamp::from_second(local.div_euclid(3_600) * 3_600 - offset).unwrap_or(at);
        Stretch { start, end: start.checked_add(SignedDuration::from_hours(1)).ok() }
    }
}

fn begin_of_day(day: Date, zone: &TimeZone) -> Timestamp {
    let midnight = day.to_zoned(zone.clone()).and_then(|begin| begin.start_of_day());
    midnight.map_or(Timestamp::MAX, |begin| begin.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(period: Period, zone: &str, starts_on: StartsOn) -> Window {
        Window { period, zone: TimeZone::get(zone).unwrap(), starts_on }
    }

    fn on(day: u8) -> StartsOn {
        StartsOn::Day(NonZeroU8::new(day).unwrap())
    }

    #[test]
    fn l10_a_moment_falls_into_one_stretch_across_gaps_and_folds_of_the_clock() {
        for (period, zone, starts_on, at, start, end) in [
            (Period::Hour, "UTC", on(1), "2026-03-08T10:59:59Z", "2026-03-08T10:00:00Z", "2026-03-08T11:00:00Z"),
            // Half an hour beside the others.
            (Period::Hour, "Asia/Kolkata", on(1), "2026-03-08T10:10:00Z", "2026-03-08T09:30:00Z", "2026-03-08T10:30:00Z"),
            (Period::Day, "UTC", on(1), "2026-02-28T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"),
            // A day of 23 hours, and one of 25.
            (Period::Day, "Europe/Berlin", on(1), "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            (Period::Day, "Europe/Berlin", on(1), "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            // The first midnight of this day does not exist; the next one exists twice.
            (Period::Day, "America/Asuncion", on(1), "2022-10-02T12:00:00Z", "2022-10-02T04:00:00Z", "2022-10-03T03:00:00Z"),
            (Period::Day, "America/Havana", on(1), "2022-11-06T12:00:00Z", "2022-11-06T04:00:00Z", "2022-11-07T05:00:00Z"),
            (Period::Week, "UTC", on(1), "2026-11-22T23:00:00Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"),
            (Period::Month, "UTC", on(1), "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            (Period::Month, "Europe/Berlin", on(1), "2026-11-30T23:30:00Z", "2026-11-30T23:00:00Z", "2026-12-31T23:00:00Z"),
            (Period::Month, "UTC", on(15), "2026-03-14T23:59:59Z", "2026-02-15T00:00:00Z", "2026-03-15T00:00:00Z"),
            (Period::Month, "UTC", on(28), "2026-02-28T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-28T00:00:00Z"),
            (Period::Month, "UTC", StartsOn::Last, "2026-02-28T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"),
            (Period::Month, "UTC", StartsOn::Last, "2026-02-27T23:59:59Z", "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"),
        ] {
            let stretch = window(period, zone, starts_on).stretch(at.parse().unwrap());
            let told = (stretch.start.to_string(), stretch.end.unwrap().to_string());
            assert_eq!(told, (start.to_owned(), end.to_owned()), "{period} in {zone} at {at}");
        }
        let total = window(Period::Total, "UTC", on(1));
        assert_eq!(total.stretch("1999-01-01T00:00:00Z".parse().unwrap()), total.stretch("2030-01-01T00:00:00Z".parse().unwrap()));
    }

    proptest::proptest! {
        #[test]
        fn stretches_follow_each_other_without_gap_or_overlap(
            second in 0_i64..4_000_000_000,
            period in proptest::sample::select(&Period::ALL[..4]),
            zone in proptest::sample::select(&["UTC", "Europe/Berlin", "America/New_York", "America/Asuncion", "Asia/Kolkata", "Pacific/Apia", "Africa/Cairo"][..]),
            starts_on in proptest::prop_oneof![(1_u8..=28).prop_map(on), proptest::strategy::Just(StartsOn::Last)],
        ) {
            let (window, at) = (window(period, zone, starts_on), Timestamp::from_second(second).unwrap());
            let stretch = window.stretch(at);
            let end = stretch.end.unwrap();
            proptest::prop_assert!(stretch.start <= at && at < end);
            proptest::prop_assert_eq!(window.stretch(stretch.start), stretch);
            proptest::prop_assert_eq!(window.stretch(end).start, end);
            let last = end.checked_sub(SignedDuration::from_nanos(1)).unwrap();
            proptest::prop_assert_eq!(window.stretch(last), stretch);
        }
    }

    use proptest::strategy::Strategy;
}
