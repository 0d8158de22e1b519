use crate::config::{Member, Route, Use};

use super::pool::{Paces, Rank, ordered};
use super::{Features, RuleSet};

/// One target in the order in which this one request would try it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'r> {
    /// Index into the rule set's targets.
    pub target: usize,
    /// The step's own settings; absent for a target that the client named.
    pub uses: Option<&'r Use>,
    /// Its place in the pool that it is a member of.
    pub rank: Option<Rank>,
}

impl Candidate<'_> {
    /// False where its pool leaves it out.
    #[must_use]
    pub fn is_let_in(&self) -> bool {
        self.rank.is_none_or(Rank::lets_in)
    }
}

/// The chain as it stands for this request: pools ordered, `requested` resolved, each target once.
#[must_use]
pub fn candidates<'r>(rules: &'r RuleSet, route: &'r Route, features: &Features, paces: Paces<'_>) -> Vec<Candidate<'r>> {
    let mut steps: Vec<Candidate<'r>> = Vec::with_capacity(4);
    for member in route.chain.members() {
        match member {
            Member::Target(uses) => add(&mut steps, Candidate { target: uses.target, uses: Some(uses), rank: None }),
            Member::Requested => {
                for target in rules.targets_named(&features.requested_model) {
                    add(&mut steps, Candidate { target: *target, uses: None, rank: None });
                }
            }
            Member::Pool(pool) => {
                for (uses, rank) in ordered(pool, rules, route, features, paces) {
                    add(&mut steps, Candidate { target: uses.target, uses: Some(uses), rank: Some(rank) });
                }
            }
        }
    }
    steps
}

/// A target that a pool left out may stand in the chain again.
fn add<'r>(steps: &mut Vec<Candidate<'r>>, step: Candidate<'r>) {
    if steps.iter().all(|known| known.target != step.target || !known.is_let_in() && step.is_let_in()) {
        steps.push(step);
    }
}
