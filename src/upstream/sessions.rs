//! Which target a session stays on. Kept across rule sets, by names; bounded, the least recently used first out.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use http::HeaderMap;

use crate::units::{CallerName, Clock, Moment, TargetName};

/// Where clients name their session: our own header first, then those of clients that have one.
const HEADERS: [&str; 2] = ["x-tollgate-session", "x-claude-code-session-id"];
const SHARDS: usize = 16;
/// Sessions in one shard: 65,536 in all, which is below 10 MB.
const MOST: usize = 4_096;

/// A caller's session under one rule, as a number that nobody can aim at: the texts themselves are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey(u64, u64);

/// The sessions of all callers.
#[derive(Debug)]
pub struct Sessions {
    clock: Clock,
    hashers: [RandomState; 2],
    shards: [Mutex<HashMap<SessionKey, Kept>>; SHARDS],
}

#[derive(Debug)]
struct Kept {
    target: TargetName,
    used: Moment,
}

impl Sessions {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, hashers: [RandomState::new(), RandomState::new()], shards: std::array::from_fn(|_| Mutex::default()) }
    }

    /// The session that the client names, under a rule whose print is `rule`; nothing where it names none.
    #[must_use]
    pub fn key(&self, headers: &HeaderMap, caller: Option<&CallerName>, rule: u64) -> Option<SessionKey> {
        let named = HEADERS.iter().find_map(|name| headers.get(*name)).filter(|value| !value.is_empty())?;
        let [first, second] = &self.hashers;
        let of = |hasher: &RandomState| hasher.hash_one((caller.map(CallerName::as_str), named.as_bytes(), rule));
        Some(SessionKey(of(first), of(second)))
    }

    /// The target that the session stays on.
    #[must_use]
    pub fn target(&self, key: SessionKey) -> Option<TargetName> {
        self.shard(key).get(&key).map(|kept| kept.target.clone())
    }

    /// From now on the session stays on `target`.
    pub fn keep(&self, key: SessionKey, target: &TargetName) {
        let used = self.clock.now();
        let mut shard = self.shard(key);
        if shard.len() >= MOST && !shard.contains_key(&key) {
            forget_oldest(&mut shard);
        }
        shard.insert(key, Kept { target: target.clone(), used });
    }

    fn shard(&self, SessionKey(first, _): SessionKey) -> std::sync::MutexGuard<'_, HashMap<SessionKey, Kept>> {
        let at = usize::try_from(first).unwrap_or_default() % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes room for a quarter, so that not every new session pays for it.
fn forget_oldest(shard: &mut HashMap<SessionKey, Kept>) {
    let mut used: Vec<Moment> = shard.values().map(|kept| kept.used).collect();
    let (_, middle, _) = used.select_nth_unstable(MOST / 4);
    let oldest = *middle;
    shard.retain(|_, kept| kept.used > oldest);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn headers(name: &'static str, session: &str) -> HeaderMap {
        [(http::HeaderName::from_static(name), session.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn a_session_is_a_callers_own_and_of_one_rule() {
        let sessions = Sessions::new(Clock::manual());
        let (one, other) = (CallerName::parse("one").unwrap(), CallerName::parse("other").unwrap());
        let key = |caller, session, rule| sessions.key(&headers("x-tollgate-session", session), caller, rule).unwrap();
        let target = TargetName::parse("a/m").unwrap();
        sessions.keep(key(Some(&one), "s", 1), &target);
        assert_eq!(sessions.target(key(Some(&one), "s", 1)), Some(target));
        for elsewhere in [key(Some(&other), "s", 1), key(None, "s", 1), key(Some(&one), "t", 1), key(Some(&one), "s", 2)] {
            assert_eq!(sessions.target(elsewhere), None);
        }
        assert_eq!(sessions.key(&headers("x-claude-code-session-id", "s"), Some(&one), 1), Some(key(Some(&one), "s", 1)));
        assert_eq!(sessions.key(&headers("x-other", "s"), None, 1), None);
        assert_eq!(sessions.key(&headers("x-tollgate-session", ""), None, 1), None);
    }

    #[test]
    fn memory_is_bounded_and_the_longest_unused_go_first() {
        let clock = Clock::manual();
        let sessions = Sessions::new(clock.clone());
        let target = TargetName::parse("a/m").unwrap();
        let key = |number: usize| sessions.key(&headers("x-tollgate-session", &number.to_string()), None, 0).unwrap();
        for number in 0..SHARDS * MOST * 2 {
            sessions.keep(key(number), &target);
            clock.advance(Duration::from_millis(1));
        }
        assert!(sessions.shards.iter().all(|shard| shard.lock().unwrap().len() <= MOST));
        let newest = SHARDS * MOST * 2 - 1;
        assert!((newest - 1_000..=newest).all(|number| sessions.target(key(number)).is_some()), "the newest are there");
        assert!((0..1_000).all(|number| sessions.target(key(number)).is_none()), "the oldest are gone");
    }
}
