//! `/console/`: a page that shows what happens, and the stream that it shows.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{
        IntoResponse as _, Redirect, Response, Sse,
        sse::{Event, KeepAlive},
    },
    routing,
};
use futures_util::{
    StreamExt as _,
    stream::{self, Stream},
};
use rust_embed::Embed;
use tidemark_shared::problem::{Kind, Problem};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    Service,
    respond::{problem_response, set},
};
use crate::{
    live::{self, message::Message},
    shutdown::Shutdown,
};

/// The page, and what it is made of.
#[derive(Embed)]
#[folder = "console/"]
struct Files;

/// What the routes need.
#[derive(Clone)]
struct Console {
    service: Arc<Service>,
    /// The address of an edge that serves the shipped example.
    demo: Option<Arc<str>>,
    shutdown: Shutdown,
}

pub(super) fn routes<S>(service: Arc<Service>, demo: Option<&str>, shutdown: Shutdown) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    Router::new()
        .route(
            "/console",
            routing::get(|| async { Redirect::permanent("/console/") }),
        )
        .route("/console/", routing::get(index))
        .route("/console/stream", routing::get(stream))
        .route("/console/{*path}", routing::get(file))
        .with_state(Console {
            service,
            demo: demo.map(Into::into),
            shutdown,
        })
}

async fn index(State(console): State<Console>) -> Response {
    let mut response = found("index.html");
    // Nothing from elsewhere; the example's edge may be asked.
    let edge = console.demo.as_deref().unwrap_or_default();
    let policy = format!(
        "default-src 'self'; connect-src 'self' {edge}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    set(response.headers_mut(), "content-security-policy", &policy);
    response
}

async fn file(Path(path): Path<String>) -> Response {
    found(&path)
}

fn found(path: &str) -> Response {
    let Some(file) = Files::get(path) else {
        return problem_response(&Problem::new(
            Kind::UnknownPath,
            "the console has no such file",
        ));
    };
    let mut response = (StatusCode::OK, file.data).into_response();
    let headers = response.headers_mut();
    set(
        headers,
        header::CONTENT_TYPE.as_str(),
        file.metadata.mimetype(),
    );
    // They belong to this origin's version.
    set(headers, "cache-control", "no-cache");
    set(headers, "x-content-type-options", "nosniff");
    response
}

/// What happens from now on, as server-sent events (HTML Standard §9.2).
async fn stream(State(console): State<Console>) -> Response {
    let hello = live::hello(&console.service, console.demo.as_deref());
    let (state, watcher) = console.service.live.watch();
    let first = [Some(hello), state.map(Message::Feed)];
    let first = stream::iter(first.into_iter().flatten().map(Arc::new));
    let shutdown = console.shutdown;
    let messages = first
        .chain(messages(watcher))
        .map(|message| Ok::<_, Infallible>(event(&message)))
        .take_until(async move { shutdown.requested().await });
    let mut response = Sse::new(messages)
        .keep_alive(KeepAlive::default())
        .into_response();
    // Proxies that buffer would hold it back.
    set(response.headers_mut(), "x-accel-buffering", "no");
    response
}

/// Whoever is too slow misses some.
fn messages(watcher: Receiver<Arc<Message>>) -> impl Stream<Item = Arc<Message>> {
    stream::unfold(watcher, async |mut watcher| {
        loop {
            match watcher.recv().await {
                Ok(message) => return Some((message, watcher)),
                Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "a slow watcher"),
                Err(RecvError::Closed) => return None,
            }
        }
    })
}

fn event(message: &Message) -> Event {
    // Numbers and texts always serialize, onto one line.
    let json = serde_json::to_string(message).unwrap_or_default();
    Event::default().event(message.name()).data(json)
}
