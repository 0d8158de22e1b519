//! `server:`, `callers:` and the deadlines of `defaults:`.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::checked::Server;
use crate::config::codes::Code;
use crate::config::decode::{At, Field, Findings};
use crate::config::diagnostic::Diagnostic;
use crate::config::draft::{CallersDraft, FileDraft, TimeoutsDraft, WaitsDraft};
use crate::config::shapes::spelled;

/// The server's settings; what is wrong or not said has its default.
pub(super) fn check(draft: &FileDraft, findings: &mut Findings) -> Server {
    let server = draft.server.get();
    let defaults = draft.defaults.get();
    let built_in = Server::default();
    let listen = server.and_then(|s| s.listen.get()).copied().unwrap_or(built_in.listen);
    let admin = server.and_then(|s| s.admin.get()).copied().unwrap_or(built_in.admin);
    if listen == admin && listen.port() != 0 {
        let place = server.and_then(|s| s.admin.at().or(s.listen.at())).map(|at| at.place).unwrap_or_default();
        let finding = Diagnostic::error(Code::SAME_ADDRESS, place, format!("`listen` and `admin` are both `{listen}`"));
        findings.push(finding.hint("metrics and control have an address of their own, such as `127.0.0.1:8081`"));
    }
    let is_open = matches!(draft.callers.get(), Some(CallersDraft::Open));
    // Entries that could not be read are there all the same.
    let has_callers = draft.callers.get().map_or(!draft.callers.is_absent(), |callers| !callers.entries().is_empty());
    if !listen.ip().is_loopback() && !is_open && !has_callers {
        let place = server.and_then(|s| s.listen.at()).map(|at| at.place).unwrap_or_default();
        let finding = Diagnostic::error(
            Code::OPEN_LISTENER,
            place,
            format!("`{listen}` can be reached from other machines, and there are no callers"),
        );
        findings.push(finding.hint("listen on `127.0.0.1`, name callers (`tollgate key new NAME`), or say `callers: open` at the top level where the network is private"));
    }
    if !admin.ip().is_loopback() {
        let place = server.and_then(|s| s.admin.at()).map(|at| at.place).unwrap_or_default();
        let finding = Diagnostic::warning(Code::EXPOSED_ADMIN, place, format!("`{admin}` shows metrics and status to other machines"));
        findings.push(finding.hint("keep `admin` on `127.0.0.1` unless the network is private"));
    }
    let whole = either(server.map(|s| &s.deadline), defaults.map(|d| &d.deadline), "deadline", findings);
    let streamed = either(server.map(|s| &s.stream_deadline), defaults.map(|d| &d.stream_deadline), "stream_deadline", findings);
    Server {
        listen,
        admin,
        open: is_open,
        deadline: whole.unwrap_or(built_in.deadline),
        stream_deadline: streamed.or(whole).unwrap_or(built_in.stream_deadline),
        connections: server.and_then(|s| nonzero(s.connections.get().copied())).unwrap_or(built_in.connections),
        body_limit: server.and_then(|s| s.body_limit.get()).copied().unwrap_or(built_in.body_limit),
        drain: server.and_then(|s| s.drain.get()).copied().unwrap_or(built_in.drain),
        early_head: server.and_then(|s| s.early_head.get()).copied().unwrap_or(built_in.early_head),
        state: server.and_then(|s| s.state.get()).map(Into::into),
        max_n: server.and_then(|s| s.max_n.get()).and_then(|n| u32::try_from(*n).ok()).unwrap_or(built_in.max_n),
        on_client_disconnect: server.and_then(|s| s.on_client_disconnect.get()).copied().unwrap_or(built_in.on_client_disconnect),
    }
}

/// A built-in count, at least one.
pub(super) const fn count(count: u32) -> NonZeroU32 {
    match NonZeroU32::new(count) {
        Some(count) => count,
        None => NonZeroU32::MIN,
    }
}

/// A count as the checked form has it.
pub(super) fn nonzero(count: Option<u64>) -> Option<NonZeroU32> {
    count.and_then(|count| u32::try_from(count).ok()).and_then(NonZeroU32::new)
}

/// A setting that may stand under `server` or `defaults`, not both.
fn either(server: Option<&Field<Duration>>, defaults: Option<&Field<Duration>>, key: &str, findings: &mut Findings) -> Option<Duration> {
    let (server, defaults) = (server.and_then(Field::at), defaults.and_then(Field::at));
    if let (Some(first), Some(second)) = (server, defaults) {
        let message = format!("`{key}` is under `server` too, in line {}", first.place.line);
        findings.push(Diagnostic::error(Code::CONFLICTING_KEYS, second.place, message).hint("keep one of the two"));
    }
    server.or(defaults).map(|at| at.value)
}

/// Waits of providers that could never end before the whole call does.
pub(super) fn warn_timeouts(draft: &FileDraft, server: &Server, findings: &mut Findings) {
    let deadline = server.deadline.max(server.stream_deadline);
    let of_providers = draft.providers.get().into_iter().flatten().filter_map(|row| row.value.as_ref()?.timeouts.get());
    let of_defaults = draft.defaults.get().and_then(|defaults| defaults.timeouts.get());
    for TimeoutsDraft { connect, first_content, idle } in of_providers.chain(of_defaults) {
        for (key, field) in [("connect", connect), ("first_content", first_content), ("idle", idle)] {
            warn_above(key, field.at(), deadline, findings);
        }
    }
}

/// The same for the waits of a rule or step.
pub(super) fn warn_waits(waits: &WaitsDraft, deadline: Duration, findings: &mut Findings) {
    warn_above("first_content", waits.first_content.at(), deadline, findings);
    warn_above("idle", waits.idle.at(), deadline, findings);
}

fn warn_above(key: &str, wait: Option<&At<Duration>>, deadline: Duration, findings: &mut Findings) {
    if let Some(At { place, value }) = wait
        && *value > deadline
    {
        let message = format!("`{key}` of {} is longer than the deadline of {}", spelled(*value), spelled(deadline));
        let finding = Diagnostic::warning(Code::TIMEOUT_ABOVE_DEADLINE, *place, message);
        findings.push(finding.hint("the deadline ends the call first: raise it, or shorten the wait"));
    }
}
