use super::*;

fn limit(text: &str, cell: &Arc<Cell>, clock: &Clock) -> Limit {
    Limit::new(Rate::parse(text).unwrap(), 0, cell, clock)
}

fn level(limit: &Limit) -> (u64, Duration) {
    let room = limit.room(limit.clock.now());
    (room.remaining, room.reset)
}

#[test]
fn a_full_limit_lets_its_burst_through_and_then_its_rate() {
    for (text, amount, burst, step_ms) in
        [("60/min", 1, 60, 1_000), ("5/s", 1, 5, 200), ("200k/min", 1_000, 200, 300), ("2/hour", 1, 2, 1_800_000)]
    {
        let clock = Clock::manual();
        clock.advance(Duration::from_hours(5));
        let limit = limit(text, &Arc::default(), &clock);
        for _ in 0..burst {
            assert_eq!(limit.take(amount), Ok(()), "{text}");
        }
        assert_eq!(limit.take(amount), Err(Refused::Later(Duration::from_millis(step_ms))), "{text}");
        clock.advance(Duration::from_millis(step_ms));
        assert_eq!(limit.take(amount), Ok(()), "{text}");
        assert!(limit.take(amount).is_err(), "{text}");
    }
}

#[test]
fn more_than_the_burst_never_passes() {
    let clock = Clock::manual();
    let limit = Limit::new(Rate::parse("200k/min").unwrap().with_burst(50_000.try_into().unwrap()), 0, &Arc::default(), &clock);
    for amount in [50_001, 200_000, u64::from(u32::MAX), u64::MAX] {
        assert_eq!((limit.look(amount), limit.take(amount)), (Err(Refused::Never), Err(Refused::Never)), "{amount}");
    }
    assert_eq!((limit.take(50_000), limit.take(0)), (Ok(()), Ok(())));
}

#[test]
fn a_look_decides_like_a_take_and_keeps_nothing() {
    let clock = Clock::manual();
    let limit = limit("100/min", &Arc::default(), &clock);
    for amount in [40, 40, 40, 20, 1, 100, 101] {
        let before = level(&limit);
        let told = limit.look(amount);
        assert_eq!(level(&limit), before);
        assert_eq!(limit.take(amount), told, "{amount}");
    }
}

/// A limiter made after an hour of uptime decides by the same cell as one made at the start.
#[test]
fn a_new_limiter_of_the_same_rate_goes_on_where_the_old_one_stood() {
    let (clock, cell) = (Clock::manual(), Arc::default());
    let first = limit("10/min", &cell, &clock);
    clock.advance(Duration::from_hours(1));
    assert_eq!(first.take(10), Ok(()));
    for _ in 0..1_000 {
        let again = limit("10/min", &cell, &clock);
        assert_eq!((again.take(1), level(&again)), (Err(Refused::Later(Duration::from_secs(6))), (0, Duration::from_mins(1))));
    }
}

#[test]
fn use_is_corrected_in_both_directions() {
    let clock = Clock::manual();
    clock.advance(Duration::from_mins(10));
    let limit = limit("60k/min", &Arc::default(), &clock);
    assert_eq!(limit.take(10_000), Ok(()));
    limit.correct(10_000, 4_000);
    assert_eq!(level(&limit), (56_000, Duration::from_secs(4)));
    limit.give_back(4_000);
    assert_eq!(level(&limit), (60_000, Duration::ZERO));
    limit.give_back(60_000);
    assert_eq!(level(&limit), (60_000, Duration::ZERO), "full stays full");
    assert_eq!(limit.take(60_000), Ok(()));
    limit.correct(60_000, 90_000);
    assert_eq!(level(&limit), (0, Duration::from_secs(90)));
    assert_eq!(limit.take(1), Err(Refused::Later(Duration::from_millis(30_001))), "debt is paid first");
}

#[test]
fn an_absurd_use_closes_a_limit_for_an_hour_at_most() {
    let clock = Clock::manual();
    let limit = limit("1k/min", &Arc::default(), &clock);
    limit.correct(0, 1 << 40);
    assert_eq!(level(&limit).1, Duration::from_mins(61));
    limit.correct(0, u64::MAX);
    assert_eq!(level(&limit).1, Duration::from_mins(61));
}

#[test]
fn c22_a_changed_rate_carries_what_is_used() {
    for (was, now_is, taken, remaining) in [
        ("100/min", "200/min", 100, 100),
        ("100/min", "200/min", 50, 150),
        ("100/min", "50/min", 20, 30),
        ("100/min", "50/min", 80, 0),
        ("100/min", "100/hour", 100, 0),
        ("60/min", "1M/s", 60, 999_940),
    ] {
        let (clock, cell) = (Clock::manual(), Arc::default());
        clock.advance(Duration::from_hours(1));
        let (old, new) = (limit(was, &cell, &clock), limit(now_is, &cell, &clock));
        assert_eq!(old.take(taken), Ok(()));
        new.take_over(&old);
        assert_eq!(level(&new).0, remaining, "{was} → {now_is} after {taken}");
        old.take_over(&new);
        assert_eq!(level(&old).0, 100.min(old.room(old.clock.now()).capacity) - taken, "{now_is} → {was} after {taken}");
    }
}

#[test]
fn rates_of_any_size_are_strict_and_close() {
    let largest = i64::MAX.unsigned_abs();
    for amount in [1, 7, 59, 1_000, 999_999, 123_456_789, 70_000_000_000, largest] {
        for seconds in [1, 60, 3_600, 86_400] {
            for burst in [1, 10, 1_000_003, largest] {
                let [amount, burst] = [amount, burst].map(|count| std::num::NonZeroU64::new(count).unwrap());
                let rate = Rate { amount, per: Duration::from_secs(seconds), burst };
                let (grain, step, units) = units_of(rate);
                let per = rate.per.as_nanos();
                assert!(u128::from(step) * u128::from(amount.get()) >= u128::from(grain) * per, "{rate}: faster than said");
                assert!(u128::from(units.get()) * u128::from(grain) <= u128::from(burst.get()), "{rate}: more at once than said");
                if burst.get() >= 1_000_003 {
                    let exact = per * u128::from(grain) / u128::from(amount.get());
                    assert!(u128::from(step) <= exact + exact / 500 + 1, "{rate}: {step} ns for {grain}, exactly {exact}");
                }
            }
        }
    }
}
