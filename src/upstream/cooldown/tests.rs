use std::num::NonZeroU32;

use super::*;

/// The providers `p` and `q`; targets 0 and 1 are of `p`, target 2 is of `q`.
struct World {
    clock: Clock,
    cooldowns: Cooldowns,
    rests: Rests,
    providers: Vec<Provider>,
    targets: Vec<Target>,
}

impl World {
    fn new() -> Self {
        Self::with(Provider::sample("p").cooldown)
    }

    fn with(cooldown: Option<CooldownPolicy>) -> Self {
        let clock = Clock::manual();
        let cooldowns = Cooldowns::new(clock.clone());
        let providers = ["p", "q"].map(|name| Provider { cooldown, ..Provider::sample(name) }).to_vec();
        let targets = vec![Target::sample("p/a", 0), Target::sample("p/b", 0), Target::sample("q/c", 1)];
        let rests = cooldowns.adopt(&providers, &targets);
        Self { clock, cooldowns, rests, providers, targets }
    }

    fn reload(&mut self) {
        self.rests = self.cooldowns.adopt(&self.providers, &self.targets);
    }

    fn pass(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }

    fn count(&self, target: usize, times: usize) {
        for _ in 0..times {
            self.rests.failed(target, Mark::Count, None, None);
        }
    }

    /// How long the target still rests; nothing when it does not.
    fn rest(&self, target: usize) -> Option<Duration> {
        match self.rests.standing(target) {
            Standing::Resting { until, .. } => Some(until.since(self.clock.now())),
            _ => None,
        }
    }

    fn is_normal(&self, target: usize) -> bool {
        matches!(self.rests.enter(target, false), Ok(Entry::Normal))
    }

    fn refused(&self, target: usize, is_last: bool) -> &'static str {
        self.rests.enter(target, is_last).unwrap_err().why
    }

    fn name(&self, provider: usize) -> &ProviderName {
        &self.providers[provider].name
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn five_failures_within_thirty_seconds_rest_the_target_alone() {
    for (failures, apart_ms, rests) in [(4, 0, false), (5, 0, true), (5, 7_000, true), (5, 8_000, false), (9, 8_000, false)] {
        let world = World::new();
        for _ in 0..failures {
            world.count(0, 1);
            world.pass(apart_ms);
        }
        assert_eq!(!world.is_normal(0), rests, "{failures} failures, {apart_ms} ms apart");
        assert!(world.is_normal(1) && world.is_normal(2));
    }
}

#[test]
fn a_success_ends_the_series() {
    let world = World::new();
    for _ in 0..10 {
        world.count(0, 4);
        world.rests.succeeded(0, None);
    }
    assert!(world.is_normal(0));
}

#[test]
fn rests_double_up_to_five_minutes_and_vary_by_a_fifth() {
    let world = World::new();
    world.count(0, 5);
    for base in [20, 40, 80, 160, 300, 300] {
        let rest = world.rest(0).unwrap();
        assert!(rest >= secs(base) * 4 / 5 && rest <= secs(base) * 6 / 5, "{rest:?} for {base} s");
        assert_eq!(world.refused(0, false), "failures");
        world.clock.advance(rest);
        let trial = world.rests.enter(0, false).unwrap();
        assert!(matches!(trial, Entry::Trial(_)));
        world.count(0, 1);
    }
    world.clock.advance(world.rest(0).unwrap());
    let _trial = world.rests.enter(0, false).unwrap();
    world.rests.succeeded(0, None);
    assert!(world.is_normal(0));
    world.count(0, 5);
    assert!(world.rest(0).unwrap() <= secs(24), "a success begins anew");
}

#[test]
fn one_trial_goes_through_and_a_dropped_one_frees_its_place() {
    let world = World::new();
    world.count(0, 5);
    world.pass(24_000);
    assert_eq!(world.rests.standing(0), Standing::Ready);
    let trial = world.rests.enter(0, false).unwrap();
    assert_eq!(world.refused(0, false), "trial");
    assert!(matches!(world.rests.standing(0), Standing::Resting { why: "trial", .. }));
    drop(trial);
    let second = world.rests.enter(0, false).unwrap();
    assert!(matches!(second, Entry::Trial(_)));
    world.rests.succeeded(0, Some(secs(1)));
    assert!(world.is_normal(0));
    drop(second);
    assert!(world.is_normal(0));
}

#[test]
fn the_last_step_is_probed_once_a_second() {
    let world = World::new();
    world.count(0, 5);
    for _ in 0..3 {
        assert!(matches!(world.rests.enter(0, true), Ok(Entry::Probe)));
        let before = world.rest(0);
        world.count(0, 1);
        assert_eq!(world.rest(0), before, "a failed probe changes nothing");
        assert_eq!(world.refused(0, true), "failures");
        assert_eq!(world.refused(0, false), "failures");
        world.pass(1_000);
    }
    assert!(matches!(world.rests.enter(0, true), Ok(Entry::Probe)));
    world.rests.succeeded(0, None);
    assert!(world.is_normal(0));
}

#[test]
fn u11_the_provider_says_how_long_and_the_later_moment_holds() {
    for (first, second, rest) in [(Some(7), None, 20), (Some(60), Some(5), 60), (Some(5), Some(60), 60), (None, None, 20)] {
        let world = World::new();
        for told in [first, second] {
            world.rests.failed(0, Mark::Rest, told.map(secs), None);
        }
        assert_eq!(world.rests.enter(0, false).unwrap_err(), Resting { why: "retry_after", retry_after: Some(secs(rest)) });
        world.rests.succeeded(0, None);
        assert_eq!(world.rest(0), Some(secs(rest)), "an answer to a request from before says nothing about now");
    }
}

#[test]
fn a_told_rest_and_one_after_failures_take_the_longer() {
    let world = World::new();
    world.rests.failed(0, Mark::Rest, Some(secs(100)), None);
    world.count(0, 5);
    assert_eq!(world.rest(0), Some(secs(100)));
    let world = World::new();
    world.count(0, 5);
    let rest = world.rest(0);
    world.rests.failed(0, Mark::Rest, Some(secs(1)), None);
    assert_eq!(world.rest(0), rest);
}

#[test]
fn a_silence_counts_when_it_is_three_times_the_targets_own_p99() {
    for (usual_ms, silent_ms, rests) in [(None, 100, true), (Some(1_000), 3_000, false), (Some(1_000), 3_001, true)] {
        let world = World::new();
        for _ in 0..300 {
            world.rests.succeeded(0, usual_ms.map(Duration::from_millis));
        }
        for _ in 0..5 {
            world.rests.failed(0, Mark::Count, None, Some(Duration::from_millis(silent_ms)));
        }
        assert_eq!(world.rest(0).is_some(), rests, "usually {usual_ms:?}, silent for {silent_ms}");
    }
}

#[test]
fn u12_u13_a_bad_key_or_account_marks_every_target_of_the_provider() {
    for (mark, why, marked) in [
        (Mark::KeyDown, "key_down", [true, true, false]),
        (Mark::AccountDown, "account_down", [true, true, false]),
        (Mark::TargetDown, "target_down", [true, false, false]),
    ] {
        let mut world = World::new();
        world.rests.failed(0, mark, None, None);
        for (target, is_marked) in marked.into_iter().enumerate() {
            let standing = if is_marked { Standing::Down { why } } else { Standing::Ready };
            assert_eq!(world.rests.standing(target), standing, "{why} {target}");
            assert_eq!(world.rests.enter(target, true).is_err(), is_marked, "the last step is skipped too");
        }
        world.rests.succeeded(0, None);
        assert_eq!(world.refused(0, false), why, "a late answer lifts no mark");
        world.reload();
        assert!((0..3).all(|target| world.is_normal(target)), "a reload may bring a new key");
    }
}

#[test]
fn what_is_down_gets_a_trial_every_quarter_of_an_hour() {
    let world = World::new();
    world.rests.failed(0, Mark::KeyDown, None, None);
    for _ in 0..2 {
        world.pass(899_999);
        assert_eq!(world.refused(1, false), "key_down");
        world.pass(1);
        assert_eq!(world.rests.standing(1), Standing::Ready);
        let trial = world.rests.enter(1, false).unwrap();
        assert!(matches!(trial, Entry::Trial(_)));
        assert_eq!(world.refused(0, false), "key_down", "one trial for the whole provider");
        world.rests.failed(1, Mark::KeyDown, None, None);
    }
    world.pass(900_000);
    let _trial = world.rests.enter(0, false).unwrap();
    world.rests.succeeded(0, None);
    assert!(world.is_normal(0) && world.is_normal(1));
}

#[test]
fn a_probe_lifts_a_key_at_once_and_an_account_later() {
    for (mark, after_ms, is_down) in [(Mark::KeyDown, 0, false), (Mark::AccountDown, 60_000, true), (Mark::AccountDown, 900_000, false)] {
        let world = World::new();
        world.rests.failed(0, mark, None, None);
        world.pass(after_ms);
        world.rests.probed(world.name(0), false);
        assert!(world.rests.provider_is_down(world.name(0)) && !world.rests.provider_is_down(world.name(1)));
        world.rests.probed(world.name(0), true);
        assert_eq!(world.rests.provider_is_down(world.name(0)), is_down, "{mark:?} after {after_ms} ms");
    }
}

#[test]
fn cooldown_off_leaves_nothing_behind() {
    let world = World::with(None);
    for mark in [Mark::Count, Mark::Rest, Mark::TargetDown, Mark::KeyDown, Mark::AccountDown, Mark::None] {
        for _ in 0..20 {
            world.rests.failed(0, mark, Some(secs(60)), None);
        }
        assert!(world.is_normal(0) && world.rests.standing(0) == Standing::Ready, "{mark:?}");
    }
}

#[test]
fn a_reload_forgets_no_rest() {
    let mut world = World::new();
    world.count(0, 5);
    let rest = world.rest(0);
    for _ in 0..1_000 {
        world.reload();
    }
    assert_eq!(world.rest(0), rest);
}

#[test]
fn c28_the_state_of_a_removed_target_is_kept_for_an_hour() {
    for (minutes, is_kept) in [(59, true), (61, false)] {
        let mut world = World::new();
        world.rests.failed(0, Mark::Rest, Some(Duration::from_hours(5)), None);
        world.cooldowns.adopt(&[], &[]);
        world.clock.advance(Duration::from_mins(minutes));
        world.reload();
        assert_eq!(world.rest(0).is_some(), is_kept, "after {minutes} min");
    }
}

#[test]
fn retries_are_a_fifth_of_the_requests_and_never_fewer_than_three() {
    for (requests, retries) in [(0, 3), (10, 3), (15, 3), (20, 4), (100, 20)] {
        let world = World::new();
        world.pass(100_000);
        for _ in 0..requests {
            assert!(world.is_normal(0));
        }
        let allowed = (0..200).filter(|_| world.rests.retry_allowed(0)).count();
        assert_eq!(allowed, retries, "{requests} requests");
        world.pass(10_000);
        assert_eq!((0..200).filter(|_| world.rests.retry_allowed(0)).count(), 3, "ten seconds later");
    }
}

#[test]
fn percentiles_are_of_the_last_256() {
    let world = World::new();
    assert_eq!(world.rests.ttft(0), None);
    for millis in (1..=1_000).chain(1..=256) {
        world.rests.succeeded(0, Some(Duration::from_millis(millis)));
    }
    assert_eq!(world.rests.ttft(0), Some((Duration::from_millis(129), Duration::from_millis(254))));
}

#[test]
fn another_policy_counts_as_it_says() {
    let world = World::with(Some(CooldownPolicy { after: NonZeroU32::MIN, rest: Duration::from_mins(10) }));
    world.count(0, 1);
    let rest = world.rest(0).unwrap();
    assert!(rest >= Duration::from_mins(8) && rest <= Duration::from_mins(12), "{rest:?}");
}
