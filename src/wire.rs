//! What goes over the wire: bodies, streams and errors of each format, read as far as routing, limits and money need.
//!
//! Floor 1. Bytes in, facts and byte ranges out; no I/O. What is not understood passes through unchanged.

/// What a failure leaves behind at the target that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    None,
    Count,
    Rest,
    TargetDown,
    KeyDown,
    AccountDown,
}
