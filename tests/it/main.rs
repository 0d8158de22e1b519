//! The one test program: a module per promise, linked once.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on ends here, helper functions included"
)]

mod config;
mod floors;
mod support;
mod upstream_faults;
