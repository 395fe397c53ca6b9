//! `/admin/`: what `tidemark-origin purge` does, for programs.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Router, body::Body, extract::State, http::StatusCode, response::Response, routing};
use axum_extra::{TypedHeader, headers::ContentType};
use serde::{Deserialize, Serialize};
use tidemark_shared::{
    problem::{Kind, Problem},
    purge::{Target, Touched},
};

use super::{
    Service,
    failure::{self, Failure},
    respond::json,
    takes_only, write,
};
use crate::purge::{self, PurgeError};

/// What is to be invalidated.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Order {
    /// `orders`, `org:42` or `org:*`.
    Scopes(Vec<String>),
    /// Everything that the catalog knows, if it is true.
    All(bool),
}

/// What was recorded as if it had changed.
#[derive(Serialize)]
struct Recorded {
    recorded: BTreeSet<String>,
}

pub(super) fn routes() -> Router<Arc<Service>> {
    Router::new().route(
        "/admin/purge",
        routing::post(purge).fallback(|| takes_only("POST")),
    )
}

async fn purge(
    State(service): State<Arc<Service>>,
    content_type: Option<TypedHeader<ContentType>>,
    body: Body,
) -> Result<Response, Failure> {
    // What a page from elsewhere can send without being asked is of another type (the Fetch standard,
    // "CORS-safelisted request-header").
    if content_type.is_none_or(|TypedHeader(sent)| sent != ContentType::json()) {
        let detail = "send Content-Type: application/json";
        return Err(Problem::new(Kind::MalformedRequest, detail).into());
    }
    let body = write::read(body, service.request_timeout).await?;
    let touched = touched(&service, &body)?;
    let mut database = service.commands.acquire().await.map_err(of_database)?;
    let recorded = purge::record(&mut database, &touched).await;
    let at_least_ms = recorded.map_err(|error| match error {
        PurgeError::Database(error) => of_database(error),
        PurgeError::NotInstalled => {
            tracing::error!("{error}");
            failure::internal().into()
        }
    })?;
    drop(database);
    let invalidation = service.applied(at_least_ms).await;
    let recorded = touched.iter().map(ToString::to_string).collect();
    // Texts always serialize.
    let body = serde_json::to_vec(&Recorded { recorded }).unwrap_or_default();
    let mut response = json(StatusCode::OK, body.into());
    write::tell(response.headers_mut(), Some(at_least_ms), invalidation);
    Ok(response)
}

fn touched(service: &Service, body: &[u8]) -> Result<BTreeSet<Touched>, Problem> {
    let catalog = &service.repository.catalog;
    let order = serde_json::from_slice(body);
    let scopes = match order.map_err(|error| unreadable(&error))? {
        Order::All(true) => return Ok(Target::All.touched(catalog)),
        Order::All(false) => Vec::new(),
        Order::Scopes(scopes) => scopes,
    };
    let mut touched = BTreeSet::new();
    for scope in scopes {
        let target = Target::parse(&scope, catalog)
            .map_err(|error| Problem::new(Kind::InvalidParameter, error.to_string()))?;
        touched.extend(target.touched(catalog));
    }
    Ok(touched)
}

fn unreadable(error: &serde_json::Error) -> Problem {
    let detail = format!(r#"write {{"scopes": ["org:42"]}} or {{"all": true}}: {error}"#);
    Problem::new(Kind::InvalidBody, detail)
}

fn of_database(error: sqlx::Error) -> Failure {
    Failure::Database(error.into())
}
