//! What outlives the process: the state folder.
//!
//! Floor 3. It holds the accepted files, the ledger, and what was learned of tokens.

mod history;
mod learned;
mod ledger;
mod lock;
mod revisions;

pub use history::History;
pub use learned::Learned;
pub use ledger::{
    ContextFacts, DisputeRow, EXPORTED, Exported, Ledger, LedgerError, LedgerState, LedgerThread, LedgerWatch, Reader, Recovered, Sum,
    Unread, Verified, WindowRow, recover,
};
pub use lock::{Lock, Unlocked};
pub use revisions::{Accepted, Kept, content_hash, kept, sources_hash};
