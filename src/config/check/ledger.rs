//! `ledger:` and `alerts:`.

use crate::config::checked::{Alerts, Key, LedgerSettings, Webhook};
use crate::config::decode::Findings;
use crate::config::draft::FileDraft;
use crate::config::{Env, secrets, urls};

/// The ledger's settings; what is not said has its default.
pub(super) fn check(draft: &FileDraft) -> LedgerSettings {
    let built_in = LedgerSettings::default();
    let Some(draft) = draft.ledger.get() else { return built_in };
    let disputes = draft.disputes.get();
    LedgerSettings {
        timeout: draft.timeout.get().copied().unwrap_or(built_in.timeout),
        durability: draft.durability.get().copied().unwrap_or(built_in.durability),
        hold_for: disputes.and_then(|disputes| disputes.hold_for.get()).copied().unwrap_or(built_in.hold_for),
        max_unrecorded: draft.max_unrecorded.get().copied().unwrap_or(built_in.max_unrecorded),
    }
}

/// Who is told, or nothing once a finding says why. A secret that may be missing and is leaves messages unsigned.
pub(super) fn alerts(draft: &FileDraft, env: &Env<'_>, findings: &mut Findings) -> Option<Alerts> {
    let Some(webhook) = draft.alerts.get().and_then(|alerts| alerts.webhook.get()) else { return Some(Alerts::default()) };
    let url = webhook.url.at().and_then(|url| urls::read_webhook(url, findings));
    let secret = match webhook.secret.at().map(|text| secrets::read(text, env, findings)) {
        Some(Some(Key::Present(secret))) => Some(secret),
        None | Some(Some(Key::Missing(_) | Key::NotNeeded)) => None,
        Some(None) => return None,
    };
    Some(Alerts { webhook: Some(Webhook { url: url?, secret }) })
}
