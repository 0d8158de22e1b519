//! What outlives the process: the state folder.
//!
//! Floor 3. By now it holds the accepted files; the ledger joins it.

mod history;
mod lock;

pub use history::{Accepted, History, content_hash};
pub use lock::{Lock, Unlocked};
