//! The hash for names and contents that anybody may choose, such as keys and ETags: SHA-256, truncated to
//! 128 bits.
//!
//! NIST SP 800-107r1 §5.1 allows truncation by taking the leftmost bits. 128 bits leave 64 bits of
//! collision resistance and 128 of preimage resistance: ample for names that nobody signs.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

/// 128 bits of SHA-256; shown as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; Digest::LEN]);

impl Digest {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// The digest of one run of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::truncate(Sha256::digest(bytes).as_slice())
    }

    /// The digest of a sequence of fields.
    ///
    /// Each field is preceded by its length, and an absent one by a marker of its own, so two
    /// different sequences never hash the same bytes.
    pub fn of_fields<'a>(fields: impl IntoIterator<Item = Option<&'a [u8]>>) -> Self {
        let mut hash = Sha256::new();
        for field in fields {
            match field {
                Some(bytes) => {
                    hash.update([1]);
                    hash.update((bytes.len() as u64).to_le_bytes());
                    hash.update(bytes);
                }
                None => hash.update([0]),
            }
        }
        Self::truncate(hash.finalize().as_slice())
    }

    /// The digest that has these bytes: the way back from [`Digest::to_bytes`].
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes of the digest.
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        self.0
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; Self::LEN];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    fn truncate(full: &[u8]) -> Self {
        let mut bytes = [0; Self::LEN];
        bytes.copy_from_slice(&full[..Self::LEN]);
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By bytes: a number of 128 bits is slow to write in WebAssembly.
        let mut digits = [0; 2 * Self::LEN];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &"a digest"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_head_of_sha_256() {
        // FIPS 180-2, appendix B.1: SHA-256("abc") = ba7816bf 8f01cfea 414140de 5dae2223 …
        assert_eq!(
            Digest::of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223"
        );
    }

    #[test]
    fn reads_back() {
        let digest = Digest::of(b"abc");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse("ba78"), None);
        assert_eq!(Digest::parse(&"+".repeat(32)), None);
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let one = Digest::of_fields([Some(b"ab".as_slice()), Some(b"c".as_slice())]);
        let other = Digest::of_fields([Some(b"a".as_slice()), Some(b"bc".as_slice())]);
        let absent = Digest::of_fields([Some(b"abc".as_slice()), None]);
        let empty = Digest::of_fields([Some(b"abc".as_slice()), Some(b"".as_slice())]);
        assert_ne!(one, other);
        assert_ne!(absent, empty);
    }
}
