//! An answer's bytes in their content coding (RFC 9110 §8.4): compressed once, by the origin, stored and
//! sent on as they are, and decompressed only for whoever does not take them so.

use std::io::{self, Read as _, Write as _};

use bytes::Bytes;
use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};
use http::{HeaderMap, HeaderValue, header::ACCEPT_ENCODING};

/// The shortest body that is compressed, in bytes: a shorter one fits into a packet as it is, and
/// would save less than what it costs.
const WORTH_COMPRESSING: usize = 1024;

/// DEFLATE's bound: no byte of it becomes more (1032:1, zlib's technical notes).
const MOST_PER_BYTE: usize = 1032;

/// The last four bytes of gzip: the length of what it holds, modulo 2³² (RFC 1952 §2.3.1).
const LENGTH_LEN: usize = 4;

/// The value of `Accept-Encoding` by which Tidemark's own parts ask for an answer as it is stored.
pub const ACCEPTED: &str = "gzip";

/// A content coding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// None: the bytes as they are.
    #[default]
    Identity,
    /// gzip (RFC 1952).
    Gzip,
}

/// An answer's bytes with their coding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The bytes' coding.
    pub encoding: Encoding,
    /// The bytes.
    pub bytes: Bytes,
}

/// That bytes are not what their coding says.
#[derive(Debug, thiserror::Error)]
#[error("the answer's gzip is damaged: {0}")]
pub struct Damaged(#[from] io::Error);

impl Encoding {
    /// The coding's name in `Content-Encoding`; `None` where that is left out.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
        }
    }

    /// The coding that a `Content-Encoding` names; `None` for one that Tidemark does not read.
    pub fn of_field(value: Option<&HeaderValue>) -> Option<Self> {
        match value.map(HeaderValue::as_bytes) {
            None => Some(Self::Identity),
            Some(name) if is_gzip(name) => Some(Self::Gzip),
            Some(_) => None,
        }
    }

    /// Whether a request takes this coding, by its `Accept-Encoding` fields (RFC 9110 §12.5.3). Identity
    /// is always taken: there is nothing better to give to those who say that it isn't.
    pub fn is_accepted(self, headers: &HeaderMap) -> bool {
        match self {
            Self::Identity => true,
            Self::Gzip => accepts_gzip(headers),
        }
    }
}

impl Content {
    /// Bytes without a coding.
    pub const fn identity(bytes: Bytes) -> Self {
        Self {
            encoding: Encoding::Identity,
            bytes,
        }
    }

    /// A body as it is to be stored: compressed where that makes it shorter. Equal bodies give equal
    /// bytes: there is neither a time nor a name in them.
    pub fn compressed(body: Bytes) -> Self {
        if body.len() < WORTH_COMPRESSING {
            return Self::identity(body);
        }
        match gzip(&body) {
            Ok(bytes) if bytes.len() < body.len() => Self {
                encoding: Encoding::Gzip,
                bytes: bytes.into(),
            },
            _ => Self::identity(body),
        }
    }

    /// How long the body is without its coding, in bytes, by what its bytes say of themselves.
    pub fn body_len(&self) -> usize {
        match self.encoding {
            Encoding::Identity => self.bytes.len(),
            Encoding::Gzip => self
                .bytes
                .last_chunk::<LENGTH_LEN>()
                .and_then(|length| usize::try_from(u32::from_le_bytes(*length)).ok())
                .unwrap_or(0),
        }
    }

    /// The body without its coding.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub fn body(&self) -> Result<Bytes, Damaged> {
        match self.encoding {
            Encoding::Identity => Ok(self.bytes.clone()),
            Encoding::Gzip => Ok(gunzip(&self.bytes, self.body_len())?),
        }
    }

    /// The coding in which a request with these fields gets the body.
    pub fn encoding_for(&self, headers: &HeaderMap) -> Encoding {
        if self.encoding.is_accepted(headers) {
            self.encoding
        } else {
            Encoding::Identity
        }
    }

    /// What a request with these fields gets: the bytes as they are if it takes their coding, or the
    /// body without.
    ///
    /// # Errors
    /// The bytes are damaged, and were to be decoded.
    pub fn negotiated(self, headers: &HeaderMap) -> Result<Self, Damaged> {
        if self.encoding_for(headers) == self.encoding {
            Ok(self)
        } else {
            self.body().map(Self::identity)
        }
    }
}

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    // JSON of a database shrinks to less than half.
    let room = Vec::with_capacity(body.len() / 2);
    let mut encoder = GzEncoder::new(room, Compression::default());
    encoder.write_all(body)?;
    encoder.finish()
}

fn gunzip(bytes: &[u8], length: usize) -> io::Result<Bytes> {
    // A length that can't be true must not take the memory for it.
    let length = length.min(bytes.len().saturating_mul(MOST_PER_BYTE));
    let mut decoder = GzDecoder::new(bytes);
    let mut body = Vec::with_capacity(length);
    // The byte beyond is for those that are longer than they say; the decoder checks the rest.
    let most = u64::try_from(length).unwrap_or(u64::MAX).saturating_add(1);
    decoder.by_ref().take(most).read_to_end(&mut body)?;
    if body.len() > length || !decoder.into_inner().is_empty() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(body.into())
}

/// The weight that a request gives to gzip, by its name, else by `*`; not 0 is a yes.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut by_star = false;
    for value in headers.get_all(ACCEPT_ENCODING) {
        for member in value.as_bytes().split(|byte| *byte == b',') {
            let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            if is_gzip(name) {
                return !parts.any(is_weight_of_zero);
            }
            if name == b"*" {
                by_star = !parts.any(is_weight_of_zero);
            }
        }
    }
    by_star
}

/// By either name; a recipient takes both for the same (RFC 9110 §8.4.1.3).
fn is_gzip(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip")
}

/// `q=0`, with up to three more zeros behind a point (RFC 9110 §12.4.2).
fn is_weight_of_zero(parameter: &[u8]) -> bool {
    let value = parameter
        .strip_prefix(b"q=")
        .or_else(|| parameter.strip_prefix(b"Q="));
    value.is_some_and(|value| value.iter().all(|byte| matches!(byte, b'0' | b'.')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(count: usize) -> Bytes {
        let rows: Vec<_> = (0..count).map(|id| format!("{{\"id\":{id}}}")).collect();
        format!("[{}]", rows.join(",")).into()
    }

    fn accepting(fields: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(ACCEPT_ENCODING, field.parse().unwrap());
        }
        headers
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        for (fields, expected) in [
            (&[][..], false),
            (&[""], false),
            (&["gzip"], true),
            (&["x-gzip"], true),
            (&["GZIP"], true),
            (&["gzip, deflate, br, zstd"], true),
            (&["br;q=1.0, gzip;q=0.8, *;q=0.1"], true),
            (&["deflate", "br , gzip ; q=0.001"], true),
            (&["gzip;q=0"], false),
            (&["gzip; q=0.000, *"], false),
            (&["*"], true),
            (&["*;q=0"], false),
            (&["br, *;q=0.5"], true),
            (&["*;q=0, gzip"], true),
            (&["identity"], false),
            (&["gzipped, deflate"], false),
        ] {
            let headers = accepting(fields);
            assert_eq!(Encoding::Gzip.is_accepted(&headers), expected, "{fields:?}");
            assert!(Encoding::Identity.is_accepted(&headers));
        }
    }

    #[test]
    fn only_what_shrinks_is_compressed() {
        let short = Bytes::from(vec![b' '; WORTH_COMPRESSING - 1]);
        assert_eq!(Content::compressed(short.clone()), Content::identity(short));

        let long = rows(500);
        let content = Content::compressed(long.clone());
        assert_eq!(content.encoding, Encoding::Gzip);
        assert!(content.bytes.len() * 2 < long.len());
        assert_eq!(content, Content::compressed(long), "no time in it");

        // Hardly any two of its bytes have anything in common.
        let noise =
            (0u32..2_000).flat_map(|n| crate::digest::Digest::of(&n.to_le_bytes()).to_bytes());
        let noise = Bytes::from_iter(noise);
        assert_eq!(Content::compressed(noise.clone()), Content::identity(noise));
    }

    #[test]
    fn a_request_gets_the_bytes_that_it_takes() {
        let body = rows(500);
        let content = Content::compressed(body.clone());
        let taken = content.clone().negotiated(&accepting(&["gzip"])).unwrap();
        assert_eq!(taken.bytes.as_ptr(), content.bytes.as_ptr(), "no copy");
        let plain = content.negotiated(&accepting(&[])).unwrap();
        assert_eq!(plain, Content::identity(body.clone()));
        let short = Content::identity(body.clone());
        let taken = short.negotiated(&accepting(&["gzip"])).unwrap();
        assert_eq!(taken, Content::identity(body));
    }

    #[test]
    fn only_codings_that_can_be_read_are_named() {
        for (field, expected) in [
            (None, Some(Encoding::Identity)),
            (Some("gzip"), Some(Encoding::Gzip)),
            (Some("X-Gzip"), Some(Encoding::Gzip)),
            (Some("br"), None),
            (Some("gzip, gzip"), None),
        ] {
            let field: Option<HeaderValue> = field.map(|it| it.parse().unwrap());
            assert_eq!(Encoding::of_field(field.as_ref()), expected, "{field:?}");
        }
    }

    proptest! {
        #[test]
        fn a_body_comes_back(unit in prop::collection::vec(any::<u8>(), 0..200), times in 1usize..60) {
            let body = Bytes::from(unit.repeat(times));
            let content = Content::compressed(body.clone());
            prop_assert!(content.bytes.len() <= body.len());
            prop_assert_eq!(content.body_len(), body.len());
            prop_assert_eq!(content.body().unwrap(), body);
        }

        #[test]
        fn i6_damaged_bytes_are_no_body(
            count in 100usize..1_000,
            at in any::<prop::sample::Index>(),
            flip in 1u8..,
            cut in any::<prop::sample::Index>(),
            tail in prop::collection::vec(any::<u8>(), 1..20),
        ) {
            let body = rows(count);
            let whole = Content::compressed(body.clone()).bytes;
            let damaged = |bytes: Vec<u8>| {
                Content { encoding: Encoding::Gzip, bytes: bytes.into() }.body()
            };
            let mut flipped = whole.to_vec();
            flipped[at.index(whole.len())] ^= flip;
            // Only the head has bytes that mean nothing to the body, such as its time.
            prop_assert!(!damaged(flipped).is_ok_and(|it| it != body));
            prop_assert!(damaged(whole[..cut.index(whole.len())].to_vec()).is_err());
            prop_assert!(damaged([&whole, tail.as_slice()].concat()).is_err());
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let content = Content { encoding: Encoding::Gzip, bytes: bytes.into() };
            prop_assert!(content.body().is_err());
        }
    }
}
