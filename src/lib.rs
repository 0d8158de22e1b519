//! tollgate: one binary and one YAML file between applications and every LLM provider.

pub mod config;
pub mod tokens;
pub mod units;
pub mod upstream;
pub mod wire;
