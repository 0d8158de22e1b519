use std::sync::Arc;

use serde_json::{Value, json};

use super::App;
use crate::control::{Adjustment, LedgerAsk, Resolution};
use crate::store::Unread;
use crate::units::AdjustedEntry;

/// What an operator asks for about money while the daemon runs: what was done, once that is safe on disk, or why it could not be.
pub(super) async fn change(app: &App, ask: &LedgerAsk) -> Result<Value, String> {
    let done = match ask {
        LedgerAsk::Resolve(resolution) => {
            app.disputes_read.cancelled().await;
            resolve(app, resolution)?
        }
        LedgerAsk::Adjust(adjustment) => adjust(app, adjustment)?,
        LedgerAsk::AcceptClock => {
            app.parts.budgets.accept_clock();
            json!({ "accepted": true })
        }
    };
    if app.parts.budgets.on_disk().await { Ok(done) } else { Err("it counts from now on, but the ledger could not be written yet".into()) }
}

/// Takes up the disputes that the start did not wait for. They have counted all the while, but end only once they are known.
pub(super) fn read_disputes(app: &App, unread: Option<Unread>) {
    let (budgets, stop, is_read) = (app.parts.budgets.clone(), app.stop.clone(), app.disputes_read.clone().drop_guard());
    let Some(mut unread) = unread else { return };
    app.parts.tracker.spawn_blocking(move || {
        let _is_read = is_read;
        while !stop.is_cancelled() {
            match unread.next_page() {
                Ok(page) if page.is_empty() => return,
                Ok(page) => budgets.remember(&page),
                Err(error) => {
                    tracing::error!(%error, alert = error.alert(), "old disputes cannot be read; they count until the next start");
                    return;
                }
            }
        }
    });
}

fn resolve(app: &App, resolution: &Resolution) -> Result<Value, String> {
    let budgets = &app.parts.budgets;
    let open = budgets.disputes();
    let find =
        |id: &String| open.iter().find(|dispute| dispute.id.to_string() == *id).ok_or_else(|| format!("no open dispute is named `{id}`"));
    // All of them, or none.
    let meant = resolution.ids.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    let reason: Arc<str> = resolution.reason.as_str().into();
    let resolved = meant.iter().filter_map(|dispute| budgets.resolve(&dispute.id, resolution.billed.of(dispute.amount), &reason)).count();
    Ok(json!({ "resolved": resolved }))
}

fn adjust(app: &App, adjustment: &Adjustment) -> Result<Value, String> {
    let Adjustment { budget, period, amount, is_credit, reason } = adjustment;
    let levels = app.running().purse().levels();
    let level = levels.into_iter().find(|level| level.key.budget == *budget && level.key.period == *period);
    let window = level.ok_or_else(|| format!("no budget of the file has a window `{budget}.{period}`"))?.key;
    let at = app.parts.clock.wall();
    let entry = AdjustedEntry { at, window, amount: *amount, is_credit: *is_credit, reason: reason.as_str().into() };
    if app.parts.budgets.adjust(entry) {
        Ok(json!({ "adjusted": true }))
    } else {
        Err(format!("nothing is counted in `{budget}.{period}` now"))
    }
}
