//! Which failures pass: the SDK retries them with exponential backoff and jitter, until the
//! request's deadline ends it.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_lc_rs::rand;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::retry::{RetryPartition, TokenBucket};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use serde::Deserialize;

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

/// Those of [`PASSING`] that the SDK does not know by itself.
const IN_CONFLICT: [&str; 2] = ["TransactionConflictException", "TransactionInProgressException"];

/// With the pauses between them some six seconds, which most functions have.
pub(super) const MAX_ATTEMPTS: u32 = 16;
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
    Builder::from(aws).retry_partition(unlimited).retry_config(retry).retry_classifier(Conflict)
}

/// Waits before something is tried again that has been tried so often, as the SDK does: longer each time, and not
/// as long as others who were refused at the same moment.
pub(crate) async fn pause(tried: u32) {
    let mut random = [0; 2];
    // Without a random number it is the longest pause.
    let share = rand::fill(&mut random).map_or(u16::MAX, |()| u16::from_be_bytes(random));
    let longest =
        INITIAL_BACKOFF.saturating_mul(2_u32.saturating_pow(tried.saturating_sub(1))).min(MAX_BACKOFF);
    tokio::time::sleep(longest * u32::from(share) / u32::from(u16::MAX)).await;
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

/// Whatever was in another's way, of every operation, or was cancelled by throttling; and not by its condition.
#[derive(Debug)]
struct Conflict;

impl ClassifyRetry for Conflict {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error =
            context.output_or_error().and_then(Result::err).and_then(|error| error.as_operation_error());
        let Some(error) = error else { return RetryAction::NoActionIndicated };
        let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = error.downcast_ref()
        else {
            let code = context.response().and_then(error_code);
            return if code.is_some_and(|code| IN_CONFLICT.contains(&code.as_str())) {
                RetryAction::transient_error()
            } else {
                RetryAction::NoActionIndicated
            };
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
        "conflict"
    }
}

/// The code of a failure, from the answer itself: in the SDK each operation has its own type of error, and not
/// all of these know all codes.
fn error_code(response: &HttpResponse) -> Option<String> {
    #[derive(Deserialize)]
    struct Failure {
        #[serde(rename = "__type")]
        kind: String,
    }

    let failure: Failure = serde_json::from_slice(response.body().bytes()?).ok()?;
    failure.kind.rsplit('#').next().map(Into::into)
}
