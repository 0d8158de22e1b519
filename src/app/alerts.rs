//! What people are told of money: a line in the log, a counter, and a message to the webhook.

mod quiet;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::flow::{Parts, Running};
use crate::outside::post_signed;
use crate::rules::Live;

use quiet::{Alert, Quiet};

/// How often forecasts are looked at, and sums told that were kept back.
const EVERY: Duration = Duration::from_mins(1);
/// Messages that may wait for the webhook. What comes beyond is dropped and counted.
const MOST_WAITING: usize = 100;

/// One message to the webhook.
#[derive(Debug, Serialize)]
struct Message<'a> {
    #[serde(flatten)]
    alert: &'a Alert,
    at: Timestamp,
}

/// Tells of money until stopped. The webhook has a task of its own, so that a slow one holds nothing up.
pub(super) fn spawn(parts: &Arc<Parts>, live: &Arc<Live<Running>>, stop: &CancellationToken) {
    let (messages, waiting) = mpsc::channel(MOST_WAITING);
    parts.tracker.spawn(deliver(Arc::clone(parts), Arc::clone(live), waiting, stop.clone()));
    parts.tracker.spawn(tell(Arc::clone(parts), Arc::clone(live), messages, stop.clone()));
}

async fn tell(parts: Arc<Parts>, live: Arc<Live<Running>>, messages: mpsc::Sender<Vec<u8>>, stop: CancellationToken) {
    let Some(mut events) = parts.budgets.events() else { return };
    let mut quiet = Quiet::default();
    let mut tick = tokio::time::interval(EVERY);
    loop {
        let alerts = tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => quiet.look(&live.current().purse().levels(), parts.clock.wall(), parts.clock.now()),
            event = events.recv() => {
                let Some(event) = event else { return };
                quiet.hear(event, &live.current().purse().levels(), parts.clock.now()).into_iter().collect()
            }
        };
        for alert in alerts {
            alert.log();
            parts.metrics.alerted(alert.kind());
            let Ok(message) = serde_json::to_vec(&Message { alert: &alert, at: parts.clock.wall() }) else { continue };
            if live.current().rules().alerts().webhook.is_some() && messages.try_send(message).is_err() {
                parts.metrics.alert_lost();
            }
        }
    }
}

/// One after the other, to where the file in force says.
async fn deliver(parts: Arc<Parts>, live: Arc<Live<Running>>, mut waiting: mpsc::Receiver<Vec<u8>>, stop: CancellationToken) {
    loop {
        let message = tokio::select! {
            message = waiting.recv() => message,
            () = stop.cancelled() => return,
        };
        let Some(message) = message else { return };
        let Some(webhook) = live.current().rules().alerts().webhook.clone() else { continue };
        let posted = tokio::select! {
            posted = post_signed(&webhook.url, webhook.secret.as_ref(), &message) => posted,
            () = stop.cancelled() => return,
        };
        if let Err(why) = posted {
            tracing::warn!(why, "the webhook did not take an alert");
            parts.metrics.alert_lost();
        }
    }
}
