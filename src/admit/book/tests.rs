mod histories;
mod scopes;

use std::num::NonZeroU8;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::config::{BudgetMode, Cap, Covers, EstimateBy, OnLow, Place};
use crate::units::{DisputeClass, DisputeId, Remembered, StartsOn, Tokens};

pub(super) fn usd(nano: u64) -> Usd {
    Usd::from_nano(nano)
}

pub(super) fn budget(name: &str, caps: &[(u64, Period)]) -> Budget {
    let window = |period| Window { period, zone: TimeZone::UTC, starts_on: StartsOn::Day(NonZeroU8::MIN) };
    Budget {
        name: BudgetName::parse(name).unwrap(),
        place: Place::default(),
        covers: Covers::default(),
        caps: caps.iter().map(|(amount, period)| Cap { amount: usd(*amount), window: window(*period) }).collect(),
        pace: None,
        mode: BudgetMode::Hard,
        warn_at: Vec::new(),
        on_low: OnLow::Clamp,
        min_output_tokens: Tokens::new(256),
        wait: std::time::Duration::ZERO,
        was: None,
        estimate: EstimateBy::Auto,
    }
}

use crate::config::Budget;

/// A book whose every grant is given at once, and a clock that tests move.
struct Till {
    book: Book,
    now: Now,
    next: u64,
}

impl Till {
    fn new(budgets: &[Budget]) -> (Self, Vec<Vec<AccountId>>) {
        let wall: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let mut till = Self { book: Book::default(), now: Now { wall, at: Moment::default(), claimed: None }, next: 0 };
        let accounts = till.adopt(budgets);
        (till, accounts)
    }

    fn adopt(&mut self, budgets: &[Budget]) -> Vec<Vec<AccountId>> {
        budgets.iter().map(|budget| self.book.adopt(budget, self.now.wall)).collect()
    }

    fn reserve(&mut self, accounts: &[AccountId], amount: u64) -> Result<AttemptId, Denied> {
        self.next += 1;
        let id = AttemptId { epoch: 1, number: self.next };
        for _ in 0..3 {
            match self.book.reserve(id, accounts, usd(amount), self.now) {
                Ok(_) => return Ok(id),
                Err(Denied::NotGranted) => self.grant(),
                Err(denied) => return Err(denied),
            }
        }
        panic!("a grant that was given is not there");
    }

    fn grant(&mut self) {
        for tell in self.book.take_told() {
            if let Some(raise) = tell.raise {
                self.book.granted(raise, true, self.now.at);
            }
        }
    }

    fn settle(&mut self, id: AttemptId, posted: u64, disputed: Option<(DisputeClass, u64, Option<Timestamp>)>) -> Outcome {
        let disputed = disputed.map(|(class, amount, until)| Disputed { class, amount: usd(amount), until });
        self.book.settle(id, usd(posted), disputed, self.now)
    }

    fn pass(&mut self, time: SignedDuration) {
        self.now.wall += time;
        self.now.at = self.now.at.plus(time.unsigned_abs());
    }

    /// Posted, held and disputed.
    fn counts(&mut self, account: AccountId) -> (u64, u64, u64) {
        let standing = self.book.standing(account, self.now.wall);
        (standing.posted.nano(), standing.held.nano(), standing.disputed.nano())
    }
}

#[test]
fn b01_of_a_thousand_holds_as_many_are_given_as_fit() {
    let (mut till, accounts) = Till::new(&[budget("company", &[(5_000, Period::Month)])]);
    let given = (0..1_000).filter(|_| till.reserve(&accounts[0], 100).is_ok()).count();
    assert_eq!((given, till.counts(0)), (50, (0, 5_000, 0)));
}

#[test]
fn b02_a_billionth_too_much_is_refused() {
    let (mut till, accounts) = Till::new(&[budget("company", &[(1_000, Period::Month)])]);
    let first = till.reserve(&accounts[0], 400).unwrap();
    assert_eq!(till.reserve(&accounts[0], 601), Err(Denied::Busy { account: 0, rest: usd(600) }));
    till.settle(first, 400, None);
    assert_eq!(till.reserve(&accounts[0], 601), Err(Denied::Exceeded { account: 0, rest: usd(600) }));
    assert!(till.reserve(&accounts[0], 600).is_ok());
}

#[test]
fn b08_a_refusal_between_two_levels_leaves_no_part_of_a_hold() {
    let (mut till, accounts) =
        Till::new(&[budget("company", &[(1_000, Period::Month), (500, Period::Day)]), budget("team", &[(50, Period::Month)])]);
    let all: Vec<AccountId> = accounts.concat();
    assert_eq!(till.reserve(&all, 60), Err(Denied::Exceeded { account: 2, rest: usd(50) }));
    assert_eq!((till.counts(0), till.counts(1), till.counts(2)), ((0, 0, 0), (0, 0, 0), (0, 0, 0)));
    assert_eq!(till.book.open_holds(), 0);
}

#[test]
fn an_attempt_is_settled_once_and_what_is_over_is_told() {
    let (mut till, accounts) = Till::new(&[Budget {
        warn_at: vec!["50%"; 1].into_iter().map(|text| crate::units::parse_share(text).unwrap()).collect(),
        ..budget("company", &[(1_000, Period::Month)])
    }]);
    let id = till.reserve(&accounts[0], 400).unwrap();
    let outcome = till.settle(id, 600, None);
    assert_eq!((outcome.overrun, outcome.crossed.len()), (usd(200), 1));
    assert_eq!(till.settle(id, 600, None), Outcome::default());
    assert_eq!(till.counts(0), (600, 0, 0));
    // Above the cap everything is refused, a free call too.
    let next = till.reserve(&accounts[0], 400).unwrap();
    till.settle(next, 500, None);
    assert_eq!(till.reserve(&accounts[0], 0), Err(Denied::Exceeded { account: 0, rest: Usd::ZERO }));
}

#[test]
fn a_dispute_counts_until_it_is_resolved_or_its_time_is_over() {
    let (mut till, accounts) = Till::new(&[budget("company", &[(1_000, Period::Month)])]);
    let until = till.now.wall + SignedDuration::from_hours(24);
    let ids: Vec<AttemptId> = (0..2).map(|_| till.reserve(&accounts[0], 400).unwrap()).collect();
    for id in &ids {
        // Never more than the hold leaves.
        till.settle(*id, 100, Some((DisputeClass::Ambiguous, 5_000, Some(until))));
    }
    assert_eq!(till.counts(0), (200, 0, 600));
    let resolved = till.book.resolve(&DisputeId::Attempt(ids[0]), usd(50), till.now.wall, &"invoice".into()).unwrap();
    assert_eq!((resolved.posted, resolved.released, till.counts(0)), (usd(50), usd(250), (250, 0, 300)));
    assert!(till.book.resolve(&DisputeId::Attempt(ids[0]), usd(50), till.now.wall, &"again".into()).is_none());
    till.pass(SignedDuration::from_hours(24));
    assert_eq!(till.counts(0), (250, 0, 0));
}

#[test]
fn l11_a_request_is_charged_to_the_window_that_admitted_it() {
    let (mut till, accounts) = Till::new(&[budget("company", &[(1_000, Period::Day)])]);
    let late = till.reserve(&accounts[0], 900).unwrap();
    till.pass(SignedDuration::from_hours(12));
    assert_eq!(till.counts(0), (0, 0, 0));
    assert!(till.reserve(&accounts[0], 1_000).is_ok());
    till.settle(late, 900, None);
    assert_eq!(till.counts(0), (0, 1_000, 0));
}

#[test]
fn l08_a_clock_that_goes_back_opens_no_old_window() {
    let (mut till, accounts) = Till::new(&[budget("company", &[(1_000, Period::Day)])]);
    till.pass(SignedDuration::from_hours(24));
    let spent = till.reserve(&accounts[0], 1_000).unwrap();
    till.settle(spent, 1_000, None);
    till.now.wall -= SignedDuration::from_hours(48);
    assert_eq!(till.reserve(&accounts[0], 1), Err(Denied::Exceeded { account: 0, rest: Usd::ZERO }));
}

#[test]
fn l09_beyond_a_jump_over_the_end_no_hard_budget_admits() {
    let (mut till, accounts) = Till::new(&[budget("company", &[(1_000, Period::Day)])]);
    till.now.claimed = Some(till.now.wall + SignedDuration::from_hours(11));
    assert!(till.reserve(&accounts[0], 1).is_ok());
    till.now.claimed = Some(till.now.wall + SignedDuration::from_hours(12));
    assert_eq!(till.reserve(&accounts[0], 1), Err(Denied::ClockSuspect { account: 0 }));
}

#[test]
fn c18_c19_a_changed_cap_holds_from_the_next_request_on() {
    let (mut till, accounts) = Till::new(&[budget("company", &[(1_000, Period::Month)])]);
    let flying = till.reserve(&accounts[0], 800).unwrap();
    till.adopt(&[budget("company", &[(500, Period::Month)])]);
    assert_eq!(till.reserve(&accounts[0], 1), Err(Denied::Busy { account: 0, rest: Usd::ZERO }));
    till.settle(flying, 700, None);
    assert_eq!(till.reserve(&accounts[0], 1), Err(Denied::Exceeded { account: 0, rest: Usd::ZERO }));
    till.adopt(&[budget("company", &[(2_000, Period::Month)])]);
    assert!(till.reserve(&accounts[0], 1_300).is_ok());
}

#[test]
fn c20_spend_follows_a_new_name() {
    let (mut till, accounts) = Till::new(&[budget("company", &[(1_000, Period::Month)])]);
    let flying = till.reserve(&accounts[0], 300).unwrap();
    till.book.take_told();
    let renamed = till.adopt(&[Budget { was: Some(BudgetName::parse("company").unwrap()), ..budget("firm", &[(1_000, Period::Month)]) }]);
    assert!(
        matches!(&till.book.take_told()[0].entry, Entry::Renamed { was, name } if was.as_str() == "company" && name.as_str() == "firm")
    );
    till.settle(flying, 300, None);
    assert_eq!(till.counts(renamed[0][0]), (300, 0, 0));
    // Said again at the next reload it changes nothing.
    till.adopt(&[Budget { was: Some(BudgetName::parse("company").unwrap()), ..budget("firm", &[(1_000, Period::Month)]) }]);
    assert_eq!(till.counts(renamed[0][0]), (300, 0, 0));
}

#[test]
fn c21_another_period_or_calendar_opens_no_fresh_window_early() {
    let (mut till, accounts) = Till::new(&[budget("company", &[(1_000, Period::Month)])]);
    let spent = till.reserve(&accounts[0], 900).unwrap();
    till.settle(spent, 900, None);
    let weekly = till.adopt(&[budget("company", &[(1_000, Period::Week)])]).concat();
    assert_eq!(till.reserve(&weekly, 101), Err(Denied::Exceeded { account: 0, rest: usd(100) }));
    // Whatever else is edited meanwhile.
    let weekly = till.adopt(&[budget("company", &[(2_000, Period::Week)])]).concat();
    assert_eq!(till.reserve(&weekly, 101), Err(Denied::Exceeded { account: 0, rest: usd(100) }));
    // The month is over: only the week counts.
    till.pass(SignedDuration::from_hours(24 * 9));
    assert!(till.reserve(&weekly, 1_000).is_ok());

    let (mut till, accounts) = Till::new(&[budget("company", &[(1_000, Period::Month)])]);
    let spent = till.reserve(&accounts[0], 900).unwrap();
    till.settle(spent, 900, None);
    let mut from_the_15th = budget("company", &[(1_000, Period::Month)]);
    from_the_15th.caps[0].window.starts_on = StartsOn::Day(NonZeroU8::new(15).unwrap());
    let same = till.adopt(&[from_the_15th]).concat();
    assert!(till.reserve(&same, 101).is_err());
    till.pass(SignedDuration::from_hours(24 * 9));
    assert!(till.reserve(&same, 1_000).is_ok());
}

#[test]
fn a_taken_out_period_is_gone_at_once() {
    let (mut till, _) = Till::new(&[budget("company", &[(1_000, Period::Month), (100, Period::Day)])]);
    let month = till.adopt(&[budget("company", &[(1_000, Period::Month)])]).concat();
    assert!(till.reserve(&month, 500).is_ok());
}

#[test]
fn soft_caps_close_when_they_are_spent_and_observed_ones_never() {
    for (mode, third) in [(BudgetMode::Soft, false), (BudgetMode::Observe, true)] {
        let (mut till, accounts) = Till::new(&[Budget { mode, ..budget("company", &[(1_000, Period::Month)]) }]);
        let first = till.reserve(&accounts[0], 900).unwrap();
        let second = till.reserve(&accounts[0], 900).unwrap();
        till.settle(first, 900, None);
        till.settle(second, 900, None);
        assert_eq!(till.reserve(&accounts[0], 1).is_ok(), third, "{mode:?}");
    }
}

#[test]
fn a_grant_runs_ahead_by_a_hundredth_of_the_cap_at_most() {
    let (mut till, accounts) = Till::new(&[budget("company", &[(100_000, Period::Month)])]);
    let dear = till.reserve(&accounts[0], 50_000).unwrap();
    till.pass(SignedDuration::from_secs(1));
    till.settle(dear, 10, None);
    // Until the row is on disk a crash would still count the hold.
    assert_eq!(till.book.standing(0, till.now.wall).granted, usd(51_000));
    till.book.told(1);
    till.book.written(1, till.now.at);
    let standing = till.book.standing(0, till.now.wall);
    assert!(standing.granted <= usd(1_010) && standing.granted >= usd(10), "{standing:?}");
    assert!(till.book.take_told().iter().any(|tell| matches!(&tell.entry, Entry::Granted(grants) if grants[0].1 == standing.granted)));
    till.book.give_back();
    assert_eq!(till.book.standing(0, till.now.wall).granted, usd(10));
}

#[test]
fn what_the_ledger_remembers_counts_again() {
    let key = WindowKey {
        budget: BudgetName::parse("company").unwrap(),
        period: Period::Month,
        starts: "2026-11-01T00:00:00Z".parse().unwrap(),
        ends: Some("2026-12-01T00:00:00Z".parse().unwrap()),
    };
    let id = DisputeId::Attempt(AttemptId { epoch: 1, number: 7 });
    let remembered = Remembered {
        epoch: 2,
        windows: vec![crate::units::RememberedWindow { key: key.clone(), posted: usd(300), disputed: usd(200) }],
        disputes: vec![crate::units::RememberedDispute {
            id: id.clone(),
            class: DisputeClass::Ambiguous,
            amount: usd(200),
            until: None,
            windows: vec![key],
            target: None,
        }],
    };
    let mut till = Till::new(&[]).0;
    till.book.remember(&remembered);
    let accounts = till.adopt(&[budget("company", &[(1_000, Period::Month)])]).concat();
    assert_eq!(till.counts(0), (300, 0, 200));
    assert!(till.reserve(&accounts, 501).is_err());
    till.book.resolve(&id, Usd::ZERO, till.now.wall, &"x".into()).unwrap();
    assert!(till.reserve(&accounts, 700).is_ok());
}

#[test]
fn l14_old_disputes_may_come_late_whatever_was_renamed_or_has_ended_since() {
    let key = |name: &str, starts: &str, ends: &str| WindowKey {
        budget: BudgetName::parse(name).unwrap(),
        period: Period::Month,
        starts: starts.parse().unwrap(),
        ends: Some(ends.parse().unwrap()),
    };
    let now = key("company", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z");
    let gone = key("company", "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z");
    let dispute = |number, amount, until, window: &WindowKey| crate::units::RememberedDispute {
        id: DisputeId::Attempt(AttemptId { epoch: 1, number }),
        class: DisputeClass::Ambiguous,
        amount: usd(amount),
        until,
        windows: vec![window.clone()],
        target: None,
    };
    let mut till = Till::new(&[]).0;
    let window = crate::units::RememberedWindow { key: now.clone(), posted: usd(300), disputed: usd(500) };
    till.book.remember(&Remembered { epoch: 2, windows: vec![window], disputes: vec![] });
    till.adopt(&[budget("company", &[(1_000, Period::Month)])]);
    let firm = Budget { was: Some(BudgetName::parse("company").unwrap()), ..budget("firm", &[(1_000, Period::Month)]) };
    // The name is another budget's by now.
    let accounts = till.adopt(&[firm, budget("company", &[(1_000, Period::Month)])]);
    till.book.take_told();
    assert_eq!((till.counts(accounts[0][0]), till.counts(accounts[1][0])), ((300, 0, 500), (0, 0, 0)), "they count before they are known");
    let wall = till.now.wall;
    till.book.remember_disputes(&[
        dispute(1, 200, None, &now),
        dispute(2, 300, Some(wall), &now),
        dispute(3, 50, None, &gone),
        dispute(4, 60, Some(Timestamp::MAX), &gone),
    ]);
    // Whose window has ended is over; whose time is over ends with the next look.
    till.book.expire(wall);
    let ended: Vec<_> =
        till.book.take_told().into_iter().filter_map(|tell| if let Entry::Resolved(end) = tell.entry { Some(end) } else { None }).collect();
    let told: Vec<_> = ended.iter().map(|end| (end.id.clone(), end.released.nano(), &*end.reason)).collect();
    let id = |number| DisputeId::Attempt(AttemptId { epoch: 1, number });
    assert_eq!(told, [(id(3), 50, "window"), (id(2), 300, "time")]);
    assert_eq!((till.counts(accounts[0][0]), till.counts(accounts[1][0])), ((300, 0, 200), (0, 0, 0)));
    till.book.resolve(&id(1), usd(200), wall, &"billed".into()).unwrap();
    assert_eq!((till.counts(accounts[0][0]), till.book.disputes().len()), ((500, 0, 0), 1));
}
