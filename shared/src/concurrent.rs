use futures_util::stream::{FuturesOrdered, StreamExt};

/// Pieces of work under way at once.
const CONCURRENCY: usize = 8;

/// Does all work, some at a time, and gives the results in order. No more of it is there than is under way: a
/// piece takes some kilobytes before it has begun.
pub async fn concurrently<F: Future>(mut work: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut under_way: FuturesOrdered<F> = work.by_ref().take(CONCURRENCY).collect();
    let mut results = Vec::new();
    while let Some(result) = under_way.next().await {
        results.push(result);
        under_way.extend(work.next());
    }
    results
}
