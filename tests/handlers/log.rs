//! What the functions log.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;

use serde_json::Value;
use tracing::Level;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

thread_local! {
    /// What this thread's test has logged, if it wants to know.
    static LINES: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Everything that is logged on this thread while it lives, at every level.
pub(crate) struct Log;

impl Log {
    pub(crate) fn start() -> Self {
        // One subscriber for all tests: whether a place logs at all is decided once for the process.
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let (filter, format) = shared::telemetry::layers(|| ThisThread, Level::TRACE);
            tracing_subscriber::registry().with(format).with(filter).init();
        });
        LINES.set(Some(Vec::new()));
        Self
    }

    /// The lines since the last time.
    #[allow(clippy::unused_self, reason = "they are kept only while it lives")]
    pub(crate) fn take(&self) -> Vec<Value> {
        let bytes = LINES.replace(Some(Vec::new())).unwrap();
        let lines = std::str::from_utf8(&bytes).unwrap().lines();
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        LINES.set(None);
    }
}

struct ThisThread;

impl Write for ThisThread {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.iter_mut().for_each(|lines| lines.extend_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
