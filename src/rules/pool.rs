use std::cmp::Reverse;
use std::time::Duration;

use crate::config::{Pick, Pool, Route, Use};
use crate::units::{Score, Usd};

use super::{Features, RuleSet, estimate};

/// How long a target, by index, lately took to its first content; nothing where nobody knows.
pub type Paces<'p> = &'p dyn Fn(usize) -> Option<Duration>;

/// Of a thousand requests to a `fastest` pool so many try one of the slower members first, to learn how fast it is by now.
const EXPLORED: u64 = 30;
/// The same while some member is not measured at all.
const EXPLORED_UNMEASURED: u64 = 100;
/// How steeply the share of a `fastest` pool's member falls with its time: one that takes a tenth longer than the fastest gets a fifth
/// of its share, one that takes half as long again next to nothing. Equals share, so that no crowd moves from one to the other at once.
const STEEPNESS: i32 = 16;

/// Why a member of a pool stands where it does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rank {
    /// Dollars at most; absent where the target has no price.
    Cost(Option<Usd>),
    /// `explored`: it is first to learn how fast it is.
    Pace {
        seen: Option<Duration>,
        explored: bool,
    },
    Share {
        weight: u32,
        drawn: bool,
    },
    Score {
        score: Option<Score>,
        floor: Option<Score>,
        cost: Option<Usd>,
    },
}

impl Rank {
    /// False where the pool leaves the member out: it has no score, or one below the floor.
    #[must_use]
    pub fn lets_in(self) -> bool {
        match self {
            Self::Score { score, floor, .. } => score.is_some_and(|score| floor.is_none_or(|floor| score >= floor)),
            Self::Cost(_) | Self::Pace { .. } | Self::Share { .. } => true,
        }
    }

    /// The word of the file for how the pool chooses.
    #[must_use]
    pub fn pick(self) -> &'static str {
        match self {
            Self::Cost(_) => "cheapest",
            Self::Pace { .. } => "fastest",
            Self::Share { .. } => "split",
            Self::Score { .. } => "best",
        }
    }

    /// In words, to stand behind [`pick`](Self::pick).
    #[must_use]
    pub fn why(self) -> String {
        let at_most = |cost: Option<Usd>| cost.map_or_else(|| "cost not known".into(), |cost| format!("at most {cost}"));
        match self {
            Self::Cost(cost) => at_most(cost),
            Self::Pace { seen, explored } => {
                let seen = seen.map_or_else(|| "not measured yet".into(), |seen| format!("{} ms lately", seen.as_millis()));
                if explored { format!("{seen}; tried first to learn how fast it is") } else { seen }
            }
            Self::Share { weight, drawn } => format!("weight {weight}{}", if drawn { ", drawn" } else { "" }),
            Self::Score { score, floor, cost } => {
                let place = match (score, floor) {
                    (None, _) => "no score".to_owned(),
                    (Some(score), None) => format!("score {score}, and the best is first"),
                    (Some(score), Some(floor)) if score < floor => format!("score {score} is below {floor}"),
                    (Some(score), Some(floor)) => format!("score {score} reaches {floor}, and of those the cheapest is first"),
                };
                format!("{place}; {}", at_most(cost))
            }
        }
    }
}

/// The members in the order in which this one request would try them; those that are left out stand last.
pub(super) fn ordered<'r>(pool: &'r Pool, rules: &RuleSet, route: &Route, features: &Features, paces: Paces<'_>) -> Vec<(&'r Use, Rank)> {
    let cost = |one: &Use| estimate(&rules.targets()[one.target], Some(one), route, features).worst_case;
    match &pool.pick {
        Pick::Split => drawn_by_weight(&pool.of, features.draw),
        Pick::Cheapest => {
            let mut order: Vec<(&Use, Option<Usd>)> = pool.of.iter().map(|one| (one, cost(one))).collect();
            order.sort_by_key(|(_, cost)| (cost.is_none(), *cost));
            order.into_iter().map(|(one, cost)| (one, Rank::Cost(cost))).collect()
        }
        Pick::Fastest => by_pace(pool.of.iter().map(|one| (one, paces(one.target))).collect(), features.draw),
        Pick::Best { task, min_score } => {
            let task = task.as_ref().unwrap_or(&features.task.name);
            let rank = |one: &Use| Rank::Score { score: rules.score(task, one.target), floor: *min_score, cost: cost(one) };
            let mut order: Vec<(&Use, Rank)> = pool.of.iter().map(|one| (one, rank(one))).collect();
            order.sort_by_key(|(_, rank)| by_score(*rank));
            order
        }
    }
}

/// Left out, best score where there is no floor, no price, cost, score.
type ByScore = (bool, Option<Reverse<Score>>, bool, Option<Usd>, Option<Reverse<Score>>);

/// Under a floor the cheapest of those that reach it comes first, without one the best.
fn by_score(rank: Rank) -> ByScore {
    let Rank::Score { score, floor, cost } = rank else { return (true, None, true, None, None) };
    let best_first = score.map(Reverse);
    (!rank.lets_in(), best_first.filter(|_| floor.is_none()), cost.is_none(), cost, best_first)
}

/// The members with the heaviest first, and before them the one to which the draw falls.
fn drawn_by_weight(members: &[Use], draw: u64) -> Vec<(&Use, Rank)> {
    let rank = |one: &Use| Rank::Share { weight: one.weight.get(), drawn: false };
    let mut order: Vec<(&Use, Rank)> = members.iter().map(|one| (one, rank(one))).collect();
    order.sort_by_key(|(one, _)| Reverse(one.weight));
    let total: u64 = members.iter().map(|one| u64::from(one.weight.get())).sum();
    let mut mark = draw % total.max(1);
    let drawn = order.iter().position(|(one, _)| {
        let weight = u64::from(one.weight.get());
        let is_hit = mark < weight;
        mark = mark.saturating_sub(weight);
        is_hit
    });
    order[..=drawn.unwrap_or_default()].rotate_right(1);
    if let Some((_, Rank::Share { drawn, .. })) = order.first_mut() {
        *drawn = true;
    }
    order
}

/// The fastest first, what is not measured last; and before them, mostly the fastest, the one to which the draw falls. A draw of 0 falls
/// to the fastest.
fn by_pace(mut members: Vec<(&Use, Option<Duration>)>, draw: u64) -> Vec<(&Use, Rank)> {
    members.sort_by_key(|(_, seen)| (seen.is_none(), *seen));
    let measured = members.iter().take_while(|(_, seen)| seen.is_some()).count();
    let (unmeasured, mark) = (members.len() - measured, draw / 1_000);
    let pick = |from: usize, count: usize| from + usize::try_from(mark).unwrap_or(usize::MAX) % count.max(1);
    let explored = if unmeasured > 0 { EXPLORED_UNMEASURED } else { EXPLORED };
    let is_trial = draw % 1_000 >= 1_000 - explored;
    let (first, is_explored) = match (measured, unmeasured) {
        (0, _) => (pick(0, unmeasured), false),
        (_, 1..) if is_trial => (pick(measured, unmeasured), true),
        (2.., 0) if is_trial => (pick(1, measured - 1), true),
        _ => (share_of_speed(&members[..measured], mark), false),
    };
    members[..=first].rotate_right(1);
    let rank = |at, seen| Rank::Pace { seen, explored: is_explored && at == 0 };
    members.into_iter().enumerate().map(|(at, (one, seen))| (one, rank(at, seen))).collect()
}

/// Of members that are measured, fastest first, the one to which `mark` falls: each has a share that falls steeply with its time.
fn share_of_speed(members: &[(&Use, Option<Duration>)], mark: u64) -> usize {
    const PARTS: u32 = 1 << 20;
    let seconds = |seen: Option<Duration>| seen.unwrap_or_default().as_secs_f64().max(1e-6);
    let fastest = seconds(members.first().and_then(|(_, seen)| *seen));
    let share = |seen: Option<Duration>| (fastest / seconds(seen)).powi(STEEPNESS);
    let all: f64 = members.iter().map(|(_, seen)| share(*seen)).sum();
    let part = u32::try_from(mark % u64::from(PARTS)).unwrap_or_default();
    let mut left = f64::from(part) / f64::from(PARTS) * all;
    let hit = members.iter().position(|(_, seen)| {
        left -= share(*seen);
        left < 0.0
    });
    hit.unwrap_or_default()
}

#[cfg(test)]
mod tests;
