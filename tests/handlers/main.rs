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
mod equality;
mod events;
mod every_write;
mod failures;
mod false_conditions;
mod holds;
mod identities;
mod largest;
mod log;
mod metrics;
mod negotiation;
mod newer;
mod ownership;
mod partitions;
mod patches;
mod publishing;
mod reconciling;
mod refusals;
mod retries;
mod secret_values;
mod secrets;
mod settings;
mod stack;
mod tables;
mod template;
mod transactions;
mod unknown;
mod validation;
mod versions;
