use std::collections::BTreeMap;

use super::{add, limits};
use crate::config::checked::{Budget, BudgetMode, Caller, Checked, Durability, HoldFor, SpentWindow};

/// The names that budgets of a new file say that they had, each with the one that it has now.
pub(super) type Renamed = BTreeMap<String, String>;

pub(super) fn renamed(old: &Checked, new: &Checked) -> Renamed {
    let was_there = |name: &str| old.budgets.iter().any(|budget| budget.name.as_str() == name);
    let renames = new.budgets.iter().filter_map(|budget| Some((budget.was.as_ref()?.to_string(), budget.name.to_string())));
    renames.filter(|(was, _)| was_there(was)).collect()
}

/// What a window is called by now: `company.month`.
pub(super) fn window(window: SpentWindow, file: &Checked, renamed: &Renamed) -> String {
    let name = window.name(&file.budgets);
    let now = name.rsplit_once('.').and_then(|(budget, period)| Some(format!("{}.{period}", renamed.get(budget)?)));
    now.unwrap_or(name)
}

/// Caps and what they cover: without a condition more counts, without a cap nothing does.
pub(super) fn budget(budget: &Budget, renamed: &Renamed, names: &mut Vec<String>) {
    let own = budget.name.as_str();
    let name = renamed.get(own).map_or(own, String::as_str);
    let about = match name.split_once('.') {
        Some(("provider", provider)) => format!("budget of provider `{provider}`"),
        Some(("caller", caller)) => format!("budget of caller `{caller}`"),
        _ => format!("budget `{name}`"),
    };
    names.push(about.clone());
    let caps: Vec<(String, bool)> = budget.caps.iter().map(|cap| (format!("cap per {}", cap.window.period), true)).collect();
    add(&about, &caps, names);
    let covers = &budget.covers;
    let is_named = !name.starts_with("provider.") && !name.starts_with("caller.");
    let settings = [
        ("pace", budget.pace.is_some()),
        ("warn_at", !budget.warn_at.is_empty()),
        ("`mode: hard`", budget.mode == BudgetMode::Hard),
        ("the refusal at the cap", budget.mode != BudgetMode::Observe),
        ("match.provider", is_named && covers.providers.is_some()),
        ("match.model", covers.models.is_some()),
        ("match.caller", is_named && covers.callers.is_some()),
        ("match.rule", covers.rules.is_some()),
    ];
    add(&about, &settings, names);
    let tables = [("tags", &covers.tags), ("labels", &covers.labels)];
    for (kind, of_kind) in tables {
        let patterns: Vec<(String, bool)> = of_kind.keys().map(|name| (format!("match.{kind}.{name}"), true)).collect();
        add(&about, &patterns, names);
    }
}

/// Keys that let nobody in any more, and what kept a caller within bounds.
pub(super) fn caller(caller: &Caller, names: &mut Vec<String>) {
    let about = format!("caller `{}`", caller.name);
    names.push(about.clone());
    for key in &caller.keys {
        let key_about = format!("key {} of {about}", key.short());
        names.push(key_about.clone());
        add(&key_about, &[("expires", key.expires.is_some())], names);
    }
    limits(&about, &caller.limits, names);
    add(&about, &[("allow", caller.allow.is_some()), ("expires", caller.expires.is_some())], names);
    let tags: Vec<(String, bool)> = caller.tags.iter().map(|(tag, _)| (format!("tags.{tag}"), true)).collect();
    add(&about, &tags, names);
}

/// What makes the ledger stricter than it is by itself, and who was told.
pub(super) fn ledger_and_alerts(file: &Checked, names: &mut Vec<String>) {
    let strict = [
        ("`durability: strict`", file.ledger.durability == Durability::Strict),
        ("`disputes.hold_for: window`", file.ledger.hold_for == HoldFor::Window),
    ];
    add("`ledger`", &strict, names);
    let webhook = file.alerts.webhook.as_ref();
    add("`alerts`", &[("webhook", webhook.is_some()), ("webhook.secret", webhook.is_some_and(|webhook| webhook.secret.is_some()))], names);
}
