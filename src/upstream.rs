//! Outgoing calls.

mod cooldown;

pub use cooldown::{Cooldowns, Entry, Resting, Rests, Standing, Trial};
