//! Where a request belongs in its client's trace (W3C Trace Context, <https://www.w3.org/TR/trace-context/>).

use std::fmt;

use axum::http::HeaderMap;
use opentelemetry::{
    SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceContextExt as _, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The field that carries it.
const TRACEPARENT: &str = "traceparent";

/// A `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceParent {
    trace: TraceId,
    parent: SpanId,
    flags: TraceFlags,
}

impl TraceParent {
    /// That of a request. One that can't be read is none (§3.2.2).
    pub(crate) fn of_request(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all(TRACEPARENT).iter();
        let first = fields.next()?;
        // Of several, nobody knows which is right.
        fields
            .next()
            .is_none()
            .then(|| Self::parse(first.to_str().ok()?))?
    }

    /// Reads version 00, and of later ones what they have in common with it.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = hex(parts.next()?, 2)?;
        let (trace, parent) = (hex(parts.next()?, 32)?, hex(parts.next()?, 16)?);
        let flags = hex(parts.next()?, 2)?;
        let more = parts.next().is_some();
        if version == "ff" || (version == "00" && more) {
            return None;
        }
        let trace = TraceId::from_hex(trace).ok()?;
        let parent = SpanId::from_hex(parent).ok()?;
        let valid = trace != TraceId::INVALID && parent != SpanId::INVALID;
        valid.then_some(Self {
            trace,
            parent,
            flags: TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED,
        })
    }

    /// That of the span in which this is called, if it is exported; otherwise what the request said.
    pub(crate) fn here(received: Option<Self>) -> Option<Self> {
        let context = Span::current().context();
        let span = context.span();
        let span = span.span_context();
        match span.is_valid() {
            true => Some(Self {
                trace: span.trace_id(),
                parent: span.span_id(),
                flags: span.trace_flags(),
            }),
            false => received,
        }
    }

    /// As the parent of spans that are made here.
    pub(crate) fn context(self) -> opentelemetry::Context {
        let (is_remote, state) = (true, TraceState::NONE);
        let span = SpanContext::new(self.trace, self.parent, self.flags, is_remote, state);
        opentelemetry::Context::new().with_remote_span_context(span)
    }

    /// The trace's id, for logs.
    pub(crate) fn id(self) -> TraceId {
        self.trace
    }

    /// A comment for an SQL statement, as sqlcommenter has it
    /// (<https://google.github.io/sqlcommenter/spec/>); only of a trace that is recorded, since a statement
    /// with one is another text to PostgreSQL each time.
    pub(crate) fn comment(self) -> Option<String> {
        self.flags
            .is_sampled()
            .then(|| format!("/*traceparent='{self}'*/"))
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, parent) = (self.trace, self.parent);
        write!(f, "00-{trace}-{parent}-{:02x}", self.flags.to_u8())
    }
}

/// Names the span in which this is called, for those to whom it is exported: by now it has begun, and
/// fields tell no name any more.
pub(crate) fn name_span(name: String) {
    Span::current().context().span().update_name(name);
}

/// So many lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<&str> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == digits && text.bytes().all(is_digit)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_the_standard_permits_is_read() {
        let text = |text: &str| TraceParent::parse(text).map(|it| it.to_string());
        assert_eq!(text(RECORDED).as_deref(), Some(RECORDED));
        // A later version, with more behind, and flags that nobody knows yet.
        let later = RECORDED.replace("00-4", "01-4").replace("-01", "-03-more");
        assert_eq!(text(&later).as_deref(), Some(RECORDED));
        for nonsense in [
            "",
            "00",
            &RECORDED.replace("00-4", "ff-4"),
            &RECORDED.to_uppercase(),
            &format!("{RECORDED}-more"),
            &RECORDED.replace("4736", "473"),
            &RECORDED.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &RECORDED.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &RECORDED.replace("00f067aa0ba902b7", "00f067aa0ba902'*"),
        ] {
            assert_eq!(text(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn only_what_is_recorded_shows_in_sql() {
        let comment = |text: &str| TraceParent::parse(text).unwrap().comment();
        let expected = format!("/*traceparent='{RECORDED}'*/");
        assert_eq!(comment(RECORDED), Some(expected));
        assert_eq!(comment(&RECORDED.replace("-01", "-00")), None);
    }

    #[test]
    fn of_several_none_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(TraceParent::of_request(&headers), None);
        headers.append(TRACEPARENT, RECORDED.parse().unwrap());
        assert!(TraceParent::of_request(&headers).is_some());
        headers.append(TRACEPARENT, RECORDED.parse().unwrap());
        assert_eq!(TraceParent::of_request(&headers), None);
    }
}
