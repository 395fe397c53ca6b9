//! A command over HTTP: committed, then answered once the caches know.

use std::time::Duration;

use axum::{body::Body, http::HeaderMap, response::Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tidemark_shared::{
    catalog::Command,
    header as tidemark_header,
    param::{ParamError, Params},
    problem::{Kind, Problem},
};
use tokio::time;

use super::{
    Service,
    failure::Failure,
    respond::{json, set},
};
use crate::{
    command::{self, CommandError},
    tide::Invalidation,
    trace::TraceParent,
};

/// What the moments of tidemarks are counted in.
const TICK: Duration = Duration::from_millis(1);

/// The largest body of a command, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;

pub(super) async fn answer(
    service: &Service,
    command: &Command,
    path_args: &[(String, String)],
    query_string: &str,
    trace: Option<TraceParent>,
    body: Body,
) -> Result<Response, Failure> {
    if !query_string.is_empty() {
        let detail =
            "a command takes its parameters in the path and the JSON body, not in the query string";
        return Err(Problem::new(Kind::InvalidParameter, detail).into());
    }
    let body = read(body, service.request_timeout).await?;
    let params = Params::from_body(&command.params, path_args, &body)?;
    let statements = service
        .repository
        .commands
        .get(&command.name)
        .ok_or_else(|| Problem::new(Kind::Internal, "the command has no statement"))?;
    let limit = service.answer_bytes;
    let outcome = command::run(
        &service.commands,
        statements,
        &params,
        limit,
        TraceParent::here(trace),
    );
    let outcome = outcome.await;
    if let Err(CommandError::OutcomeUnknown(_)) = &outcome {
        // It may well have committed, and then others wait for its invalidation.
        service.wake.notify_one();
    }
    let Some(committed) = outcome.map_err(|error| Failure::of_command(command, error))? else {
        return Err(Problem::new(
            Kind::NoRow,
            "nothing has these arguments; nothing was changed",
        )
        .into());
    };

    let invalidation = match committed.at_least_ms {
        Some(at_least_ms) => service.applied(at_least_ms).await,
        None => {
            service.wake.notify_one();
            Invalidation::Pending
        }
    };
    let mut response = json(command.status, committed.body);
    tell(response.headers_mut(), committed.at_least_ms, invalidation);
    Ok(response)
}

impl Service {
    /// Waits, within bounds, until what is visible at this moment (ms, database's clock) has been applied.
    pub(super) async fn applied(&self, at_least_ms: i64) -> Invalidation {
        self.wake.notify_one();
        // Moments count in whole ms: a cycle within the commit's own ms does not cover it, and the next one
        // would wait for the poll.
        time::sleep(TICK).await;
        self.wake.notify_one();
        self.tide.reached(at_least_ms, self.invalidation_wait).await
    }
}

/// Tells in an answer's headers which state has what was written, and whether caches know.
pub(super) fn tell(headers: &mut HeaderMap, at_least_ms: Option<i64>, invalidation: Invalidation) {
    set(
        headers,
        "cache-control",
        tidemark_header::CACHE_CONTROL_NO_STORE,
    );
    if let Some(at_least_ms) = at_least_ms {
        set(headers, tidemark_header::AT_LEAST, &at_least_ms.to_string());
    }
    set(headers, tidemark_header::INVALIDATION, invalidation.name());
}

/// The whole body, if it comes in time: whoever sends a byte now and then must not keep a connection
/// and its memory for ever.
pub(super) async fn read(body: Body, limit: Duration) -> Result<Bytes, Problem> {
    let collected = time::timeout(limit, Limited::new(body, BODY_LIMIT).collect()).await;
    let Ok(collected) = collected else {
        return Err(Problem::new(
            Kind::RequestTimeout,
            format!("the body did not arrive within {limit:?}; nothing was changed"),
        ));
    };
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::new(
            Kind::BodyTooLarge,
            format!("the body exceeds {BODY_LIMIT} bytes"),
        )),
        Err(_) => Err(ParamError::Body {
            reason: "it broke off".to_owned(),
        }
        .into()),
    }
}
