//! The API as its clients see it: of a local server for each test, or of the deployment at `API_URL`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod clients;
mod compatibility;
mod events;
mod flows;
mod http;
mod issued;
mod lists;
mod local;
mod runs;
mod secrets;
mod tour;
