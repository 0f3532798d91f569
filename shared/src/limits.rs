//! What AWS takes at most, each limit once. docs/limits.md says where each is from, and what follows from it.

/// Of one `PutEvents`: the sizes of its entries by EventBridge's own rule, together below this.
pub const EVENTBRIDGE_BYTES: usize = 1024 * 1024;
/// Entries of one `PutEvents`.
pub const EVENTBRIDGE_ENTRIES: usize = 10;
/// A message of a queue.
pub const SQS_MESSAGE_BYTES: usize = 1024 * 1024;
/// The event of a function that is invoked for its answer.
pub const LAMBDA_EVENT_BYTES: usize = 6 * 1024 * 1024;
/// The event of a function that is invoked asynchronously, as EventBridge does.
pub const LAMBDA_ASYNCHRONOUS_EVENT_BYTES: usize = 1024 * 1024;
/// The answer of a function, as the JSON that the function gives.
pub const LAMBDA_ANSWER_BYTES: usize = 6_291_556;
/// An item of the table.
pub const DYNAMODB_ITEM_BYTES: usize = 400 * 1024;
/// Items of one transaction, and keys of one batch.
pub const DYNAMODB_ITEMS: usize = 100;
/// All items of one transaction: 4 MB, counted in the smaller megabytes.
pub const DYNAMODB_TRANSACTION_BYTES: usize = 4_000_000;
/// The body of a request to an HTTP API.
pub const HTTP_API_BODY_BYTES: usize = 10 * 1024 * 1024;
/// How long an HTTP API waits for a function.
pub const HTTP_API_SECONDS: u64 = 30;
/// A value in Secrets Manager.
pub const SECRET_BYTES: usize = 64 * 1024;
