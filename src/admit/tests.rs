use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::config::{Limits, Provider, Target};
use crate::units::Rate;

fn limits(requests: &str, tokens: &str, concurrent: u32, wait: Duration) -> Limits {
    let rate = |text: &str| (!text.is_empty()).then(|| Rate::parse(text).unwrap());
    Limits { requests: rate(requests), tokens: rate(tokens), concurrent: NonZeroU32::new(concurrent), wait }
}

/// One provider `p` with the targets `p/a` and `p/b`.
fn file(provider: Limits, target: Limits) -> (Vec<Provider>, Vec<Target>) {
    let providers = vec![Provider { limits: provider, ..Provider::sample("p") }];
    (providers, vec![Target { limits: target, ..Target::sample("p/a", 0) }, Target::sample("p/b", 0)])
}

fn gate(meters: &Meters, provider: Limits, target: Limits) -> Gate {
    let (providers, targets) = file(provider, target);
    meters.adopt(&providers, &targets, &[])
}

fn remaining(gate: &Gate) -> Vec<(String, u64)> {
    gate.levels(0).into_iter().map(|level| (level.name.to_string(), level.remaining)).collect()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn tokens(count: u64) -> Tokens {
    Tokens::new(count)
}

#[test]
fn a_refusal_names_its_limit_and_takes_nothing() {
    for (provider, target, name, retry_after) in [
        (limits("1/min", "100/min", 2, secs(0)), limits("", "", 0, secs(0)), "limits.requests of provider p", Some(60_000)),
        (limits("9/min", "100/min", 1, secs(0)), limits("", "", 0, secs(0)), "limits.concurrent of provider p", Some(1_000)),
        (limits("9/min", "60/min", 9, secs(0)), limits("", "", 0, secs(0)), "limits.tokens of provider p", Some(20_000)),
        (limits("9/min", "100/min", 9, secs(0)), limits("", "39/min", 0, secs(0)), "limits.tokens of target p/a", None),
        (limits("9/min", "100/min", 9, secs(0)), limits("1/hour", "", 0, secs(0)), "limits.requests of target p/a", Some(3_600_000)),
        (limits("9/min", "100/min", 9, secs(0)), limits("", "", 1, secs(0)), "limits.concurrent of target p/a", Some(1_000)),
    ] {
        let meters = Meters::new(Clock::manual());
        let gate = gate(&meters, provider, target);
        let first = gate.reserve(0, tokens(40));
        let before = remaining(&gate);
        let standing = gate.standing(0, tokens(40));
        let denial = gate.reserve(0, tokens(40)).unwrap_err();
        assert_eq!(standing, Err(denial.clone()));
        assert_eq!(denial, Denial { limit: name.into(), retry_after: retry_after.map(Duration::from_millis) });
        assert_eq!(remaining(&gate), before, "{name}");
        drop(first);
    }
}

#[test]
fn each_stage_gives_back_what_it_owes() {
    let meters = Meters::new(Clock::manual());
    let gate = gate(&meters, limits("10/min", "1000/min", 5, secs(0)), limits("", "500/min", 0, secs(0)));
    let told = |requests, tokens, concurrent, own| {
        let names = ["p.requests", "p.tokens", "p.concurrent", "p/a.tokens"].map(String::from);
        names.into_iter().zip([requests, tokens, concurrent, own]).collect::<Vec<_>>()
    };
    assert_eq!(remaining(&gate), told(10, 1_000, 5, 500));
    let held = gate.reserve(0, tokens(300)).unwrap();
    assert_eq!(remaining(&gate), told(9, 700, 4, 200));
    drop(held);
    assert_eq!(remaining(&gate), told(10, 1_000, 5, 500), "held, dropped: everything back");
    drop(gate.reserve(0, tokens(300)).unwrap().sent());
    assert_eq!(remaining(&gate), told(9, 700, 5, 200), "sent, dropped: the estimate stays");
    gate.reserve(0, tokens(200)).unwrap().sent().settle(tokens(50), &nothing());
    assert_eq!(remaining(&gate), told(8, 650, 5, 150), "settled below the estimate");
    gate.reserve(0, tokens(100)).unwrap().sent().settle(tokens(400), &nothing());
    assert_eq!(remaining(&gate), told(7, 250, 5, 0), "settled above: in debt");
    assert_eq!(meters.levels().into_iter().map(|level| (level.name.to_string(), level.remaining)).collect::<Vec<_>>(), remaining(&gate));
}

#[test]
fn a_reload_refills_nothing() {
    let meters = Meters::new(Clock::manual());
    let own = || limits("", "", 0, secs(0));
    let mut gate = gate(&meters, limits("3/min", "", 2, secs(0)), own());
    let open = gate.reserve(0, tokens(1)).unwrap().sent();
    gate.reserve(1, tokens(1)).unwrap().sent().settle(tokens(1), &nothing());
    for _ in 0..1_000 {
        gate = self::gate(&meters, limits("3/min", "", 2, secs(0)), own());
    }
    assert_eq!(remaining(&gate), [("p.requests".into(), 1), ("p.concurrent".into(), 1)]);
    gate = self::gate(&meters, own(), own());
    assert!(gate.levels(0).is_empty() && meters.levels().is_empty());
    gate = self::gate(&meters, limits("6/min", "", 1, secs(0)), own());
    assert_eq!(remaining(&gate), [("p.requests".into(), 4), ("p.concurrent".into(), 0)], "what was used stays used");
    drop(open);
    assert_eq!(remaining(&gate)[1].1, 1);
}

#[test]
fn c28_the_state_of_a_removed_provider_is_kept_for_an_hour() {
    for (away, remaining_then) in [(Duration::from_mins(59), 0), (Duration::from_mins(61), 1)] {
        let clock = Clock::manual();
        let meters = Meters::new(clock.clone());
        let (providers, targets) = file(limits("1/day", "", 0, secs(0)), Limits::default());
        let gate = meters.adopt(&providers, &targets, &[]);
        gate.reserve(0, tokens(1)).unwrap().sent().settle(tokens(1), &nothing());
        meters.adopt(&[], &[], &[]);
        clock.advance(away);
        meters.adopt(&[], &[], &[]);
        assert_eq!(remaining(&meters.adopt(&providers, &targets, &[]))[0].1, remaining_then, "after {away:?}");
    }
}

/// A reservation of the file before, given back under another rate, gives back what it took: tokens, not time.
#[test]
fn what_straddles_a_reload_is_given_back_at_the_new_rate() {
    let meters = Meters::new(Clock::manual());
    let slow = gate(&meters, limits("", "100/hour", 0, secs(0)), Limits::default());
    let (dropped, settled) = (slow.reserve(0, tokens(40)).unwrap(), slow.reserve(0, tokens(40)).unwrap().sent());
    let fast = gate(&meters, limits("", "100/s", 0, secs(0)), Limits::default());
    assert_eq!(remaining(&fast)[0].1, 20);
    drop(dropped);
    assert_eq!(remaining(&fast)[0].1, 60);
    settled.settle(tokens(30), &nothing());
    assert_eq!((remaining(&fast)[0].1, remaining(&slow)[0].1), (70, 70));
    assert!(slow.reserve(0, tokens(70)).is_ok(), "the old file's gate obeys the new rate");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_gets_through_when_the_limit_refills() {
    let meters = Meters::new(Clock::System);
    let gate = gate(&meters, limits("60/min", "", 0, secs(2)), Limits::default());
    for _ in 0..60 {
        gate.reserve(0, tokens(1)).unwrap().sent().settle(tokens(1), &nothing());
    }
    let start = Instant::now();
    assert!(gate.reserve_within(0, tokens(1)).await.is_ok());
    assert!(start.elapsed() >= secs(1) && start.elapsed() <= Duration::from_millis(1_010), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_wait_or_when_it_cannot_help() {
    for (provider, taken, asked, waited, retry_after) in [
        (limits("1/min", "", 0, secs(0)), 1, 1, 0, Some(60)),
        (limits("1/min", "", 0, secs(2)), 1, 1, 0, Some(60)),
        (limits("", "100/min", 0, secs(2)), 0, 101, 0, None),
    ] {
        let meters = Meters::new(Clock::System);
        let gate = gate(&meters, provider, Limits::default());
        for _ in 0..taken {
            gate.reserve(0, tokens(1)).unwrap().sent().settle(tokens(1), &nothing());
        }
        let start = Instant::now();
        let denial = gate.reserve_within(0, tokens(asked)).await.unwrap_err();
        assert_eq!(
            (start.elapsed().as_secs(), denial.retry_after.map(|wait| wait.as_secs_f64().round())),
            (waited, retry_after.map(f64::from))
        );
    }
    // An open call may give something back at any time, so the whole wait is used.
    let meters = Meters::new(Clock::System);
    let gate = gate(&meters, limits("", "", 1, secs(2)), Limits::default());
    let _open = gate.reserve(0, tokens(1)).unwrap().sent();
    let start = Instant::now();
    assert!(gate.reserve_within(0, tokens(1)).await.is_err());
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_pass_in_order_of_arrival_and_nobody_overtakes() {
    let meters = Meters::new(Clock::System);
    let gate = &gate(&meters, limits("", "", 1, secs(60)), limits("", "", 0, secs(60)));
    let order = AtomicU64::new(0);
    let first = gate.reserve(0, tokens(1)).unwrap().sent();
    let waiter = async |place: u64| {
        tokio::time::sleep(Duration::from_millis(place)).await;
        // Waiters of another target of the same provider stand in the same queue.
        let held = gate.reserve_within(usize::from(place.is_multiple_of(2)), tokens(1)).await.unwrap();
        assert_eq!(order.fetch_add(1, Ordering::SeqCst), place - 1);
        assert!(place == 4 || gate.reserve(0, tokens(1)).is_err());
        tokio::time::sleep(secs(1)).await;
        drop(held.sent());
        assert!(place == 4 || gate.reserve(1, tokens(1)).unwrap_err().limit == "limits.concurrent of provider p");
    };
    let release = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(first);
    };
    let start = Instant::now();
    tokio::join!(waiter(1), waiter(2), waiter(3), waiter(4), release);
    assert_eq!(start.elapsed(), Duration::from_millis(4_500));
    assert!(gate.reserve(0, tokens(1)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_queue_at_one_target_leaves_the_others_alone() {
    let meters = Meters::new(Clock::System);
    let gate = &gate(&meters, limits("", "", 9, secs(60)), limits("", "", 1, secs(60)));
    let first = gate.reserve(0, tokens(1)).unwrap().sent();
    let waits = async { drop(gate.reserve_within(0, tokens(1)).await.unwrap()) };
    let others = async {
        tokio::time::sleep(secs(1)).await;
        assert!(gate.reserve(1, tokens(1)).is_ok(), "the provider has seats, and nobody waits for them");
        assert!(gate.reserve(0, tokens(1)).is_err());
        drop(first);
    };
    tokio::join!(waits, others);
    assert_eq!(remaining(gate), [("p.concurrent".into(), 9), ("p/a.concurrent".into(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_settlement_wakes_who_waits_for_tokens() {
    let meters = Meters::new(Clock::System);
    let gate = &gate(&meters, limits("", "100/day", 0, secs(60)), Limits::default());
    let open = gate.reserve(0, tokens(100)).unwrap().sent();
    let start = Instant::now();
    let settle = async {
        tokio::time::sleep(secs(5)).await;
        open.settle(tokens(10), &nothing());
    };
    let (held, ()) = tokio::join!(gate.reserve_within(0, tokens(50)), settle);
    assert!(held.is_ok());
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_hangs_up_leaves_no_trace() {
    let meters = Meters::new(Clock::System);
    let gate = gate(&meters, limits("", "", 1, secs(60)), limits("", "", 1, secs(60)));
    let open = gate.reserve(0, tokens(1)).unwrap().sent();
    let (first, second) = (gate.reserve_within(0, tokens(1)), gate.reserve_within(1, tokens(1)));
    assert!(tokio::time::timeout(secs(1), async { tokio::join!(first, second) }).await.is_err());
    drop(open);
    assert!(gate.reserve(0, tokens(1)).is_ok());
}

#[test]
fn threads_never_take_more_than_there_is() {
    let meters = Meters::new(Clock::manual());
    let gate = &gate(&meters, limits("700/min", "10k/min", 3, secs(0)), limits("", "9k/min", 0, secs(0)));
    let (sent, at_once) = (&AtomicU64::new(0), &AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for round in 0..3_000_u64 {
                    let Ok(held) = gate.reserve(0, tokens(20)) else { continue };
                    assert!(at_once.fetch_add(1, Ordering::SeqCst) < 3);
                    let ends = (round + thread) % 3;
                    at_once.fetch_sub(1, Ordering::SeqCst);
                    match ends {
                        0 => drop(held),
                        1 => {
                            sent.fetch_add(20, Ordering::SeqCst);
                            drop(held.sent());
                        }
                        _ => {
                            sent.fetch_add(15, Ordering::SeqCst);
                            held.sent().settle(tokens(15), &nothing());
                        }
                    }
                }
            });
        }
    });
    assert!(sent.load(Ordering::SeqCst) <= 9_000);
    let left: Vec<u64> = remaining(gate).into_iter().map(|(_, left)| left).collect();
    assert_eq!((left[1], left[2], left[3]), (10_000 - sent.load(Ordering::SeqCst), 3, 9_000 - sent.load(Ordering::SeqCst)));
}

/// What may happen to a gate, in any order.
#[derive(Clone, Debug)]
enum Event {
    Reserve(u64),
    Drop(usize),
    Send(usize),
    Settle(usize, u64),
    Abandon(usize),
    Pass(u64),
    Adopt(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0_u64..120).prop_map(Event::Reserve),
        1 => any::<usize>().prop_map(Event::Drop),
        2 => any::<usize>().prop_map(Event::Send),
        2 => (any::<usize>(), 0_u64..200).prop_map(|(which, used)| Event::Settle(which, used)),
        1 => any::<usize>().prop_map(Event::Abandon),
        2 => (0_u64..40_000).prop_map(Event::Pass),
        1 => (0_usize..4).prop_map(Event::Adopt),
    ];
    proptest::collection::vec(event, 0..120)
}

fn pick<T>(list: &mut Vec<T>, which: usize) -> Option<T> {
    (!list.is_empty()).then(|| list.remove(which % list.len()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: what passed is never more than the burst and what came back by then, nothing is
    /// given back twice, and no seat is lost.
    #[test]
    fn no_order_of_events_breaks_a_limit(events in events()) {
        // Amounts per minute, and the burst.
        const RATES: [(u64, u64); 4] = [(300, 300), (600, 100), (60, 300), (77, 77)];
        const SEATS: [u32; 4] = [5, 2, 9, 1];
        let file = |which: usize| {
            let rate = Rate::parse(&format!("{}/min", RATES[which].0)).unwrap().with_burst(RATES[which].1.try_into().unwrap());
            file(Limits { tokens: Some(rate), concurrent: NonZeroU32::new(SEATS[which]), ..Limits::default() }, limits("50/min", "", 0, secs(0)))
        };
        let adopt = |meters: &Meters, which| { let (providers, targets) = file(which); meters.adopt(&providers, &targets, &[]) };
        let clock = Clock::manual();
        let meters = Meters::new(clock.clone());
        let (mut gate, mut which) = (adopt(&meters, 0), 0);
        let (mut held, mut open) = (Vec::new(), Vec::new());
        // What passed so far, and what the rates brought back so far, in token-milliseconds per minute.
        let (mut passed, mut refilled) = (0_u64, 0_u64);
        for event in events {
            match event {
                Event::Reserve(amount) => if let Ok(taken) = gate.reserve(0, tokens(amount)) {
                    passed += amount;
                    held.push((taken, amount));
                    // A call of no tokens passes a limit in debt: it lets nothing through.
                    prop_assert!(amount == 0 || passed <= RATES[which].1 + refilled / 60_000);
                },
                Event::Drop(place) => if let Some((taken, amount)) = pick(&mut held, place) { passed -= amount; drop(taken); },
                Event::Send(place) => if let Some((taken, amount)) = pick(&mut held, place) { open.push((taken.sent(), amount)); },
                Event::Settle(place, used) => if let Some((sent, amount)) = pick(&mut open, place) { passed = passed - amount + used; sent.settle(tokens(used), &nothing()); },
                Event::Abandon(place) => drop(pick(&mut open, place)),
                Event::Pass(millis) => { clock.advance(Duration::from_millis(millis)); refilled += millis * RATES[which].0; },
                Event::Adopt(next) => { which = next; gate = adopt(&meters, which); },
            }
            let levels = gate.levels(0);
            prop_assert!(levels.iter().all(|level| level.remaining <= level.capacity), "{levels:?}");
            let flying = u64::try_from(held.len() + open.len()).unwrap();
            prop_assert_eq!(levels[1].remaining, u64::from(SEATS[which]).saturating_sub(flying));
        }
        drop((held, open));
        prop_assert_eq!(gate.levels(0)[1].remaining, u64::from(SEATS[which]));
    }

    /// Held and dropped at the same instant, a reservation leaves no trace.
    #[test]
    fn a_dropped_hold_leaves_no_trace(amounts in proptest::collection::vec(1_u64..200, 1..20), used in 0_u64..500) {
        let meters = Meters::new(Clock::manual());
        let gate = gate(&meters, limits("100/min", "1k/min", 50, secs(0)), limits("70/min", "800/min", 0, secs(0)));
        gate.reserve(0, tokens(1)).unwrap().sent().settle(tokens(used), &nothing());
        let before = gate.levels(0);
        let held: Vec<_> = amounts.iter().map(|amount| gate.reserve(0, tokens(*amount))).collect();
        drop(held);
        prop_assert_eq!(gate.levels(0), before);
    }
}

/// These attempts move no money.
fn nothing() -> End {
    End::void(None, "p4")
}
