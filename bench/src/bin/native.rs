//! The native limit: what answers a request with bytes from Redis, or from memory, and does nothing else.
//!
//! It proves nothing about what it answers. It is the ceiling for whatever does.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::get,
    serve::ListenerExt as _,
};
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use redis::{AsyncCommands as _, RedisResult, aio::MultiplexedConnection};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// Answers every path with the bytes that Redis has under one name.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the bytes come from, for each request.
    #[arg(long, value_enum)]
    from: From,
    /// Their name in Redis; a `*` in it stands for the last segment of the path that is asked for.
    #[arg(long)]
    name: String,
    /// Their content coding, if they have one.
    #[arg(long, default_value = "")]
    coding: HeaderValue,
    /// The Redis.
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    redis: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    /// One GET, on the one connection that all requests share.
    Redis,
    /// This process, which has got them once.
    Memory,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let client = redis::Client::open(arguments.redis)?;
    let mut redis = client.get_multiplexed_async_connection().await?;
    let app = match arguments.from {
        From::Redis => Router::new().route("/{*path}", get(ask)).with_state(Asked {
            redis,
            name: arguments.name.into(),
            coding: arguments.coding,
        }),
        From::Memory => {
            let body: Option<Bytes> = redis.get(&arguments.name).await?;
            let body = body.context("Redis has nothing under this name")?;
            Router::new()
                .route("/{*path}", get(remember))
                .with_state((body, arguments.coding))
        }
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    tokio::select! {
        served = async { axum::serve(listener, app).await } => Ok(served?),
        _ = terminate.recv() => Ok(()),
    }
}

#[derive(Clone)]
struct Asked {
    redis: MultiplexedConnection,
    name: std::sync::Arc<str>,
    coding: HeaderValue,
}

async fn ask(State(asked): State<Asked>, uri: Uri) -> Response {
    let Asked {
        mut redis,
        name,
        coding,
    } = asked;
    let body: RedisResult<Option<Bytes>> = match name.split_once('*') {
        None => redis.get(&*name).await,
        Some((before, after)) => {
            let (_, segment) = uri.path().rsplit_once('/').unwrap_or_default();
            redis.get(format!("{before}{segment}{after}")).await
        }
    };
    match body {
        Ok(Some(body)) => answer(body, coding),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

async fn remember(State((body, coding)): State<(Bytes, HeaderValue)>) -> Response {
    answer(body, coding)
}

/// hyper adds the content-length of a body whose length is known.
fn answer(body: Bytes, coding: HeaderValue) -> Response {
    let json = HeaderValue::from_static("application/json");
    let mut response = ([(header::CONTENT_TYPE, json)], Body::from(body)).into_response();
    if !coding.is_empty() {
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, coding);
    }
    response
}
