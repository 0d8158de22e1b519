//! Windows of budgets by their names: `company.month`, `provider.openai.day`.

use super::budgets::Budgets;
use crate::config::checked::SpentWindow;
use crate::config::codes::Code;
use crate::config::decode::Findings;
use crate::config::diagnostic::{Diagnostic, Place};
use crate::units::Period;

impl Budgets {
    /// A window such as `company.month`; `about` is who names it. Nothing once a finding says why, or when it cannot be judged.
    pub(super) fn window(&self, about: &str, text: &str, place: Place, findings: &mut Findings) -> Option<SpentWindow> {
        let names: Vec<&str> = self.named.iter().map(|named| named.name.as_str()).collect();
        let (name, period) = text.rsplit_once('.').unwrap_or((text, ""));
        // `company` alone, and `provider.openai` alone.
        let (name, period) = if names.contains(&text) { (text, "") } else { (name, period) };
        let Some(budget) = names.iter().position(|known| *known == name) else {
            if self.is_whole {
                let message = format!("{about} names budget `{name}`, which is not in this file");
                let finding = Diagnostic::error(Code::UNKNOWN_BUDGET, place, message);
                let is_own = |kind: &str| names.contains(&format!("{kind}.{name}").as_str());
                let meant = ["provider", "caller"].into_iter().find(|kind| is_own(kind));
                findings.push(match meant {
                    Some(kind) => finding.hint(format!("write `{kind}.{text}`")),
                    None if names.is_empty() => finding.hint("a budget is written `budgets: { company: { cap: $300/month } }`"),
                    None => finding.hint_nearest(name, names),
                });
            }
            return None;
        };
        let periods = self.named[budget].periods.as_ref()?;
        if let Some(cap) = periods.iter().position(|known| known.as_str() == period) {
            return Some(SpentWindow { budget, cap });
        }
        let has = |period: &Period| format!("{name}.{period}");
        let windows: Vec<String> = periods.iter().map(has).collect();
        let message = match period {
            "" => format!("{about} names budget `{name}` without one of its windows"),
            period => format!("{about} names the window `{period}` of budget `{name}`, which it does not have"),
        };
        let finding = Diagnostic::error(Code::UNKNOWN_WINDOW, place, message);
        findings.push(match windows.as_slice() {
            [] => finding.hint("it has a pace and no cap, so there is no share that is used"),
            [only] => finding.hint(format!("write `{only}`")),
            _ => finding.hint_nearest(&format!("{name}.{period}"), windows.iter().map(String::as_str)),
        });
        None
    }
}
