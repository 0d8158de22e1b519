//! Text in, checked settings out: `routes.yaml` from its first byte to [`Checked`].
//!
//! Floor 1. Text → positioned nodes → draft → checked. Every finding comes back, each with its place.

mod checked;
mod diagnostic;
#[cfg(test)]
mod sample;

pub use checked::{
    Bounds, Chain, Checked, Conditions, CooldownPolicy, DefaultRule, FallbackOn, Key, Limits, Member, ModelPattern, OnCeiling,
    OnClientDisconnect, Provider, Proxy, Route, Rule, Sandbox, Server, Target, TimeoutChanges, Timeouts, Use,
};
pub use diagnostic::{Diagnostic, Place, Severity};

/// Where secrets come from. A look-up answers the text, or nothing when there is none.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// `${VAR}`.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// `${file:/path}`.
    pub file: &'a dyn Fn(&str) -> std::io::Result<String>,
    /// `${credential:name}`: systemd's folder of credentials.
    pub credential: &'a dyn Fn(&str) -> std::io::Result<String>,
}
