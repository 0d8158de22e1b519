//! The Anthropic format: messages.

mod chunk;
mod decode;
mod reply;
mod request;
mod retell;
mod stream;
mod usage;
mod write;

pub(super) use chunk::Chunk;
pub(super) use decode::{Decoder, decode_reply};
pub(super) use reply::{absorb, read_reply};
pub(super) use request::read_request;
pub(super) use retell::retell;
pub(super) use stream::Teller;
pub(super) use usage::Counts;
pub(super) use write::write_request;

use super::canonical::NameRule;

/// Names of tools.
pub(super) const TOOL_NAMES: NameRule = NameRule { longest: 64, extra: "-", begins_with_letter: false };
