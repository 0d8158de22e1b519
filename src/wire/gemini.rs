//! Gemini's own format: `generateContent`. Spoken to providers alone, so everything here is read and written as JSON trees.

mod decode;
mod embed;
mod reply;
mod write;

pub(super) use decode::{Decoder, decode_reply};
pub(super) use embed::{read_embeddings, retell_embeddings, unmet_embeddings, write_embeddings};
pub(super) use reply::{absorb, read_reply};
pub(super) use write::write_request;

use super::canonical::NameRule;

/// Names of tools.
pub(super) const TOOL_NAMES: NameRule = NameRule { longest: 64, extra: ".:-", begins_with_letter: true };
