//! The names of the HTTP fields that Tidemark itself defines or relies on, in lower case.

use http::HeaderMap;

/// When the answer was last proven true, in ms since the Unix epoch by the database's clock.
pub const AS_OF: &str = "tidemark-as-of";

/// In a request: no answer proven true only before this moment will do. In a command's answer:
/// what to send with a read that must see the write. In ms since the Unix epoch by the database's
/// clock.
pub const AT_LEAST: &str = "tidemark-at-least";

/// In an edge's question to the origin: a digest of the epoch and the stamps that were observed before,
/// if everybody for whom it asks has observed the same; 32 hexadecimal digits. Questions with the same
/// one may share a statement that runs already, see [`crate::flight`]; what the origin remembers is no
/// answer to them.
pub const WITNESS: &str = "tidemark-witness";

/// In a command's answer: `applied` once the next read through this region's Redis sees the write,
/// `pending` while that is not known.
pub const INVALIDATION: &str = "tidemark-invalidation";

/// In an answer that the origin has read from the database for this request: the digest of the catalog whose SQL made it.
pub const CATALOG: &str = "tidemark-catalog";

/// What the cache did with the request (RFC 9211).
pub const CACHE_STATUS: &str = "cache-status";

/// The scopes that an answer depends on (RFC 9875).
pub const CACHE_GROUPS: &str = "cache-groups";

/// `Cache-Control` of every answer of a query that may be cached: a private cache may keep it but
/// has to ask again each time, since only Tidemark can prove how fresh it is.
pub const CACHE_CONTROL_REVALIDATE: &str = "no-cache";

/// Whether a request's `Cache-Control` asks for an answer that no cache had (`no-cache`, RFC 9111
/// §5.2.1.4).
pub fn demands_anew(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(http::header::CACHE_CONTROL).iter();
    let mut directives = fields
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    directives.any(|directive| {
        directive
            .trim()
            .eq_ignore_ascii_case(CACHE_CONTROL_REVALIDATE)
    })
}

/// `Cache-Control` of answers that nobody may keep.
pub const CACHE_CONTROL_NO_STORE: &str = "no-store";

/// A `Tidemark-At-Least` that can't be read; the text is fit for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Tidemark-At-Least is not a number of milliseconds since the Unix epoch")]
pub struct UnreadableAtLeast;

/// What a request demands by `Tidemark-At-Least`: ms since the Unix epoch, `None` without the field.
///
/// A client that has made several writes may send what each of them answered, in fields of their own
/// or in one list (RFC 9110 §5.3): the latest is what counts.
///
/// # Errors
/// A member of the list is no such number, or there is none.
pub fn at_least(headers: &HeaderMap) -> Result<Option<i64>, UnreadableAtLeast> {
    let mut latest = None;
    for value in headers.get_all(AT_LEAST) {
        let value = value.to_str().map_err(|_| UnreadableAtLeast)?;
        let mut of_field = None;
        // Empty members are to be ignored (RFC 9110 §5.6.1.2).
        for member in value.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            let moment = member.parse().ok().filter(|ms: &i64| *ms >= 0);
            of_field = of_field.max(Some(moment.ok_or(UnreadableAtLeast)?));
        }
        latest = latest.max(Some(of_field.ok_or(UnreadableAtLeast)?));
    }
    Ok(latest)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn whoever_wants_no_cache_says_so_anywhere_in_the_list() {
        for (field, expected) in [
            ("no-cache", true),
            ("max-age=0, No-Cache", true),
            ("max-age=0", false),
            ("no-cache=\"x\"", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("cache-control", HeaderValue::from_static(field));
            assert_eq!(demands_anew(&headers), expected, "{field}");
        }
        assert!(!demands_anew(&HeaderMap::new()));
    }

    #[test]
    fn the_latest_of_several_demands_counts() {
        for (fields, expected) in [
            (&[] as &[&str], Ok(None)),
            (&["5"], Ok(Some(5))),
            (&["5", "7", "6"], Ok(Some(7))),
            (&["7 ,5", "6,"], Ok(Some(7))),
            (&[""], Err(UnreadableAtLeast)),
            (&["7", ", "], Err(UnreadableAtLeast)),
            (&["7", "soon"], Err(UnreadableAtLeast)),
            (&["7,-1"], Err(UnreadableAtLeast)),
            (&["1.5"], Err(UnreadableAtLeast)),
            (&["99999999999999999999"], Err(UnreadableAtLeast)),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(AT_LEAST, HeaderValue::from_static(field));
            }
            assert_eq!(at_least(&headers), expected, "{fields:?}");
        }
    }
}
