use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_http::RequestExt;
use tokio::time::Instant;

use super::{Problem, Request};

/// What is left of a function's time for saying that it ran out.
const MARGIN: Duration = Duration::from_millis(500);

/// No function runs longer.
const LONGEST: Duration = Duration::from_mins(15);

/// When a request has to be answered.
#[derive(Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// A little before the function's time is up.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let deadline = request.lambda_context_ref().map_or(0, |context| context.deadline);
        Self(Instant::now() + time_left(deadline).saturating_sub(MARGIN))
    }

    /// The moment itself.
    #[must_use]
    pub const fn moment(self) -> Instant {
        self.0
    }

    /// The deadline of the parts of an answer, which itself takes time to write.
    #[must_use]
    pub fn of_parts(self) -> Self {
        Self(self.0.checked_sub(MARGIN).unwrap_or(self.0))
    }

    /// What `work` gives, or 503 when the time is up first.
    ///
    /// # Errors
    /// What `work` says, or 503.
    pub async fn bound<T>(self, work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
        match tokio::time::timeout_at(self.0, work).await {
            Ok(result) => result,
            Err(elapsed) => Err(Problem::Unavailable(elapsed.into())),
        }
    }
}

/// How long a function may still run whose context has this deadline, in milliseconds.
#[must_use]
pub fn time_left(deadline: u64) -> Duration {
    let deadline = Duration::from_millis(deadline);
    if deadline <= LONGEST {
        // `cargo lambda watch` gives a duration where Lambda gives a moment.
        return deadline;
    }
    deadline.saturating_sub(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_moment_or_for_cargo_lambda_a_duration() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let (second, hour) = (Duration::from_secs(1), Duration::from_hours(1));
        let left = |deadline: Duration| time_left(deadline.as_millis().try_into().unwrap());
        assert!(left(now + second) <= second);
        assert_eq!(left(now.checked_sub(hour).unwrap()), Duration::ZERO);
        assert_eq!(left(Duration::from_mins(10)), Duration::from_mins(10));
        assert_eq!(left(Duration::ZERO), Duration::ZERO);
    }
}
