use std::fs::File;
use std::time::Duration;

use http::StatusCode;
use tokio::net::TcpListener;

use super::connection;

/// A descriptor kept for when there is none left: given up for as long as it takes to tell one client so.
#[derive(Debug)]
pub(super) struct Spare(Option<File>);

impl Spare {
    pub(super) fn kept() -> Self {
        Self(kept())
    }

    /// Answers 503 to the connection that waits. False where somebody else took the descriptor, so that waiting is all that is left.
    pub(super) async fn turn_away(&mut self, listener: &TcpListener) -> bool {
        self.0 = None;
        // It waits already; if it has gone by now there is nothing to wait for.
        let taken = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
        if let Ok(Ok((stream, _))) = &taken {
            connection::turn_away(stream, StatusCode::SERVICE_UNAVAILABLE);
        }
        let is_told = matches!(taken, Ok(Ok(_)));
        // Closes the connection, which makes room for the spare again.
        drop(taken);
        self.0 = kept();
        is_told
    }
}

fn kept() -> Option<File> {
    File::open("/dev/null").ok()
}
