//! The `OpenAI` format: chat completions, completions and embeddings.

mod chunk;
mod decode;
mod repair;
mod reply;
mod request;
mod retell;
mod stream;
mod usage;
mod write;

pub(super) use chunk::Chunk;
pub(super) use decode::{Decoder, decode_reply};
pub(super) use repair::{Form, Repair, mended};
pub(super) use reply::{absorb, error_in_a_list, read_reply};
pub(super) use request::{read_request, unreadable};
pub(super) use retell::{retell, told_usage};
pub(super) use stream::Teller;
pub(super) use usage::Counts;
pub(super) use write::write_request;

use super::canonical::NameRule;
use crate::units::Usage;

/// Names of tools.
pub(super) const TOOL_NAMES: NameRule = NameRule { longest: 64, extra: "-", begins_with_letter: false };

/// The usage in an error body, when it is sound.
pub(super) fn usage_of_value(json: &serde_json::Value) -> Option<Usage> {
    let mut counts = usage::Counts::default();
    counts.merge(&json.to_string());
    counts.usage().0
}
