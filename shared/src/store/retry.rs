//! Which failures pass: the SDK retries them with exponential backoff and jitter, until the
//! request's deadline ends it.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::retry::{RetryPartition, TokenBucket};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};

use super::Item;

/// The reason of a transaction that is wrong in itself.
const INVALID: &str = "ValidationError";

/// Error codes that say "later".
pub(super) const PASSING: [&str; 9] = [
    "InternalServerError",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "TransactionCanceledException",
    "TransactionConflictException",
    "TransactionInProgressException",
    "ServiceUnavailable",
];

const MAX_ATTEMPTS: u32 = 10;
const INITIAL_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// The settings of a client that outlasts throttling and conflicts.
#[must_use]
pub fn client_config(aws: &SdkConfig) -> Builder {
    let retry = RetryConfig::standard()
        .with_max_attempts(MAX_ATTEMPTS)
        .with_initial_backoff(INITIAL_BACKOFF)
        .with_max_backoff(MAX_BACKOFF);
    // Attempts and the deadline are bound enough: a quota shared by all requests of a process would end
    // retries just when many meet.
    let unlimited = RetryPartition::custom("flows").token_bucket(TokenBucket::unlimited()).build();
    Builder::from(aws).retry_partition(unlimited).retry_config(retry).retry_classifier(CanceledTransaction)
}

/// The writes whose conditions failed, by their places, with the newest states of their items.
pub(super) fn failed_conditions(error: Option<&TransactWriteItemsError>) -> Vec<(usize, Option<Item>)> {
    let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = error else {
        return Vec::new();
    };
    let reasons = canceled.cancellation_reasons().iter().enumerate();
    let failed = reasons.filter(|(_, reason)| reason.code() == Some("ConditionalCheckFailed"));
    failed.map(|(place, reason)| (place, reason.item().filter(|item| !item.is_empty()).cloned())).collect()
}

/// Whether a transaction was cancelled because it can never succeed.
pub(super) fn is_invalid(error: Option<&TransactWriteItemsError>) -> bool {
    let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = error else { return false };
    canceled.cancellation_reasons().iter().any(|reason| reason.code() == Some(INVALID))
}

/// Whether the write at this place of a transaction was in another's way, and the other had not ended when
/// the last attempt was made.
pub(super) fn is_in_conflict<R>(failure: &SdkError<TransactWriteItemsError, R>, place: usize) -> bool {
    let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = failure.as_service_error()
    else {
        return false;
    };
    let reason = canceled.cancellation_reasons().get(place);
    reason.is_some_and(|reason| reason.code() == Some("TransactionConflict"))
}

/// A transaction that was cancelled by another one, or by throttling, and not by its condition.
#[derive(Debug)]
struct CanceledTransaction;

impl ClassifyRetry for CanceledTransaction {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error =
            context.output_or_error().and_then(Result::err).and_then(|error| error.as_operation_error());
        let canceled = match error.and_then(|error| error.downcast_ref()) {
            Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => canceled,
            // An attempt whose answer did not come is still under way.
            Some(TransactWriteItemsError::TransactionInProgressException(_)) => {
                return RetryAction::transient_error();
            }
            _ => return RetryAction::NoActionIndicated,
        };
        let has = |codes: &[&str]| {
            canceled
                .cancellation_reasons()
                .iter()
                .any(|reason| reason.code().is_some_and(|code| codes.contains(&code)))
        };
        if has(&["ConditionalCheckFailed", INVALID]) {
            RetryAction::RetryForbidden
        } else if has(&["ThrottlingError", "ProvisionedThroughputExceeded"]) {
            RetryAction::throttling_error()
        } else {
            RetryAction::transient_error()
        }
    }

    fn name(&self) -> &'static str {
        "canceled transaction"
    }
}
