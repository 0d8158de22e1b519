//! Rows of FAULTS.md 4.1 that a client alone decides, against small scripted servers on loopback.

mod answers;
mod connections;
pub(super) mod support;
mod tls;
