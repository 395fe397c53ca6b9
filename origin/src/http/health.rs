//! Whether the process lives, and whether it can do its work.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use tidemark_shared::problem::{Kind, Problem};
use tokio::time;

use super::{
    Service,
    respond::{json, problem_response},
};

/// How long the database may take to show that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// `/healthz`: the process answers.
pub(super) async fn alive() -> Response {
    json(axum::http::StatusCode::OK, r#"{"status":"ok"}"#.into())
}

/// `/readyz`: queries can run. Redis is not asked: without it the origin still serves.
pub(super) async fn ready(State(service): State<Arc<Service>>) -> Response {
    match time::timeout(PATIENCE, service.queries.probe()).await {
        Ok(Ok(_)) => json(axum::http::StatusCode::OK, r#"{"status":"ready"}"#.into()),
        _ => problem_response(&Problem::new(
            Kind::Unavailable,
            "the database can't be reached",
        )),
    }
}
