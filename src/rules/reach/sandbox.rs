use std::collections::BTreeSet;

use super::steps::uses;
use crate::config::{Code, DefaultRule, Diagnostic, Key, Provider, Route, Use};
use crate::rules::RuleSet;
use crate::units::Format;

/// Steps of the sandbox that never answer, because another step of the chain has its key.
///
/// One that stands last may wait for a machine where the keys of the others are missing, so it is told only where another provider
/// needs no key at all.
pub(super) fn never_used(rules: &RuleSet) -> Vec<Diagnostic> {
    let default = match &rules.default {
        DefaultRule::Refuse => None,
        DefaultRule::Route(route) => Some(("`default`".to_owned(), route)),
    };
    let routes = rules.rules().iter().map(|rule| (format!("rule `{}`", rule.name), &rule.route)).chain(default);
    // A chain that several rules share is told once.
    let mut told = BTreeSet::new();
    routes.flat_map(|(about, route)| of_route(&about, route, rules)).filter(|finding| told.insert(finding.place)).collect()
}

fn of_route(about: &str, route: &Route, rules: &RuleSet) -> Vec<Diagnostic> {
    let steps: Vec<(&Use, &Provider)> = uses(route.chain.members()).map(|one| (one, provider(one, rules))).collect();
    let told = |(position, (one, own)): (usize, &(&Use, &Provider))| {
        if own.format != Format::Sandbox {
            return None;
        }
        let others = steps.iter().enumerate().filter(|(_, (_, other))| other.format != Format::Sandbox);
        let keyless = others.clone().find(|(_, (_, other))| other.key == Key::NotNeeded);
        let behind = others.filter(|(at, _)| *at > position).find(|(_, (_, other))| matches!(other.key, Key::Present(_)));
        let (why, hint) = match (keyless, behind) {
            (Some((_, (_, other))), _) => (format!("`{}` needs no key", other.name), "take it out"),
            (None, Some((_, (_, other)))) => {
                (format!("`{}` has its key", other.name), "take it out, or put it last for machines without keys")
            }
            (None, None) => return None,
        };
        let target = &rules.targets()[one.target].name;
        let message = format!("{about} never uses `{target}`: a sandbox answers only where all other steps lack their keys, and {why}");
        Some(Diagnostic::warning(Code::SANDBOX_NEVER_USED, one.place, message).hint(hint))
    };
    steps.iter().enumerate().filter_map(told).collect()
}

fn provider<'r>(one: &Use, rules: &'r RuleSet) -> &'r Provider {
    &rules.providers()[rules.targets()[one.target].provider]
}
