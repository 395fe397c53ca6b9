//! One request: its component by its route, what Spin adds to its head, and the component's answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::sync::{Semaphore, TryAcquireError};
use tokio::time::{Instant, sleep};
use wasmtime_wasi_http::handler::{InstantiationError, TrapOrPanicError};
use wasmtime_wasi_http::{Error, WasiBody};

use crate::instances::Instances;
use crate::routes::Routes;

/// Requests in components at once; more are answered 503.
pub(crate) const MAX_REQUESTS: usize = 1024;
/// How long a request waits for an instance before it is answered 503.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// Pause before a request that found all instances busy is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

const PATH_INFO: HeaderName = HeaderName::from_static("spin-path-info");
const FULL_URL: HeaderName = HeaderName::from_static("spin-full-url");
const CLIENT_ADDR: HeaderName = HeaderName::from_static("spin-client-addr");

/// What answers the requests of one connection.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) routes: Arc<Routes<Arc<Instances>>>,
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) client: SocketAddr,
}

impl Service {
    pub(crate) async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<WasiBody>, Infallible> {
        let Some((instances, rest)) = self.routes.find(request.uri().path()) else {
            return Ok(plain(
                StatusCode::NOT_FOUND,
                "No route matches this path.\n",
            ));
        };
        let rest = rest.to_owned();
        let (mut head, body) = request.into_parts();
        if prepare(&mut head, &rest, self.client).is_none() {
            return Ok(plain(
                StatusCode::BAD_REQUEST,
                "The request has no usable host or path.\n",
            ));
        }
        let Ok(_permit) = self.requests.try_acquire() else {
            return Ok(overloaded());
        };
        let body = body.map_err(Error::from).boxed_unsync();
        Ok(ask(instances, Request::from_parts(head, body)).await)
    }
}

/// Makes of a request's head what Spin gives to guests.
fn prepare(head: &mut Parts, path_info: &str, client: SocketAddr) -> Option<()> {
    head.uri = absolute(head)?;
    // About the connection, not about the request; a guest that forwards headers must not
    // forward it.
    head.headers.remove(header::CONNECTION);
    for (name, value) in [
        (PATH_INFO, path_info.to_owned()),
        (FULL_URL, head.uri.to_string()),
        (CLIENT_ADDR, client.to_string()),
    ] {
        let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
        head.headers.insert(name, value);
    }
    Some(())
}

/// The request's URI with scheme and authority; its own authority wins over the Host header.
fn absolute(head: &Parts) -> Option<Uri> {
    let authority = match head.uri.authority() {
        Some(authority) => authority.clone(),
        None => Authority::try_from(head.headers.get(header::HOST)?.as_bytes()).ok()?,
    };
    let mut parts = head.uri.clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    Uri::from_parts(parts).ok()
}

/// The component's answer, tried again for a while if all instances are busy, or one failed before it had begun.
async fn ask(instances: &Instances, mut request: Request<WasiBody>) -> Response<WasiBody> {
    let component = &instances.guest.id;
    let deadline = Instant::now() + MAX_WAIT;
    loop {
        let error = match instances.ask(request).await {
            Ok(response) => return response,
            Err(error) => error,
        };
        let error = match error.downcast::<InstantiationError<()>>() {
            Ok(error) => error,
            Err(error) => {
                tracing::error!(%component, "the request failed: {error:#}");
                let text = "The component failed; the host's log says why.\n";
                return plain(StatusCode::INTERNAL_SERVER_ERROR, text);
            }
        };
        let passes = error.error.is::<TryAcquireError>() || error.error.is::<TrapOrPanicError>();
        // The request is given back: it was not begun.
        match error.request.into_inner() {
            Ok(back) if passes && Instant::now() < deadline => request = back,
            _ => {
                tracing::error!(%component, "no instance: {:?}", error.error);
                return overloaded();
            }
        }
        sleep(RETRY_PAUSE).await;
    }
}

fn overloaded() -> Response<WasiBody> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "The host is overloaded.\n");
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<WasiBody> {
    let body = Full::new(Bytes::from_static(text.as_bytes()));
    let mut response = Response::new(body.map_err(Error::from).boxed_unsync());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str, host: Option<&str>) -> Parts {
        let mut request = Request::get(uri).header(FULL_URL, "forged");
        if let Some(host) = host {
            request = request.header(header::HOST, host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_guest_sees_an_absolute_uri_and_spins_headers() {
        let table = [
            ("/a?b=1", Some("h:1"), Some("http://h:1/a?b=1")),
            ("http://h/a", None, Some("http://h/a")),
            ("http://h/a", Some("other"), Some("http://h/a")),
            ("/a", None, None),
            ("/a", Some("a b"), None),
        ];
        for (uri, host, expected) in table {
            let mut head = head(uri, host);
            let prepared = prepare(&mut head, "/rest", ([127, 0, 0, 1], 9).into());
            assert_eq!(prepared.is_some(), expected.is_some(), "{uri}");
            if let Some(expected) = expected {
                assert_eq!(head.uri, expected);
                assert_eq!(head.headers[FULL_URL], expected);
                assert_eq!(head.headers[PATH_INFO], "/rest");
                assert_eq!(head.headers[CLIENT_ADDR], "127.0.0.1:9");
            }
        }
    }
}
