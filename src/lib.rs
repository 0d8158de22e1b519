//! tollgate: one binary and one YAML file between applications and every LLM provider.

pub mod app;
pub mod cli;
pub mod config;
pub mod control;
pub mod outside;
pub mod reload;
pub mod store;
pub mod tokens;
pub mod units;
pub mod wire;
