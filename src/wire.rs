//! What goes over the wire: bodies, streams and errors of each format, read as far as routing, limits and money need.
//!
//! Floor 1. Bytes in, facts and byte ranges out; no I/O. What is not understood passes through unchanged. Where client and target
//! speak one format, bytes are passed on with what must differ cut in; else the call is read into no format's words and written in
//! the target's, and its answer the other way round.

mod anthropic;
mod bedrock;
mod call;
mod canonical;
mod error;
mod gemini;
mod json;
mod openai;
mod reading;
mod responses;
mod retell;
mod sse;
mod stencil;
mod tap;
mod translate;

pub use bedrock::{BedrockAnswer, BedrockApi, BedrockStream};
pub use call::{BadCall, Call, Edits, Gaps, Said, is_lacking, least_prompt};
pub use canonical::Translated;
pub use error::{Class, ErrorTold, ErrorWords, Mark, Next, Shape, read_error};
pub use reading::{Finish, Iteration, ReplyFault, Told};
pub use retell::Retelling;
pub use tap::Tap;
pub use translate::{mend_reply, read_reply};
