//! The edge: a Spin component that answers queries from Redis and falls back to the origin.
//!
//! A request flows one way through these modules; every decision on it is `tidemark_shared`'s:
//!
//! ```text
//! request ──► cors ──► question ──► read ──► lookup ──► instance_cache, redis
//!             (OPTIONS) (no I/O)     │  └───► flight ──► origin ──► redis (store)
//! response ◄─ cors ◄── respond ◄─────┘
//! ```
//!
//! - [`settings`] are the variables (the origin's [`address`] among them) and the catalog, [`instance`] what one instance keeps of them.
//! - [`question`] is what a request asks for; whoever asks nonsense is refused there, before any I/O.
//! - [`read`] is the read path (design §5), [`lookup`] its part that speaks to Redis, unless the
//!   [`instance_cache`] has what a look-up has just proven.
//! - [`flight`] lets requests of one instance share a load, which [`handover`] brings to each of
//!   them, waking it with a [`bell`]; [`origin`] is what a load asks.
//! - [`lease`] keeps other instances from loading the same at the same time.
//! - [`redis`] is the instance's connection, [`deadline`] and [`watch`] are what keeps it from hanging, and [`refusal`]
//!   tells whether Redis is there at all.
//! - [`tally`] counts what is read and, as [`figures`], what is answered, and tells Redis now and then.
//! - [`respond`] makes the answer's headers: `Cache-Status`, `ETag`, 304, HEAD.
//! - [`exchange`] is the way of a request in from the host, and of its answer out.
//! - [`clock`] and [`log`] are time, randomness and standard error.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod address;
mod bell;
mod clock;
mod cors;
mod deadline;
mod exchange;
mod figures;
mod flight;
mod handover;
mod instance;
mod instance_cache;
mod lease;
mod log;
mod lookup;
mod origin;
mod question;
mod read;
mod redis;
mod refusal;
mod respond;
mod settings;
mod tally;
mod watch;

use std::rc::Rc;

use http::request::Parts;
use spin_sdk::wasip3::{
    exports::http::handler::Guest,
    http::types::{self, ErrorCode},
};
use tidemark_shared::problem::{Kind, Problem};

use crate::{
    instance::Instance,
    respond::{Reply, Response},
};

/// A request is a hundred small allocations, which had 7 % of all samples with the allocator of WASI's C
/// library.
#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

/// What the host calls.
struct Edge;

spin_sdk::wasip3::http::service::export!(Edge);

impl Guest for Edge {
    async fn handle(request: types::Request) -> Result<types::Response, ErrorCode> {
        let head = exchange::receive(&request)?;
        exchange::send(serve(&head).await)
    }
}

async fn serve(request: &Parts) -> Response {
    match instance::current().await {
        Ok(instance) => answer(&instance, request).await,
        Err(error) => {
            log::error("unusable-settings", &[("error", &error)]);
            Reply::problem(Problem::new(
                Kind::Internal,
                "the edge is not set up correctly; its log says how",
            ))
            .respond(request)
        }
    }
}

async fn answer(instance: &Rc<Instance>, request: &Parts) -> Response {
    instance.tally.arrive();
    let cors = &instance.settings.cors;
    if let Some(preflight) = cors.preflight(request) {
        return preflight;
    }
    let reply = match read::read(instance, request).await {
        Ok(reply) => reply,
        Err(problem) => Reply::problem(problem),
    };
    let mut response = reply.respond(request);
    cors.mark(request, response.headers_mut());
    response
}
