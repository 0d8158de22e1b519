use crate::config::{Chain, Member, Use};

use super::{Features, RuleSet};

/// One target in the order in which this one request would try it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'r> {
    /// Index into the rule set's targets.
    pub target: usize,
    /// The step's own settings; absent for a target that the client named.
    pub uses: Option<&'r Use>,
}

/// The chain as it stands for this request: pools ordered, `requested` resolved, each target once.
#[must_use]
pub fn candidates<'r>(rules: &'r RuleSet, chain: &'r Chain, features: &Features) -> Vec<Candidate<'r>> {
    let mut steps: Vec<Candidate<'r>> = Vec::with_capacity(4);
    for member in chain.members() {
        match member {
            Member::Target(uses) => add(&mut steps, Candidate { target: uses.target, uses: Some(uses) }),
            Member::Requested => {
                for target in rules.targets_named(&features.requested_model) {
                    add(&mut steps, Candidate { target: *target, uses: None });
                }
            }
            Member::Split(members) => {
                for uses in drawn_by_weight(members, features.draw) {
                    add(&mut steps, Candidate { target: uses.target, uses: Some(uses) });
                }
            }
        }
    }
    steps
}

fn add<'r>(steps: &mut Vec<Candidate<'r>>, step: Candidate<'r>) {
    if steps.iter().all(|known| known.target != step.target) {
        steps.push(step);
    }
}

/// The members with the heaviest first, and before them the one to which the draw falls.
fn drawn_by_weight(members: &[Use], draw: u64) -> Vec<&Use> {
    let mut order: Vec<&Use> = members.iter().collect();
    order.sort_by_key(|uses| std::cmp::Reverse(uses.weight));
    let total: u64 = members.iter().map(|uses| u64::from(uses.weight.get())).sum();
    let mut mark = draw % total.max(1);
    let drawn = order.iter().position(|uses| {
        let weight = u64::from(uses.weight.get());
        let is_hit = mark < weight;
        mark = mark.saturating_sub(weight);
        is_hit
    });
    order[..=drawn.unwrap_or_default()].rotate_right(1);
    order
}
