//! What a new file no longer has, by name: for the log of a reload.

mod money;

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use money::Renamed;

use super::checked::{
    Checked, Conditions, DefaultRule, Key, Limits, Member, OnCeiling, Provider, Proxy, Route, Server, SpentWindow, Target, Use,
};

/// Everything that `old` had and `new` has not: providers, models, limits, prices, budgets, callers, rules, conditions, steps, tests.
/// One text each. A budget under another name is told as that.
#[must_use]
pub fn losses(old: &Checked, new: &Checked) -> Vec<String> {
    let kept: BTreeSet<String> = named(new, &Renamed::new()).into_iter().collect();
    let renamed = money::renamed(old, new);
    let former = renamed.iter().map(|(was, name)| format!("the name `{was}` of budget `{name}`"));
    let lost: Vec<String> = former.chain(named(old, &renamed)).filter(|name| !kept.contains(name)).collect();
    // What belonged to something that is lost went with it.
    let parents: BTreeSet<&str> = lost.iter().map(String::as_str).collect();
    let has_lost_parent = |name: &str| name.match_indices(" of ").any(|(at, of)| parents.contains(&name[at + of.len()..]));
    let mut told = BTreeSet::new();
    lost.iter().filter(|name| !has_lost_parent(name) && told.insert(name.as_str())).cloned().collect()
}

/// The name of everything whose loss is told, in file order.
fn named(file: &Checked, renamed: &Renamed) -> Vec<String> {
    let mut names = Vec::new();
    server(&file.server, &mut names);
    for provider in &file.providers {
        of_provider(provider, &mut names);
    }
    for target in &file.targets {
        of_target(target, &mut names);
    }
    for budget in &file.budgets {
        money::budget(budget, renamed, &mut names);
    }
    for caller in &file.callers {
        money::caller(caller, &mut names);
    }
    money::ledger_and_alerts(file, &mut names);
    let labels: Vec<(String, bool)> = file.classify.labels.iter().map(|label| (format!("labels.{}", label.name), true)).collect();
    add("`classify`", &labels, &mut names);
    for rule in &file.rules {
        let about = format!("rule `{}`", rule.name);
        names.push(about.clone());
        add(&about, &conditions(&rule.matches, &|window| money::window(window, file, renamed)), &mut names);
        add(&about, &[("unless", rule.unless.is_some())], &mut names);
        route(&about, &rule.route, file, &mut names);
    }
    match &file.default {
        DefaultRule::Refuse => names.push("`default: refuse`".into()),
        DefaultRule::Route(route_of_default) => route("`default`", route_of_default, file, &mut names),
    }
    names.extend(file.tests.iter().map(|test| format!("test `{}`", test.name)));
    names
}

/// `setting of about` for each that is there.
fn add(about: &str, settings: &[(impl AsRef<str>, bool)], names: &mut Vec<String>) {
    names.extend(settings.iter().filter(|(_, is_there)| *is_there).map(|(setting, _)| format!("{} of {about}", setting.as_ref())));
}

/// Bounds that are not the built-in ones: what is lost of them is what somebody chose.
fn server(server: &Server, names: &mut Vec<String>) {
    let built_in = Server::default();
    // A deadline that is said holds for streams too, where nothing else is.
    let of_streams = if server.deadline == built_in.deadline { built_in.stream_deadline } else { server.deadline };
    let chosen = [
        ("deadline", server.deadline != built_in.deadline),
        ("stream_deadline", server.stream_deadline != of_streams),
        ("connections", server.connections != built_in.connections),
        ("body_limit", server.body_limit != built_in.body_limit),
        ("max_n", server.max_n != built_in.max_n),
    ];
    add("`server`", &chosen, names);
    if !server.open {
        names.push("the bound of the listener to loopback or callers (`callers: open` is new)".into());
    }
}

fn of_provider(provider: &Provider, names: &mut Vec<String>) {
    let about = format!("provider `{}`", provider.name);
    names.push(about.clone());
    limits(&about, &provider.limits, names);
    let settings =
        [("cooldown", provider.cooldown.is_some()), ("api_key", provider.key != Key::NotNeeded), ("proxy", provider.proxy != Proxy::None)];
    add(&about, &settings, names);
}

fn of_target(target: &Target, names: &mut Vec<String>) {
    let about = format!("model `{}`", target.name);
    names.push(about.clone());
    limits(&about, &target.limits, names);
    let settings = [
        ("max_output_tokens", target.max_output_tokens.is_some()),
        ("prices", target.prices.is_some()),
        ("usd_per_call", target.usd_per_call.is_some()),
        ("flat_usd", target.flat_usd.is_some()),
        ("image_tokens", target.image_tokens.is_some()),
        ("context", target.context.is_some()),
        ("max_output", target.max_output.is_some()),
        ("can", target.can.is_some()),
        ("lacks", !target.quirks.lacks.is_empty()),
        ("efforts", !target.quirks.efforts.is_empty()),
        ("max_stops", target.quirks.most_stops_is_known),
    ];
    add(&about, &settings, names);
    let Some(prices) = &target.prices else { return };
    let parts = [
        ("the cache_read price", prices.cache_read.is_some()),
        ("the cache_write price", prices.cache_write.is_some()),
        ("the cache_write_1h price", prices.cache_write_1h.is_some()),
        ("the audio_input price", prices.audio_input.is_some()),
        ("the audio_output price", prices.audio_output.is_some()),
    ];
    add(&about, &parts, names);
    let tiers: Vec<(String, bool)> = (1..=prices.tiers.len()).map(|tier| (format!("price tier {tier}"), true)).collect();
    add(&about, &tiers, names);
}

fn limits(about: &str, limits: &Limits, names: &mut Vec<String>) {
    let there = [
        ("limits.requests", limits.requests.is_some()),
        ("limits.tokens", limits.tokens.is_some()),
        ("limits.concurrent", limits.concurrent.is_some()),
    ];
    add(about, &there, names);
}

/// Each condition of a match: without it the rule takes requests that it did not. `named` is what a window is called.
fn conditions(matches: &Conditions, named: &dyn Fn(SpentWindow) -> String) -> Vec<(String, bool)> {
    let plain = [
        ("task", matches.task.is_some()),
        ("prompt_tokens", matches.prompt_tokens.is_some()),
        ("cost_ceiling", matches.cost_ceiling.is_some()),
        ("max_cost", matches.max_cost.is_some()),
        ("model", matches.model.is_some()),
        ("needs", matches.needs.is_some()),
        ("turns", matches.turns.is_some()),
        ("effort", matches.effort.is_some()),
        ("endpoint", matches.endpoint.is_some()),
        ("stream", matches.stream.is_some()),
        ("caller", matches.caller.is_some()),
    ];
    let bounds = [
        ("prompt_tokens", matches.prompt_tokens.map(|bounds| (bounds.min.is_some(), bounds.max.is_some()))),
        ("max_cost", matches.max_cost.map(|bounds| (bounds.min.is_some(), bounds.max.is_some()))),
        ("turns", matches.turns.map(|bounds| (bounds.min.is_some(), bounds.max.is_some()))),
    ];
    let mut all: Vec<(String, bool)> = plain.into_iter().map(|(name, is_there)| (format!("match.{name}"), is_there)).collect();
    for (name, (has_min, has_max)) in bounds.into_iter().filter_map(|(name, there)| Some((name, there?))) {
        all.extend([(format!("match.{name}.min"), has_min), (format!("match.{name}.max"), has_max)]);
    }
    for (window, bounds) in &matches.spent {
        let name = format!("match.spent.{}", named(*window));
        all.extend([(format!("{name}.min"), bounds.min.is_some()), (format!("{name}.max"), bounds.max.is_some())]);
        all.push((name, true));
    }
    all.extend(matches.tags.keys().map(|tag| (format!("match.tags.{tag}"), true)));
    all.extend(matches.labels.keys().map(|label| (format!("match.labels.{label}"), true)));
    all.extend(matches.headers.keys().map(|header| (format!("match.headers.{header}"), true)));
    all
}

fn route(about: &str, route: &Route, file: &Checked, names: &mut Vec<String>) {
    let settings = [
        ("deadline", route.deadline.is_some()),
        ("max_output_tokens", route.max_output_tokens.is_some()),
        ("on_ceiling", route.on_ceiling != OnCeiling::default()),
    ];
    add(about, &settings, names);
    for member in route.chain.members() {
        match member {
            Member::Requested => names.push(format!("step `requested` of {about}")),
            Member::Target(_) | Member::Pool(_) => member.uses().iter().for_each(|one| step(about, one, file, names)),
        }
    }
}

fn step(about: &str, one: &Use, file: &Checked, names: &mut Vec<String>) {
    let Some(target) = file.targets.get(one.target) else { return };
    let about = format!("step `{}` of {about}", target.name);
    names.push(about.clone());
    add(&about, &[("max_output_tokens", one.max_output_tokens.is_some()), ("weight", one.weight > NonZeroU32::MIN)], names);
    let fields: Vec<(String, bool)> = one.set.keys().map(|field| (format!("set.{field}"), true)).collect();
    add(&about, &fields, names);
}
