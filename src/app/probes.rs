use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::flow::{Parts, Running};
use crate::outside::probe;
use crate::rules::Live;

/// How often a provider whose key or account is down is asked whether it works again.
const EVERY: Duration = Duration::from_mins(1);
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the providers that are down for their models, which costs nothing, until stopped.
pub(super) async fn run(parts: Arc<Parts>, live: Arc<Live<Running>>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
        let running = live.current();
        for provider in running.rules().providers().iter().filter(|provider| running.rests().provider_is_down(&provider.name)) {
            let probe = tokio::select! {
                probe = probe(provider, PATIENCE, &parts.clock) => probe,
                () = stop.cancelled() => return,
            };
            tracing::info!(provider = %provider.name, status = probe.status, well = probe.is_well(), "a provider that was down was asked");
            running.rests().probed(&provider.name, probe.is_well());
        }
    }
}
