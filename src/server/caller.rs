use std::net::SocketAddr;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, StatusCode, Uri};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::admit::Failures;
use crate::config::Caller;
use crate::flow::Refusal;

/// Where a key may stand beside `authorization: Bearer …`.
static KEY_HEADERS: [HeaderName; 2] = [HeaderName::from_static("x-api-key"), HeaderName::from_static("api-key")];
/// Names under which clients put a key into the path's query, where proxies and logs keep it.
const KEY_QUERIES: [&str; 5] = ["key", "api_key", "api-key", "apikey", "access_token"];
/// Stands for no caller.
const NOBODY: u32 = u32::MAX;

/// Whose request it is: the index of the caller whose key it carries. Without a key that works, the answer is the same whatever was
/// wrong with it, and takes as long; a source that goes on trying is only told to wait.
pub(super) fn identify(
    callers: &[Caller],
    failures: &Failures,
    peer: Option<SocketAddr>,
    uri: &Uri,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<usize, Refusal> {
    if let Some(name) = key_in_query(uri) {
        let message = format!("the path's query names `{name}`: a key stands in `authorization: Bearer …` or `x-api-key`, never in a path");
        return Err(Refusal::bad_request("invalid_parameter", Some(name.into()), message));
    }
    // Without a key the same work is done, and for nothing: no hash in the file stands for the empty key.
    let key = presented(headers)?.unwrap_or_default();
    if let Some(caller) = whose(callers, key, now)
        && !key.is_empty()
    {
        return Ok(caller);
    }
    match failures.count(peer.map(|peer| peer.ip())) {
        Ok(()) => {
            tracing::info!(source = peer.map(|peer| tracing::field::display(peer.ip())), "a request without a caller's key was refused");
            Err(unknown())
        }
        Err(wait) => {
            let message = "too many requests without a caller's key came from this address".into();
            let refusal = Refusal::later(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", "rate_limit_error", message, wait);
            // Waiting makes no key of a wrong one.
            Err(Refusal { should_retry: false, ..refusal })
        }
    }
}

/// Takes the key out of what the rest of the story sees.
pub(super) fn forget_key(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    for name in &KEY_HEADERS {
        headers.remove(name);
    }
}

fn unknown() -> Refusal {
    let message = "the request carries no key of a caller: send one as `authorization: Bearer …` or `x-api-key`".into();
    let refusal = Refusal::bad_request("invalid_api_key", None, message).with_status(StatusCode::UNAUTHORIZED);
    Refusal { kind: "authentication_error", ..refusal }
}

fn key_in_query(uri: &Uri) -> Option<&'static str> {
    let mut names = uri.query()?.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    names.find_map(|name| KEY_QUERIES.into_iter().find(|known| name.eq_ignore_ascii_case(known)))
}

/// The one key that the request carries, however often. Other schemes than `Bearer` carry none.
fn presented(headers: &HeaderMap) -> Result<Option<&[u8]>, Refusal> {
    let bearers = headers.get_all(AUTHORIZATION).iter().filter_map(|value| bearer(value.as_bytes()));
    let plain = KEY_HEADERS.iter().flat_map(|name| headers.get_all(name)).map(|value| value.as_bytes().trim_ascii());
    let mut keys = bearers.chain(plain);
    let first = keys.next();
    if keys.any(|key| Some(key) != first) {
        let message = "the request carries two different keys in its headers".into();
        return Err(Refusal::bad_request("ambiguous_auth", None, message));
    }
    Ok(first)
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

/// The caller whose key this is and still works. Every key of the file is compared, and none of the comparisons tells by its time how
/// near it came.
fn whose(callers: &[Caller], key: &[u8], now: Timestamp) -> Option<usize> {
    let hash: [u8; 32] = Sha256::digest(key).into();
    let mut found = NOBODY;
    for (index, caller) in (0_u32..).zip(callers) {
        for key in &caller.keys {
            let works = [key.expires, caller.expires].into_iter().flatten().all(|expires| now < expires);
            let is_it = key.sha256.ct_eq(&hash) & Choice::from(u8::from(works));
            found.conditional_assign(&index, is_it);
        }
    }
    usize::try_from(found).ok().filter(|_| found != NOBODY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CallerKey, Limits, Place};
    use crate::units::{CallerName, Clock, Pairs};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn caller(name: &str, keys: &[(&str, Option<i64>)], expires: Option<i64>) -> Caller {
        let key = |(key, expires): &(&str, Option<i64>)| CallerKey { sha256: Sha256::digest(key).into(), expires: expires.map(at) };
        Caller {
            name: CallerName::parse(name).unwrap(),
            place: Place::default(),
            keys: keys.iter().map(key).collect(),
            tags: Pairs::default(),
            limits: Limits::default(),
            allow: None,
            expires: expires.map(at),
            trust_client: false,
        }
    }

    fn ask(uri: &'static str, headers: &[(&'static str, &str)]) -> Result<usize, Refusal> {
        let callers = [
            caller("a", &[("one", None), ("two", Some(200))], None),
            caller("b", &[("three", None)], Some(100)),
            caller("c", &[("four", None)], None),
        ];
        let map = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
        let peer = Some(([192, 0, 2, 7], 1).into());
        identify(&callers, &Failures::new(Clock::manual()), peer, &Uri::from_static(uri), &map, at(100))
    }

    #[test]
    fn k24_a_key_is_one_callers_and_stands_in_a_header() {
        let bearer = "authorization";
        for (headers, expected) in [
            (vec![(bearer, "Bearer one")], Ok(0)),
            (vec![(bearer, "bearer two")], Ok(0)),
            (vec![("x-api-key", "four")], Ok(2)),
            (vec![("api-key", "four")], Ok(2)),
            (vec![(bearer, "Bearer four"), ("x-api-key", "four")], Ok(2)),
            (vec![(bearer, "Bearer one"), ("x-api-key", "four")], Err("ambiguous_auth")),
            (vec![("x-api-key", "one"), ("x-api-key", "two")], Err("ambiguous_auth")),
            (vec![(bearer, "Bearer three")], Err("invalid_api_key")),
            (vec![(bearer, "Bearer five")], Err("invalid_api_key")),
            (vec![(bearer, "Basic one")], Err("invalid_api_key")),
            (vec![(bearer, "Bearer ")], Err("invalid_api_key")),
            (vec![("x-api-key", "")], Err("invalid_api_key")),
            (vec![], Err("invalid_api_key")),
        ] {
            assert_eq!(ask("/v1/models", &headers).map_err(|refusal| refusal.code), expected, "{headers:?}");
        }
    }

    #[test]
    fn k24_a_key_in_the_query_is_refused_even_beside_a_good_one() {
        for uri in ["/v1/models?key=one", "/v1/models?a=b&API_KEY=one", "/v1/models?access_token"] {
            assert_eq!(ask(uri, &[("x-api-key", "one")]).map_err(|refusal| refusal.status), Err(StatusCode::BAD_REQUEST), "{uri}");
        }
        assert_eq!(ask("/v1/models?keys=1", &[("x-api-key", "one")]), Ok(0));
    }

    #[test]
    fn one_answer_whatever_was_wrong() {
        let without = ask("/v1/models", &[]).unwrap_err();
        for key in ["three", "nobodys", "", "6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918"] {
            assert_eq!(ask("/v1/models", &[("x-api-key", key)]), Err(without.clone()), "{key}");
        }
    }
}
