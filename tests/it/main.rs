//! The one test program: a module per promise, linked once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends here, helper functions included")]

mod config;
mod floors;
