//! The files that are saved: each names its number in a rule, a target and a model, so that an answer shows which it followed.

use std::net::SocketAddr;

/// Calls that the used-up limit lets through at once.
pub(crate) const EDGE_BURST: u32 = 5;
/// Between two calls that it lets through after that.
pub(crate) const EDGE_SECONDS: u64 = 60;
pub(crate) const EDGE_MODEL: &str = "edge";

#[derive(Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) upstream: SocketAddr,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// A sound file.
pub(crate) fn routes(addresses: Addresses, number: u64) -> String {
    let Addresses { upstream, listen, admin } = addresses;
    let edge = format!("limits: {{ requests: {{ rate: 1/min, burst: {EDGE_BURST} }} }}, models: {{ {EDGE_MODEL}: {{}} }}");
    format!(
        "version: 1
server: {{ listen: {listen}, admin: {admin} }}
providers:
  mock: {{ format: openai, base_url: \"http://{upstream}/v1\", limits: {{ requests: 100M/min }}, models: {{ m-{number}: {{}} }} }}
  edge: {{ format: openai, base_url: \"http://{upstream}/v1\", {edge} }}
rules:
  - {{ name: edge, match: {{ model: {EDGE_MODEL} }}, chain: [edge/{EDGE_MODEL}] }}
  - {{ name: rule-{number}, match: {{ endpoint: chat }}, chain: [mock/m-{number}] }}
default: {{ chain: [mock/m-{number}] }}
"
    )
}

/// The same file with one thing wrong in it, another one each time.
pub(crate) fn wrong(addresses: Addresses, number: u64) -> String {
    let sound = routes(addresses, number);
    match number / 5 % 6 {
        0 => sound.replace("[mock/m-", "[mok/m-"),
        1 => sound.replace("endpoint:", "endpiont:"),
        2 => sound.replace("rules:\n", "rules:\n\t"),
        3 => sound.replace("1/min", "-1/min"),
        4 => sound.replace("version: 1\n", "version: 1\nversion: 1\n"),
        _ => sound.replace("default: {", "default: {{"),
    }
}
