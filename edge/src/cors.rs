//! Cross-origin requests (the Fetch standard, "CORS protocol"): which web origins may read answers.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN, VARY,
    },
    request::Parts,
};

use crate::respond::Response;

/// The request headers that a script may set: those that the edge reads.
const ALLOWED_HEADERS: &str = "if-none-match, tidemark-at-least, traceparent";

/// The response headers that a script may read, beyond those that it always may.
const EXPOSED_HEADERS: &str = "age, cache-status, etag, retry-after, tidemark-as-of";

/// How long a browser may remember a preflight, in seconds: the most that browsers grant.
const MAX_AGE: &str = "7200";

/// The configured web origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cors {
    /// None: the edge does not take part in the protocol.
    Off,
    /// Every one.
    Any,
    /// These.
    Only(Vec<String>),
}

impl Cors {
    /// Reads a list, separated by commas; `None` where an item is no web origin.
    pub(crate) fn parse(list: &str) -> Option<Self> {
        let items: Vec<_> = list.split(',').map(str::trim).collect();
        match items.as_slice() {
            [""] => Some(Self::Off),
            ["*"] => Some(Self::Any),
            _ if items.iter().all(|item| is_web_origin(item)) => {
                Some(Self::Only(items.into_iter().map(str::to_owned).collect()))
            }
            _ => None,
        }
    }

    /// The answer to a preflight, if this request is one.
    ///
    /// It speaks of no path: a script is to see for itself why the request that follows fails.
    pub(crate) fn preflight(&self, request: &Parts) -> Option<Response> {
        let asks = request.method == Method::OPTIONS && request.headers.contains_key(ORIGIN);
        if *self == Self::Off || !asks {
            return None;
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        self.mark(request, headers);
        if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            headers.remove(ACCESS_CONTROL_EXPOSE_HEADERS);
            for (name, value) in [
                (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
                (ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS),
                (ACCESS_CONTROL_MAX_AGE, MAX_AGE),
            ] {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        Some(response)
    }

    /// Tells the browser whether the request's web origin may read the answer.
    pub(crate) fn mark(&self, request: &Parts, headers: &mut HeaderMap) {
        if *self == Self::Off {
            return;
        }
        headers.append(VARY, HeaderValue::from_static("Origin"));
        let allowed = request
            .headers
            .get(ORIGIN)
            .and_then(|origin| self.allow(origin));
        if let Some(allowed) = allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            headers.insert(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(EXPOSED_HEADERS),
            );
        }
    }

    fn allow(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        match self {
            Self::Off => None,
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::Only(origins) => origins
                .iter()
                .any(|known| known.as_bytes() == origin.as_bytes())
                .then(|| origin.clone()),
        }
    }
}

/// Whether a text is an origin as browsers write it: lower case, no path, not even a last `/`.
fn is_web_origin(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, host)| {
        let plain = |part: &str, more: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c))
        };
        plain(scheme, "+-.") && plain(host, "-._:[]")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, origin: Option<&str>) -> Parts {
        let mut request = http::Request::builder().method(method).uri("/");
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_list_of_origins_is_read() {
        let only = |origins: &[&str]| {
            Some(Cors::Only(
                origins.iter().map(|&origin| origin.to_owned()).collect(),
            ))
        };
        for (list, expected) in [
            ("", Some(Cors::Off)),
            (" ", Some(Cors::Off)),
            ("*", Some(Cors::Any)),
            ("https://a.example", only(&["https://a.example"])),
            (
                "https://a.example , http://localhost:8080",
                only(&["https://a.example", "http://localhost:8080"]),
            ),
            ("https://a.example/", None),
            ("https://A.example", None),
            ("a.example", None),
            ("*, https://a.example", None),
            ("https://a.example,", None),
        ] {
            assert_eq!(Cors::parse(list), expected, "{list:?}");
        }
    }

    #[test]
    fn only_a_listed_origin_may_read() {
        let cors = Cors::parse("https://a.example").unwrap();
        let allowed = |origin| {
            let mut headers = HeaderMap::new();
            cors.mark(&request(Method::GET, origin), &mut headers);
            assert_eq!(headers[VARY], "Origin");
            headers.remove(ACCESS_CONTROL_ALLOW_ORIGIN)
        };
        assert_eq!(
            allowed(Some("https://a.example")).unwrap(),
            "https://a.example"
        );
        assert_eq!(allowed(Some("https://b.example")), None);
        assert_eq!(allowed(None), None);
    }

    #[test]
    fn a_preflight_is_an_options_request_of_a_browser() {
        let cors = Cors::parse("*").unwrap();
        let answered = |cors: &Cors, method, origin| {
            cors.preflight(&request(method, origin)).map(|response| {
                response
                    .headers()
                    .contains_key(ACCESS_CONTROL_ALLOW_METHODS)
            })
        };
        let origin = Some("https://a.example");
        assert_eq!(answered(&cors, Method::OPTIONS, origin), Some(true));
        assert_eq!(answered(&cors, Method::OPTIONS, None), None);
        assert_eq!(answered(&cors, Method::GET, origin), None);
        assert_eq!(answered(&Cors::Off, Method::OPTIONS, origin), None);
        let other = Cors::parse("https://b.example").unwrap();
        assert_eq!(answered(&other, Method::OPTIONS, origin), Some(false));
    }
}
