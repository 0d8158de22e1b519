//! Random histories of entries, crashes and stops, against a model of thirty lines.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Grant(u64),
    Hold(u64),
    /// One of the open attempts: posted and disputed.
    Settle(usize, u64, u64),
    /// An attempt that ended, or never was, settles once more.
    SettleAgain(u64),
    Resolve(usize, u64),
    Adjust(u64, bool),
    Kill,
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..5_000_u64).prop_map(Step::Grant),
        6 => (1..500_u64).prop_map(Step::Hold),
        6 => (any::<usize>(), 0..400_u64, 0..100_u64).prop_map(|(which, posted, disputed)| Step::Settle(which, posted, disputed)),
        1 => (0..40_u64).prop_map(Step::SettleAgain),
        2 => (any::<usize>(), 0..600_u64).prop_map(|(which, posted)| Step::Resolve(which, posted)),
        1 => (0..600_u64, any::<bool>()).prop_map(|(amount, is_credit)| Step::Adjust(amount, is_credit)),
        1 => Just(Step::Kill),
        1 => Just(Step::Stop),
    ]
}

/// What the one window must come to.
#[derive(Default)]
struct Model {
    epoch: u64,
    number: u64,
    granted: u64,
    posted: u64,
    open: Vec<(AttemptId, u64)>,
    disputes: BTreeMap<DisputeId, u64>,
}

impl Model {
    fn disputed(&self) -> u64 {
        self.disputes.values().sum()
    }

    fn start(&mut self, is_clean: bool) {
        let held: u64 = self.open.iter().map(|(_, hold)| hold).sum();
        let explained = self.posted + self.disputed() + held;
        let rest = self.granted.saturating_sub(explained);
        self.disputes.extend(self.open.drain(..).map(|(id, hold)| (DisputeId::Attempt(id), hold)));
        if is_clean {
            self.granted = self.granted.min(explained);
        } else if rest > 0 {
            self.disputes.insert(DisputeId::Crash(self.epoch, month("company")), rest);
        }
        (self.epoch, self.number) = (self.epoch + 1, 0);
    }
}

/// Carries a step out on the model and answers the entry that tells it.
fn entry(model: &mut Model, step: &Step) -> Option<Entry> {
    let windows = [month("company")];
    match step {
        Step::Grant(amount) => {
            model.granted = *amount;
            Some(Entry::Granted(vec![(windows[0].clone(), usd(*amount))]))
        }
        Step::Hold(hold) => {
            model.number += 1;
            let id = id(model.epoch, model.number);
            model.open.push((id, *hold));
            Some(held(id, *hold, &windows))
        }
        Step::Settle(which, posted, disputed) => {
            let at = (!model.open.is_empty()).then(|| which % model.open.len())?;
            let (id, _) = model.open.remove(at);
            model.posted += posted;
            if *disputed > 0 {
                model.disputes.insert(DisputeId::Attempt(id), *disputed);
            }
            Some(settled(id, *posted, *disputed))
        }
        Step::SettleAgain(number) => {
            let id = id(model.epoch, *number);
            let is_open = model.open.iter().any(|(open, _)| *open == id);
            (!is_open).then(|| settled(id, 7, 7))
        }
        Step::Resolve(which, posted) => {
            let nth = (!model.disputes.is_empty()).then(|| which % model.disputes.len())?;
            let (id, amount) = model.disputes.iter().nth(nth).map(|(id, amount)| (id.clone(), *amount))?;
            model.disputes.remove(&id);
            let (posted, at) = (amount.min(*posted), at(4));
            model.posted += posted;
            let resolved = ResolvedEntry { id, at, posted: usd(posted), released: usd(amount - posted), reason: "time".into() };
            Some(Entry::Resolved(resolved))
        }
        Step::Adjust(amount, is_credit) => {
            model.posted = if *is_credit { model.posted.saturating_sub(*amount) } else { model.posted + amount };
            let (at, window, reason) = (at(5), windows[0].clone(), "invoice".into());
            Some(Entry::Adjusted(AdjustedEntry { at, window, amount: usd(*amount), is_credit: *is_credit, reason }))
        }
        Step::Kill | Step::Stop => None,
    }
}

fn is_as_the_model(remembered: &Remembered, model: &Model) {
    let (posted, disputed) =
        remembered.windows.iter().fold((0, 0), |sum, window| (sum.0 + window.posted.nano(), sum.1 + window.disputed.nano()));
    assert_eq!((remembered.epoch, posted, disputed), (model.epoch, model.posted, model.disputed()));
    let open: BTreeMap<_, _> = remembered.disputes.iter().map(|dispute| (dispute.id.clone(), dispute.amount.nano())).collect();
    assert_eq!(open, model.disputes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// I2, I3, I7, I8, I10: whatever happens in whatever batches, the file says what the model says, and is whole.
    #[test]
    fn every_history_is_counted_once_and_proved(steps in prop::collection::vec((step(), any::<bool>()), 10..40)) {
        let folder = Folder::new();
        let mut model = Model::default();
        model.start(true);
        let (mut ledger, remembered) = folder.open();
        is_as_the_model(&remembered, &model);
        let mut batch = Vec::new();
        for (step, is_last) in steps {
            batch.extend(entry(&mut model, &step));
            let is_end = matches!(step, Step::Kill | Step::Stop);
            if is_last || is_end {
                ledger.put(&batch).unwrap();
                batch.clear();
            }
            if is_end {
                let is_clean = matches!(step, Step::Stop);
                if is_clean { ledger.close().unwrap() } else { drop(ledger) }
                model.start(is_clean);
                let (again, remembered) = folder.open();
                ledger = again;
                is_as_the_model(&remembered, &model);
            }
        }
        ledger.put(&batch).unwrap();
        let proved = verified(&folder);
        prop_assert_eq!(proved.findings, Vec::<String>::new());
    }
}
