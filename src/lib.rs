//! tollgate: one binary and one YAML file between applications and every LLM provider.

pub mod units;

pub mod config;
pub mod tokens;
pub mod wire;

pub mod rules;

pub mod admit;
pub mod outside;
pub mod record;
pub mod store;
pub mod upstream;

pub mod flow;

pub mod control;
pub mod reload;
pub mod server;

pub mod app;
pub mod cli;
