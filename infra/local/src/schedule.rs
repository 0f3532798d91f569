//! Runs functions from time to time, as EventBridge does.

use serde_json::json;
use shared::flow::{ObjectId, Timestamp};

use crate::functions::Functions;
use crate::template::Schedule;

impl Schedule {
    /// Invokes the function again and again until the server ends.
    pub async fn run(self, functions: &'static Functions) {
        loop {
            tokio::time::sleep(self.every).await;
            let event = json!({
                "version": "0",
                "id": ObjectId::generate(),
                "source": "aws.events",
                "detail-type": "Scheduled Event",
                "account": "000000000000",
                "time": Timestamp::now().to_string(),
                "region": "local",
                "resources": [],
                "detail": {},
            });
            if let Err(error) = functions.invoke(&self.function, event).await {
                tracing::warn!(function = self.function, error = %error, "schedule.failed");
            }
        }
    }
}
