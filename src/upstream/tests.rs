//! Rows of docs/faults.md that a client alone decides, against small scripted servers on loopback.

mod answers;
mod connections;
mod pool;
mod support;
mod tls;

pub(super) use support::{Server, closed};
