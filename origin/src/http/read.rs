//! A query over HTTP: parameters in, JSON of PostgreSQL out, or of the [memory](crate::memory).

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use tidemark_shared::{
    catalog::Query,
    etag::ETag,
    fill::Provenance,
    freshness::Demand,
    header as tidemark_header,
    key::Key,
    outcome::ORIGIN_HIT,
    param::Params,
    problem::{Kind, Problem},
    scope,
};

use super::{
    Service,
    failure::Failure,
    respond::{json, set},
};
use crate::{answer, clock::now_ms, memory::Remembered};

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
    let (key, scopes) = (Key::of(query, &params), query.scopes(&params));
    let demand = Demand {
        key: &key,
        scopes: &scopes,
        policy: query.policy,
        at_least_ms,
    };
    // Whoever sends a witness will store the answer under what it has observed by now.
    let anew =
        headers.contains_key(tidemark_header::WITNESS) || tidemark_header::demands_anew(headers);
    if !anew && let Some(remembered) = service.memory.recall(&demand) {
        return Ok(recalled(remembered, &demand, headers));
    }

    let statement = service
        .repository
        .queries
        .get(&query.name)
        .ok_or_else(|| Problem::new(Kind::Internal, "the query has no statement"))?;
    let provenance = Provenance::of(service.repository.digest, &scopes);
    let load = answer::query(&service.queries, provenance, statement, &params);
    let Some(answer) = service.memory.remembering(&demand, load).await? else {
        return Err(Problem::new(Kind::NoRow, "nothing has these arguments").into());
    };
    let mut response = respond(
        StatusCode::OK,
        answer.etag,
        answer.body,
        answer.as_of_ms,
        &demand,
        headers,
    );
    set(
        response.headers_mut(),
        tidemark_header::CATALOG,
        &answer.provenance.catalog.to_string(),
    );
    Ok(response)
}

/// An answer from the memory. It does not say of which catalog it is, so that no edge stores it.
fn recalled(remembered: Remembered, demand: &Demand<'_>, headers: &HeaderMap) -> Response {
    let Remembered {
        entry,
        proven_at_ms,
    } = remembered;
    let status = StatusCode::from_u16(entry.status).unwrap_or(StatusCode::OK);
    let mut response = respond(
        status,
        entry.etag,
        entry.body,
        proven_at_ms,
        demand,
        headers,
    );
    let age_ms = now_ms().saturating_sub(entry.as_of_ms).max(0);
    let headers = response.headers_mut();
    headers.insert(header::AGE, HeaderValue::from(age_ms / 1_000));
    set(headers, tidemark_header::CACHE_STATUS, ORIGIN_HIT);
    response
}

/// What any answer to a query has, or 304 where the client has it already.
fn respond(
    status: StatusCode,
    etag: ETag,
    body: Bytes,
    as_of_ms: i64,
    demand: &Demand<'_>,
    headers: &HeaderMap,
) -> Response {
    let mut response = if etag.is_known_to(headers) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        json(status, body)
    };
    let cache_control = if demand.policy.is_cacheable() {
        tidemark_header::CACHE_CONTROL_REVALIDATE
    } else {
        tidemark_header::CACHE_CONTROL_NO_STORE
    };
    let headers = response.headers_mut();
    set(headers, "etag", &etag.header());
    set(headers, "cache-control", cache_control);
    set(headers, tidemark_header::AS_OF, &as_of_ms.to_string());
    set(
        headers,
        tidemark_header::CACHE_GROUPS,
        &scope::list(demand.scopes),
    );
    response
}
