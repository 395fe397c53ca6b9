//! What the client gets: status, header fields and body of every answer but a preflight's.

use std::mem;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_ENCODING, AGE, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
        ETAG, RETRY_AFTER, VARY,
    },
    request::Parts,
};
use tidemark_shared::{
    content::{Content, Damaged},
    entry::Entry,
    etag::ETag,
    header,
    outcome::CacheStatus,
    problem::{self, Kind, Problem},
};

use crate::{
    log,
    origin::{Failure, Fetched, Loaded, Refusal},
};

/// What the component gives to its host.
pub(crate) type Response = http::Response<Bytes>;

const AS_OF: HeaderName = HeaderName::from_static(header::AS_OF);
const CACHE_STATUS: HeaderName = HeaderName::from_static(header::CACHE_STATUS);
const JSON: &str = "application/json";

/// The answer to a plain `GET`; [`Reply::respond`] fits it to the request.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// What the cache did, where a query was answered.
    pub(crate) cache: Option<CacheStatus>,
    headers: HeaderMap,
    content: Content,
    /// The content without its coding, where that is known already.
    plain: Option<Bytes>,
    /// Of what can be revalidated.
    etag: Option<ETag>,
}

impl Reply {
    /// A cached answer, proven at `proven_at_ms`.
    pub(crate) fn cached(
        entry: Entry,
        proven_at_ms: i64,
        now_ms: i64,
        cache_status: CacheStatus,
    ) -> Self {
        let age_ms = now_ms.saturating_sub(entry.as_of_ms).max(0);
        let status = StatusCode::from_u16(entry.status).unwrap_or(StatusCode::OK);
        let cache_control = header::CACHE_CONTROL_REVALIDATE;
        Self::answer(status, entry.content, entry.etag, cache_control)
            .with(AGE, age_ms / 1000)
            .with(AS_OF, proven_at_ms)
            .with(CACHE_STATUS, text(cache_status.to_string()))
            .of(cache_status)
    }

    /// What the origin said. `cache_control` is what others may do with it if it is an answer.
    pub(crate) fn loaded(loaded: Loaded, cache: CacheStatus, cache_control: &'static str) -> Self {
        let status = match loaded.as_ref().ok().and_then(|it| it.cache_status.as_ref()) {
            // The cache nearest to the origin comes first (RFC 9211 §2).
            Some(before) => [before.as_bytes(), b", ", cache.to_string().as_bytes()].concat(),
            None => cache.to_string().into(),
        };
        let reply = match loaded {
            Ok(fetched) => Self::fetched(fetched, cache_control),
            Err(Failure::Refused(refusal)) => Self::refused(refusal),
            Err(failure @ Failure::Timeout) => {
                Self::problem(Problem::new(Kind::Timeout, failure.to_string()))
            }
            Err(failure @ Failure::Unreachable) => {
                Self::problem(Problem::new(Kind::Unavailable, failure.to_string()))
            }
            Err(failure @ (Failure::Failed(_) | Failure::TooLong | Failure::Garbled)) => {
                Self::problem(Problem::new(Kind::BadGateway, failure.to_string()))
            }
        };
        let reply = reply.inviting().with(CACHE_STATUS, value(status));
        reply.of(cache)
    }

    /// What is wrong.
    pub(crate) fn problem(problem: Problem) -> Self {
        let mut reply = Self::new(
            problem.kind.status(),
            problem::CONTENT_TYPE,
            header::CACHE_CONTROL_NO_STORE,
            Content::identity(problem.to_json().into()),
        );
        if let Some(allow) = problem.allow {
            reply = reply.with(ALLOW, text(allow));
        }
        if let Some(pause) = problem.kind.retry_after() {
            reply = reply.with(RETRY_AFTER, pause.as_secs());
        }
        reply
    }

    /// Fits the reply to its request: 304 where the client has the answer already, in a coding that it
    /// takes where it has not, and no body for `HEAD`.
    pub(crate) fn respond(self, request: &Parts) -> Response {
        if let Some(etag) = self.etag
            && etag.is_known_to(&request.headers)
        {
            return self.not_modified(etag, request);
        }
        self.whole(request).unwrap_or_else(|damaged| {
            log::error("answer-damaged", &[("error", &damaged)]);
            let problem = Problem::new(Kind::Internal, "the cached answer can't be read");
            Self::problem(problem).respond(request)
        })
    }

    fn not_modified(mut self, etag: ETag, request: &Parts) -> Response {
        let encoding = self.content.encoding_for(&request.headers);
        self.headers.insert(ETAG, text(etag.header(encoding)));
        self.headers.remove(CONTENT_TYPE);
        self.status = StatusCode::NOT_MODIFIED;
        self.with_body(Bytes::new())
    }

    /// The length is always there, because a host that does not know it sends the body in chunks, the
    /// last of which waits for the client's delayed acknowledgement.
    fn whole(mut self, request: &Parts) -> Result<Response, Damaged> {
        let content = mem::take(&mut self.content);
        let is_accepted = content.encoding.is_accepted(&request.headers);
        let content = match self.plain.take() {
            Some(plain) if !is_accepted => Content::identity(plain),
            _ => content.negotiated(&request.headers)?,
        };
        if let Some(etag) = self.etag {
            self.headers
                .insert(ETAG, text(etag.header(content.encoding)));
        }
        if let Some(coding) = content.encoding.name() {
            let coding = HeaderValue::from_static(coding);
            self.headers.insert(CONTENT_ENCODING, coding);
        }
        self.headers
            .insert(CONTENT_LENGTH, content.bytes.len().into());
        Ok(match request.method {
            Method::HEAD => self.with_body(Bytes::new()),
            _ => self.with_body(content.bytes),
        })
    }

    fn with_body(self, body: Bytes) -> Response {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }

    fn fetched(fetched: Fetched, cache_control: &'static str) -> Self {
        let mut reply = Self::answer(fetched.status, fetched.content, fetched.etag, cache_control);
        reply.plain = fetched.plain;
        let reply = match fetched.as_of_ms {
            Some(as_of_ms) => reply.with(AS_OF, as_of_ms),
            None => reply,
        };
        match fetched.age {
            Some(age) => reply.with(AGE, age),
            None => reply,
        }
    }

    /// A query's answer. Only what was found has a tag: a precondition means nothing to any other
    /// status (RFC 9110 §13.2.1).
    fn answer(
        status: StatusCode,
        content: Content,
        etag: ETag,
        cache_control: &'static str,
    ) -> Self {
        if status.is_success() {
            Self::new(status, JSON, cache_control, content).tagged(etag)
        } else {
            let no_store = header::CACHE_CONTROL_NO_STORE;
            Self::new(status, problem::CONTENT_TYPE, no_store, content)
        }
    }

    fn refused(refusal: Refusal) -> Self {
        let mut reply = Self::new(
            refusal.status,
            problem::CONTENT_TYPE,
            header::CACHE_CONTROL_NO_STORE,
            Content::identity(refusal.body),
        );
        for (name, value) in [
            (CONTENT_TYPE, refusal.content_type),
            (RETRY_AFTER, refusal.retry_after),
        ] {
            if let Some(value) = value {
                reply.headers.insert(name, value);
            }
        }
        reply
    }

    /// Says when to try again, where nobody has said so yet and that may be of use. It is always safe:
    /// the edge only reads.
    fn inviting(mut self) -> Self {
        let passes = matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        );
        if let (true, Some(pause)) = (passes, Kind::Unavailable.retry_after()) {
            let again = self.headers.entry(RETRY_AFTER);
            again.or_insert(pause.as_secs().into());
        }
        self
    }

    fn new(
        status: StatusCode,
        content_type: &'static str,
        cache_control: &'static str,
        content: Content,
    ) -> Self {
        // As many as a hit has, with its length and coding, and what CORS adds.
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache_control));
        Self {
            status,
            cache: None,
            headers,
            content,
            plain: None,
            etag: None,
        }
    }

    fn of(mut self, cache: CacheStatus) -> Self {
        self.cache = Some(cache);
        self
    }

    fn tagged(mut self, etag: ETag) -> Self {
        self.etag = Some(etag);
        self.with(VARY, HeaderValue::from_static(ACCEPT_ENCODING.as_str()))
    }

    fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.insert(name, value.into());
        self
    }
}

/// The value of a text that this code has written, so that it always is one.
fn text(text: String) -> HeaderValue {
    value(text.into())
}

fn value(bytes: Vec<u8>) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(bytes))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use http::header::IF_NONE_MATCH;
    use tidemark_shared::{
        content::Encoding,
        digest::Digest,
        epoch::Epoch,
        outcome::{ORIGIN_HIT, Outcome},
        stamp::Witness,
    };

    use super::*;

    fn request(method: Method, if_none_match: &[&str]) -> Parts {
        let mut request = http::Request::builder().method(method).uri("/");
        for tag in if_none_match {
            request = request.header(IF_NONE_MATCH, *tag);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn miss() -> Reply {
        miss_of(Bytes::from_static(b"[1]"))
    }

    fn miss_of(body: Bytes) -> Reply {
        let fetched = Fetched {
            status: StatusCode::OK,
            renewed: false,
            etag: ETag::of(&body),
            as_of_ms: Some(1_763_863_200_123),
            provenance: None,
            cache_status: None,
            age: None,
            content: Content::compressed(body.clone()),
            plain: Some(body),
        };
        let status = CacheStatus {
            stored: true,
            ..CacheStatus::of(Outcome::Miss)
        };
        Reply::loaded(Ok(fetched), status, header::CACHE_CONTROL_REVALIDATE)
    }

    fn body(response: Response) -> Bytes {
        response.into_body()
    }

    #[test]
    fn a_head_answer_has_the_length_of_the_body_that_it_lacks() {
        let get = miss().respond(&request(Method::GET, &[]));
        let head = miss().respond(&request(Method::HEAD, &[]));
        assert_eq!(get.headers(), head.headers());
        assert_eq!(head.headers()[CONTENT_LENGTH], "3");
        assert_eq!(body(get), "[1]");
        assert_eq!(body(head), "");
    }

    #[test]
    fn the_caches_are_listed_from_the_origin_to_the_client() {
        let body = Bytes::from_static(b"[1]");
        let fetched = Fetched {
            status: StatusCode::OK,
            renewed: false,
            etag: ETag::of(&body),
            as_of_ms: Some(1_763_863_200_123),
            provenance: None,
            cache_status: Some(HeaderValue::from_static(ORIGIN_HIT)),
            age: Some(HeaderValue::from_static("7")),
            content: Content::identity(body),
            plain: None,
        };
        let status = CacheStatus::of(Outcome::RedisUnavailable);
        let reply = Reply::loaded(Ok(fetched), status, header::CACHE_CONTROL_REVALIDATE);
        let response = reply.respond(&request(Method::GET, &[]));
        assert_eq!(
            response.headers()[CACHE_STATUS],
            "tidemark-origin; hit, tidemark; fwd=bypass; detail=redis-unavailable"
        );
        assert_eq!(response.headers()[AGE], "7");
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let etag = ETag::of(b"[1]").header(Encoding::Identity);
        let known = miss().respond(&request(Method::GET, &["\"other\"", &etag]));
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(known.headers()[ETAG], etag);
        assert_eq!(known.headers()[CACHE_CONTROL], "no-cache");
        assert!(!known.headers().contains_key(CONTENT_LENGTH));
        assert_eq!(body(known), "");

        let unknown = miss().respond(&request(Method::GET, &["\"other\""]));
        assert_eq!(unknown.status(), StatusCode::OK);
    }

    #[test]
    fn an_answer_comes_in_a_coding_that_the_client_takes() {
        let rows = Bytes::from(vec![b' '; 10_000]);
        let entry = |content| Entry {
            status: 200,
            epoch: Epoch::new(1),
            witness: Witness::from_digest(Digest::of(b"stamps")),
            as_of_ms: 1,
            fresh_until_ms: 2,
            etag: ETag::of(&rows),
            target: Bytes::new(),
            content,
        };
        let hit = |content| Reply::cached(entry(content), 1, 1, CacheStatus::of(Outcome::Hit));
        let taking = |coding: &'static str| {
            let mut request = request(Method::GET, &[]);
            let coding = HeaderValue::from_static(coding);
            request.headers.insert(ACCEPT_ENCODING, coding);
            request
        };
        let compressed = Content::compressed(rows.clone());

        let gzip = hit(compressed.clone()).respond(&taking("gzip"));
        assert_eq!(gzip.headers()[CONTENT_ENCODING], "gzip");
        assert_eq!(gzip.headers()[VARY], "accept-encoding");
        let etag = ETag::of(&rows);
        assert_eq!(gzip.headers()[ETAG], etag.header(Encoding::Gzip));
        let sent = body(gzip);
        assert_eq!(sent.as_ptr(), compressed.bytes.as_ptr(), "no copy");

        let plain = hit(compressed.clone()).respond(&taking("br"));
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        assert_eq!(plain.headers()[VARY], "accept-encoding");
        assert_eq!(plain.headers()[ETAG], etag.header(Encoding::Identity));
        assert_eq!(plain.headers()[CONTENT_LENGTH], "10000");
        assert_eq!(body(plain), rows);

        let damaged = || Content {
            encoding: Encoding::Gzip,
            bytes: compressed.bytes.slice(1..),
        };
        let answer = hit(damaged()).respond(&taking("br"));
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers()[CONTENT_TYPE], problem::CONTENT_TYPE);
        assert!(!answer.headers().contains_key(ETAG));
    }

    #[test]
    fn what_was_decoded_to_be_checked_is_not_decoded_again() {
        let rows = Bytes::from(vec![b' '; 10_000]);
        let response = miss_of(rows.clone()).respond(&request(Method::GET, &[]));
        assert!(!response.headers().contains_key(CONTENT_ENCODING));
        assert_eq!(body(response).as_ptr(), rows.as_ptr(), "no copy");
    }

    #[test]
    fn a_problem_is_never_304_nor_kept() {
        let problem = Problem {
            allow: Some("GET, HEAD".into()),
            ..Problem::new(Kind::MethodNotAllowed, "no")
        };
        let response = Reply::problem(problem).respond(&request(Method::POST, &["*"]));
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert!(!response.headers().contains_key(RETRY_AFTER));
    }

    #[test]
    fn the_edges_own_503_says_when_to_try_again() {
        let problem = Problem::new(Kind::Unavailable, "given up");
        let response = Reply::problem(problem).respond(&request(Method::GET, &[]));
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }

    #[test]
    fn whoever_finds_no_origin_is_told_when_to_try_again() {
        let status = CacheStatus::of(Outcome::Miss);
        let own_word = |status| {
            Failure::Refused(Refusal {
                status,
                content_type: None,
                retry_after: None,
                body: Bytes::new(),
            })
        };
        for (failure, expected, again) in [
            (Failure::Unreachable, 503, Some("1")),
            (Failure::Timeout, 504, Some("1")),
            (own_word(StatusCode::SERVICE_UNAVAILABLE), 503, Some("1")),
            (own_word(StatusCode::GATEWAY_TIMEOUT), 504, Some("1")),
            (own_word(StatusCode::NOT_FOUND), 404, None),
            (Failure::TooLong, 502, None),
            (Failure::Failed(StatusCode::BAD_GATEWAY), 502, None),
        ] {
            let reply = Reply::loaded(Err(failure.clone()), status, "no-cache");
            let response = reply.respond(&request(Method::GET, &[]));
            assert_eq!(response.status(), expected, "{failure:?}");
            let header = response.headers().get(RETRY_AFTER);
            assert_eq!(
                header.map(|value| value.to_str().unwrap()),
                again,
                "{failure:?}"
            );
        }
    }

    #[test]
    fn the_origins_refusal_is_passed_on() {
        let refusal = Refusal {
            status: StatusCode::SERVICE_UNAVAILABLE,
            content_type: Some(HeaderValue::from_static(problem::CONTENT_TYPE)),
            retry_after: Some(HeaderValue::from_static("2")),
            body: Bytes::from_static(b"{}"),
        };
        let status = CacheStatus::of(Outcome::Miss);
        let reply = Reply::loaded(Err(Failure::Refused(refusal)), status, "no-cache");
        let response = reply.respond(&request(Method::GET, &[]));
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(response.headers()[CACHE_STATUS], "tidemark; fwd=miss");
    }
}
