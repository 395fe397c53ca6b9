//! The origin: where an answer comes from that is not in Redis.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{
        ACCEPT_ENCODING, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
        RETRY_AFTER,
    },
    response::Parts,
    uri::{PathAndQuery, Scheme},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use spin_sdk::{
    http::send,
    wasip3::{
        http::types::{self, ErrorCode, Fields, RequestOptions},
        http_compat::IncomingResponseBody,
        wit_future,
    },
};
use tidemark_shared::{
    content::{self, Content, Encoding},
    digest::Digest,
    etag::ETag,
    fill::{Answer, Provenance},
    header,
    problem::{self, Kind},
    stale::Held,
};

use crate::{
    address::OriginAddress,
    deadline::{Deadlines, within},
    flight::Terms,
    log,
};

/// The longest answer that is taken, in bytes: what one request may cost the instance.
const MAX_BODY: usize = 32 * 1024 * 1024;

const AS_OF: HeaderName = HeaderName::from_static(header::AS_OF);
const CATALOG: HeaderName = HeaderName::from_static(header::CATALOG);
const CACHE_STATUS: HeaderName = HeaderName::from_static(header::CACHE_STATUS);
const CACHE_GROUPS: HeaderName = HeaderName::from_static(header::CACHE_GROUPS);

/// What to ask the origin.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) target: PathAndQuery,
    pub(crate) traceparent: Option<HeaderValue>,
    /// What the edge has already: if the answer is still the same, its body does not come again.
    pub(crate) held: Option<Held>,
    /// What those for whom it is asked insist on.
    pub(crate) terms: Terms,
}

impl Order {
    /// The same order, on these terms.
    pub(crate) fn on(&self, terms: Terms) -> Self {
        Self {
            terms,
            ..self.clone()
        }
    }
}

/// What came of asking. All who share a load get a clone, which shares the body.
pub(crate) type Loaded = Result<Fetched, Failure>;

/// What a query has answered: its JSON, or that nothing has these arguments, which is as true and as
/// storable as any answer. (An unknown path is a [`Refusal`].)
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    /// 200 or 404.
    pub(crate) status: StatusCode,
    /// Whether the origin has said that it is what the edge had already.
    pub(crate) renewed: bool,
    pub(crate) content: Content,
    /// The content without its coding, where that is known: it was decoded to see that it can be.
    pub(crate) plain: Option<Bytes>,
    pub(crate) etag: ETag,
    /// When it was true, and by what it was made; an answer that does not say can't be stored.
    pub(crate) as_of_ms: Option<i64>,
    pub(crate) provenance: Option<Provenance>,
    /// What caches on the way did, such as the origin's own memory.
    pub(crate) cache_status: Option<HeaderValue>,
    /// How old the answer is, if one of them had it.
    pub(crate) age: Option<HeaderValue>,
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the origin can't be reached")]
    Unreachable,
    #[error("the origin did not answer in time")]
    Timeout,
    #[error("the origin failed")]
    Failed(StatusCode),
    #[error("the origin's answer is longer than {MAX_BODY} bytes")]
    TooLong,
    /// In a coding that was not asked for, or damaged.
    #[error("the origin's answer can't be decoded")]
    Garbled,
    /// The origin's own word to the client: a 4xx, 503 or 504.
    #[error("the origin refused")]
    Refused(Refusal),
}

/// What the origin told the client instead of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) retry_after: Option<HeaderValue>,
    pub(crate) body: Bytes,
}

/// The way to the origin.
#[derive(Debug)]
pub(crate) struct Origin {
    address: OriginAddress,
    deadlines: Deadlines,
}

impl Failure {
    /// Whether the origin fails, so that it might answer another time, rather than refuses what was
    /// asked.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable | Self::Timeout | Self::Failed(_) | Self::Garbled => true,
            Self::TooLong => false,
            // That an answer is too long (500) is no matter of time.
            Self::Refused(refusal) => matches!(
                refusal.status,
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
            ),
        }
    }

    /// The origin's status, if it got so far.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Failed(status) => Some(*status),
            Self::Refused(refusal) => Some(refusal.status),
            Self::Unreachable | Self::Timeout | Self::TooLong | Self::Garbled => None,
        }
    }
}

impl Fetched {
    /// What may be stored of it.
    pub(crate) fn storable(&self) -> Option<Answer> {
        Some(Answer {
            status: self.status.as_u16(),
            as_of_ms: self.as_of_ms?,
            provenance: self.provenance.clone()?,
            etag: self.etag,
            content: self.content.clone(),
        })
    }
}

impl Origin {
    pub(crate) const fn new(address: OriginAddress, deadlines: Deadlines) -> Self {
        Self { address, deadlines }
    }

    /// Asks, and waits for the whole answer, within a deadline.
    pub(crate) async fn ask(&self, order: &Order) -> Loaded {
        within(self.deadlines.origin, self.exchange(order))
            .await
            .unwrap_or(Err(Failure::Timeout))
            .inspect_err(note)
    }

    async fn exchange(&self, order: &Order) -> Loaded {
        let (head, body) = self.begin(order).await?.into_parts();
        if head.status == StatusCode::NOT_MODIFIED {
            let renewed = order
                .held
                .as_ref()
                .and_then(|held| renew(held, &head.headers));
            return renewed.ok_or(Failure::Failed(head.status));
        }
        // Before the body, which may be the long page of some proxy.
        if !is_meant_for_clients(&head) {
            return Err(Failure::Failed(head.status));
        }
        let encoding = Encoding::of_field(head.headers.get(CONTENT_ENCODING));
        let content = Content {
            encoding: encoding.ok_or(Failure::Garbled)?,
            bytes: read(body).await?,
        };
        // So that whatever is stored can be read by everybody.
        let body = decode(&content)?;
        if head.status == StatusCode::INTERNAL_SERVER_ERROR
            && Kind::of_json(&body) != Some(Kind::AnswerTooLong)
        {
            return Err(Failure::Failed(head.status));
        }
        let provenance = provenance(&head.headers);
        // Whatever else is not found was not looked for: only a query's own word is of a catalog.
        let is_no_row = head.status == StatusCode::NOT_FOUND && provenance.is_some();
        if head.status == StatusCode::OK || is_no_row {
            return Ok(Fetched {
                status: head.status,
                renewed: false,
                etag: etag(&head.headers).unwrap_or_else(|| ETag::of(&body)),
                as_of_ms: as_of_ms(&head.headers),
                provenance,
                cache_status: head.headers.get(&CACHE_STATUS).cloned(),
                age: head.headers.get(AGE).cloned(),
                content,
                plain: Some(body),
            });
        }
        Err(Failure::Refused(Refusal {
            status: head.status,
            content_type: head.headers.get(CONTENT_TYPE).cloned(),
            retry_after: head.headers.get(RETRY_AFTER).cloned(),
            body,
        }))
    }

    /// Waits until an answer begins. Where the connection breaks before, asks once more: an origin that
    /// ends closes the connections that are kept to it, and another one may have its address. (What
    /// is asked for is only read, so it may be asked for twice.)
    async fn begin(&self, order: &Order) -> Result<Response<IncomingResponseBody>, Failure> {
        let begun = match send(self.request(order)?).await {
            Err(code) if has_broken(&code) => send(self.request(order)?).await,
            begun => begun,
        };
        begun.map_err(|code| failure(&code))
    }

    /// A `GET` without a body. Made by hand, since the SDK's own conversion gives every request a
    /// body, which a `GET` would announce as `Transfer-Encoding: chunked`.
    fn request(&self, order: &Order) -> Result<types::Request, Failure> {
        let headers = Fields::new();
        // Without it the answer comes as it is.
        let _ = headers.append(ACCEPT_ENCODING.as_str(), content::ACCEPTED.as_bytes());
        if let Some(traceparent) = &order.traceparent {
            // A value that the host does not take is not worth the answer.
            let _ = headers.append("traceparent", traceparent.as_bytes());
        }
        if let Some(tag) = order.held.as_ref().and_then(Held::validator) {
            // Without it the answer comes whole.
            let tag = tag.header(Encoding::Identity);
            let _ = headers.append(IF_NONE_MATCH.as_str(), tag.as_bytes());
        }
        for (name, value) in order.terms.fields() {
            // Without it, the answer may not be one that will do.
            headers
                .append(name, value.as_bytes())
                .map_err(|_| Failure::Unreachable)?;
        }
        let (_, no_trailers) = wit_future::new(|| Ok(None));
        let (request, _) = types::Request::new(headers, None, no_trailers, Some(self.options()));
        let scheme = if self.address.scheme == Scheme::HTTPS {
            types::Scheme::Https
        } else {
            types::Scheme::Http
        };
        request
            .set_scheme(Some(&scheme))
            .and_then(|()| request.set_authority(Some(self.address.authority.as_str())))
            .and_then(|()| request.set_path_with_query(Some(order.target.as_str())))
            .map_err(|()| Failure::Unreachable)?;
        Ok(request)
    }

    /// The host's own limits. Where it knows no such limit, the deadline of the whole still holds.
    fn options(&self) -> RequestOptions {
        let nanoseconds =
            |limit: Duration| Some(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
        let options = RequestOptions::new();
        let _ = options.set_connect_timeout(nanoseconds(self.deadlines.origin_connect()));
        let _ = options.set_first_byte_timeout(nanoseconds(self.deadlines.origin));
        let _ = options.set_between_bytes_timeout(nanoseconds(self.deadlines.origin));
        options
    }
}

impl Terms {
    /// As fields of the request.
    fn fields(self) -> impl Iterator<Item = (&'static str, String)> {
        let witness = self.observed.map(|observed| observed.to_string());
        let is_to_be_read = self.is_joinable && self.observed.is_none();
        [
            (header::WITNESS, witness),
            (
                CACHE_CONTROL.as_str(),
                is_to_be_read.then(|| header::CACHE_CONTROL_REVALIDATE.to_owned()),
            ),
            (
                header::AT_LEAST,
                self.at_least_ms.map(|moment| moment.to_string()),
            ),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Whether the origin speaks to the client with this status, or only shows that it is broken.
fn is_meant_for_clients(head: &Parts) -> bool {
    match head.status {
        StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => true,
        // It may say that the answer is too long, which is the client's business.
        StatusCode::INTERNAL_SERVER_ERROR => {
            text(&head.headers, &CONTENT_TYPE) == Some(problem::CONTENT_TYPE)
        }
        status => status.is_client_error(),
    }
}

async fn read(body: IncomingResponseBody) -> Result<Bytes, Failure> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::TooLong),
        Err(error) => Err(error.downcast_ref().map_or(Failure::Unreachable, failure)),
    }
}

/// The answer's body, which is as long as it may be at most.
fn decode(content: &Content) -> Result<Bytes, Failure> {
    if content.body_len() > MAX_BODY {
        return Err(Failure::TooLong);
    }
    content.body().map_err(|_| Failure::Garbled)
}

/// What the edge has, as the answer to a request that was made by its tag. A 304 that does not name
/// this very tag says nothing about it.
fn renew(held: &Held, headers: &HeaderMap) -> Option<Fetched> {
    let etag = held.validator()?;
    (self::etag(headers)? == etag).then(|| Fetched {
        status: StatusCode::OK,
        renewed: true,
        etag,
        as_of_ms: as_of_ms(headers),
        provenance: provenance(headers),
        cache_status: headers.get(&CACHE_STATUS).cloned(),
        age: headers.get(AGE).cloned(),
        content: held.entry.content.clone(),
        plain: None,
    })
}

/// The tag that the origin has given, if it is one of Tidemark's: making it again takes as long as
/// decoding the answer.
fn etag(headers: &HeaderMap) -> Option<ETag> {
    ETag::parse(text(headers, &ETAG)?)
}

fn as_of_ms(headers: &HeaderMap) -> Option<i64> {
    text(headers, &AS_OF)?.parse().ok()
}

fn provenance(headers: &HeaderMap) -> Option<Provenance> {
    Some(Provenance {
        catalog: Digest::parse(text(headers, &CATALOG)?)?,
        scopes: text(headers, &CACHE_GROUPS)?.to_owned(),
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether there was no connection, or it ended too early; not where time ran out.
fn has_broken(code: &ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::ConnectionRefused
            | ErrorCode::ConnectionTerminated
            | ErrorCode::HttpResponseIncomplete
            // What Spin says of any connection that broke.
            | ErrorCode::HttpProtocolError
    )
}

fn failure(code: &ErrorCode) -> Failure {
    match code {
        ErrorCode::DnsTimeout
        | ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => Failure::Timeout,
        _ => Failure::Unreachable,
    }
}

/// Logs what is the origin's fault, not the client's.
fn note(failure: &Failure) {
    match failure {
        Failure::Refused(_) => {}
        Failure::Failed(status) => {
            log::error("origin-failed", &[("status", status)]);
        }
        Failure::Unreachable | Failure::Timeout | Failure::TooLong | Failure::Garbled => {
            log::error("origin-failed", &[("error", failure)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemark_shared::{entry::Entry, epoch::Epoch, stamp::Witness};

    use super::*;

    fn held(status: u16) -> Held {
        let body = Bytes::from_static(b"{}");
        Held {
            entry: Entry {
                status,
                epoch: Epoch::new(1),
                witness: Witness::from_digest(Digest::of(b"stamps")),
                as_of_ms: 1,
                fresh_until_ms: 2,
                etag: ETag::of(&body),
                target: Bytes::new(),
                content: Content::identity(body),
            },
            proven_at_ms: None,
        }
    }

    fn not_modified(etag: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AS_OF, "7".parse().unwrap());
        headers.insert("etag", etag.parse().unwrap());
        headers
    }

    #[test]
    fn only_a_304_by_the_very_tag_renews_what_is_held() {
        let tag = ETag::of(b"{}").header(Encoding::Identity);
        // The origin names the tag of what it would have sent.
        for tag in [&tag, &ETag::of(b"{}").header(Encoding::Gzip)] {
            let renewed = renew(&held(200), &not_modified(tag)).unwrap();
            let bytes = &*renewed.content.bytes;
            assert_eq!((bytes, renewed.as_of_ms), (&b"{}"[..], Some(7)));
            assert!(renewed.renewed);
            // It does not say of which catalog it is.
            assert!(renewed.storable().is_none());
        }
        assert!(renew(&held(200), &not_modified("\"other\"")).is_none());
        assert!(renew(&held(200), &HeaderMap::new()).is_none());
        assert!(renew(&held(404), &not_modified(&tag)).is_none());
    }

    #[test]
    fn only_a_connection_that_broke_is_tried_again() {
        for (code, is_tried_again) in [
            (ErrorCode::ConnectionRefused, true),
            (ErrorCode::ConnectionTerminated, true),
            (ErrorCode::HttpProtocolError, true),
            (ErrorCode::ConnectionTimeout, false),
            (ErrorCode::ConnectionReadTimeout, false),
            (ErrorCode::HttpResponseTimeout, false),
            (ErrorCode::HttpRequestDenied, false),
        ] {
            assert_eq!(has_broken(&code), is_tried_again, "{code:?}");
        }
    }

    #[test]
    fn a_refusal_of_the_request_is_no_outage() {
        let refused = |status| {
            Failure::Refused(Refusal {
                status,
                content_type: None,
                retry_after: None,
                body: Bytes::new(),
            })
        };
        for outage in [
            Failure::Unreachable,
            Failure::Timeout,
            Failure::Failed(StatusCode::INTERNAL_SERVER_ERROR),
            Failure::Garbled,
            refused(StatusCode::SERVICE_UNAVAILABLE),
            refused(StatusCode::GATEWAY_TIMEOUT),
        ] {
            assert!(outage.is_outage(), "{outage:?}");
        }
        for other in [
            Failure::TooLong,
            refused(StatusCode::INTERNAL_SERVER_ERROR),
            refused(StatusCode::BAD_REQUEST),
            refused(StatusCode::NOT_FOUND),
        ] {
            assert!(!other.is_outage(), "{other:?}");
        }
    }
}
