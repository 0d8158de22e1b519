use super::{Facts, limits_told, list};
use crate::config::checked::{
    Alerts, Budget, BudgetMode, Caller, CallerKey, Cap, Checked, Covers, Durability, EstimateBy, HoldFor, LedgerSettings, OnLow, Webhook,
};
use crate::config::shapes::spelled;
use crate::units::{Period, Rate, StartsOn, Usd};

pub(super) fn of_budget(budget: &Budget, file: &Checked) -> Facts {
    let Budget { name: _, place: _, covers, caps, pace, mode, warn_at, on_low, min_output_tokens, wait, was, estimate } = budget;
    let mut facts = Facts::default();
    of_covers(&mut facts, covers, file);
    for Cap { amount, window } in caps {
        facts.say(&format!("cap per {}", window.period), amount);
    }
    if let Some(Cap { window, .. }) = caps.first() {
        facts.some("timezone", window.zone.iana_name());
        let has_months = caps.iter().any(|cap| cap.window.period == Period::Month);
        match window.starts_on {
            StartsOn::Day(day) if has_months => facts.say("starts_on", day),
            StartsOn::Last if has_months => facts.say("starts_on", "last"),
            _ => {}
        }
    }
    facts.some("pace", pace.as_ref().map(told_pace));
    let mode = match mode {
        BudgetMode::Hard => "hard",
        BudgetMode::Soft => "soft",
        BudgetMode::Observe => "observe",
    };
    facts.say("mode", mode);
    facts.some("warn_at", (!warn_at.is_empty()).then(|| list(warn_at)));
    facts.some("on_low", (*on_low == OnLow::Reject).then_some("reject"));
    facts.say("min_output_tokens", min_output_tokens);
    facts.say("wait", spelled(*wait));
    let estimate = match estimate {
        EstimateBy::Auto => None,
        EstimateBy::Bytes => Some("bytes"),
        EstimateBy::Exact => Some("exact"),
        EstimateBy::Calibrated => Some("calibrated"),
    };
    facts.some("estimate", estimate);
    facts.some("was", was.as_ref());
    facts
}

/// `$20/hour`.
fn told_pace(pace: &Rate) -> String {
    let text = pace.to_string();
    let per = text.split_once('/').map_or("", |(_, per)| per);
    format!("{}/{per}", Usd::from_nano(pace.amount.get().saturating_mul(1_000)))
}

fn of_covers(facts: &mut Facts, covers: &Covers, file: &Checked) {
    let Covers { providers, models, callers, tags, rules, labels } = covers;
    // The budget of one provider or caller says by its name whose it is.
    let name = |names: Vec<&str>| list(&names);
    let providers = providers.as_ref().map(|all| name(all.iter().filter_map(|at| Some(file.providers.get(*at)?.name.as_str())).collect()));
    let callers = callers.as_ref().map(|all| name(all.iter().filter_map(|at| Some(file.callers.get(*at)?.name.as_str())).collect()));
    facts.some("match.provider", providers);
    facts.some("match.model", models.as_ref().map(|all| list(all)));
    facts.some("match.caller", callers);
    facts.some("match.rule", rules.as_ref().map(|all| list(all)));
    for (tag, globs) in tags {
        facts.say(&format!("match.tags.{tag}"), list(globs));
    }
    for (label, globs) in labels {
        facts.say(&format!("match.labels.{label}"), list(globs));
    }
}

pub(super) fn of_caller(caller: &Caller) -> Facts {
    let Caller { name: _, place: _, keys, tags, limits, allow, expires, trust_client } = caller;
    let mut facts = Facts::default();
    for key in keys {
        let CallerKey { sha256: _, expires } = key;
        let until = expires.map(|moment| format!("until {moment}"));
        facts.say(&format!("key {}", key.short()), until.unwrap_or_else(|| "for good".into()));
    }
    for (tag, value) in tags.iter() {
        facts.say(&format!("tags.{tag}"), value);
    }
    limits_told(&mut facts, limits);
    facts.some("allow", allow.as_ref().map(|all| list(all)));
    facts.some("expires", *expires);
    facts.flag("trust_client", *trust_client);
    facts
}

pub(super) fn of_ledger(ledger: &LedgerSettings) -> Facts {
    let LedgerSettings { timeout, durability, hold_for, max_unrecorded } = ledger;
    let mut facts = Facts::default();
    facts.say("timeout", spelled(*timeout));
    facts.say("durability", if *durability == Durability::Strict { "strict" } else { "grant" });
    let hold_for = match hold_for {
        HoldFor::For(time) => spelled(*time),
        HoldFor::Window => "window".into(),
    };
    facts.say("disputes.hold_for", hold_for);
    facts.say("max_unrecorded", max_unrecorded);
    facts
}

pub(super) fn of_alerts(alerts: &Alerts) -> Facts {
    let Alerts { webhook } = alerts;
    let mut facts = Facts::default();
    if let Some(Webhook { url, secret }) = webhook {
        // What stands behind the host is often what lets one post there.
        facts.secret("webhook.url", url.host().unwrap_or_default(), &url.to_string());
        match secret {
            Some(secret) if secret.expose().starts_with("${") => facts.say("webhook.secret", secret.expose()),
            Some(secret) => facts.secret("webhook.secret", "a secret in plain text", secret.expose()),
            None => {}
        }
    }
    facts
}
