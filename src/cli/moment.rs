//! Moments as people write them.

use anyhow::Context;
use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

use crate::units::parse_duration;

/// `2026-11-01`, `2026-11-01T10:00`, `2026-11-01T10:00:00Z`, or a time before now such as `24h`.
pub(super) fn moment(text: &str, zone: &TimeZone, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    if let Ok(moment) = text.parse::<DateTime>() {
        return Ok(moment.to_zoned(zone.clone())?.timestamp());
    }
    let before = parse_duration(text).ok().and_then(|long| SignedDuration::try_from(long).ok());
    let moment = before.and_then(|long| now.checked_sub(long).ok());
    moment.with_context(|| format!("`{text}` is no moment, such as 2026-11-01, 2026-11-01T10:00:00Z or 24h"))
}

/// The zone of that name.
pub(super) fn zone(name: &str) -> anyhow::Result<TimeZone> {
    TimeZoneDatabase::bundled().get(name).with_context(|| format!("there is no time zone `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let berlin = zone("Europe/Berlin").unwrap();
        for (text, told) in [
            ("2026-11-01", "2026-10-31T23:00:00Z"),
            ("2026-11-01T10:30", "2026-11-01T09:30:00Z"),
            ("2026-11-01T10:30:00Z", "2026-11-01T10:30:00Z"),
            ("36h", "2026-11-21T00:00:00Z"),
            ("7d", "2026-11-15T12:00:00Z"),
        ] {
            assert_eq!(moment(text, &berlin, now).unwrap().to_string(), told, "{text}");
        }
        for text in ["", "soon", "2026-13-01", "-1h"] {
            assert!(moment(text, &berlin, now).is_err(), "{text}");
        }
    }
}
