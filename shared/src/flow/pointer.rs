//! JSON pointers (RFC 6901) that leave the service: none is longer than a client could use.

/// Instead of a longer pointer there is that of what holds it.
const MAX_POINTER: usize = 256;

/// The pointer, or the longest one of what holds it that is short enough.
pub(crate) fn cut(pointer: &str) -> &str {
    match pointer.as_bytes().get(..=MAX_POINTER) {
        Some(start) => {
            let end = start.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
            pointer.get(..end).unwrap_or_default()
        }
        None => pointer,
    }
}
