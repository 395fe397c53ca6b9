//! The entry: the bytes that Redis holds for one answer.
//!
//! ```text
//! offset  bytes  field (integers little-endian)
//!      0      2  magic "TM"
//!      2      1  version
//!      3      1  coding of the body (0 = identity, 1 = gzip)
//!      4      8  XXH3-64 of everything else
//!     12      2  HTTP status
//!     14      8  XXH3-64 of the key
//!     22      8  epoch
//!     30     16  witness of the stamps
//!     46      8  as_of, ms since the Unix epoch, database's clock
//!     54      8  fresh_until, ms since the Unix epoch, filler's clock
//!     62     16  digest behind the ETag
//!     78      2  length of the target
//!     80      …  target, in ASCII
//!      …      …  body
//! ```
//!
//! The target is the canonical request for this very answer, as [`crate::route::target`] makes it:
//! whoever finds an entry can ask its question again. Names in Redis show no arguments, and neither
//! does a log; a value shows them only where it shows the answer as well.
//!
//! Whatever is truncated, corrupted, of another version or of another key does not decode: it is
//! a miss, never an answer (invariant I6). The checksum guards against accidents, not against
//! somebody who may write to this Redis.
//!
//! History of the format: 1 – the first; 2 – with the target; 3 – key and witness by XXH3.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::{
    content::{Content, Encoding},
    digest::Digest,
    epoch::Epoch,
    etag::ETag,
    key::Key,
    stamp::Witness,
};

/// The version of the format that this code writes, and the only one that it reads.
pub const VERSION: u8 = 3;

/// Length of the header in bytes: the cost of an entry beyond its target and body.
pub const HEADER_LEN: usize = 80;

const MAGIC: [u8; 2] = *b"TM";
const ENCODING_AT: usize = 3;
const CHECKSUM_AT: usize = 4;
const CHECKED_FROM: usize = CHECKSUM_AT + 8;
const TARGET_LEN_AT: usize = HEADER_LEN - 2;

/// A cached answer with what is needed to judge it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The answer's HTTP status.
    pub status: u16,
    /// The epoch in which the stamps were observed.
    pub epoch: Epoch,
    /// The stamps that were observed before the origin was asked.
    pub witness: Witness,
    /// When the origin's answer was true, in ms since the Unix epoch by the database's clock.
    pub as_of_ms: i64,
    /// When the ttl ends, in ms since the Unix epoch by the filler's clock.
    pub fresh_until_ms: i64,
    /// The answer's entity tag.
    pub etag: ETag,
    /// The request that it answers, in ASCII; empty where that is too long to be kept.
    pub target: Bytes,
    /// The answer's body, in its coding.
    pub content: Content,
}

/// Why some bytes are no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Shorter than its header, or than that says.
    #[error("truncated")]
    Truncated,
    /// Not Tidemark's.
    #[error("not an entry")]
    Magic,
    /// Written by another version.
    #[error("of version {0}")]
    Version(u8),
    /// The checksum does not hold.
    #[error("corrupt")]
    Checksum,
    /// In an encoding that this version does not know.
    #[error("in unknown encoding {0}")]
    Encoding(u8),
    /// Stored under a key that is not its own.
    #[error("of another key")]
    Key,
}

impl Entry {
    /// The bytes to store under `key`. A target that its length field can't count is left out.
    pub fn encode(&self, key: &Key) -> Vec<u8> {
        let (target, target_len) = match u16::try_from(self.target.len()) {
            Ok(len) => (self.target.as_ref(), len),
            Err(_) => (b"".as_slice(), 0),
        };
        let Content {
            encoding,
            bytes: body,
        } = &self.content;
        let mut bytes = BytesMut::with_capacity(HEADER_LEN + target.len() + body.len());
        bytes.put_slice(&MAGIC);
        bytes.put_u8(VERSION);
        bytes.put_u8(to_byte(*encoding));
        bytes.put_u64_le(0);
        bytes.put_u16_le(self.status);
        bytes.put_u64_le(key_hash(key));
        bytes.put_u64_le(self.epoch.token());
        bytes.put_slice(&self.witness.digest().to_bytes());
        bytes.put_i64_le(self.as_of_ms);
        bytes.put_i64_le(self.fresh_until_ms);
        bytes.put_slice(&self.etag.digest().to_bytes());
        bytes.put_u16_le(target_len);
        bytes.put_slice(target);
        bytes.put_slice(body);
        let checksum = checksum(&bytes);
        bytes[CHECKSUM_AT..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
        bytes.into()
    }

    /// Reads what is stored under `key`; target and body share the bytes.
    ///
    /// # Errors
    /// The bytes are anything but an intact entry of this version and this key.
    pub fn decode(bytes: &Bytes, key: &Key) -> Result<Self, EntryError> {
        let body_at = check(bytes)?;
        let mut header = &bytes[CHECKED_FROM..HEADER_LEN];
        let encoding = bytes[ENCODING_AT];
        let encoding = from_byte(encoding).ok_or(EntryError::Encoding(encoding))?;
        let status = header.get_u16_le();
        if header.get_u64_le() != key_hash(key) {
            return Err(EntryError::Key);
        }
        Ok(Self {
            status,
            epoch: Epoch::new(header.get_u64_le()),
            witness: Witness::from_digest(take_digest(&mut header)),
            as_of_ms: header.get_i64_le(),
            fresh_until_ms: header.get_i64_le(),
            etag: ETag::from_digest(take_digest(&mut header)),
            target: bytes.slice(HEADER_LEN..body_at),
            content: Content {
                encoding,
                bytes: bytes.slice(body_at..),
            },
        })
    }

    /// The request that an entry answers, for whoever does not know its key yet; empty where it was
    /// too long to be kept.
    ///
    /// # Errors
    /// The bytes are anything but an intact entry of this version.
    pub fn target_of(bytes: &Bytes) -> Result<Bytes, EntryError> {
        Ok(bytes.slice(HEADER_LEN..check(bytes)?))
    }
}

/// Checks what needs no key: size, magic, version and checksum. Gives where the body begins.
fn check(bytes: &[u8]) -> Result<usize, EntryError> {
    if bytes.len() < HEADER_LEN {
        return Err(EntryError::Truncated);
    }
    let mut header = bytes;
    if header.get_u8() != MAGIC[0] || header.get_u8() != MAGIC[1] {
        return Err(EntryError::Magic);
    }
    let version = header.get_u8();
    if version != VERSION {
        return Err(EntryError::Version(version));
    }
    if (&bytes[CHECKSUM_AT..]).get_u64_le() != checksum(bytes) {
        return Err(EntryError::Checksum);
    }
    let target_len = (&bytes[TARGET_LEN_AT..]).get_u16_le();
    let body_at = HEADER_LEN + usize::from(target_len);
    if bytes.len() < body_at {
        return Err(EntryError::Truncated);
    }
    Ok(body_at)
}

const fn to_byte(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::Identity => 0,
        Encoding::Gzip => 1,
    }
}

const fn from_byte(byte: u8) -> Option<Encoding> {
    match byte {
        0 => Some(Encoding::Identity),
        1 => Some(Encoding::Gzip),
        _ => None,
    }
}

/// Against accidents, as the checksum: nobody can choose under which name an entry is found.
fn key_hash(key: &Key) -> u64 {
    xxh3_64(key.as_str().as_bytes())
}

fn take_digest(header: &mut &[u8]) -> Digest {
    let mut digest = [0; Digest::LEN];
    header.copy_to_slice(&mut digest);
    Digest::from_bytes(digest)
}

/// Covers everything but itself.
fn checksum(bytes: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&bytes[..CHECKSUM_AT]);
    hash.update(&bytes[CHECKED_FROM..]);
    hash.digest()
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn key(text: &str) -> Key {
        let catalog =
            format!("[query.{text}]\npath = \"/\"\nsql = \"q.sql\"\nreads = [\"orders\"]");
        let catalog = crate::catalog::Catalog::parse("t.toml", &catalog).unwrap();
        let query = &catalog.queries[text];
        let params = crate::param::Params::from_target(&query.params, &[], "").unwrap();
        Key::of(query, &params)
    }

    prop_compose! {
        fn entries()(
            status in any::<u16>(),
            epoch in any::<u64>(),
            witness in any::<[u8; 16]>(),
            as_of_ms in any::<i64>(),
            fresh_until_ms in any::<i64>(),
            target in "[!-~]{0,40}",
            encoding in prop::sample::select(vec![Encoding::Identity, Encoding::Gzip]),
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) -> Entry {
            Entry {
                status,
                epoch: Epoch::new(epoch),
                witness: Witness::from_digest(Digest::from_bytes(witness)),
                as_of_ms,
                fresh_until_ms,
                etag: ETag::of(&body),
                target: target.into(),
                content: Content { encoding, bytes: body.into() },
            }
        }
    }

    #[test]
    fn a_target_that_can_t_be_counted_is_left_out() {
        let body = Bytes::from_static(b"{}");
        let entry = Entry {
            status: 200,
            epoch: Epoch::new(1),
            witness: Witness::from_digest(Digest::of(b"stamps")),
            as_of_ms: 1,
            fresh_until_ms: 2,
            etag: ETag::of(&body),
            target: vec![b'/'; usize::from(u16::MAX) + 1].into(),
            content: Content::identity(body),
        };
        let bytes = Bytes::from(entry.encode(&key("a")));
        let kept = Entry {
            target: Bytes::new(),
            ..entry
        };
        assert_eq!(Entry::decode(&bytes, &key("a")), Ok(kept));
    }

    proptest! {
        #[test]
        fn i6_an_entry_reads_back(entry in entries()) {
            let bytes = Bytes::from(entry.encode(&key("a")));
            prop_assert_eq!(bytes.len(), HEADER_LEN + entry.target.len() + entry.content.bytes.len());
            prop_assert_eq!(Entry::target_of(&bytes), Ok(entry.target.clone()));
            prop_assert_eq!(Entry::decode(&bytes, &key("a")), Ok(entry));
        }

        #[test]
        fn i6_an_entry_of_another_key_is_none(entry in entries()) {
            let bytes = Bytes::from(entry.encode(&key("a")));
            prop_assert_eq!(Entry::decode(&bytes, &key("b")), Err(EntryError::Key));
        }

        #[test]
        fn i6_mutated_bytes_are_no_other_entry(
            entry in entries(),
            at in any::<prop::sample::Index>(),
            flip in 1u8..,
        ) {
            let mut bytes = entry.encode(&key("a"));
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Entry::decode(&bytes.into(), &key("a")).is_err());
        }

        #[test]
        fn i6_truncated_or_extended_bytes_are_no_entry(
            entry in entries(),
            cut in any::<prop::sample::Index>(),
            tail in prop::collection::vec(any::<u8>(), 1..20),
        ) {
            let whole = entry.encode(&key("a"));
            let cut = whole[..cut.index(whole.len())].to_vec();
            prop_assert!(Entry::decode(&cut.into(), &key("a")).is_err());
            let extended = [whole, tail].concat();
            prop_assert!(Entry::decode(&extended.into(), &key("a")).is_err());
        }

        #[test]
        fn i6_random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let bytes = Bytes::from(bytes);
            prop_assert!(Entry::decode(&bytes, &key("a")).is_err());
            prop_assert!(Entry::target_of(&bytes).is_err());
        }

        #[test]
        fn i6_a_target_that_claims_to_be_longer_than_the_entry_is_none(
            entry in entries(),
            beyond in 1u16..500,
        ) {
            let mut bytes = entry.encode(&key("a"));
            let claimed = (bytes.len() - HEADER_LEN) as u16 + beyond;
            bytes[TARGET_LEN_AT..HEADER_LEN].copy_from_slice(&claimed.to_le_bytes());
            let checksum = checksum(&bytes);
            bytes[CHECKSUM_AT..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
            prop_assert_eq!(
                Entry::decode(&bytes.into(), &key("a")),
                Err(EntryError::Truncated)
            );
        }
    }
}
