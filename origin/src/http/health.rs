//! Whether the process lives, and whether it can do its work.

use axum::{extract::State, response::Response};
use sqlx::PgPool;
use tidemark_shared::problem::{Kind, Problem};
use tokio::time;

use super::respond::{json, problem_response};
use crate::{database::PROBE, shutdown::Shutdown};

/// What tells whether requests are welcome.
#[derive(Clone)]
pub(crate) struct Readiness {
    /// A connection of its own. In the line of the queries, an origin that is busy would count as one
    /// that is broken, and all of them would be taken out of service just when they are needed.
    pub(crate) database: PgPool,
    pub(crate) shutdown: Shutdown,
}

/// `/healthz`: the process answers.
pub(super) async fn alive() -> Response {
    json(axum::http::StatusCode::OK, r#"{"status":"ok"}"#.into())
}

/// `/readyz`: the database can be reached, and the service is not about to end. Redis is not asked:
/// without it the origin still serves.
pub(super) async fn ready(State(readiness): State<Readiness>) -> Response {
    if readiness.shutdown.is_requested() {
        return problem_response(&Problem::new(Kind::Unavailable, "the service is stopping"));
    }
    if is_reachable(&readiness.database).await {
        json(axum::http::StatusCode::OK, r#"{"status":"ready"}"#.into())
    } else {
        problem_response(&Problem::new(
            Kind::Unavailable,
            "the database can't be reached",
        ))
    }
}

/// Whether the database answers in time.
async fn is_reachable(database: &PgPool) -> bool {
    let Ok(mut connection) = database.acquire().await else {
        return false;
    };
    let asked = time::timeout(PROBE, sqlx::query("SELECT 1").execute(&mut *connection)).await;
    let is_reachable = matches!(asked, Ok(Ok(_)));
    if !is_reachable {
        // Nobody waits for what may never come: the next look is by another connection.
        drop(connection.detach());
    }
    is_reachable
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use sqlx::postgres::PgPoolOptions;

    use super::*;

    #[tokio::test]
    async fn a_service_that_stops_is_not_ready_and_does_not_ask() {
        let shutdown = Shutdown::when(async {});
        shutdown.requested().await;
        let readiness = Readiness {
            database: PgPoolOptions::new()
                .connect_lazy("postgres://nobody@127.0.0.1:1/none")
                .unwrap(),
            shutdown,
        };
        let response = ready(State(readiness)).await;
        assert_eq!(response.status(), 503);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains("stopping"));
    }
}
