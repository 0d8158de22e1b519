use super::block::Block;
use super::space::Space;
use super::written::{count, joined};
use crate::config::{Code, Diagnostic, Member, Target, Use};
use crate::rules::matcher::Condition;
use crate::rules::{Rule, RuleSet};
use crate::units::{Need, Tokens};
use crate::wire::is_lacking;

/// Steps of a rule's chain that can serve nothing of what the rule matches.
pub(super) fn never_used(rule: &Rule, rules: &RuleSet, space: &Space) -> Vec<Diagnostic> {
    let targets: Vec<(&Use, &Target)> = uses(rule.route.chain.members()).map(|one| (one, &rules.targets()[one.target])).collect();
    let mut findings: Vec<Diagnostic> = targets.iter().filter_map(|(one, target)| set_in_vain(rule, one, target)).collect();
    if targets.iter().all(|(_, target)| target.context.is_none() && target.can.is_none()) {
        return findings;
    }
    let Some(taken) = space.taken(&rule.matcher, &rule.route) else { return findings };
    let told = |(one, target): &(&Use, &Target)| {
        let (why, hint) = why(rule, target, &taken, space)?;
        let message = format!("`{}` can serve nothing that rule `{}` matches: {why}", target.name, rule.name);
        Some(Diagnostic::warning(Code::CANNOT_SERVE, one.place, message).hint(hint))
    };
    findings.extend(targets.iter().filter_map(told));
    findings
}

/// A step that sets what its target is known to lack.
fn set_in_vain(rule: &Rule, one: &Use, target: &Target) -> Option<Diagnostic> {
    let (field, _) = one.set.iter().find(|(field, value)| is_lacking(&target.quirks, field, value.get()))?;
    let message =
        format!("`{}` can serve nothing that rule `{}` matches: the step sets `{field}`, and it has none", target.name, rule.name);
    let hint = if field == "stop" {
        format!("it takes at most {} stop sequences: `max_stops` says otherwise", target.quirks.most_stops)
    } else {
        format!("take `{field}` out of `set`, or say what the model has in its `lacks`")
    };
    Some(Diagnostic::warning(Code::CANNOT_SERVE, one.place, message).hint(hint))
}

/// The targets that a chain names.
pub(super) fn uses<'c>(members: impl Iterator<Item = &'c Member>) -> impl Iterator<Item = &'c Use> {
    members.flat_map(Member::uses)
}

/// Why a target fits no request of a rule, and what to do; nothing where it fits one.
fn why(rule: &Rule, target: &Target, taken: &[Block], space: &Space) -> Option<(String, String)> {
    let (capable, short) = space.fitting(target);
    let is_left = |limits: &[&Block]| {
        taken.iter().filter(|part| !part.is_empty()).any(|part| {
            let mut part = part.clone();
            for (dimension, atoms) in limits.iter().flat_map(|limit| limit.sides()) {
                part.narrow(dimension, atoms);
            }
            !part.is_empty()
        })
    };
    if !is_left(&[]) {
        return None;
    }
    if !is_left(&[&short]) {
        let window = target.context.map(count).unwrap_or_default();
        let asked = least_prompt(rule).map(|least| format!(", and the prompts have at least {}", count(least)));
        let why = format!("its window is {window} tokens{}", asked.unwrap_or_default());
        return Some((why, "take the step out, or correct the model's `context`".into()));
    }
    if !is_left(&[&capable]) {
        let needs = needs(rule);
        let lacking: Vec<String> = needs.iter().map(|need| format!("`{need}`")).collect();
        let (why, can) = match needs.as_slice() {
            [] => ("it cannot do what the calls need".to_owned(), String::new()),
            [only] => (format!("it cannot do `{only}`"), format!(", or write `{only}` into the model's `can`")),
            _ => (format!("it can do none of {}", joined(&lacking)), ", or write what it can do into the model's `can`".to_owned()),
        };
        return Some((why, format!("take the step out{can}")));
    }
    None
}

/// The bound that the rule sets to prompts from below.
fn least_prompt(rule: &Rule) -> Option<Tokens> {
    rule.matcher.all().iter().find_map(|condition| if let Condition::PromptTokens(bounds) = condition { bounds.min } else { None })
}

/// The needs of which a call of the rule has at least one.
fn needs(rule: &Rule) -> Vec<Need> {
    let asked = rule.matcher.all().iter().find_map(|condition| if let Condition::Needs(any) = condition { Some(any) } else { None });
    asked.into_iter().flatten().copied().collect()
}
