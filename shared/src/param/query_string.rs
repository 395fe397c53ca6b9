//! Strict reading of `application/x-www-form-urlencoded` query strings and path segments.
//!
//! Lenient decoders replace what they can't read, and two different requests would become one
//! key. Here, whatever is malformed is an error.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::{ParamError, ParamSpecs};

/// Adds the query string's parameters to `raw`, which holds the path's.
pub(super) fn collect(
    query_string: &str,
    specs: &ParamSpecs,
    raw: &mut BTreeMap<String, String>,
) -> Result<(), ParamError> {
    const PLACE: &str = "query string";
    let in_path: Vec<String> = raw.keys().cloned().collect();
    for pair in query_string.split('&').filter(|pair| !pair.is_empty()) {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(&name.replace('+', " "), PLACE)?;
        let text = decode(&text.replace('+', " "), PLACE)?;
        if !specs.contains_key(&name) || in_path.contains(&name) {
            let known = specs.keys().filter(|known| !in_path.contains(known));
            return Err(ParamError::unknown(&name, known));
        }
        if raw.insert(name.clone(), text).is_some() {
            return Err(ParamError::Repeated { name });
        }
    }
    Ok(())
}

/// Percent-decodes one component.
///
/// # Errors
/// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
pub(crate) fn decode(text: &str, place: &'static str) -> Result<String, ParamError> {
    let bytes = text.as_bytes();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
        let escape = bytes.get(at + 1..at + 3);
        if !escape.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(ParamError::PercentEncoding { place });
        }
    }
    percent_decode_str(text)
        .decode_utf8()
        .map(|decoded| decoded.into_owned())
        .map_err(|_| ParamError::NotUtf8 { place })
}
