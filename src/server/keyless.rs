use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, ORIGIN, VIA};
use http::{HeaderMap, StatusCode, Uri};

use crate::flow::Refusal;

/// Checks that a request to a listener without callers comes from a program on this machine and from nobody behind it: neither
/// through a proxy, nor from a page in a browser, nor under a name that was bent to point here.
pub(super) fn check(peer: Option<SocketAddr>, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    if !peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()) {
        return Err(refused("it came from another machine"));
    }
    let host = uri.host().or_else(|| headers.get(HOST).and_then(|host| host.to_str().ok()).map(without_port));
    if headers.get_all(HOST).iter().count() > 1 {
        return Err(Refusal::bad_request("bad_framing", None, "the request names two hosts".into()));
    }
    if !host.is_some_and(is_loopback) {
        return Err(refused("its Host names no loopback address"));
    }
    if headers.contains_key(ORIGIN) {
        return Err(refused("it carries Origin, so it comes from a page in a browser"));
    }
    let is_forwarded = |name: &str| name == "forwarded" || name.starts_with("x-forwarded-");
    if let Some(name) = headers.keys().find(|name| *name == VIA || is_forwarded(name.as_str())) {
        return Err(refused(&format!("it carries `{name}`, so a proxy stands in front and it may come from anywhere")));
    }
    Ok(())
}

fn refused(why: &str) -> Refusal {
    let message = format!(
        "this listener has no callers, so it serves only programs on this machine, and this request is none: {why}; \
         give each application a key (`tollgate key new`), or say `callers: open` on a private network"
    );
    let refusal = Refusal::bad_request("invalid_api_key", None, message).with_status(StatusCode::UNAUTHORIZED);
    Refusal { kind: "authentication_error", ..refusal }
}

fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(peer: &str, headers: &[(&'static str, &str)]) -> bool {
        let map = headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect();
        check(Some(peer.parse().unwrap()), &Uri::from_static("/v1/models"), &map).is_ok()
    }

    #[test]
    fn only_programs_on_this_machine_are_served() {
        let here = "127.0.0.1:5000";
        for (peer, headers, served) in [
            (here, vec![("host", "127.0.0.1:8080")], true),
            (here, vec![("host", "localhost:8080")], true),
            ("[::1]:5000", vec![("host", "[::1]:8080")], true),
            ("[::ffff:127.0.0.1]:5000", vec![("host", "LOCALHOST")], true),
            ("192.168.0.7:5000", vec![("host", "localhost")], false),
            (here, vec![], false),
            (here, vec![("host", "evil.example")], false),
            (here, vec![("host", "localhost.evil.example")], false),
            (here, vec![("host", "localhost"), ("origin", "http://localhost:3000")], false),
            (here, vec![("host", "localhost"), ("x-forwarded-for", "10.0.0.1")], false),
            (here, vec![("host", "localhost"), ("forwarded", "for=10.0.0.1")], false),
            (here, vec![("host", "localhost"), ("via", "1.1 nginx")], false),
        ] {
            assert_eq!(verdict(peer, &headers), served, "{peer} {headers:?}");
        }
    }
}
