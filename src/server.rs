//! The HTTP server: connections within a cap, requests within bounds, a drain that finishes what is open.
//!
//! Floor 5.

mod admin;
mod body;
mod caller;
mod coding;
mod connection;
mod http;
mod keyless;
mod memory;
mod models;
mod socket;
mod spare;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use ::http::StatusCode;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::admit::Failures;
use crate::flow::{Parts, Running};
use crate::rules::Live;
use crate::units::{Heartbeat, is_out_of_descriptors};

use spare::Spare;

pub use admin::Admin;
pub use connection::{Drain, Service, serve_connection};
pub use memory::watch_memory;
pub use socket::serve_socket;

/// The listener for applications.
#[derive(Debug)]
pub struct Server {
    pub parts: Arc<Parts>,
    pub live: Arc<Live<Running>>,
    pub load: Arc<Load>,
    pub drain: Drain,
    /// Sources that come without a key that works.
    pub failures: Failures,
}

/// How busy the daemon is, for `status` and for refusing what is too much.
#[derive(Debug, Default)]
pub struct Load {
    connections: AtomicI64,
    refused_connections: AtomicU64,
    is_short_of_memory: AtomicBool,
}

impl Load {
    #[must_use]
    pub fn connections(&self) -> i64 {
        self.connections.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn refused_connections(&self) -> u64 {
        self.refused_connections.load(Ordering::Relaxed)
    }

    /// Whether so much memory is in use that new requests have to wait until others have ended.
    #[must_use]
    pub fn is_short_of_memory(&self) -> bool {
        self.is_short_of_memory.load(Ordering::Relaxed)
    }

    /// Answers what it was before.
    fn set_short_of_memory(&self, is_short: bool) -> bool {
        self.is_short_of_memory.swap(is_short, Ordering::Relaxed)
    }
}

/// Counts up while it lives.
#[derive(Debug)]
struct Counted(Arc<Load>);

impl Counted {
    fn one(load: &Arc<Load>) -> Self {
        load.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    /// Accepts until the drain begins. Above the cap a connection is answered 503 and closed.
    pub async fn run(self: Arc<Self>, listener: TcpListener, tasks: TaskTracker, heartbeat: Heartbeat) {
        let (mut spare, mut is_out) = (Spare::kept(), false);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.drain.begun() => return,
                () = tokio::time::sleep(Duration::from_secs(1)) => { heartbeat.beat(); continue }
            };
            heartbeat.beat();
            let error = match accepted {
                Ok((stream, _)) => {
                    is_out = false;
                    self.take(stream, &tasks);
                    continue;
                }
                Err(error) => error,
            };
            // Told once: a crowd would fill the log.
            if !std::mem::replace(&mut is_out, true) {
                tracing::warn!(%error, "a connection could not be accepted");
            }
            if is_out_of_descriptors(&error) && spare.turn_away(&listener).await {
                self.load.refused_connections.fetch_add(1, Ordering::Relaxed);
            } else {
                // A peer that left while it waited, or no descriptor at all: a pause keeps the loop from spinning.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    fn take(self: &Arc<Self>, stream: TcpStream, tasks: &TaskTracker) {
        let cap = i64::from(self.live.current().rules().server().connections.get());
        if self.load.connections() >= cap {
            self.load.refused_connections.fetch_add(1, Ordering::Relaxed);
            connection::turn_away(&stream, StatusCode::SERVICE_UNAVAILABLE);
            return;
        }
        // An event written alone has to leave at once.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no nodelay on a connection");
        }
        let peer = stream.peer_addr().ok();
        let server = Arc::clone(self);
        // Counted before the task first runs: a drain that begins just now waits for this connection, too.
        let counted = Counted::one(&self.load);
        tasks.spawn(async move {
            let _counted = counted;
            let drain = server.drain.clone();
            let service = http::Applications { server, peer };
            serve_connection(stream, service, &drain).await;
        });
    }
}
