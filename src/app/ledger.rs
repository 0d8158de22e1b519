use serde_json::Value;

use super::App;
use crate::control::LedgerAsk;

/// What an operator asks for about money while the daemon runs: what was done, or why it could not be.
#[expect(clippy::unused_async, reason = "who asks waits until the change is safe on disk")]
pub(super) async fn change(_app: &App, ask: &LedgerAsk) -> Result<Value, String> {
    Err(format!("this daemon does not take `{}` yet", ask.word()))
}
