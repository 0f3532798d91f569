//! How JSON is compressed: with zstd and what flows have in common, so that a usual one of 4 KB and all that
//! the head says of it fit the KB that a write unit has; docs/adr/0020-dictionary.md.

use std::sync::LazyLock;

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::get_frame_content_size;

use super::Error;

/// What flows have in common. What is stored cannot be read without it, so it never changes: another one is
/// another file with another number.
const DICTIONARY: &[u8] = include_bytes!("dictionary-1.txt");
/// The first byte of what was compressed with it. No frame of zstd begins so (RFC 8878, 3.1.1); what has
/// none was compressed without a dictionary.
const NUMBER: u8 = 1;
/// A tenth less than at 3; the levels from 5 on take several times as long for little more.
const LEVEL: i32 = 4;
/// No answer of a function is larger, and no document.
const MAX_UNPACKED_BYTES: usize = 6 * 1024 * 1024;

static ENCODER: LazyLock<EncoderDictionary<'static>> =
    LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, LEVEL));
static DECODER: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));

pub(super) fn pack(json: &[u8]) -> Result<Vec<u8>, Error> {
    // It could not be unpacked.
    if json.len() > MAX_UNPACKED_BYTES {
        return Err(Error::TooLarge);
    }
    let frame = Compressor::with_prepared_dictionary(&ENCODER).and_then(|mut with| with.compress(json));
    let mut packed = frame.map_err(|error| Error::Unreadable(error.into()))?;
    packed.insert(0, NUMBER);
    Ok(packed)
}

pub(super) fn unpack(packed: &[u8]) -> Result<Vec<u8>, Error> {
    let (frame, has_dictionary) = match packed.strip_prefix(&[NUMBER]) {
        Some(frame) => (frame, true),
        None => (packed, false),
    };
    // What a frame says of its size is as much memory as is taken: asked for the most there is, the allocator
    // would tidy up with every document.
    let size = get_frame_content_size(frame).ok().flatten().and_then(|size| size.try_into().ok());
    let size = size.unwrap_or(MAX_UNPACKED_BYTES).min(MAX_UNPACKED_BYTES);
    let json = if has_dictionary {
        Decompressor::with_prepared_dictionary(&DECODER).and_then(|mut with| with.decompress(frame, size))
    } else {
        zstd::bulk::decompress(frame, size)
    };
    json.map_err(|error| Error::Unreadable(error.into()))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA256, digest};
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn what_was_stored_can_be_read() {
        let json = br#"{"graph":{"nodes":[{"id":"step_1"}],"edges":[]},"owners":[]}"#;
        assert_eq!(unpack(&pack(json).unwrap()).unwrap(), json);
        assert_eq!(unpack(&zstd::bulk::compress(json, 3).unwrap()).unwrap(), json, "without a dictionary");
    }

    #[test]
    fn the_dictionary_stays_as_it_is() {
        let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, DICTIONARY));
        assert_eq!(hash, "IscpT7mK7Muo9tYlZ-Fz0d_ybarEkSGs5YLjj5l_Ia8");
    }

    #[test]
    fn nothing_is_packed_that_could_not_be_unpacked() {
        let largest = vec![b' '; MAX_UNPACKED_BYTES];
        assert_eq!(unpack(&pack(&largest).unwrap()).unwrap(), largest);
        let larger = [largest.as_slice(), b" "].concat();
        assert!(matches!(pack(&larger), Err(Error::TooLarge)));
    }

    #[test]
    fn what_cannot_be_unpacked_is_an_error() {
        for packed in [&[NUMBER, 1, 2, 3][..], &[2, 0x28, 0xb5, 0x2f, 0xfd], b"{}"] {
            assert!(matches!(unpack(packed), Err(Error::Unreadable(_))), "{packed:?}");
        }
    }
}
