//! Responses: bodies with their headers, problems with theirs.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use tidemark_shared::{
    header as tidemark_header,
    problem::{self, Kind, Problem},
};

/// A JSON body.
pub(super) fn json(status: StatusCode, body: Bytes) -> Response {
    let content_type = HeaderValue::from_static("application/json");
    let mut response = Body::from(body).into_response();
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// A problem as the client sees it.
pub(super) fn problem_response(problem: &Problem) -> Response {
    let status = problem.kind.status();
    let mut response = json(status, problem.to_json().into());
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static(problem::CONTENT_TYPE);
    headers.insert(header::CONTENT_TYPE, content_type);
    set(
        headers,
        "cache-control",
        tidemark_header::CACHE_CONTROL_NO_STORE,
    );
    if let Some(allow) = &problem.allow {
        set(headers, "allow", allow);
    }
    if problem.kind == Kind::Unauthorized {
        // Browsers ask for it by themselves.
        let challenge = r#"Basic realm="Tidemark", charset="UTF-8""#;
        set(headers, "www-authenticate", challenge);
    }
    if let Some(pause) = problem.kind.retry_after() {
        set(headers, "retry-after", &pause.as_secs().to_string());
    }
    if problem.kind == Kind::RequestTimeout {
        // The rest of the request may still come, and is none (RFC 9110 §15.5.9).
        set(headers, "connection", "close");
    }
    response
}

/// Sets a header whose value is made of visible ASCII; another value would be left out.
pub(super) fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
