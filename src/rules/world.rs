//! A small world for tests: random files, and every request that their rules can tell apart.

mod files;
mod requests;

pub(super) use files::{ALL_FACTS, PROFILES, draft, long_file, read, rule_set};
pub(super) use requests::{is_possible, requests, some_requests};
