//! What outlives the process: the state folder.
//!
//! Floor 3. By now it holds the accepted files; the ledger joins it.

mod history;
mod lock;
mod revisions;

pub use history::History;
pub use lock::{Lock, Unlocked};
pub use revisions::{Accepted, Kept, content_hash, kept, sources_hash};
