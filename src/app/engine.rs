use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{LEDGER_END, TEND, Unstarted, file};
use crate::admit::Budgets;
use crate::bench::Engine;
use crate::config::{Chain, Checked, DefaultRule, Member, OnCeiling, Provider, Route, TimeoutChanges, UnsupportedParams};
use crate::flow::Parts;
use crate::record::{Sink, SinkThread};
use crate::rules::{Revision, RuleSet};
use crate::store::{Ledger, LedgerThread, Lock, Unlocked};
use crate::units::{Clock, LedgerQueue, Tokens};
use crate::upstream::Resolver;

/// The engine that serves requests, without listeners: budgets, limits and the ledger are those of the file and the state folder.
pub struct OwnEngine {
    pub engine: Engine,
    stop: CancellationToken,
    sink: SinkThread,
    ledger: LedgerThread,
    lock: Lock,
}

impl std::fmt::Debug for OwnEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnEngine").finish_non_exhaustive()
    }
}

impl OwnEngine {
    /// Opens the state folder and takes a checked file's providers, budgets and limits. Its rules stay outside: a target is asked by
    /// its name, and no other one answers for it. `most`: the output limit of each answer.
    pub fn open(checked: Checked, state: &Path, most: Tokens) -> Result<Self, Unstarted> {
        file::writable(state).map_err(|error| Unstarted::State(state.to_owned(), error))?;
        let lock = Lock::take(state).map_err(|unlocked| match unlocked {
            Unlocked::Held(owner) => Unstarted::Busy { state: state.to_owned(), owner },
            Unlocked::Failed(error) => Unstarted::State(state.to_owned(), error),
        })?;
        let clock = Clock::System;
        let (ledger, remembered) = Ledger::open(state, clock.wall(), checked.ledger.hold_for).map_err(Unstarted::Ledger)?;
        let (queue, inbox) = LedgerQueue::new();
        let ledger = ledger.run(inbox);
        let (sink, sink_thread) = Sink::to(std::io::sink());
        let budgets = Budgets::new(clock.clone(), queue, &remembered);
        let parts = Arc::new(Parts::new(clock, budgets, Resolver::System, sink));
        let running = Arc::new(parts.adopt(RuleSet::from((by_name(checked, most), Revision { number: 0, hash: "bench".into() }))));
        let (stop, budgets) = (CancellationToken::new(), parts.budgets.clone());
        let stopped = stop.clone();
        parts.tracker.spawn(async move {
            while tokio::time::timeout(TEND, stopped.cancelled()).await.is_err() {
                budgets.tend();
            }
        });
        Ok(Self { engine: Engine { parts, running }, stop, sink: sink_thread, ledger, lock })
    }

    /// Waits until all that was spent is written.
    pub async fn close(self) {
        let Self { engine, stop, sink, ledger, lock } = self;
        stop.cancel();
        engine.parts.tracker.close();
        if tokio::time::timeout(Duration::from_secs(5), engine.parts.tracker.wait()).await.is_err() {
            tracing::warn!("a task did not end in time");
        }
        // Nobody reads these records: what is to be kept is in the ledger.
        drop(sink);
        engine.parts.budgets.close();
        let is_written = tokio::task::spawn_blocking(move || ledger.finish(LEDGER_END)).await;
        if !is_written.unwrap_or_default() {
            tracing::error!("the ledger's last rows were not written");
        }
        drop(lock);
    }
}

/// The file with one rule: the target that is named.
pub(crate) fn by_name(checked: Checked, most: Tokens) -> Checked {
    let route = Route {
        chain: Chain { first: Member::Requested, rest: Vec::new() },
        deadline: None,
        max_output_tokens: Some(most),
        on_ceiling: OnCeiling::Refuse,
        fallback_on: Vec::new(),
        timeouts: TimeoutChanges::default(),
        // Each case is asked once: what fails is told.
        retry: false,
        unsupported_params: UnsupportedParams::default(),
        sticky: false,
    };
    // A rest would make what is asked later depend on how fast the rest was asked.
    let providers = checked.providers.into_iter().map(|provider| Provider { cooldown: None, ..provider }).collect();
    Checked { providers, rules: Vec::new(), tests: Vec::new(), default: DefaultRule::Route(route), ..checked }
}
