//! Money, tokens, names, rates and time: whole numbers with a unit in their type.
//!
//! Floor 0. Everything here is plain data, but for the queue to the ledger: no I/O, no async, no locks.

mod clock;
mod confidence;
mod descriptors;
mod format;
mod glob;
mod halves;
mod heartbeat;
mod ledger;
mod map;
mod name;
mod owner;
mod pairs;
mod price;
mod quantity;
mod quirks;
mod rate;
mod ratios;
mod score;
mod secret;
mod tokenizer;
mod tokens;
mod usd;
mod window;

pub use clock::{Clock, Moment};
pub use confidence::Confidence;
pub use descriptors::is_out_of_descriptors;
pub use format::{Effort, Endpoint, Format, Need, Speaks, Wire};
pub use glob::Glob;
pub use halves::Halves;
pub use heartbeat::Heartbeat;
pub use ledger::{
    AdjustedEntry, AttemptId, Basis, DisputeClass, DisputeId, Disputed, EndedEntry, Entry, HeldEntry, LedgerInbox, LedgerQueue,
    MOST_WAITING, NotWritten, Remembered, RememberedDispute, RememberedWindow, RequestFacts, ResolvedEntry, SettledEntry, Taken, Then,
    Told, WindowKey,
};
pub use map::QuickMap;
pub use name::{BudgetName, CallerName, ChainName, ModelName, NameError, ProviderName, RuleName, TargetName, TaskName};
pub use owner::LimitOwner;
pub use pairs::Pairs;
pub use price::{Price, Prices, Tier};
pub use quantity::{QuantityError, Share, parse_bytes, parse_count, parse_duration, parse_share};
pub use quirks::{Efforts, Lack, Lacks, OnDisconnect, Quirks, Replay, Thinks};
pub use rate::Rate;
pub use ratios::Ratios;
pub use score::Score;
pub use secret::Secret;
pub use tokenizer::Tokenizer;
pub use tokens::{Tokens, Usage};
pub use usd::{Usd, push_digits};
pub use window::{Period, StartsOn, Stretch, Window};
