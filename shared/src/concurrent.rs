use futures_util::stream::{self, StreamExt};

/// Pieces of work under way at once.
const CONCURRENCY: usize = 8;

/// Does all work, some at a time, and gives the results in order.
pub async fn concurrently<F: Future>(work: Vec<F>) -> Vec<F::Output> {
    stream::iter(work).buffered(CONCURRENCY).collect().await
}
