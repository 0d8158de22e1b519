use jiff::Timestamp;

use crate::config::{Budget, Cap, Checked};
use crate::store::History;
use crate::units::{Period, Remembered};

use super::as_written;

/// Caps that a later file put another period in place of while their windows ran: such a window binds until it ends, over a new start
/// too. The ledger knows what was spent in it, the accepted files know its cap. As the budgets had them, with these caps alone.
pub(super) fn exchanged(history: &History, running: &Checked, remembered: &Remembered, now: Timestamp) -> Vec<Budget> {
    let mut sought: Vec<Sought> = running.budgets.iter().filter_map(|budget| Sought::of(budget, remembered, now)).collect();
    // Nearly always there is nothing to look for, and no file is read.
    let mut earlier = history.newest_first().filter_map(|accepted| as_written(&accepted.sources));
    while sought.iter().any(|one| !one.periods.is_empty()) {
        let Some(file) = earlier.next() else { break };
        for one in &mut sought {
            one.look_into(&file);
        }
    }
    sought.into_iter().filter_map(|one| one.found).collect()
}

/// A budget of which windows run that its file does not name.
struct Sought {
    /// As the file after the one that is looked into next has it.
    later: Budget,
    periods: Vec<Period>,
    found: Option<Budget>,
}

impl Sought {
    fn of(budget: &Budget, remembered: &Remembered, now: Timestamp) -> Option<Self> {
        let runs = remembered.windows.iter().map(|window| &window.key).filter(|key| key.ends.is_none_or(|ends| ends > now));
        let periods = runs.filter(|key| key.budget == budget.name && cap(budget, key.period).is_none()).map(|key| key.period);
        let periods: Vec<Period> = periods.collect();
        (!periods.is_empty()).then(|| Self { later: budget.clone(), periods, found: None })
    }

    fn look_into(&mut self, file: &Checked) {
        let Some(budget) = file.budgets.iter().find(|budget| budget.name == self.later.name) else {
            self.periods.clear();
            return;
        };
        let is_exchanged = self.later.caps.iter().any(|later| cap(budget, later.window.period).is_none());
        for known in budget.caps.iter().filter(|cap| self.periods.contains(&cap.window.period)) {
            // One that was only taken out has not bound since.
            if is_exchanged {
                let found = self.found.get_or_insert_with(|| Budget { caps: Vec::new(), was: None, ..budget.clone() });
                found.caps.push(known.clone());
            }
        }
        self.periods.retain(|period| cap(budget, *period).is_none());
        self.later = budget.clone();
    }
}

fn cap(budget: &Budget, period: Period) -> Option<&Cap> {
    budget.caps.iter().find(|cap| cap.window.period == period)
}
