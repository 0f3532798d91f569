use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

use aws_lc_rs::rand;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Timestamp;

/// Twelve bytes written as 24 lower-case hex digits, as components of the platform expect them
/// (the form of a MongoDB ObjectId).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId([u8; 12]);

/// The text is neither 24 hex digits nor 12 ASCII characters.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("neither 24 hex digits nor 12 ASCII characters")]
pub struct InvalidId;

impl ObjectId {
    /// A new id that sorts after every id this process made before: 4 bytes of seconds, 10 bits of
    /// milliseconds, then 54 random bits that are counted up within one millisecond. Ordering by id
    /// is therefore ordering by time of creation.
    #[must_use]
    pub fn generate() -> Self {
        const RANDOM_BITS: u32 = 54;
        static LAST: Mutex<(u64, u64)> = Mutex::new((0, 0));

        let now = Timestamp::now().millis();
        let mut last = LAST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if now > last.0 {
            let mut random = [0; 8];
            // A failing system generator leaves zeroes: ids stay ordered, and the write that uses
            // one is conditional on its absence.
            let _ = rand::fill(&mut random);
            // One bit is left free for counting.
            *last = (now, u64::from_be_bytes(random) >> (65 - RANDOM_BITS));
        } else {
            last.1 += 1;
        }
        let (millis, tail) = *last;
        let seconds = u32::try_from(millis / 1000).unwrap_or(u32::MAX);
        let tail = (millis % 1000) << RANDOM_BITS | (tail & ((1 << RANDOM_BITS) - 1));
        let mut bytes = [0; 12];
        let (head, rest) = bytes.split_at_mut(4);
        head.copy_from_slice(&seconds.to_be_bytes());
        rest.copy_from_slice(&tail.to_be_bytes());
        Self(bytes)
    }

    /// An id from which on ids are that were generated at this time; no id of anything.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        let seconds = u32::try_from(time.seconds()).unwrap_or(u32::MAX);
        let mut bytes = [0; 12];
        let (head, rest) = bytes.split_at_mut(4);
        head.copy_from_slice(&seconds.to_be_bytes());
        rest.copy_from_slice(&((time.millis() % 1000) << 54).to_be_bytes());
        Self(bytes)
    }

    /// This id as if it had been generated so much later, in whole seconds.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let Self(mut bytes) = self;
        let (head, _) = bytes.split_at_mut(4);
        let seconds = self.timestamp().plus(duration).seconds();
        head.copy_from_slice(&u32::try_from(seconds).unwrap_or(u32::MAX).to_be_bytes());
        Self(bytes)
    }

    /// When this id was generated, to the millisecond for our own ids.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        let number = self.0.iter().fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
        let seconds = u64::try_from(number >> 64).unwrap_or_default();
        let millis = u64::try_from(number >> 54 & 0x3ff).unwrap_or_default().min(999);
        Timestamp::from_millis(seconds * 1000 + millis)
    }

    /// The twelve bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 12] {
        &self.0
    }
}

impl FromStr for ObjectId {
    type Err = InvalidId;

    /// Reads 24 hex digits in any case, or any 12 ASCII characters, which are its bytes. Upstream wants 12
    /// characters and 12 bytes of UTF-8 (bson 4), which is the same.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if !text.is_ascii() {
            return Err(InvalidId);
        }
        if let Ok(bytes) = text.as_bytes().try_into() {
            return Ok(Self(bytes));
        }
        let mut bytes = [0; 12];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidId)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 24];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A type of ids of its own, so that none is taken for another's.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(ObjectId);

        impl $name {
            /// A new id; see [`ObjectId::generate`].
            #[must_use]
            pub fn generate() -> Self {
                Self(ObjectId::generate())
            }

            /// When the id was generated.
            #[must_use]
            pub fn timestamp(&self) -> Timestamp {
                self.0.timestamp()
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// Names one flow.
    FlowId
);
id!(
    /// Names one secret; flows refer to it as `credentials_id`.
    SecretId
);

/// An id that somebody has chosen may be this far ahead: no clock that is kept is so wrong, and no list is out of
/// order for longer.
const MAX_AHEAD: Duration = Duration::from_mins(5);

impl FlowId {
    /// Whether it is of a time that is still to come.
    #[must_use]
    pub fn is_ahead(&self, now: Timestamp) -> bool {
        self.timestamp() > now.plus(MAX_AHEAD)
    }

    /// Spreads ids evenly over `shards`; stable for ever, because stored rows depend on it.
    #[must_use]
    pub fn shard(&self, shards: u8) -> u8 {
        let sum = self.0.as_bytes().iter().fold(0_u32, |sum, byte| sum * 31 % 65_521 + u32::from(*byte));
        u8::try_from(sum % u32::from(shards.max(1))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_rise_and_tell_their_time() {
        let before = Timestamp::now();
        let ids: Vec<_> = (0..10_000).map(|_| ObjectId::generate()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(
            ids.iter().all(|id| *id >= ObjectId::at(id.timestamp())
                && ObjectId::at(id.timestamp()) >= ObjectId::at(before))
        );
        assert!(ids.iter().all(|id| id.timestamp() >= before && id.timestamp() <= Timestamp::now()));
    }

    #[test]
    fn twelve_ascii_characters_are_an_id() {
        assert_eq!("abcdefghijkl".parse::<ObjectId>().unwrap().to_string(), "6162636465666768696a6b6c");
        // Of 12 characters, and of 12 bytes: each alone is none.
        let beyond_ascii = ["éééééééééééé", "éééééé", "€€€€", "abcdefghijké"];
        for bad in ["", "xx", "SDSADGSDGH", "5ca5c44c187c040010a9bb8", "5ca5c44c187c040010a9bb8z"]
            .into_iter()
            .chain(beyond_ascii)
        {
            assert_eq!(bad.parse::<ObjectId>(), Err(InvalidId), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn hex_is_read_in_any_case(bytes in any::<[u8; 12]>()) {
            let id = ObjectId(bytes);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".*") {
            let _ = text.parse::<FlowId>();
        }
    }
}
