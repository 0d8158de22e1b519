//! The one test program: a module per promise, linked once.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on ends here, helper functions included"
)]

mod admin;
mod alerts;
mod azure;
mod bench;
mod boot;
mod budget_edits;
mod budgets;
mod callers;
mod cancels;
mod catalogue;
mod charges;
mod codes;
mod compatibility;
mod compressed;
mod config;
mod config_faults;
mod cooldown;
mod documents;
mod drain;
mod editing;
mod exact;
mod explain;
mod floors;
mod gemini;
mod history;
mod http2_faults;
mod include;
mod keys;
mod kill_points;
mod kills;
mod lacking;
mod ledger;
mod limits;
mod machine;
mod messages;
mod models;
mod mutations;
mod near_the_cap;
mod odd;
mod openapi;
mod passing;
mod pools;
mod prices;
mod process;
mod program;
mod relay;
mod reload;
mod responses;
mod round_trips;
mod routing;
mod sandbox;
mod serving;
mod streaming;
mod support;
mod tasks;
mod tokens;
mod two_ledgers;
mod upstream_faults;
mod week;
mod wire_vectors;
mod worst_case;
