//! What the functions share. `flow` is the domain; `identity`, `store`, `secrets`, `events` and
//! `api` connect it to callers, DynamoDB, Secrets Manager, EventBridge and HTTP.

pub mod api;
mod concurrent;
pub mod config;
pub mod events;
pub mod flow;
pub mod identity;
pub mod json;
pub mod limits;
pub mod secrets;
pub mod store;
pub mod telemetry;

pub use concurrent::concurrently;
