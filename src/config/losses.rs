//! What a new file no longer has, by name: for the log of a reload.

use std::collections::BTreeSet;

use super::checked::{Checked, DefaultRule, Limits, Member, Route};

/// Everything that `old` had and `new` has not: providers, models, limits, rules, steps, output limits. One text each.
#[must_use]
pub fn losses(old: &Checked, new: &Checked) -> Vec<String> {
    let kept: BTreeSet<String> = named(new).into_iter().collect();
    named(old).into_iter().filter(|name| !kept.contains(name)).collect()
}

/// The name of everything whose loss is told, in file order.
fn named(file: &Checked) -> Vec<String> {
    let mut names = Vec::new();
    for provider in &file.providers {
        names.push(format!("provider `{}`", provider.name));
        limits(&format!("provider `{}`", provider.name), &provider.limits, &mut names);
        if provider.cooldown.is_some() {
            names.push(format!("cooldown of provider `{}`", provider.name));
        }
    }
    for target in &file.targets {
        names.push(format!("model `{}`", target.name));
        limits(&format!("model `{}`", target.name), &target.limits, &mut names);
        if target.max_output_tokens.is_some() {
            names.push(format!("max_output_tokens of model `{}`", target.name));
        }
        if target.prices.is_some() {
            names.push(format!("prices of model `{}`", target.name));
        }
    }
    for rule in &file.rules {
        let about = format!("rule `{}`", rule.name);
        names.push(about.clone());
        if rule.matches.cost_ceiling.is_some() {
            names.push(format!("cost_ceiling of {about}"));
        }
        route(&about, &rule.route, file, &mut names);
    }
    match &file.default {
        DefaultRule::Refuse => names.push("`default: refuse`".into()),
        DefaultRule::Route(route_of_default) => route("`default`", route_of_default, file, &mut names),
    }
    if !file.server.open {
        names.push("the loopback bound of the listener (`callers: open` is new)".into());
    }
    names
}

fn limits(about: &str, limits: &Limits, names: &mut Vec<String>) {
    let there = [("requests", limits.requests.is_some()), ("tokens", limits.tokens.is_some()), ("concurrent", limits.concurrent.is_some())];
    names.extend(there.into_iter().filter(|(_, is_there)| *is_there).map(|(limit, _)| format!("limits.{limit} of {about}")));
}

fn route(about: &str, route: &Route, file: &Checked, names: &mut Vec<String>) {
    if route.max_output_tokens.is_some() {
        names.push(format!("max_output_tokens of {about}"));
    }
    for member in route.chain.members() {
        match member {
            Member::Requested => names.push(format!("step `requested` of {about}")),
            Member::Target(one) => names.extend(file.targets.get(one.target).map(|target| format!("step `{}` of {about}", target.name))),
            Member::Split(uses) => {
                names.extend(uses.iter().filter_map(|one| Some(format!("step `{}` of {about}", file.targets.get(one.target)?.name))));
            }
        }
    }
}
