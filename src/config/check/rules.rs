//! `rules:` and `default:`: conditions, settings, and what about them cannot be meant.

use std::collections::BTreeMap;

use super::budgets::Budgets;
use super::callers::Callers;
use super::chains::{Chains, changes};
use super::providers::Providers;
use super::server::warn_waits;
use crate::config::checked::{
    Bounds, Chain, ConditionPlaces, Conditions, Member, Pick, Pool, Route, Rule, Server, SpentWindow, UnsupportedParams,
};
use crate::config::codes::Code;
use crate::config::collections::{Row, Rows};
use crate::config::decode::{At, Field, Findings};
use crate::config::diagnostic::{Diagnostic, Place};
use crate::config::draft::{ConditionsDraft, FileDraft, RouteDraft, RuleDraft};
use crate::units::{CallerName, RuleName, Share, Tokens};

/// More steps than this are a slow way to fail.
const LONG_CHAIN: usize = 6;

/// What rules and tests are held against.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) listed: &'a Providers,
    pub(super) server: &'a Server,
    pub(super) callers: &'a Callers<'a>,
    pub(super) budgets: &'a Budgets,
    /// Of every rule that does not say.
    pub(super) unsupported_params: UnsupportedParams,
}

/// All rules in file order, or nothing once a finding says why.
pub(super) fn check(draft: &FileDraft, chains: &mut Chains<'_>, around: About<'_>, findings: &mut Findings) -> Option<Vec<Rule>> {
    let drafts = draft.rules.get().map(Vec::as_slice).unwrap_or_default();
    let mut first_places: BTreeMap<&str, Place> = BTreeMap::new();
    let mut rules = Vec::new();
    for rule in drafts {
        if let Some(name) = rule.value.name.at() {
            if let Some(first) = first_places.get(name.value.as_str()) {
                let message = format!("two rules are named `{}`, the first in {}", name.value, findings.pointed(*first, name.place));
                findings.push(Diagnostic::error(Code::DUPLICATE_NAME, name.place, message).hint("give one of them another name"));
            }
            first_places.entry(&name.value).or_insert(name.place);
        }
        rules.push(one(rule, chains, around, findings));
    }
    rules.into_iter().collect()
}

fn one(rule: &At<RuleDraft>, chains: &mut Chains<'_>, around: About<'_>, findings: &mut Findings) -> Option<Rule> {
    let draft = &rule.value;
    let name = draft.name.at().and_then(|name| rule_name(name, findings));
    let about = draft.name.get().map_or_else(|| format!("the rule in line {}", rule.place.line), |name| format!("rule `{name}`"));
    let matches = draft.r#match.get().map(|conditions| read_conditions(&about, conditions, around, findings));
    let unless = match &draft.unless {
        Field::Absent => Some(None),
        Field::Given { at, .. } => Some(Some(read_conditions(&about, &at.value, around, findings))),
        Field::Wrong => None,
    };
    if let (Some(conditions), Some(key)) = (draft.r#match.get(), draft.r#match.key())
        && conditions.is_empty()
        && draft.unless.is_absent()
    {
        let finding = Diagnostic::error(Code::EMPTY_MATCH, key, format!("{about} matches every request"));
        findings.push(finding.hint("what holds for every request is `default`"));
    }
    if let (Some(conditions), Some(key)) = (draft.unless.get(), draft.unless.key())
        && conditions.is_empty()
    {
        let finding = Diagnostic::error(Code::EMPTY_MATCH, key, format!("{about} can never match: `unless` holds for every request"));
        findings.push(finding.hint("take `unless` out, or write conditions into it"));
    }
    let route_draft = draft.route();
    let route = route(&about, &route_draft, chains, around, findings);
    if let (Some(conditions), Some(route)) = (draft.r#match.get(), &route) {
        warn_unpriced(&about, conditions, route, &route_draft, around.listed, findings);
    }
    let place = draft.name.at().map_or(rule.place, |name| name.place);
    Some(Rule { name: name?, place, line: rule.place.line, matches: matches?, unless: unless?, route: route? })
}

fn rule_name(name: &At<String>, findings: &mut Findings) -> Option<RuleName> {
    if name.value == "default" {
        let message = "`default` is the name of what no rule matches";
        findings.push(Diagnostic::error(Code::RESERVED_NAME, name.place, message).hint("give the rule another name"));
        return None;
    }
    RuleName::parse(&name.value)
        .map_err(|error| {
            let finding = Diagnostic::error(Code::BAD_NAME, name.place, format!("`{}` is no rule name: {error}", name.value));
            findings.push(finding.hint_name(&name.value));
        })
        .ok()
}

fn read_conditions(about: &str, draft: &ConditionsDraft, around: About<'_>, findings: &mut Findings) -> Conditions {
    for row in draft.tags.get().into_iter().flatten() {
        around.callers.warn_unknown_tag(about, &row.name, row.key, findings);
    }
    Conditions {
        task: values(&draft.task),
        prompt_tokens: draft.prompt_tokens.get().map(|(min, max)| Bounds { min: min.map(Tokens::new), max: max.map(Tokens::new) }),
        cost_ceiling: draft.cost_ceiling.get().copied(),
        max_cost: draft.max_cost.get().map(|(min, max)| Bounds { min: *min, max: *max }),
        model: values(&draft.model),
        labels: globs(&draft.labels, |name, _, _| Some(name.into()), findings),
        headers: globs(&draft.headers, header_name, findings),
        needs: values(&draft.needs),
        turns: draft.turns.get().map(|(min, max)| Bounds { min: *min, max: *max }),
        effort: values(&draft.effort),
        endpoint: values(&draft.endpoint),
        stream: draft.stream.get().copied(),
        caller: draft.caller.get().map(|names| callers(about, names, around.callers, findings)),
        tags: globs(&draft.tags, |name, _, _| Some(name.into()), findings),
        spent: spent(about, &draft.spent, around.budgets, findings),
        places: places(draft),
    }
}

fn callers(about: &str, names: &[At<String>], callers: &Callers<'_>, findings: &mut Findings) -> Vec<CallerName> {
    let caller = |name: &At<String>| callers.find(about, name, findings).and_then(|_| CallerName::parse(&name.value).ok());
    names.iter().filter_map(caller).collect()
}

fn spent(
    about: &str,
    field: &Field<Rows<(Option<Share>, Option<Share>)>>,
    budgets: &Budgets,
    findings: &mut Findings,
) -> Vec<(SpentWindow, Bounds<Share>)> {
    if let (Some(rows), Some(key)) = (field.get(), field.key())
        && rows.is_empty()
    {
        let finding = Diagnostic::error(Code::EMPTY_MATCH, key, "this condition is empty");
        findings.push(finding.hint("write a window and its bounds, as in `spent: { company.month: { min: 80% } }`, or take it out"));
    }
    let row = |row: &Row<(Option<Share>, Option<Share>)>| {
        let window = budgets.window(about, &row.name, row.key, findings)?;
        row.value.map(|(min, max)| (window, Bounds { min, max }))
    };
    field.get().into_iter().flatten().filter_map(row).collect()
}

fn places(draft: &ConditionsDraft) -> ConditionPlaces {
    fn single<T>(field: &Field<T>) -> Option<Vec<Place>> {
        field.key().map(|key| vec![key])
    }
    fn listed<T>(field: &Field<Vec<At<T>>>) -> Option<Vec<Place>> {
        field.key().map(|key| std::iter::once(key).chain(field.get().into_iter().flatten().map(|value| value.place)).collect())
    }
    fn named(table: &str, field: &Field<Rows<Vec<At<String>>>>) -> Vec<(String, Option<Vec<Place>>)> {
        let row = |row: &Row<Vec<At<String>>>| {
            let values = row.value.iter().flatten().map(|value| value.place);
            (format!("{table}.{}", row.name), Some(std::iter::once(row.key).chain(values).collect()))
        };
        field.get().into_iter().flatten().map(row).collect()
    }
    let ConditionsDraft {
        task,
        prompt_tokens,
        cost_ceiling,
        max_cost,
        model,
        labels,
        headers,
        needs,
        turns,
        effort,
        endpoint,
        stream,
        caller,
        tags,
        spent,
    } = draft;
    let windows = spent.get().into_iter().flatten().map(|row| (format!("spent.{}", row.name), Some(vec![row.key])));
    [
        ("task", listed(task)),
        ("prompt_tokens", single(prompt_tokens)),
        ("cost_ceiling", single(cost_ceiling)),
        ("max_cost", single(max_cost)),
        ("model", listed(model)),
        ("needs", listed(needs)),
        ("turns", single(turns)),
        ("effort", listed(effort)),
        ("endpoint", listed(endpoint)),
        ("stream", single(stream)),
        ("caller", listed(caller)),
    ]
    .map(|(key, places)| (key.to_owned(), places))
    .into_iter()
    .chain(named("labels", labels))
    .chain(named("tags", tags))
    .chain(windows)
    .chain(named("headers", headers).into_iter().map(|(key, places)| (key.to_ascii_lowercase(), places)))
    .filter_map(|(key, places)| Some((key, places?)))
    .collect()
}

fn values<T: Clone>(field: &Field<Vec<At<T>>>) -> Option<Vec<T>> {
    field.get().map(|items| items.iter().map(|item| item.value.clone()).collect())
}

fn globs(
    field: &Field<Rows<Vec<At<String>>>>,
    read_name: impl Fn(&str, Place, &mut Findings) -> Option<String>,
    findings: &mut Findings,
) -> BTreeMap<String, Vec<String>> {
    let mut globs = BTreeMap::new();
    if let (Some(rows), Some(key)) = (field.get(), field.key())
        && rows.is_empty()
    {
        findings
            .push(Diagnostic::error(Code::EMPTY_MATCH, key, "this condition is empty").hint("write a name and a pattern, or take it out"));
    }
    for row in field.get().into_iter().flatten() {
        let Some(name) = read_name(&row.name, row.key, findings) else {
            continue;
        };
        let Some(patterns) = &row.value else {
            continue;
        };
        let patterns = patterns.iter().map(|pattern| pattern.value.clone()).collect();
        if globs.insert(name.clone(), patterns).is_some() {
            let finding =
                Diagnostic::error(Code::DUPLICATE_KEY, row.key, format!("header `{name}` is there twice: case makes no difference"));
            findings.push(finding.hint("write one list of patterns"));
        }
    }
    globs
}

fn header_name(name: &str, place: Place, findings: &mut Findings) -> Option<String> {
    let Ok(name) = http::HeaderName::try_from(name) else {
        let finding = Diagnostic::error(Code::BAD_HEADER_NAME, place, format!("`{name}` is no header name"));
        findings.push(finding.hint("header names have letters, digits and `-`, and no spaces"));
        return None;
    };
    Some(name.as_str().into())
}

/// What a rule or the default decides, or nothing once a finding says why.
pub(super) fn route(
    about: &str,
    draft: &RouteDraft,
    chains: &mut Chains<'_>,
    About { listed, server, unsupported_params, .. }: About<'_>,
    findings: &mut Findings,
) -> Option<Route> {
    let unfolded = chains.unfold(about, &draft.chain, findings);
    let deadline = draft.deadline.get().copied();
    let longest = deadline.unwrap_or(server.deadline.max(server.stream_deadline));
    for waits in draft.timeouts.get().into_iter().chain(&unfolded.waits) {
        warn_waits(waits, longest, findings);
    }
    warn_duplicates(about, &unfolded.members, listed, findings);
    let steps: usize = unfolded.members.iter().map(|member| member.value.uses().len().max(1)).sum();
    if let Some(key) = draft.chain.key()
        && steps > LONG_CHAIN
    {
        let finding = Diagnostic::warning(Code::LONG_CHAIN, key, format!("{about} has a chain of {steps} steps"));
        findings.push(finding.hint(format!("a client waits through all of them when they fail; more than {LONG_CHAIN} seldom help")));
    }
    if !unfolded.is_whole {
        return None;
    }
    let mut members = unfolded.members.into_iter().map(|member| member.value);
    Some(Route {
        chain: Chain { first: members.next()?, rest: members.collect() },
        deadline,
        max_output_tokens: draft.max_output_tokens.get().copied(),
        on_ceiling: draft.on_ceiling.get().copied().unwrap_or_default(),
        fallback_on: values(&draft.fallback_on).unwrap_or_default(),
        timeouts: draft.timeouts.get().map(changes).unwrap_or_default(),
        retry: draft.retry.get().copied().unwrap_or(true),
        unsupported_params: draft.unsupported_params.get().copied().unwrap_or(unsupported_params),
        sticky: draft.sticky.get().is_some(),
    })
}

fn warn_duplicates(about: &str, members: &[At<Member>], listed: &Providers, findings: &mut Findings) {
    let mut seen = Vec::new();
    let mut is_requested = false;
    for member in members {
        if matches!(member.value, Member::Requested) && std::mem::replace(&mut is_requested, true) {
            let finding = Diagnostic::warning(Code::DUPLICATE_MEMBER, member.place, format!("{about} names `requested` twice"));
            findings.push(finding.hint("it stands for one target: take one of the two out"));
        }
        for one in member.value.uses() {
            if seen.contains(&one.target) {
                let name = listed.targets.get(one.target).and_then(Option::as_ref).map(|target| target.name.to_string());
                let message = format!("{about} names `{}` twice", name.unwrap_or_default());
                let finding = Diagnostic::warning(Code::DUPLICATE_MEMBER, member.place, message);
                findings.push(finding.hint("what failed once is seldom worth a second step: take it out"));
            }
            seen.push(one.target);
        }
        // What such a pool leaves out may stand behind it.
        if let Member::Pool(Pool { pick: Pick::Best { .. }, of }) = &member.value {
            seen.retain(|target| of.iter().all(|one| one.target != *target));
        }
    }
}

/// Under a ceiling a target whose price nobody knows is left out, always.
fn warn_unpriced(
    about: &str,
    conditions: &ConditionsDraft,
    route: &Route,
    draft: &RouteDraft,
    listed: &Providers,
    findings: &mut Findings,
) {
    if conditions.cost_ceiling.get().is_none() && conditions.max_cost.get().is_none() {
        return;
    }
    for one in route.chain.members().flat_map(Member::uses) {
        let Some(target) = listed.targets.get(one.target).and_then(Option::as_ref) else {
            continue;
        };
        if target.prices.is_none()
            && let Some(key) = draft.chain.key()
        {
            let message = format!("`{}` has no price, so {about} can never use it under a ceiling", target.name);
            let finding = Diagnostic::warning(Code::NEVER_UNDER_CEILING, key, message);
            findings.push(finding.hint("give the model `usd_per_mtok: { input: …, output: … }`"));
        }
    }
}
