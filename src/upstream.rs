//! Calls to providers: one client and pool per provider, kept across reloads while nothing about it changed.
//!
//! Floor 3. A call goes out once; a second time only where the first met a connection that was already dead. What comes
//! back is a [`Reply`] whose head can be passed on, or a [`Failure`] that says what to do next.

mod azure;
mod body;
mod connection;
mod cooldown;
mod dial;
mod failure;
mod headers;
mod network;
mod pool;
mod preliminary;
mod resolve;
mod sandbox;
mod sessions;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};

use crate::config::{Key, Provider, Proxy};
use crate::units::{Clock, Format, ModelName, Moment, ProviderName, Wire};
use crate::wire::ReplyFault;

use dial::{Dial, DialError, Trust};
use network::Network;
use resolve::Directory;
use sandbox::Sandbox;

pub use body::ReplyBody;
pub use cooldown::{Awaited, Cooldowns, Entry, Resting, Rests, Standing, Trial};
pub use failure::{Failure, FailureFacts, Phase};
pub use resolve::{Names, Resolver};
pub use sessions::{SessionKey, Sessions};

/// Every provider's client. Outlives rule sets.
#[derive(Debug)]
pub struct Upstreams {
    clock: Clock,
    directory: Arc<Directory>,
    trust: Arc<Trust>,
    running: Mutex<HashMap<ProviderName, Arc<Upstream>>>,
}

impl Upstreams {
    #[must_use]
    pub fn new(clock: Clock, resolver: Resolver) -> Self {
        Self::with_trust(clock, resolver, Trust::default())
    }

    fn with_trust(clock: Clock, resolver: Resolver, trust: Trust) -> Self {
        let directory = Directory::new(resolver, clock.clone());
        Self { clock, directory, trust: Arc::new(trust), running: Mutex::default() }
    }

    /// The clients of `providers`, in their order. A provider that stayed as it was keeps its client and its connections.
    pub fn adopt(&self, providers: &[Provider]) -> Vec<Arc<Upstream>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let adopted: Vec<_> = providers
            .iter()
            .map(|provider| {
                let settings = Settings::of(provider);
                match running.get(&provider.name) {
                    Some(upstream) if upstream.settings == settings => Arc::clone(upstream),
                    _ => Arc::new(self.build(provider, settings)),
                }
            })
            .collect();
        *running = providers.iter().map(|provider| provider.name.clone()).zip(adopted.iter().cloned()).collect();
        adopted
    }

    fn build(&self, provider: &Provider, settings: Settings) -> Upstream {
        let way = match (&provider.base_url, &provider.sandbox) {
            (_, Some(behaviour)) => Way::Sandbox(Sandbox::new(*behaviour, self.clock.clone())),
            (Some(base), None) => {
                let dial = Dial::new(provider, base, Arc::clone(&self.directory), Arc::clone(&self.trust));
                Way::Network(Box::new(Network::new(provider, base, dial, &self.clock)))
            }
            (None, None) => Way::Nowhere,
        };
        Upstream { settings, way }
    }
}

/// One provider, ready to be called.
#[derive(Debug)]
pub struct Upstream {
    settings: Settings,
    way: Way,
}

/// What a provider is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Answer(Wire),
    /// How many tokens a prompt is; free, and Anthropic's alone.
    CountTokens,
}

/// One request to a provider.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub ask: Ask,
    /// The client's headers; almost none of them pass.
    pub client_headers: Arc<HeaderMap>,
    /// The body in pieces, ready to be sent.
    pub body: Vec<Bytes>,
    pub is_streaming: bool,
    /// Of a call that passes through as it came, below the provider's address.
    pub path: Option<&'static str>,
    pub model: ModelName,
    /// An earlier try broke on a pooled connection: this one gets its own.
    pub on_fresh_connection: bool,
    /// Now.
    pub sent: Moment,
}

/// A provider's answer of status 2xx, its head sound and its body yet to be read.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    /// All headers as they came; the reader chooses.
    pub headers: HeaderMap,
    pub body: ReplyBody,
    /// False where a JSON body came, which a stream's request may get too.
    pub is_event_stream: bool,
}

impl Upstream {
    /// Connects, sends, and waits for the head, which has no time limit of its own. Sends again, once and on a fresh
    /// connection, only where the first connection was dead before any byte of an answer.
    pub async fn send(&self, outgoing: &Outgoing) -> Result<Reply, Failure> {
        match &self.way {
            Way::Network(network) => network.send(outgoing).await,
            Way::Sandbox(sandbox) => Box::pin(sandbox.answer(outgoing)).await,
            Way::Nowhere => Err(Failure::dialled(DialError::Dns)),
        }
    }

    /// What a reader of a reply found, as a failure whose texts hold neither this provider's key nor its host.
    #[must_use]
    pub fn failure_from(&self, fault: ReplyFault, phase: Phase) -> Failure {
        let mut failure = Failure::from_fault(fault, phase);
        if let (Way::Network(network), Some(told)) = (&self.way, &mut failure.told) {
            network.scrub(told);
        }
        failure
    }
}

/// All of a provider's settings that its client depends on.
#[derive(Debug, PartialEq)]
struct Settings {
    format: Format,
    base_url: Option<Uri>,
    key: Key,
    connect: Duration,
    proxy: Proxy,
    http1_only: bool,
    sandbox: Option<crate::config::Sandbox>,
}

impl Settings {
    fn of(provider: &Provider) -> Self {
        Self {
            format: provider.format,
            base_url: provider.base_url.clone(),
            key: provider.key.clone(),
            connect: provider.timeouts.connect,
            proxy: provider.proxy.clone(),
            http1_only: provider.http1_only,
            sandbox: provider.sandbox,
        }
    }
}

#[derive(Debug)]
enum Way {
    Network(Box<Network>),
    Sandbox(Sandbox),
    /// A provider without an address; a checked file has none.
    Nowhere,
}
