//! What the repository tells the platform, and what the platform tells the repository.

mod change;
mod incoming;
mod publish;

pub use change::{Event, event_of_read, event_of_secret, events_of_change};
pub use incoming::{MalformedEvent, OwnerDeleted, StatusReport, check_source};
pub use publish::{PublishError, Publisher};

/// The `source` of every event we publish.
pub const SOURCE: &str = "flow-repository";
