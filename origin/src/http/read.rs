//! A query over HTTP: parameters in, JSON of PostgreSQL out, or of the [memory](crate::memory).

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use tidemark_shared::{
    catalog::Query,
    content::Content,
    etag::ETag,
    flight::{Claim, Observed},
    freshness::Demand,
    header as tidemark_header,
    outcome::ORIGIN_HIT,
    param::Params,
    problem::{Kind, Problem},
    scope,
};

use super::{
    Service,
    failure::Failure,
    respond::{json, problem_response, set},
};
use crate::{
    answer, clock::now_ms, memory::Remembered, metrics, question::Question, trace::TraceParent,
};

pub(super) async fn answer(
    service: &Service,
    query: &Query,
    path_args: &[(String, String)],
    query_string: &str,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let params = Params::from_target(&query.params, path_args, query_string)?;
    let at_least_ms = tidemark_header::at_least(headers)
        .map_err(|error| Problem::new(Kind::MalformedRequest, error.to_string()))?;
    let question = Question::new(query, params);
    let demand = Demand {
        at_least_ms,
        ..question.demand()
    };
    // Whoever sends a witness will store the answer under what it has observed by now.
    let anew =
        headers.contains_key(tidemark_header::WITNESS) || tidemark_header::demands_anew(headers);
    if !anew && let Some(remembered) = service.memory.recall(&demand) {
        metrics::count_memory_hit(&query.name);
        return recalled(remembered, &demand, headers);
    }

    let (claim, trace) = (claim(headers), TraceParent::of_request(headers));
    let asked = service.queries.ask(&question, claim, trace).await;
    let answer = asked.map_err(|error| Failure::of_query(query, error))?;
    let catalog = answer.provenance.catalog.to_string();
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = respond(
        status,
        answer.etag,
        answer.content,
        answer.as_of_ms,
        &demand,
        headers,
    )?;
    set(response.headers_mut(), tidemark_header::CATALOG, &catalog);
    Ok(response)
}

/// An answer from the memory. It does not say of which catalog it is, so that no edge stores it.
fn recalled(
    remembered: Remembered,
    demand: &Demand<'_>,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let Remembered {
        entry,
        proven_at_ms,
    } = remembered;
    let status = StatusCode::from_u16(entry.status).unwrap_or(StatusCode::OK);
    let mut response = respond(
        status,
        entry.etag,
        entry.content,
        proven_at_ms,
        demand,
        headers,
    )?;
    let age_ms = now_ms().saturating_sub(entry.as_of_ms).max(0);
    let headers = response.headers_mut();
    headers.insert(header::AGE, HeaderValue::from(age_ms / 1_000));
    set(headers, tidemark_header::CACHE_STATUS, ORIGIN_HIT);
    Ok(response)
}

/// What any answer to a query has: its JSON, that the client has it already, or that there is no row.
fn respond(
    status: StatusCode,
    etag: ETag,
    content: Content,
    as_of_ms: i64,
    demand: &Demand<'_>,
    request: &HeaderMap,
) -> Result<Response, Failure> {
    let mut response = if status == StatusCode::OK {
        found(etag, content, demand, request)?
    } else {
        problem_response(&answer::no_row())
    };
    let headers = response.headers_mut();
    set(headers, tidemark_header::AS_OF, &as_of_ms.to_string());
    set(
        headers,
        tidemark_header::CACHE_GROUPS,
        &scope::list(demand.scopes),
    );
    Ok(response)
}

/// The body in a coding that the client takes, unless the client has it already.
fn found(
    etag: ETag,
    content: Content,
    demand: &Demand<'_>,
    request: &HeaderMap,
) -> Result<Response, Failure> {
    let (encoding, mut response) = if etag.is_known_to(request) {
        let encoding = content.encoding_for(request);
        (encoding, StatusCode::NOT_MODIFIED.into_response())
    } else {
        let content = content.negotiated(request)?;
        (content.encoding, coded(content))
    };
    let cache_control = if demand.policy.is_cacheable() {
        tidemark_header::CACHE_CONTROL_REVALIDATE
    } else {
        tidemark_header::CACHE_CONTROL_NO_STORE
    };
    let headers = response.headers_mut();
    set(headers, "etag", &etag.header(encoding));
    set(headers, "cache-control", cache_control);
    set(headers, "vary", header::ACCEPT_ENCODING.as_str());
    Ok(response)
}

fn coded(content: Content) -> Response {
    let mut response = json(StatusCode::OK, content.bytes);
    if let Some(coding) = content.encoding.name() {
        set(response.headers_mut(), "content-encoding", coding);
    }
    response
}

/// What an edge claims of statements that run already. Anybody else, and whoever writes it wrongly,
/// claims nothing.
fn claim(headers: &HeaderMap) -> Claim {
    let witness = headers.get(tidemark_header::WITNESS);
    let witness = witness.and_then(|value| value.to_str().ok());
    Claim::of_question(witness.and_then(Observed::parse))
}
