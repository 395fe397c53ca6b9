//! A query over HTTP: parameters in, JSON of PostgreSQL out.

use axum::{
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use tidemark_shared::{
    catalog::Query,
    fill::{Answer, Provenance},
    flight::{Claim, Observed},
    header as tidemark_header,
    param::Params,
};

use super::{
    Service,
    failure::Failure,
    respond::{json, problem_response, set},
};
use crate::answer;

pub(super) async fn answer(
    service: &Service,
    query: &Query,
    path_args: &[(String, String)],
    query_string: &str,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let params = Params::from_target(&query.params, path_args, query_string)?;
    let provenance = Provenance::of(service.repository.digest, &query.scopes(&params));
    let answered = service
        .queries
        .ask(query, &params, provenance, claim(headers))
        .await;
    let answer = answered.map_err(|error| Failure::of_query(query, error))?;

    let mut response = if answer.status == StatusCode::OK {
        found(query, &answer, headers)
    } else {
        problem_response(&answer::no_row())
    };
    let headers = response.headers_mut();
    set(
        headers,
        tidemark_header::AS_OF,
        &answer.as_of_ms.to_string(),
    );
    set(
        headers,
        tidemark_header::CATALOG,
        &answer.provenance.catalog.to_string(),
    );
    set(
        headers,
        tidemark_header::CACHE_GROUPS,
        &answer.provenance.scopes,
    );
    Ok(response)
}

/// The body, unless the client has it already.
fn found(query: &Query, answer: &Answer, request: &HeaderMap) -> Response {
    let mut response = if answer.etag.is_known_to(request) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        json(StatusCode::OK, answer.body.clone())
    };
    let cache_control = if query.policy.is_cacheable() {
        tidemark_header::CACHE_CONTROL_REVALIDATE
    } else {
        tidemark_header::CACHE_CONTROL_NO_STORE
    };
    let headers = response.headers_mut();
    set(headers, "etag", &answer.etag.header());
    set(headers, "cache-control", cache_control);
    response
}

/// What an edge claims of statements that run already. Anybody else, and whoever writes it wrongly,
/// claims nothing.
fn claim(headers: &HeaderMap) -> Claim {
    let witness = headers.get(tidemark_header::WITNESS);
    let witness = witness.and_then(|value| value.to_str().ok());
    Claim::of_question(witness.and_then(Observed::parse))
}
