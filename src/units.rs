//! Money, tokens, names, rates and time: whole numbers with a unit in their type.
//!
//! Floor 0. Everything here is plain data: no I/O, no async, no locks.

mod clock;
mod format;
mod heartbeat;
mod name;
mod price;
mod quantity;
mod rate;
mod secret;
mod tokens;
mod usd;

pub use clock::{Clock, Moment};
pub use format::{Effort, Endpoint, Format, Need};
pub use heartbeat::Heartbeat;
pub use name::{ChainName, ModelName, NameError, ProviderName, RuleName, TargetName, TaskName};
pub use price::{Price, Prices, Tier};
pub use quantity::{QuantityError, Share, parse_bytes, parse_count, parse_duration, parse_share};
pub use rate::Rate;
pub use secret::Secret;
pub use tokens::{Tokens, Usage};
pub use usd::Usd;
