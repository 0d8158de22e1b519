//! What outlives the process: the state folder.
//!
//! Floor 3. By now it holds the accepted files; the ledger joins it.

mod history;

pub use history::{Accepted, History, content_hash};
