//! Draft → checked: the order of the checks. Each looks at all it can, whatever the others found.

mod chains;
mod known;
mod providers;
mod rules;
mod server;
mod test;

pub(super) use chains::Chains;
pub(super) use test::question;

use super::checked::{Alerts, Checked, DefaultRule, LedgerSettings};
use super::decode::Findings;
use super::draft::{DefaultDraft, FileDraft};
use super::{Env, references};

/// The checked configuration, or nothing once a finding says why. Warnings may stand beside a checked file.
pub(super) fn check(draft: &FileDraft, files: Vec<String>, env: &Env<'_>, findings: &mut Findings) -> Option<Checked> {
    let server = server::check(draft, findings);
    let listed = providers::check(draft, env, findings);
    let mut chains = Chains::new(draft.chains.get().map(Vec::as_slice).unwrap_or_default(), &listed.directory);
    chains.check_all(findings);
    let rules = rules::check(draft, &mut chains, &listed, &server, findings);
    let default = match draft.default.get() {
        Some(DefaultDraft::Refuse) => Some(DefaultRule::Refuse),
        Some(DefaultDraft::Route(route)) => {
            rules::route("`default`", route, &mut chains, &listed, &server, findings).map(DefaultRule::Route)
        }
        None => None,
    };
    let tests = test::check(draft, &listed, findings);
    references::warn_unused(draft, &chains, &listed.directory, findings);
    server::warn_timeouts(draft, &server, findings);
    if findings.has_errors() {
        return None;
    }
    let providers = listed.entries.into_iter().collect::<Option<Vec<_>>>()?;
    let targets = listed.targets.into_iter().collect::<Option<Vec<_>>>()?;
    Some(Checked {
        files,
        server,
        providers,
        targets,
        rules: rules?,
        default: default?,
        tests: tests?,
        budgets: Vec::new(),
        callers: Vec::new(),
        ledger: LedgerSettings::default(),
        alerts: Alerts::default(),
    })
}
