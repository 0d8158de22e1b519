//! The `OpenAI` format: chat completions, completions and embeddings.

mod call;
mod chunk;
mod edit;
mod prompt;
mod reply;
mod stencil;
mod tap;
mod usage;

pub use call::{BadCall, Call};
pub use edit::Edits;
pub use prompt::least_prompt;
pub use reply::{Finish, ReplyFault, Told, read_reply};
pub use tap::Tap;

use crate::units::Usage;

/// The usage in an error body, when it is sound.
pub(super) fn usage_of_value(json: &serde_json::Value) -> Option<Usage> {
    let mut counts = usage::Counts::default();
    counts.merge(&json.to_string());
    counts.usage().0
}
