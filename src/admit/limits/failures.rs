//! How often a source came without a key that works.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::Ticks;
use crate::units::Clock;

/// A source may fail so often at once, and then once in two seconds.
const BURST: NonZeroU32 = NonZeroU32::new(30).unwrap();
const EVERY: Duration = Duration::from_secs(2);
/// Sources that are remembered, about 100 bytes each. Those beyond share one place.
const MOST_SOURCES: usize = 10_000;

/// A limit for each source of failures. Who sends a key that works is never asked.
#[derive(Debug)]
pub struct Failures {
    clock: Clock,
    sources: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, Ticks, NoOpMiddleware<Nanos>>,
}

impl Failures {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let quota = Quota::with_period(EVERY).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(BURST);
        let ticks = Ticks { clock: clock.clone(), runs: AtomicBool::new(false) };
        let sources = RateLimiter::hashmap_with_clock(quota, ticks);
        sources.clock().runs.store(true, Ordering::Release);
        Self { clock, sources }
    }

    /// One more failure of this source: what may be told of it, or how long to wait.
    pub fn count(&self, source: Option<IpAddr>) -> Result<(), Duration> {
        if self.sources.len() >= MOST_SOURCES {
            // Those that are full again need not be remembered.
            self.sources.retain_recent();
        }
        let is_full = self.sources.len() >= MOST_SOURCES;
        let key = source.filter(|_| !is_full).map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), network);
        self.sources.check_key(&key).map_err(|until| until.wait_time_from(Nanos::new(self.clock.now().as_nanos())))
    }
}

/// One host of IPv4; of IPv6 the network that one customer gets, in which he may take any address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(failures: &Failures, source: &str) -> Result<(), Duration> {
        failures.count(Some(source.parse().unwrap()))
    }

    #[test]
    fn each_source_has_a_limit_of_its_own_that_comes_back() {
        let clock = Clock::manual();
        let failures = Failures::new(clock.clone());
        let one = "192.0.2.7";
        for _ in 0..BURST.get() {
            assert_eq!(from(&failures, one), Ok(()));
        }
        assert_eq!(from(&failures, one), Err(EVERY));
        assert_eq!(from(&failures, "::ffff:192.0.2.7"), Err(EVERY), "the same host in another spelling");
        assert_eq!(from(&failures, "192.0.2.8"), Ok(()));
        clock.advance(EVERY);
        assert_eq!((from(&failures, one), from(&failures, one)), (Ok(()), Err(EVERY)));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let failures = Failures::new(Clock::manual());
        for host in 0..BURST.get() {
            assert_eq!(from(&failures, &format!("2001:db8::{host:x}")), Ok(()));
        }
        assert!(from(&failures, "2001:db8::ffff").is_err());
        assert!(from(&failures, "2001:db8:0:1::1").is_ok());
    }

    #[test]
    fn a_flood_of_sources_takes_no_more_than_its_room() {
        let clock = Clock::manual();
        let failures = Failures::new(clock.clone());
        let source = |number: u32| Some(std::net::Ipv4Addr::from_bits(number).into());
        for number in 0..=u32::try_from(MOST_SOURCES).unwrap() {
            assert_eq!(failures.count(source(0x0a00_0000 + number)), Ok(()));
        }
        assert!(failures.sources.len() <= MOST_SOURCES + 1);
        let told = (0..1_000).filter(|number| failures.count(source(0x0b00_0000 + number)).is_ok()).count();
        assert!(told < 30, "{told} of those beyond were told");
        assert!(failures.sources.len() <= MOST_SOURCES + 1);
        clock.advance(EVERY * 31);
        assert_eq!(failures.count(source(1)), Ok(()));
        assert_eq!(failures.sources.len(), 1, "those that are full again are forgotten");
    }
}
