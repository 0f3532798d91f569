use futures_util::stream::{self, StreamExt};

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
