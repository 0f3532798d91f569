//! What the functions share. `flow` is the domain; `identity`, `store`, `events` and `api` connect
//! it to callers, DynamoDB, EventBridge and HTTP.

pub mod api;
mod concurrent;
pub mod config;
pub mod events;
pub mod flow;
pub mod identity;
pub mod store;
pub mod telemetry;

pub use concurrent::concurrently;
