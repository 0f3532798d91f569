//! The table's stream → what belonged to a flow that is gone for good is erased.

use std::time::Duration;

use aws_lambda_events::event::dynamodb::Event;
use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use lambda_runtime::LambdaEvent;
use shared::flow::Timestamp;
use shared::store::{Store, flow_of_key};

/// The stream tells times in whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// Erases the versions of every flow in the batch, and names the first record that has to be delivered
/// again. What was written after the flow went is of another one, and stays.
///
/// # Errors
/// When a record is not of a flow; then the whole batch comes again, and in the end is set aside.
pub async fn handle(
    store: &Store,
    event: LambdaEvent<Event>,
) -> Result<DynamoDbEventResponse, lambda_runtime::Error> {
    let mut response = DynamoDbEventResponse::default();
    for record in event.payload.records {
        let id = flow_of_key(&record.change.keys).ok_or("a record is not of a flow")?;
        let gone_at = record.change.approximate_creation_date_time.timestamp_millis();
        let gone_at = Timestamp::from_millis(u64::try_from(gone_at)?).plus(SECOND);
        match store.erase_versions(id, gone_at).await {
            Ok(erased) => tracing::info!(flow.id = %id, items.erased = erased, "flow.purged"),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(tracing::field::display);
                tracing::warn!(flow.id = %id, error = %error, cause, "flow.not_purged");
                let mut failure = DynamoDbBatchItemFailure::default();
                failure.item_identifier = record.change.sequence_number;
                response.batch_item_failures.push(failure);
                break;
            }
        }
    }
    Ok(response)
}
