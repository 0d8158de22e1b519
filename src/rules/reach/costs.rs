use crate::config::{Member, Pick, Pool, Route, Target};
use crate::rules::RuleSet;
use crate::units::{Need, Score, TaskName, Tokens, Usd};

/// All of a route on which the cost of a request depends: its targets with the limits of its steps, and its own limit.
pub(super) type Key = (Vec<Priced>, Option<Tokens>);

/// A step: its target, absent for the one that the client names; its own limit; and where a pool may leave it out, by what.
pub(super) type Priced = (Option<usize>, Option<Tokens>, Option<(Option<TaskName>, Option<Score>)>);

pub(super) fn key(route: &Route) -> Key {
    let steps = route.chain.members().flat_map(|member| match member {
        Member::Requested => vec![(None, None, None)],
        Member::Pool(Pool { pick: Pick::Best { task, min_score }, of }) => {
            of.iter().map(|one| (Some(one.target), one.max_output_tokens, Some((task.clone(), *min_score)))).collect()
        }
        Member::Target(_) | Member::Pool(_) => member.uses().iter().map(|one| (Some(one.target), one.max_output_tokens, None)).collect(),
    });
    (steps.collect(), route.max_output_tokens)
}

/// The step that is cheapest for a prompt of `prompt` tokens and one token of answer, and what it then costs at most. Nothing where
/// no step has a price.
pub(super) fn least<'r>(rules: &'r RuleSet, (steps, _): &Key, prompt: Tokens) -> Option<(Usd, &'r Target)> {
    let all = rules.targets();
    let targets = steps.iter().flat_map(|(target, ..)| target.map_or(all, |target| std::slice::from_ref(&all[target])));
    let cost = |target: &'r Target| {
        let input = target.context.map_or(prompt, |window| prompt.min(window));
        let prices = target.prices.as_ref()?;
        Some((prices.worst_case(input, Tokens::new(1)).plus(target.usd_per_call.unwrap_or_default()), target))
    };
    targets.filter_map(cost).min_by_key(|(cost, _)| *cost)
}

/// What no request can cost more than at the cheapest step, where a step serves every request at the same price.
pub(super) fn most(rules: &RuleSet, (steps, _): &Key) -> Option<Usd> {
    let always = steps.iter().filter(|(.., pool)| pool.is_none());
    let targets = always.filter_map(|(target, ..)| target.map(|target| &rules.targets()[target]));
    targets.filter(|target| serves_all(target)).filter_map(flat_price).min()
}

fn serves_all(target: &Target) -> bool {
    let can = |need: Need| need == Need::Reasoning || target.can.as_ref().is_none_or(|can| can.contains(&need));
    target.context.is_none() && Need::ALL.into_iter().all(can)
}

/// The price of a call whose tokens cost nothing.
fn flat_price(target: &Target) -> Option<Usd> {
    let many = Tokens::PLAUSIBLE;
    let per_call = target.usd_per_call.unwrap_or_default();
    target.prices.as_ref().filter(|prices| prices.worst_case(many, many) == Usd::ZERO).map(|_| per_call)
}
