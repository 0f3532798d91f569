use futures_util::stream::{self, StreamExt};

/// Pieces of work under way at once.
const CONCURRENCY: usize = 8;

/// Does all work, some at a time, and gives the results in order. No more of it is there at a time than is under
/// way: a piece takes some kilobytes before it has begun.
pub async fn concurrently<F: Future>(work: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    stream::iter(work).buffered(CONCURRENCY).collect().await
}
