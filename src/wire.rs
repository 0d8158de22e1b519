//! What goes over the wire: bodies, streams and errors of each format, read as far as routing, limits and money need.
//!
//! Floor 1. Bytes in, facts and byte ranges out; no I/O. What is not understood passes through unchanged.

mod error;
mod json;
mod openai;
mod sse;

pub use error::{Class, ErrorTold, Mark, Next, error_body, error_event, read_error};
pub use openai::{BadCall, Call, Edits, Finish, ReplyFault, Tap, Told, least_prompt, read_reply};
