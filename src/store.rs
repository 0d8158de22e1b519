//! What outlives the process: the state folder.
//!
//! Floor 3. It holds the accepted files and the ledger.

mod history;
mod ledger;
mod lock;
mod revisions;

pub use history::History;
pub use ledger::{Ledger, LedgerError, LedgerState, LedgerThread, LedgerWatch};
pub use lock::{Lock, Unlocked};
pub use revisions::{Accepted, Kept, content_hash, kept, sources_hash};
