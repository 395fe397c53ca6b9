//! Strict reading of `application/x-www-form-urlencoded` query strings and path segments.
//!
//! Lenient decoders replace what they can't read, and two different requests would become one
//! key. Here, whatever is malformed is an error.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::{ParamError, ParamSpecs};

/// Names with their texts, borrowed from the query string where nothing had to be decoded.
pub(super) type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The query string's parameters by name, each declared, outside the path and given once.
pub(super) fn collect<'a>(
    query_string: &'a str,
    specs: &ParamSpecs,
    path_args: &[(String, String)],
) -> Result<Pairs<'a>, ParamError> {
    const PLACE: &str = "query string";
    let is_in_path = |name: &str| path_args.iter().any(|(in_path, _)| in_path == name);
    let mut collected = Pairs::with_capacity(specs.len());
    for pair in query_string.split('&').filter(|pair| !pair.is_empty()) {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode_form(name, PLACE)?;
        let text = decode_form(text, PLACE)?;
        if !specs.contains_key(&*name) || is_in_path(&name) {
            let known = specs.keys().filter(|known| !is_in_path(known));
            return Err(ParamError::unknown(&name, known));
        }
        if collected.iter().any(|(other, _)| *other == name) {
            return Err(ParamError::Repeated {
                name: name.into_owned(),
            });
        }
        collected.push((name, text));
    }
    Ok(collected)
}

/// The same as [`decode`] where `+` is a space.
fn decode_form<'a>(text: &'a str, place: &'static str) -> Result<Cow<'a, str>, ParamError> {
    if !text.contains('+') {
        return decode(text, place);
    }
    let decoded = decode(&text.replace('+', " "), place)?.into_owned();
    Ok(Cow::Owned(decoded))
}

/// Percent-decodes one component.
///
/// # Errors
/// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
pub(crate) fn decode<'a>(text: &'a str, place: &'static str) -> Result<Cow<'a, str>, ParamError> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let bytes = text.as_bytes();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
        let escape = bytes.get(at + 1..at + 3);
        if !escape.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(ParamError::PercentEncoding { place });
        }
    }
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| ParamError::NotUtf8 { place })
}
