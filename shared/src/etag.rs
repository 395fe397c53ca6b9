//! Strong entity tags (RFC 9110 §8.8.3) and `If-None-Match` (§13.1.2).

use http::{HeaderMap, header::IF_NONE_MATCH};

use crate::{content::Encoding, digest::Digest};

/// What follows the digest in the tag of an answer that is compressed: other bytes need another strong
/// tag (RFC 9110 §8.8.3.3).
const GZIP: &str = "-gzip";

/// The entity tag of an answer: a digest of its body's bytes, hence strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ETag(Digest);

impl ETag {
    /// The tag of a body.
    pub fn of(body: &[u8]) -> Self {
        Self(Digest::of(body))
    }

    /// The tag with this digest, as an entry keeps it.
    pub const fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }

    /// The digest behind the tag.
    pub const fn digest(self) -> Digest {
        self.0
    }

    /// The header's value for an answer in this coding, quotes included.
    pub fn header(self, encoding: Encoding) -> String {
        let suffix = match encoding {
            Encoding::Identity => "",
            Encoding::Gzip => GZIP,
        };
        format!("\"{}{suffix}\"", self.0)
    }

    /// Reads a header's value that [`ETag::header`] has written, for an answer in whatever coding.
    pub fn parse(header: &str) -> Option<Self> {
        let tag = header.strip_prefix('"')?.strip_suffix('"')?;
        Digest::parse(tag.strip_suffix(GZIP).unwrap_or(tag)).map(Self)
    }

    /// Whether a request's `If-None-Match` fields, of which there may be several, name this tag.
    pub fn is_known_to(self, headers: &HeaderMap) -> bool {
        headers
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| self.matched_by(value))
    }

    /// Whether an `If-None-Match` field names this tag, so that the answer is 304.
    ///
    /// The comparison is weak, as §13.1.2 demands: a `W/` before the tag makes no difference. Nor does
    /// the coding: whoever has the answer in one needs it in no other.
    fn matched_by(self, if_none_match: &str) -> bool {
        if_none_match.split(',').map(str::trim).any(|candidate| {
            let tag = candidate.strip_prefix("W/").unwrap_or(candidate);
            candidate == "*" || Self::parse(tag) == Some(self)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_none_match_follows_rfc_9110() {
        let tag = ETag::of(b"{}");
        let mine = tag.header(Encoding::Identity);
        let compressed = tag.header(Encoding::Gzip);
        assert_ne!(mine, compressed);
        for (header, expected) in [
            (mine.clone(), true),
            (format!("W/{mine}"), true),
            (compressed.clone(), true),
            (format!("W/{compressed}"), true),
            (format!("\"other\", {mine}"), true),
            ("*".into(), true),
            ("\"other\"".into(), false),
            (mine.trim_matches('"').into(), false),
            (String::new(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(IF_NONE_MATCH, "\"first\"".parse().unwrap());
            headers.append(IF_NONE_MATCH, header.parse().unwrap());
            assert_eq!(tag.is_known_to(&headers), expected, "{header}");
        }
        assert!(!tag.is_known_to(&HeaderMap::new()));
    }
}
