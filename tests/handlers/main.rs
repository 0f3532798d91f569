//! The functions from inside: invoked with real events, watched at the wire.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod calls;
mod chosen;
mod conditions;
mod conflicts;
mod deletion;
mod events;
mod every_write;
mod failures;
mod holds;
mod identities;
mod largest;
mod log;
mod metrics;
mod newer;
mod ownership;
mod partitions;
mod publishing;
mod reconciling;
mod retries;
mod secret_values;
mod secrets;
mod stack;
mod tables;
mod template;
mod transactions;
mod validation;
mod versions;
