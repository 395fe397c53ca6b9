//! Stamps: a scope's current version token, and the witness of a whole set of them.

use std::{fmt, io::Write as _};

use xxhash_rust::xxh3::xxh3_128;

use crate::{digest::Digest, scope::Scope};

/// A scope's version token in Redis: opaque, compared only for equality, never used twice.
///
/// Written as `{ms}-{32 hexadecimal digits}`. The digits are 128 random bits and alone make it
/// unique; the time says when the scope was last stamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    at_ms: i64,
    token: u128,
}

impl Stamp {
    /// A new stamp. `token` must come from a cryptographically secure random source: uniqueness
    /// for ever, across restarts and restored backups, rests on it.
    pub const fn new(at_ms: i64, token: u128) -> Self {
        Self { at_ms, token }
    }

    /// When the scope was stamped, in ms since the Unix epoch by the stamper's clock.
    pub const fn at_ms(self) -> i64 {
        self.at_ms
    }

    /// Reads a stamp as Redis holds it; anything else is no stamp at all.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (at_ms, digits) = std::str::from_utf8(bytes).ok()?.split_once('-')?;
        let mut token = [0; 16];
        hex::decode_to_slice(digits, &mut token).ok()?;
        Some(Self {
            at_ms: at_ms.parse().ok()?,
            token: u128::from_be_bytes(token),
        })
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 32];
        hex::encode_to_slice(self.token.to_be_bytes(), &mut digits).map_err(|_| fmt::Error)?;
        let digits = std::str::from_utf8(&digits).map_err(|_| fmt::Error)?;
        write!(f, "{}-{digits}", self.at_ms)
    }
}

/// A digest of the stamps of all scopes of a query: equal only if every stamp is equal.
///
/// An entry keeps this instead of the stamps, so its header does not grow with their number, and
/// a change of the *set* of scopes (a new catalog) changes it as well. It is 128 bits of XXH3, which
/// need not withstand anybody: nobody can choose a stamp's token, nor knows one without the right to
/// write entries as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Witness(Digest);

impl Witness {
    /// The witness of these scopes' stamps; `None` if one is missing, because a missing stamp
    /// equals nothing.
    pub fn of(scopes: &[Scope], stamps: &[Option<Stamp>]) -> Option<Self> {
        if scopes.len() != stamps.len() {
            return None;
        }
        // One buffer: of many small texts, each costs an allocation.
        let mut bytes = Vec::with_capacity(scopes.len() * 64);
        for (scope, stamp) in scopes.iter().zip(stamps) {
            let Stamp { at_ms, token } = (*stamp)?;
            bytes.extend(at_ms.to_le_bytes());
            bytes.extend(token.to_le_bytes());
            let begin = bytes.len();
            write!(bytes, "{scope}").ok()?;
            let length = bytes.len() - begin;
            // Read from its end, this has one meaning only; in u64, the same in WebAssembly.
            bytes.extend((length as u64).to_le_bytes());
        }
        Some(Self(Digest::from_bytes(xxh3_128(&bytes).to_be_bytes())))
    }

    /// The witness with this digest, as an entry keeps it.
    pub const fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }

    /// The digest behind the witness.
    pub const fn digest(self) -> Digest {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_back() {
        let stamp = Stamp::new(1_763_863_200_123, 7);
        assert_eq!(Stamp::parse(stamp.to_string().as_bytes()), Some(stamp));
        for garbage in ["", "-", "1", "1-2", "x-00000000000000000000000000000007"] {
            assert_eq!(Stamp::parse(garbage.as_bytes()), None, "{garbage}");
        }
    }

    #[test]
    fn a_missing_stamp_has_no_witness() {
        let scopes = [Scope::member("org", "42"), Scope::Table("products".into())];
        let stamp = Some(Stamp::new(1, 2));
        assert!(Witness::of(&scopes, &[stamp, stamp]).is_some());
        assert_eq!(Witness::of(&scopes, &[stamp, None]), None);
        assert_eq!(Witness::of(&scopes, &[stamp]), None);
    }

    #[test]
    fn a_witness_belongs_to_its_scopes() {
        let stamps = [Some(Stamp::new(1, 2))];
        assert_ne!(
            Witness::of(&[Scope::member("org", "42")], &stamps),
            Witness::of(&[Scope::member("org", "43")], &stamps),
        );
    }
}
