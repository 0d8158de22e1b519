use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use crate::units::{Clock, Moment};

use super::dial::DialError;

/// How long a name's last good addresses stand in for a failing look-up.
const LAST_GOOD: Duration = Duration::from_mins(10);

/// Where addresses come from.
#[derive(Clone, Debug)]
pub enum Resolver {
    /// The system's own look-up.
    System,
    /// Fixed names, for tests. A name that is not in it is not found.
    Table(Names),
}

/// Names and their addresses; clones share one table.
#[derive(Clone, Debug, Default)]
pub struct Names(Arc<Mutex<HashMap<String, Vec<IpAddr>>>>);

impl Names {
    /// Gives `name` these addresses from now on; none at all means that it is not found.
    pub fn set(&self, name: &str, addresses: &[IpAddr]) {
        lock(&self.0).insert(name.to_owned(), addresses.to_vec());
    }

    fn find(&self, name: &str) -> Option<Vec<IpAddr>> {
        lock(&self.0).get(name).cloned()
    }
}

impl From<HashMap<String, Vec<IpAddr>>> for Names {
    fn from(names: HashMap<String, Vec<IpAddr>>) -> Self {
        Self(Arc::new(Mutex::new(names)))
    }
}

/// The look-ups of every provider: one memory of good addresses.
#[derive(Debug)]
pub(super) struct Directory {
    resolver: Resolver,
    clock: Clock,
    good: Mutex<HashMap<String, (Moment, Vec<IpAddr>)>>,
}

impl Directory {
    pub(super) fn new(resolver: Resolver, clock: Clock) -> Arc<Self> {
        Arc::new(Self { resolver, clock, good: Mutex::default() })
    }

    /// The addresses of `name`; the last good ones when the look-up fails or takes longer than `limit`.
    async fn addresses(&self, name: &str, limit: Duration) -> Result<Vec<IpAddr>, DialError> {
        let found = match &self.resolver {
            Resolver::Table(names) => names.find(name).unwrap_or_default(),
            Resolver::System => match tokio::time::timeout(limit, tokio::net::lookup_host((name, 0))).await {
                Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
                Ok(Err(_)) | Err(_) => Vec::new(),
            },
        };
        let now = self.clock.now();
        let mut good = lock(&self.good);
        if found.is_empty() {
            let last = good.get(name).filter(|(at, _)| now.since(*at) <= LAST_GOOD);
            return last.map(|(_, addresses)| addresses.clone()).ok_or(DialError::Dns);
        }
        good.insert(name.to_owned(), (now, found.clone()));
        Ok(found)
    }
}

/// Look-ups for one provider's connector.
#[derive(Clone, Debug)]
pub(super) struct Resolve {
    pub(super) directory: Arc<Directory>,
    /// Longest wait for one look-up.
    pub(super) limit: Duration,
    /// Whether inside addresses are refused. A proxy's name may well lead inside.
    pub(super) is_checked: bool,
}

impl Service<Name> for Resolve {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolve = self.clone();
        Box::pin(async move {
            let mut addresses = resolve.directory.addresses(name.as_str(), resolve.limit).await?;
            if resolve.is_checked && !name.as_str().eq_ignore_ascii_case("localhost") {
                addresses.retain(|address| !is_inside(*address));
            }
            if addresses.is_empty() {
                return Err(DialError::Forbidden);
            }
            Ok(addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect::<Vec<_>>().into_iter())
        })
    }
}

/// True for addresses that a public name has no business pointing to: loopback, private, link-local, metadata and the like.
fn is_inside(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_inside_v4(address),
        IpAddr::V6(address) => is_inside_v6(address),
    }
}

fn is_inside_v4(address: Ipv4Addr) -> bool {
    let octets = address.octets();
    // 100.64/10 is shared by carriers and holds one cloud's metadata; 192.0.0/24 holds another's.
    let is_shared = octets[0] == 100 && octets[1] & 0xc0 == 64;
    let is_assigned = octets[..3] == [192, 0, 0];
    octets[0] == 0
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_multicast()
        || is_shared
        || is_assigned
}

fn is_inside_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let last_four = || {
        let [.., a, b, c, d] = address.octets();
        Ipv4Addr::new(a, b, c, d)
    };
    let is_site_local = parts[0] & 0xffc0 == 0xfec0;
    // NAT64 carries an IPv4 address in its last four bytes.
    let is_nat64_inside = parts[..6] == [0x64, 0xff9b, 0, 0, 0, 0] && is_inside_v4(last_four());
    address.is_loopback()
        || address.is_unspecified()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || address.is_multicast()
        || is_site_local
        || is_nat64_inside
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c15_inside_addresses_are_known() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "192.0.0.192",
            "0.0.0.0",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "fec0::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert!(is_inside(text.parse().unwrap()), "{text}");
        }
        for text in ["1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "64:ff9b::101:101", "::ffff:8.8.8.8"] {
            assert!(!is_inside(text.parse().unwrap()), "{text}");
        }
    }

    #[tokio::test]
    async fn u01_last_good_addresses_stand_in_for_ten_minutes() {
        let (names, clock) = (Names::default(), Clock::manual());
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        let directory = Directory::new(Resolver::Table(names.clone()), clock.clone());
        let look_up = || directory.addresses("api.example", Duration::from_secs(1));

        assert_eq!(look_up().await, Err(DialError::Dns));
        names.set("api.example", &[address]);
        assert_eq!(look_up().await, Ok(vec![address]));
        names.set("api.example", &[]);
        clock.advance(Duration::from_mins(10));
        assert_eq!(look_up().await, Ok(vec![address]));
        clock.advance(Duration::from_secs(1));
        assert_eq!(look_up().await, Err(DialError::Dns));
    }

    #[tokio::test]
    async fn u35_a_changed_answer_counts_from_the_next_look_up() {
        let names = Names::default();
        let directory = Directory::new(Resolver::Table(names.clone()), Clock::manual());
        for text in ["192.0.2.7", "192.0.2.8"] {
            let address: IpAddr = text.parse().unwrap();
            names.set("api.example", &[address]);
            assert_eq!(directory.addresses("api.example", Duration::from_secs(1)).await, Ok(vec![address]));
        }
    }
}
