use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};

use super::Problem;

/// Flows in one bulk write.
pub const MAX_BULK_WRITE: usize = 100;
/// Flows started or stopped at once.
pub(super) const MAX_BULK_CONTROL: usize = 1000;
/// Items under way at once.
const CONCURRENCY: usize = 8;

/// Does all work, some at a time, and gives the results in order.
pub async fn concurrently<F: Future>(work: Vec<F>) -> Vec<F::Output> {
    stream::iter(work).buffered(CONCURRENCY).collect().await
}

/// What became of an item that failed: `{"errors":[…]}`, with the id it was sent under if any.
#[must_use]
pub fn bulk_errors(problem: &Problem, flow_id: Option<&Value>) -> Value {
    let entries = problem.entries().into_iter().map(|mut entry| {
        if let Some(id) = flow_id {
            entry.insert("flowId".into(), id.clone());
        }
        entry
    });
    json!({"errors": entries.collect::<Vec<_>>()})
}
