//! What the analysis says is held against every request of a small world, each put to the real [`RuleSet::find`].

mod calls;

use std::cell::{Cell, OnceCell};

use proptest::test_runner::{RngSeed, TestRunner};

use super::written::written;
use super::*;
use crate::rules::Features;
use crate::rules::matcher::Condition;
use crate::rules::world::{PROFILES, draft, requests, rule_set};

/// How many rules of each standing there were.
#[derive(Debug, Default)]
struct Tally {
    files: Cell<u64>,
    requests: Cell<u64>,
    open: Cell<u64>,
    never: Cell<u64>,
    behind_one: Cell<u64>,
    behind_more: Cell<u64>,
}

fn more(cell: &Cell<u64>, by: usize) {
    cell.set(cell.get() + by as u64);
}

/// For random files of up to six rules, "can never match" is said exactly where no request of the small world finds the rule, and
/// the rules that are named are enough, and none of them too much. `PROPTEST_CASES` says how many files; 300 where it does not.
#[test]
fn what_can_never_match_is_what_no_request_finds() {
    let is_large = std::env::var_os("PROPTEST_CASES").is_some();
    let seed = if is_large { RngSeed::Random } else { RngSeed::Fixed(3) };
    let default = proptest::test_runner::Config { failure_persistence: None, rng_seed: seed, ..Default::default() };
    let config = proptest::test_runner::Config { cases: if is_large { default.cases } else { 300 }, ..default };
    let tally = Tally::default();
    let worlds: Vec<OnceCell<Vec<Features>>> = PROFILES.iter().map(|_| OnceCell::new()).collect();
    let told = TestRunner::new(config).run(&draft(), |(profile, rules)| {
        let requests = worlds[profile].get_or_init(|| requests(PROFILES[profile]));
        check(&rule_set(PROFILES[profile], &rules), requests, &tally);
        Ok(())
    });
    assert!(told.is_ok(), "{}", told.unwrap_err());
    eprintln!("{tally:?}");
    for cell in [&tally.open, &tally.never, &tally.behind_one, &tally.behind_more] {
        assert!(cell.get() * 60 > tally.files.get(), "this proves little: {tally:?}");
    }
}

/// A file's rules in one text, for messages.
fn said(rules: &RuleSet) -> String {
    let all = |conditions: &[Condition]| conditions.iter().map(written).collect::<Vec<_>>().join(", ");
    let rule = |rule: &Rule| {
        let unless = rule.matcher.unless().map(|unless| format!(" unless {{ {} }}", all(unless)));
        format!("{}: {{ {} }}{}", rule.name, all(rule.matcher.all()), unless.unwrap_or_default())
    };
    rules.rules().iter().map(rule).collect::<Vec<_>>().join("\n")
}

fn check(rules: &RuleSet, requests: &[Features], tally: &Tally) {
    more(&tally.files, 1);
    more(&tally.requests, requests.len());
    let found: Vec<usize> = requests.iter().map(|features| rules.find(features).unwrap().index).collect();
    let matches = |rule: &Rule, features: &Features| rule.matcher.matches(rules, &rule.route, features);
    let space = Space::new(rules);
    let mut before = Before::new(&space);
    for (index, rule) in rules.rules().iter().enumerate() {
        let taken = space.taken(&rule.matcher, &rule.route).unwrap();
        let is_found = found.contains(&index);
        match before.standing(&taken) {
            Standing::Unknown => panic!("rule {index} of a small file is not told:\n{}", said(rules)),
            Standing::Open => {
                assert!(is_found, "rule {index} is called reachable:\n{}", said(rules));
                more(&tally.open, 1);
                before.add(rule, taken);
            }
            Standing::Never => {
                assert!(!requests.iter().any(|features| matches(rule, features)), "rule {index} never matches by itself:\n{}", said(rules));
                more(&tally.never, 1);
            }
            Standing::Behind(covers) => {
                let own: Vec<&Features> = requests.iter().filter(|features| matches(rule, features)).collect();
                let is_enough = |covers: &[&Rule]| own.iter().all(|features| covers.iter().any(|cover| matches(cover, features)));
                assert!(!is_found && is_enough(&covers), "rule {index} is called unreachable:\n{}", said(rules));
                for left_out in 0..covers.len() {
                    let others: Vec<&Rule> = covers.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, cover)| *cover).collect();
                    assert!(!is_enough(&others), "{} is no need to name:\n{}", covers[left_out].name, said(rules));
                }
                more(if covers.len() == 1 { &tally.behind_one } else { &tally.behind_more }, 1);
            }
        }
    }
}
