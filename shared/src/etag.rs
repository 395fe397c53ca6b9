//! Strong entity tags (RFC 9110 §8.8.3) and `If-None-Match` (§13.1.2).

use http::{HeaderMap, header::IF_NONE_MATCH};

use crate::digest::Digest;

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

    /// The header's value, quotes included.
    pub fn header(self) -> String {
        format!("\"{}\"", self.0)
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
    /// The comparison is weak, as §13.1.2 demands: a `W/` before the tag makes no difference.
    fn matched_by(self, if_none_match: &str) -> bool {
        let mine = self.header();
        if_none_match.split(',').map(str::trim).any(|candidate| {
            candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == mine
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_none_match_follows_rfc_9110() {
        let tag = ETag::of(b"{}");
        let mine = tag.header();
        for (header, expected) in [
            (mine.clone(), true),
            (format!("W/{mine}"), true),
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
