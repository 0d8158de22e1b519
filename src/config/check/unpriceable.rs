//! Targets that a budget covers although nobody can say what a call costs there at most.

use super::providers::Providers;
use crate::config::checked::{Budget, BudgetMode, Caller, DefaultRule, Member, Route, Rule, Target};
use crate::config::codes::Code;
use crate::config::decode::Findings;
use crate::config::diagnostic::{Diagnostic, Place};
use crate::units::{Glob, Price, RuleName};

/// The parts of the file that say who meets which target.
#[derive(Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) rules: &'a [Rule],
    pub(super) default: &'a DefaultRule,
    pub(super) callers: &'a [Caller],
    pub(super) budgets: &'a [Budget],
    pub(super) listed: &'a Providers,
}

/// An unknown is never zero: under a hard budget it is an error, under another a warning. Each target is told once.
pub(super) fn check(file: File<'_>, findings: &mut Findings) {
    let Some(targets) = file.listed.targets.iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else { return };
    let reached = file.reached(targets.len());
    // What the catalogue brings stands in one place, and is told in one finding.
    let mut told: Vec<(Place, Lack, &Budget, Vec<&Target>)> = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        let Some(lack) = lack(target) else { continue };
        let covering = || file.budgets.iter().filter(|budget| !budget.caps.is_empty() && file.covers(budget, index, target, &reached));
        let Some(budget) = covering().find(|budget| budget.mode == BudgetMode::Hard).or_else(|| covering().next()) else { continue };
        let place = file.listed.places.get(index).copied().unwrap_or(budget.place);
        match told.iter_mut().find(|(at, kind, by, _)| (*at, *kind, &by.name) == (place, lack, &budget.name)) {
            Some((.., of)) => of.push(target),
            None => told.push((place, lack, budget, vec![target])),
        }
    }
    for (place, lack, budget, of) in told {
        let at = findings.pointed(budget.place, place);
        findings.push(finding(place, lack, budget, &of, &at));
    }
    warn_idle(&file, &targets, &reached, findings);
}

fn finding(place: Place, lack: Lack, budget: &Budget, targets: &[&Target], at: &str) -> Diagnostic {
    let shown: Vec<String> = targets.iter().take(3).map(|target| format!("`{}`", target.name)).collect();
    let (names, has, it) = match (shown.as_slice(), targets.len().saturating_sub(shown.len())) {
        ([one], _) => (one.clone(), "has", "it"),
        (all, 0) => (all.join(", "), "have", "them"),
        (some, more) => (format!("{} and {more} more", some.join(", ")), "have", "them"),
    };
    let model = targets.first().map(|target| target.model.as_str()).unwrap_or_default();
    let (what, settings, why) = match lack {
        Lack::Price => ("no price", "usd_per_mtok: { input: …, output: … }", "in its provider's figures"),
        Lack::Ceiling => (
            "no output ceiling",
            "max_output_tokens: 16k",
            "a limit for every answer, or `max_output` where its provider names what it writes at most",
        ),
        Lack::Both => {
            ("neither a price nor an output ceiling", "usd_per_mtok: { input: …, output: … }, max_output: 16k", "in its provider's figures")
        }
    };
    let cure = if targets.len() == 1 {
        format!("`{model}: {{ {settings} }}`")
    } else {
        format!("`{settings}` into the provider's entry, or under each model")
    };
    let by = format!("budget `{}` ({at})", budget.name);
    if budget.mode == BudgetMode::Hard {
        let message = format!("{names} {has} {what}, so nobody can say what a call would take from {by}, which is hard");
        Diagnostic::error(Code::UNPRICEABLE_TARGET, place, message).hint(format!("write {cure}: {why}"))
    } else {
        let message = format!("{names} {has} {what}, so {by} counts what is known of {it}");
        Diagnostic::warning(Code::UNPRICEABLE_TARGET, place, message).hint(format!("write {cure}: {why}"))
    }
}

/// What a worst case lacks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lack {
    Price,
    Ceiling,
    Both,
}

fn lack(target: &Target) -> Option<Lack> {
    if target.flat_usd.is_some() {
        return None;
    }
    let has_ceiling = target.max_output.is_some() || target.max_output_tokens.is_some();
    let Some(prices) = &target.prices else { return Some(if has_ceiling { Lack::Price } else { Lack::Both }) };
    let outputs = prices.tiers.iter().map(|tier| tier.output).chain([prices.output]).chain(prices.audio_output);
    // What is written for nothing may be of any length.
    let is_free = outputs.into_iter().all(|price| price == Price::default());
    (!has_ceiling && !is_free).then_some(Lack::Ceiling)
}

/// Budgets that no request can ever touch.
fn warn_idle(file: &File<'_>, targets: &[&Target], reached: &[Vec<RuleName>], findings: &mut Findings) {
    for budget in file.budgets {
        let is_touched = targets.iter().enumerate().any(|(index, target)| file.covers(budget, index, target, reached));
        // Of a provider or caller alone, something else is to be told.
        let is_named = !budget.name.as_str().starts_with("provider.") && !budget.name.as_str().starts_with("caller.");
        if is_named && !is_touched {
            let message = format!("budget `{}` covers no request: no chain that it covers leads to a target that it covers", budget.name);
            let finding = Diagnostic::warning(Code::COVERS_NOTHING, budget.place, message);
            findings.push(finding.hint("correct its `match`, or take the budget out"));
        }
    }
}

impl File<'_> {
    /// For each target the rules whose chain leads to it.
    fn reached(&self, targets: usize) -> Vec<Vec<RuleName>> {
        let mut reached = vec![Vec::new(); targets];
        let rules = self.rules.iter().map(|rule| (rule.name.clone(), &rule.route));
        let default = match self.default {
            DefaultRule::Refuse => None,
            DefaultRule::Route(route) => Some((RuleName::default_rule(), route)),
        };
        for (name, route) in rules.chain(default) {
            for (index, by) in reached.iter_mut().enumerate() {
                if leads_to(route, index) {
                    by.push(name.clone());
                }
            }
        }
        reached
    }

    /// Whether some request on the target may count in the budget.
    fn covers(&self, budget: &Budget, index: usize, target: &Target, reached: &[Vec<RuleName>]) -> bool {
        let covers = &budget.covers;
        let matches = |globs: &[String], text: &str| globs.iter().any(|glob| Glob::new(glob).matches(text));
        // Whoever is named may still get the tags of a budget.
        let is_of_callers = covers.callers.as_ref().is_none_or(|callers| {
            let of = callers.iter().filter_map(|at| self.callers.get(*at));
            of.into_iter().any(|caller| caller.allow.as_ref().is_none_or(|allow| matches(allow, target.name.as_str())))
        });
        let by = reached.get(index).map(Vec::as_slice).unwrap_or_default();
        covers.providers.as_ref().is_none_or(|providers| providers.contains(&target.provider))
            && covers.models.as_ref().is_none_or(|models| matches(models, target.model.as_str()))
            && by.iter().any(|rule| covers.rules.as_ref().is_none_or(|rules| rules.contains(rule)))
            && is_of_callers
    }
}

/// Whether a chain can come to a target. What the client names can be any.
fn leads_to(route: &Route, target: usize) -> bool {
    route.chain.members().any(|member| matches!(member, Member::Requested) || member.uses().iter().any(|one| one.target == target))
}
