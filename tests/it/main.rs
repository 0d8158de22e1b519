//! The one test program: a module per promise, linked once.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on ends here, helper functions included"
)]

mod boot;
mod config;
mod config_faults;
mod documents;
mod drain;
mod floors;
mod process;
mod reload;
mod support;
mod upstream_faults;
