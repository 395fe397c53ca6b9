//! The origin's HTTP surface: the catalog's queries and commands, its own health and metrics, and what is
//! for operators.

mod access;
mod admin;
mod console;
mod failure;
mod health;
mod read;
mod respond;
mod scrape;
mod server;
mod write;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware,
    response::{IntoResponse as _, Response},
    routing,
};
use sqlx::PgPool;
use tidemark_shared::{
    catalog::{Command, Query},
    route::{self, Endpoint, RouteError},
};
use tokio::sync::Notify;
use tower_http::{catch_panic::CatchPanicLayer, trace::TraceLayer};
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{
    live::Live,
    memory::Memory,
    metrics::{Stopwatch, exposition::Exposition, region::Regions},
    queries::Queries,
    repository::Repository,
    shutdown::Shutdown,
    tide::Tide,
    trace::{self, TraceParent},
};
pub(crate) use access::Access;
use failure::Failure;
pub(crate) use health::Readiness;
use respond::{problem_response, set};
pub(crate) use scrape::MetricsServer;
pub(crate) use server::{Clients, serve as serve_http};

/// What every request may use.
pub(crate) struct Service {
    pub(crate) repository: Repository,
    pub(crate) routes: route::Router,
    pub(crate) queries: Queries,
    pub(crate) commands: PgPool,
    /// The longest answer, in bytes.
    pub(crate) answer_bytes: u32,
    /// What has been answered, as long as this process can prove it.
    pub(crate) memory: Arc<Memory>,
    /// Wakes the relay of this process after a commit.
    pub(crate) wake: Arc<Notify>,
    pub(crate) tide: Tide,
    /// How long a command waits for its invalidation to be applied.
    pub(crate) invalidation_wait: Duration,
    /// How long a client may take to send a body.
    pub(crate) request_timeout: Duration,
    /// Renders `/metrics`.
    pub(crate) metrics: Exposition,
    /// Who else is asked for that.
    pub(crate) regions: Regions,
    /// What happens, for whoever watches.
    pub(crate) live: Live,
}

/// What is for operators.
pub(crate) struct Operators {
    /// Who they are.
    pub(crate) access: Access,
    /// The address of an edge that serves the shipped example, for the console to show.
    pub(crate) demo: Option<String>,
}

pub(crate) fn router(service: Arc<Service>, readiness: Readiness, operators: &Operators) -> Router {
    let shutdown = readiness.shutdown.clone();
    let guard = middleware::from_fn_with_state(operators.access, access::guard);
    let for_operators = console::routes(service.clone(), operators.demo.as_deref(), shutdown)
        .merge(admin::routes())
        .route_layer(guard);
    let farewell = middleware::map_response_with_state(readiness.shutdown.clone(), farewell);
    Router::new()
        .route("/healthz", routing::get(health::alive))
        .route("/readyz", routing::get(health::ready).with_state(readiness))
        .route("/metrics", routing::get(metrics))
        .merge(for_operators)
        .fallback(dispatch)
        .method_not_allowed_fallback(|| takes_only("GET, HEAD"))
        .layer(CatchPanicLayer::custom(|_| internal_error()))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(span)
                .on_response(|response: &Response, _: Duration, span: &Span| {
                    span.record("http.response.status_code", response.status().as_u16());
                })
                .on_failure(()),
        )
        .layer(farewell)
        .with_state(service)
}

/// Once the service stops, each answer is the last one of its connection.
async fn farewell(State(shutdown): State<Shutdown>, mut response: Response) -> Response {
    if shutdown.is_requested() {
        set(response.headers_mut(), "connection", "close");
    }
    response
}

/// `/metrics`: for Prometheus.
async fn metrics(State(service): State<Arc<Service>>) -> Response {
    service.memory.show();
    scrape::page(&service.metrics, &service.regions).await
}

/// The catalog has the routes, the same ones for edge and origin; axum only brings the request.
async fn dispatch(State(service): State<Arc<Service>>, request: Request) -> Response {
    match serve(&service, request).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}

async fn serve(service: &Service, request: Request) -> Result<Response, Failure> {
    let uri = request.uri().clone();
    let query_string = uri.query().unwrap_or_default();
    let catalog = &service.repository.catalog;
    let route = service
        .routes
        .route(catalog, request.method(), uri.path(), query_string)?;
    let (Endpoint::Query(Query { name, .. }) | Endpoint::Command(Command { name, .. })) =
        route.endpoint;
    Span::current().record("endpoint", name);
    trace::name_span(format!("{} {name}", request.method()));
    match route.endpoint {
        Endpoint::Query(query) => {
            let _stopwatch = Stopwatch::of_query(&query.name);
            read::answer(
                service,
                query,
                &route.path_args,
                query_string,
                request.headers(),
            )
            .await
        }
        Endpoint::Command(command) => {
            let _stopwatch = Stopwatch::of_command(&command.name);
            write::answer(
                service,
                command,
                &route.path_args,
                query_string,
                TraceParent::of_request(request.headers()),
                request.into_body(),
            )
            .await
        }
    }
}

/// What a request's logs are shown with, and its part of its client's trace. Never with an argument.
fn span(request: &Request) -> Span {
    let span = tracing::info_span!(
        "request",
        otel.kind = "server",
        endpoint = field::Empty,
        http.request.method = %request.method(),
        http.response.status_code = field::Empty,
        trace = field::Empty,
    );
    if let Some(trace) = TraceParent::of_request(request.headers()) {
        span.record("trace", field::display(trace.id()));
        // It fails where spans are not exported.
        let _ = span.set_parent(trace.context());
    }
    span
}

/// For a method that a path does not take.
async fn takes_only(methods: &'static str) -> Failure {
    let allow = methods.to_owned();
    RouteError::MethodNotAllowed { allow }.into()
}

fn internal_error() -> Response<Body> {
    problem_response(&failure::internal())
}
