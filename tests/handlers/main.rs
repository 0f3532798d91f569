//! The functions from inside: invoked with real events, watched at the wire.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod calls;
mod conditions;
mod deletion;
mod events;
mod failures;
mod identities;
mod log;
mod metrics;
mod publishing;
mod reconciling;
mod retries;
mod secrets;
mod stack;
mod tables;
mod template;
mod validation;
mod versions;
