//! URLs of providers and proxies: what belongs in them, and which hosts nobody means.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;

use super::checked::Proxy;
use super::codes::Code;
use super::decode::{At, Findings};
use super::diagnostic::Diagnostic;

/// The host of a URL as written, for comparisons.
pub(super) fn host(url: &str) -> Option<String> {
    url.parse::<Uri>().ok()?.host().map(str::to_ascii_lowercase)
}

/// A provider's URL without its trailing slash, or nothing once a finding says why.
pub(super) fn read_base(url: &At<String>, allow_http: bool, findings: &mut Findings) -> Option<Uri> {
    // Only Azure's calls take a query: the version of its API.
    let (text, version) = match url.value.split_once('?') {
        Some((before, query)) if is_version(query) => (before.trim_end_matches('/'), Some(query)),
        _ => (url.value.trim_end_matches('/'), None),
    };
    let uri = parts(text, url, false, findings)?;
    let host = uri.host().unwrap_or_default();
    let kind = HostKind::of(host);
    if let HostKind::Forbidden(why) = kind {
        let finding = Diagnostic::error(Code::FORBIDDEN_HOST, url.place, format!("`{host}` is {why}, which no provider has"));
        let hint = if host == "0.0.0.0" { "this machine is `127.0.0.1`" } else { "write the host that the provider's own pages name" };
        findings.push(finding.hint(hint));
        return None;
    }
    if uri.scheme_str() == Some("http") && kind == HostKind::Public && !allow_http {
        let message = format!("`{host}` would be reached without TLS, the key readable on the way");
        let finding = Diagnostic::error(Code::PLAIN_HTTP, url.place, message);
        findings.push(finding.hint("write `https://`, or `allow_http: true` when the way there is safe"));
        return None;
    }
    if let Some(end) = ["/chat/completions", "/completions", "/embeddings", "/models"].into_iter().find(|end| text.ends_with(end)) {
        let finding = Diagnostic::error(Code::BAD_URL, url.place, format!("`{}` names one call of the provider", url.value));
        findings.push(finding.hint(format!("write what stands before it: `{}`", text.trim_end_matches(end))));
        return None;
    }
    match version {
        Some(version) => format!("{text}?{version}").parse().ok(),
        None => Some(uri),
    }
}

/// `api-version=2024-10-21`, alone.
fn is_version(query: &str) -> bool {
    let version = query.strip_prefix("api-version=");
    version.is_some_and(|version| !version.is_empty() && version.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'))
}

/// The URL that alerts are posted to, or nothing once a finding says why.
pub(super) fn read_webhook(url: &At<String>, findings: &mut Findings) -> Option<Uri> {
    let (before, query) = url.value.split_once('?').map_or((url.value.as_str(), None), |(before, query)| (before, Some(query)));
    let uri = parts(before, url, false, findings)?;
    let host = uri.host().unwrap_or_default();
    let kind = HostKind::of(host);
    if let HostKind::Forbidden(why) = kind {
        let finding = Diagnostic::error(Code::FORBIDDEN_HOST, url.place, format!("`{host}` is {why}, which receives no alerts"));
        findings.push(finding.hint("write the host that is to be told"));
        return None;
    }
    if uri.scheme_str() == Some("http") && kind == HostKind::Public {
        let message = format!("`{host}` would be reached without TLS, the alerts readable on the way");
        findings.push(Diagnostic::error(Code::PLAIN_HTTP, url.place, message).hint("write `https://`"));
        return None;
    }
    let Some(query) = query else { return Some(uri) };
    let whole = format!("{before}?{query}").parse();
    if whole.is_err() || query.contains(['#', '{']) {
        findings.push(
            Diagnostic::error(Code::BAD_URL, url.place, "the query of this URL cannot be sent as it is").hint("write it percent-encoded"),
        );
        return None;
    }
    whole.ok()
}

/// `none`, `env` or the URL of a proxy.
pub(super) fn read_proxy(text: &At<String>, findings: &mut Findings) -> Option<Proxy> {
    match text.value.as_str() {
        "none" => Some(Proxy::None),
        "env" => Some(Proxy::Env),
        url if url.contains("://") => {
            let uri = parts(url.trim_end_matches('/'), text, true, findings)?;
            if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
                let finding = Diagnostic::warning(Code::PLAIN_SECRET, text.place, "the proxy's password stands in the file in plain text");
                findings.push(finding.hint("write `proxy: env`, and the URL into `HTTPS_PROXY`"));
            }
            Some(Proxy::Url(uri))
        }
        other => {
            let finding =
                Diagnostic::error(Code::BAD_URL, text.place, format!("expected `none`, `env` or a URL, found `{}`", shown(other)));
            findings.push(finding.hint(match other {
                "no" | "off" | "false" => "write `none`, or take the key out",
                "yes" | "on" | "true" => "write `env` for the proxy that the environment names",
                _ => "write the proxy as `http://host:port`",
            }));
            None
        }
    }
}

/// The URL when it has a scheme and host of the right kind and none of the parts that do not belong there.
fn parts(text: &str, url: &At<String>, may_have_user: bool, findings: &mut Findings) -> Option<Uri> {
    let mut refuse = |message: String, hint: &str| {
        findings.push(Diagnostic::error(Code::BAD_URL, url.place, message).hint(hint));
        None
    };
    if text.contains("${") {
        return refuse("a URL is not read from the environment".into(), "write the URL out; only `api_key` takes a reference");
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        // With its scheme it may be one.
        let whole = format!("https://{}", text.trim_start_matches("https:").trim_start_matches('/'));
        let is_one =
            !text.contains('@') && whole.parse::<Uri>().is_ok_and(|uri| uri.host().is_some_and(|host| host.contains('.') && is_host(host)));
        let hint = if is_one { format!("write `{whole}`") } else { "write `https://host/path`".into() };
        return refuse(format!("`{}` is no URL", shown(text)), &hint);
    };
    if !matches!(scheme, "http" | "https") {
        return refuse(format!("`{scheme}` is no scheme that a provider speaks"), "write `https://host/path`");
    }
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    if authority.contains('@') && !may_have_user {
        return refuse("a user or password stands in this URL".into(), "write the key under `api_key`");
    }
    if rest.contains('#') {
        return refuse("this URL has a fragment, which is never sent".into(), "take out what stands behind `#`");
    }
    if rest.contains('?') {
        return refuse(
            "this URL has a query, which the provider's calls do not take".into(),
            "take out what stands behind `?`; only Azure's take one, `?api-version=…`",
        );
    }
    match text.parse::<Uri>() {
        Ok(uri) if uri.host().is_some_and(is_host) => Some(uri),
        Ok(uri) if uri.host().is_some_and(|host| host.starts_with(|c: char| c.is_ascii_digit())) => {
            refuse(format!("`{}` is no URL", shown(text)), "write the address with its four numbers, as in `127.0.0.1`")
        }
        _ => refuse(format!("`{}` is no URL", shown(text)), "write `https://host/path`"),
    }
}

/// The text without what may be a password in it.
fn shown(text: &str) -> &str {
    text.rsplit_once('@').map_or(text, |(_, host)| host)
}

/// A name or an address as every resolver reads it; `0x7f.1` and `2130706433` are read differently by each.
fn is_host(host: &str) -> bool {
    if host.starts_with('[') {
        return host.trim_matches(['[', ']']).parse::<Ipv6Addr>().is_ok();
    }
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let looks_numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.to_ascii_lowercase().starts_with("0x");
    if looks_numeric { host.parse::<Ipv4Addr>().is_ok() } else { !last.is_empty() }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostKind {
    /// Loopback or private, written out: its own consent.
    Near,
    Public,
    Forbidden(&'static str),
}

impl HostKind {
    fn of(host: &str) -> Self {
        let bare = host.trim_matches(['[', ']']);
        match bare.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => Self::of_v4(address),
            Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
                Some(inner) => Self::of_v4(inner),
                None => Self::of_v6(address),
            },
            Err(_) => {
                let name = bare.trim_end_matches('.').to_ascii_lowercase();
                if name == "localhost" || name.ends_with(".localhost") {
                    Self::Near
                } else if matches!(name.as_str(), "metadata.google.internal" | "metadata" | "instance-data") {
                    Self::Forbidden("the metadata service of a cloud machine")
                } else {
                    Self::Public
                }
            }
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        if address == Ipv4Addr::new(169, 254, 169, 254) || address == Ipv4Addr::new(100, 100, 100, 200) {
            Self::Forbidden("the metadata service of a cloud machine")
        } else if address.is_link_local() {
            Self::Forbidden("a link-local address")
        } else if address.is_unspecified() || address.is_broadcast() || address.is_multicast() {
            Self::Forbidden("an address of nobody in particular")
        } else if address.is_loopback() || address.is_private() {
            Self::Near
        } else {
            Self::Public
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        if address == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254) {
            Self::Forbidden("the metadata service of a cloud machine")
        } else if address.is_unicast_link_local() {
            Self::Forbidden("a link-local address")
        } else if address.is_unspecified() || address.is_multicast() {
            Self::Forbidden("an address of nobody in particular")
        } else if address.is_loopback() || address.is_unique_local() {
            Self::Near
        } else {
            Self::Public
        }
    }
}
