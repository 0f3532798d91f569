//! How JSON is compressed: with zstd and what flows have in common; docs/adr/0020-dictionary.md says what that is
//! good for.

use std::num::NonZeroU32;
use std::sync::LazyLock;

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::{get_dict_id_from_frame, get_frame_content_size};

use super::Error;

/// How often which symbols are, as zstd writes it down; it begins with [`NUMBER`].
const TABLES: &[u8] = include_bytes!("dictionary-2.tables");
/// What flows have in common. What is stored cannot be read without both, so they never change: another
/// dictionary is other files with another number.
const TEXT: &[u8] = include_bytes!("dictionary-2.txt");
/// Every frame says with which dictionary it was compressed; 0 is none.
const NUMBER: u32 = 2;
/// A tenth less than at 3; the levels from 5 on take several times as long for little more.
const LEVEL: i32 = 4;
/// No answer of a function is larger, and no document.
const MAX_UNPACKED_BYTES: usize = 6 * 1024 * 1024;

static ENCODER: LazyLock<EncoderDictionary<'static>> =
    LazyLock::new(|| EncoderDictionary::copy(&[TABLES, TEXT].concat(), LEVEL));
static DECODER: LazyLock<DecoderDictionary<'static>> =
    LazyLock::new(|| DecoderDictionary::copy(&[TABLES, TEXT].concat()));

pub(super) fn pack(json: &[u8]) -> Result<Vec<u8>, Error> {
    // It could not be unpacked.
    if json.len() > MAX_UNPACKED_BYTES {
        return Err(Error::TooLarge);
    }
    let frame = Compressor::with_prepared_dictionary(&ENCODER).and_then(|mut with| with.compress(json));
    frame.map_err(|error| Error::Unreadable(error.into()))
}

pub(super) fn unpack(frame: &[u8]) -> Result<Vec<u8>, Error> {
    let number = dictionary_of(frame);
    if ![0, NUMBER].contains(&number) {
        let why = format!(
            "compressed with dictionary {number}, and this version has {NUMBER}; a local server's data folder can be deleted"
        );
        return Err(Error::Unreadable(why.into()));
    }
    // What a frame says of its size is as much memory as is taken: asked for the most there is, the allocator
    // would tidy up with every document.
    let size = get_frame_content_size(frame).ok().flatten().and_then(|size| size.try_into().ok());
    let size = size.unwrap_or(MAX_UNPACKED_BYTES).min(MAX_UNPACKED_BYTES);
    let json =
        Decompressor::with_prepared_dictionary(&DECODER).and_then(|mut with| with.decompress(frame, size));
    json.map_err(|error| Error::Unreadable(error.into()))
}

/// The number of the dictionary that is needed to read it.
fn dictionary_of(frame: &[u8]) -> u32 {
    match frame {
        // Frames with the first dictionary had its number before them.
        [1, ..] => 1,
        _ => get_dict_id_from_frame(frame).map_or(0, NonZeroU32::get),
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA256, digest};
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::Value;
    use zstd::zstd_safe::get_dict_id_from_dict;

    use super::*;
    use crate::flow::{ComponentCheck, Flow, Role, StoredDocument, read_fields};
    use crate::identity::Caller;

    #[test]
    fn what_was_stored_can_be_read() {
        let json = br#"{"graph":{"nodes":[{"id":"step_1"}],"edges":[]},"owners":[]}"#;
        assert_eq!(unpack(&pack(json).unwrap()).unwrap(), json);
        assert_eq!(unpack(&zstd::bulk::compress(json, 3).unwrap()).unwrap(), json, "without a dictionary");
    }

    #[test]
    fn the_dictionary_stays_as_it_is() {
        let dictionary = [TABLES, TEXT].concat();
        let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, &dictionary));
        assert_eq!(hash, "VthnSFCXsRi9dJG4xLUkqPHS_QzQF8wsaNMIdD6XaHI");
        assert_eq!(get_dict_id_from_dict(&dictionary).map(NonZeroU32::get), Some(NUMBER));
    }

    #[test]
    fn the_flow_that_is_measured_packs_as_real_ones_do() {
        let flow: Value = serde_json::from_str(include_str!("../../../tests/bench/flow.json")).unwrap();
        // Without blanks, as it is sent when it is measured.
        let text = flow.to_string();
        let real: Value = serde_json::from_str(include_str!("../../../tests/bench/real-flows.json")).unwrap();
        let of_3_to_4_kb: usize = real["rows"][1]["median"][3].as_u64().unwrap().try_into().unwrap();
        let anna = Caller::new("anna", Some("acme"), []);
        let body = read_fields(serde_json::from_str(&text).unwrap()).unwrap();
        let stored = Flow::create(&anna, body, ComponentCheck::AtStart, Role::Owner).unwrap();
        let packed = pack(stored.document.json().unwrap().as_bytes()).unwrap().len();
        assert!(packed >= of_3_to_4_kb, "{packed} bytes, real flows {of_3_to_4_kb}");
        let (dictionary, mut values) = (String::from_utf8_lossy(TEXT), vec![&flow]);
        while let Some(value) = values.pop() {
            values.extend(value.as_array().into_iter().flatten());
            values.extend(value.as_object().into_iter().flat_map(|members| members.values()));
            let text = value.as_str().filter(|text| text.contains(' '));
            assert!(text.is_none_or(|text| !dictionary.contains(text)), "the dictionary has {value}");
        }
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
        for packed in [&[0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3][..], &[0x28, 0xb5, 0x2f, 0xfd], &[2], b"{}"] {
            assert!(matches!(unpack(packed), Err(Error::Unreadable(_))), "{packed:?}");
        }
    }

    #[test]
    fn what_was_compressed_with_another_dictionary_says_so() {
        // As the first one's frames were stored, and as those of a third will be.
        let first = &[1, 0x28, 0xb5, 0x2f, 0xfd, 0x20, 2, 17, 0, 0, 0x7b, 0x7d][..];
        let mut third = pack(b"{}").unwrap();
        assert_eq!(third[5], 2, "the number is behind magic number and descriptor");
        third[5] = 3;
        for (packed, number) in [(first, 1), (third.as_slice(), 3)] {
            let Err(Error::Unreadable(why)) = unpack(packed) else { panic!("unpacked {number}") };
            assert_eq!(
                why.to_string(),
                format!(
                    "compressed with dictionary {number}, and this version has 2; a local server's data folder can be deleted"
                )
            );
        }
    }
}
