//! What a request takes of memory, and its answer of the room that there is, whatever its body is. A program of
//! its own, because its allocator counts.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod bodies;
mod functions;

use bodies::{FILLINGS, PLACES};
use functions::{Answer, Functions};
use proptest::prelude::*;

/// Bytes of memory for each byte of a body. Only flows of ten thousands of the smallest nodes take more than 20.
const SHARE: usize = 22;
/// Of what is read as a tree: values of secrets, which have 64 KiB, and standard patches, whose values are counted.
const SHARE_OF_TREE: usize = 64;
/// What a request takes besides: its token, its calls, and the buffers of connections.
const FIXED: usize = 1024 * 1024;

/// What can be sent where a body decides: function, route and media type.
const ROUTES: [(&str, &str, &str); 12] = [
    ("validate-flow", "POST /flows/validate", "application/json"),
    ("create-flow", "POST /flows", "application/json"),
    ("create-flow", "POST /flows?validateOnly=true", "application/json"),
    ("update-flow", "PATCH /flows/{id}", "application/json"),
    ("update-flow", "PATCH /flows/{id}", "application/merge-patch+json"),
    ("update-flow", "PATCH /flows/{id}", "application/json-patch+json"),
    ("replace-flow", "PUT /flows/{id}", "application/json"),
    ("update-flows", "PATCH /flows/bulk", "application/json"),
    ("start-flows", "POST /flows/multiple/start", "application/json"),
    ("stop-flows", "POST /flows/multiple/stop", "application/json"),
    ("create-secret", "POST /secrets", "application/json"),
    ("update-secret", "PATCH /secrets/{id}", "application/json"),
];

fn check(functions: &Functions, route: usize, body: &str) -> Result<(), String> {
    let (function, route, media_type) = ROUTES[route % ROUTES.len()];
    let Answer { status, bytes, memory } = functions.send(function, route, media_type, body);
    let start: String = body.chars().take(80).collect();
    let of = format!("{route} {media_type} of {} bytes, {start}…", body.len());
    let share = memory.saturating_sub(FIXED) / body.len().max(1);
    if std::env::var("SHOW").is_ok() {
        eprintln!("{share:4} {memory:8} {status} {bytes:8} {of}");
    }
    if status >= 500 {
        return Err(format!("{status} to {of}"));
    }
    if bytes > shared::limits::LAMBDA_ANSWER_BYTES {
        return Err(format!("an answer of {bytes} bytes to {of}"));
    }
    let is_tree = function.ends_with("secret") || media_type != "application/json";
    let most = if is_tree { SHARE_OF_TREE } else { SHARE };
    if memory > most * body.len() + FIXED {
        return Err(format!("{memory} bytes of memory, {share} times the body, for {of}"));
    }
    Ok(())
}

#[test]
fn the_worst_that_is_known_takes_little_memory_and_little_room() {
    let functions = Functions::start();
    let found: Vec<String> = bodies::worst()
        .iter()
        .flat_map(|body| (0..ROUTES.len()).map(move |route| (route, body)))
        .filter_map(|(route, body)| check(&functions, route, body).err())
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn whatever_a_body_is_it_takes_little_memory_and_little_room() {
    let functions = Functions::start();
    let cases = (0..ROUTES.len(), 0..PLACES.len(), 0..FILLINGS.len(), 16_usize..1000);
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |((route, place, filling, kilobytes) in cases)| {
        let body = bodies::body(place, filling, kilobytes * 1024);
        prop_assert!(body.len() <= 1024 * 1024);
        check(&functions, route, &body).map_err(TestCaseError::fail)?;
    });
}
