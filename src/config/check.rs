//! Draft → checked: the order of the checks. Each looks at all it can, whatever the others found.

mod budgets;
mod callers;
mod chains;
mod classify;
mod evals;
mod known;
mod ledger;
mod providers;
mod rules;
mod server;
mod test;
mod unpriceable;
mod windows;

pub(super) use chains::Chains;
pub use evals::old_scores;
pub(super) use providers::prices;
pub(super) use test::question;

use super::checked::{Checked, DefaultRule};
use super::decode::Findings;
use super::draft::{DefaultDraft, FileDraft};
use super::{Env, references};

/// The checked configuration, or nothing once a finding says why. Warnings may stand beside a checked file.
pub(super) fn check(draft: &FileDraft, files: Vec<String>, env: &Env<'_>, findings: &mut Findings) -> Option<Checked> {
    let server = server::check(draft, findings);
    let listed = providers::check(draft, env, findings);
    let mut chains = Chains::new(draft.chains.get().map(Vec::as_slice).unwrap_or_default(), &listed.directory);
    chains.check_all(findings);
    let zone = budgets::zone(draft);
    let callers = callers::check(draft, &listed, &zone, findings);
    let budgets = budgets::check(draft, &listed, &callers, &zone, findings);
    let unsupported_params = draft.defaults.get().and_then(|defaults| defaults.unsupported_params.get()).copied().unwrap_or_default();
    let about = rules::About { listed: &listed, server: &server, callers: &callers, budgets: &budgets, unsupported_params };
    let rules = rules::check(draft, &mut chains, about, findings);
    let default = match draft.default.get() {
        Some(DefaultDraft::Refuse) => Some(DefaultRule::Refuse),
        Some(DefaultDraft::Route(route)) => rules::route("`default`", route, &mut chains, about, findings).map(DefaultRule::Route),
        None => None,
    };
    let tests = test::check(draft, about, findings);
    let alerts = ledger::alerts(draft, env, findings);
    let evals = evals::check(draft, &listed, findings);
    if let (Some(rules), Some(default)) = (&rules, &default) {
        evals::warn_never_picked(rules, default, &evals, &listed, findings);
    }
    let classify = classify::check(draft, findings);
    if let (Some(rules), Some(default), Some(callers), Some(budgets)) = (&rules, &default, &callers.list, &budgets.list) {
        let file = unpriceable::File { rules, default, callers, budgets, listed: &listed };
        unpriceable::check(file, findings);
    }
    references::warn_unused(draft, &chains, &listed.directory, findings);
    server::warn_timeouts(draft, &server, findings);
    if findings.has_errors() {
        return None;
    }
    let (budgets, callers) = (budgets.list?, callers.list?);
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
        budgets,
        callers,
        classify,
        ledger: ledger::check(draft),
        alerts: alerts?,
        evals,
    })
}
