//! What the functions log.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::Level;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

/// Everything that is logged on this thread while it lives.
pub(crate) struct Log {
    buffer: Buffer,
    _guard: DefaultGuard,
}

impl Log {
    pub(crate) fn start(level: Level) -> Self {
        let buffer = Buffer::default();
        let (filter, format) = shared::telemetry::layers(buffer.clone(), level);
        let subscriber = tracing_subscriber::registry().with(format).with(filter);
        Self { buffer, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines since the last time.
    pub(crate) fn take(&self) -> Vec<Value> {
        let bytes = std::mem::take(&mut *self.buffer.0.lock().unwrap());
        let lines = std::str::from_utf8(&bytes).unwrap().lines();
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Buffer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
