use std::num::NonZeroU32;

use super::*;
use crate::config::TimeoutChanges;

fn members(weights: &[u32]) -> Vec<Use> {
    let one = |(target, weight): (usize, &u32)| Use {
        target,
        place: crate::config::Place::default(),
        weight: NonZeroU32::new(*weight).unwrap(),
        timeouts: TimeoutChanges::default(),
        max_output_tokens: None,
        set: std::collections::BTreeMap::new(),
    };
    weights.iter().enumerate().map(one).collect()
}

/// The targets in order, for members that took so many milliseconds.
fn order(seen: &[Option<u64>], draw: u64) -> Vec<usize> {
    let members = members(&vec![1; seen.len()]);
    let seen: Vec<_> = members.iter().map(|one| (one, seen[one.target].map(Duration::from_millis))).collect();
    by_pace(seen, draw).into_iter().map(|(one, _)| one.target).collect()
}

/// How many of 100,000 draws put each member first, in per cent.
fn shares(seen: &[Option<u64>]) -> Vec<u64> {
    let mut first = vec![0; seen.len()];
    let mut chance = fastrand::Rng::with_seed(7);
    for _ in 0..100_000 {
        first[order(seen, chance.u64(..))[0]] += 1;
    }
    first.into_iter().map(|count: u64| (count + 500) / 1_000).collect()
}

#[test]
fn the_fastest_comes_first_and_the_rest_follow_by_their_times() {
    for (seen, expected) in [
        (&[Some(300), Some(100), Some(200)][..], [1, 2, 0]),
        (&[None, Some(100), Some(90)], [2, 1, 0]),
        (&[None, None, Some(90)], [2, 0, 1]),
        (&[None, None, None], [0, 1, 2]),
    ] {
        assert_eq!(order(seen, 0), expected, "{seen:?}");
    }
}

#[test]
fn a_few_per_cent_explore_and_no_crowd_follows_a_small_difference() {
    for (seen, expected) in [
        // Far apart: nearly all to the fastest, three per cent to the others.
        (&[Some(100), Some(300), Some(900)][..], [97, 2, 2]),
        // Equals share; what is hardly slower gets hardly less.
        (&[Some(100), Some(100), Some(900)], [49, 50, 2]),
        (&[Some(100), Some(102), Some(900)], [56, 42, 2]),
        (&[Some(100), Some(120), Some(900)], [92, 7, 2]),
        // Nobody knows any: all are tried alike.
        (&[None, None, None], [33, 33, 33]),
        // One that was never measured gets its chance, and not the crowd.
        (&[Some(100), Some(900), None], [90, 0, 10]),
    ] {
        let shares = shares(seen);
        let is_near = shares.iter().zip(expected).all(|(share, expected): (&u64, u64)| share.abs_diff(expected) <= 2);
        assert!(is_near, "{seen:?}: {shares:?}, expected {expected:?}");
    }
}

#[test]
fn an_explored_member_says_so_and_the_fastest_follows_it() {
    let members = members(&[1, 1]);
    let seen: Vec<_> = members.iter().zip([Some(Duration::from_millis(100)), Some(Duration::from_millis(300))]).collect();
    let order = by_pace(seen, 999);
    assert_eq!(order.iter().map(|(one, _)| one.target).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(order[0].1.why(), "300 ms lately; tried first to learn how fast it is");
    assert_eq!(order[1].1.why(), "100 ms lately");
}

#[test]
fn a_split_draws_by_weight_and_the_heaviest_follow() {
    let members = members(&[1, 7, 2]);
    for (draw, expected) in [(0, [1, 2, 0]), (6, [1, 2, 0]), (7, [2, 1, 0]), (9, [0, 1, 2]), (10, [1, 2, 0])] {
        let order: Vec<usize> = drawn_by_weight(&members, draw).iter().map(|(one, _)| one.target).collect();
        assert_eq!(order, expected, "{draw}");
    }
}
