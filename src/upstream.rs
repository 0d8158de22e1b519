//! Outgoing calls.
