//! tollgate: one binary and one YAML file between applications and every LLM provider.
//!
//! # The two journeys
//!
//! ```text
//! request  accept → parse → classify → find rule → plan ──────────────┐
//!          record ← settle ← relay body ← send ← reserve ← next step ┘  (denied, or failed early: next step)
//! file     change → quiet → read text → tree → draft → check ──ok──→ compile → adopt meters → swap
//!                                                └─ findings: all told, the old rule set stays
//! ```
//!
//! A request takes one snapshot of what is in force ([`flow::Running`]) and keeps it to its record; a file that changes meanwhile
//! concerns only those who come later. [`flow::Parts::handle`] tells a request's story, [`reload::Reloader`] a file's.
//!
//! # The floors
//!
//! A module uses its own folder and the floors below it, and no other module of its own floor (but `config` may use `catalog`, and
//! `wire` may use [`tokens`]). `tests/it/floors.rs` reads every path in the sources and holds them to it.
//!
//! | floor | modules | what holds there |
//! |---|---|---|
//! | 6 | [`cli`] [`app`] | the only place that wires parts together |
//! | 5 | [`server`] [`reload`] [`control`] [`report`] | the ways the world reaches us, and what it is told of money |
//! | 4 | [`flow`] | the request's story; holds handles, owns no state |
//! | 3 | [`admit`] [`upstream`] [`record`] [`store`] [`outside`] | counters, outgoing calls, output, what outlives the process |
//! | 2 | [`rules`] [`tasks`] | the compiled rule set and the classifier: immutable, shared, no counters |
//! | 1 | [`config`] [`wire`] [`catalog`] [`tokens`] | text in, types out; no I/O, no async, no locks |
//! | 0 | [`units`] | money, tokens, names, rates, time |
//!
//! What users may rely on stands in `docs/promises.md`, with the tests that prove it.

pub mod units;

pub mod catalog;
pub mod config;
pub mod tokens;
pub mod wire;

pub mod rules;
pub mod tasks;

pub mod admit;
pub mod outside;
pub mod record;
pub mod store;
pub mod upstream;

pub mod flow;

pub mod bench;
pub mod control;
pub mod reload;
pub mod report;
pub mod server;

pub mod app;
pub mod cli;
