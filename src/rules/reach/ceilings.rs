use super::costs;
use super::written::count;
use crate::config::{Code, Diagnostic, OnCeiling, Target};
use crate::rules::matcher::Condition;
use crate::rules::{Rule, RuleSet};
use crate::units::{Tokens, Usd};
use crate::wire::least_prompt;

/// Ceilings below what the cheapest step costs for the shortest call that the rule matches. Where no step has a price, that is told
/// of each.
pub(super) fn too_low(rule: &Rule, rules: &RuleSet) -> Vec<Diagnostic> {
    let prompt = rule.matcher.all().iter().filter_map(|condition| match condition {
        Condition::PromptTokens(bounds) => bounds.min,
        _ => None,
    });
    let prompt = prompt.fold(least_prompt(0, &[]), Tokens::max);
    let declared = rule.matcher.all().iter().find_map(|condition| match condition {
        Condition::MaxCost(bounds) => bounds.max,
        _ => None,
    });
    let own = rule.matcher.cost_ceiling();
    if own.is_none() && declared.is_none() {
        return Vec::new();
    }
    let Some((least, target)) = costs::least(rules, &costs::key(&rule.route), prompt) else { return Vec::new() };
    let of_own = own.filter(|ceiling| *ceiling < least).map(|ceiling| {
        let end = match rule.route.on_ceiling {
            OnCeiling::NextRule => "can never match",
            OnCeiling::Clamp | OnCeiling::Refuse => "refuses all that it matches",
        };
        told(rule, "cost_ceiling", ceiling, least, target, prompt, end)
    });
    let of_declared = declared
        .filter(|ceiling| *ceiling < least)
        .map(|ceiling| told(rule, "max_cost", ceiling, least, target, prompt, "refuses all that it matches"));
    of_own.into_iter().chain(of_declared).collect()
}

fn told(rule: &Rule, key: &str, ceiling: Usd, least: Usd, target: &Target, prompt: Tokens, end: &str) -> Diagnostic {
    let places = rule.matcher.places();
    let place = places.get(key).and_then(|places| places.first()).copied().unwrap_or(rule.place);
    let message = format!("rule `{}` {end}: its cheapest step, `{}`, can cost {least}, above {ceiling}", rule.name, target.name);
    let hint = format!("that is for a prompt of {} tokens and one token of answer; raise `{key}`, or name a cheaper target", count(prompt));
    Diagnostic::warning(Code::CEILING_TOO_LOW, place, message).hint(hint)
}
