//! The listening side: connections, routes, and the requests handed to components.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, TryAcquireError};
use tokio::time::{Instant, sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use wasmtime_wasi_http::handler::{InstantiationError, ProxyHandler};
use wasmtime_wasi_http::{Error, WasiBody};

use crate::compile::MAX_INSTANCES;
use crate::guest::Instances;
use crate::routes::Routes;

/// Requests in components at once; more are answered 503.
const MAX_REQUESTS: usize = 1024;
/// How long a request waits for an instance before it is answered 503.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// Pause before a request that found all instances busy is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// How long a client may take for the head of a request, idle between two, and take nothing of a
/// response.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests and what they left running may take when the host stops.
const GRACE: Duration = Duration::from_secs(10);
/// Pause after a failed `accept`, such as one for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const PATH_INFO: HeaderName = HeaderName::from_static("spin-path-info");
const FULL_URL: HeaderName = HeaderName::from_static("spin-full-url");
const CLIENT_ADDR: HeaderName = HeaderName::from_static("spin-client-addr");

/// What answers a component's requests.
pub(crate) type Handler = ProxyHandler<Instances>;

/// The server of one application.
pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) routes: Arc<Routes<Handler>>,
    /// One permit for each instance that may live.
    pub(crate) slots: Arc<Semaphore>,
}

impl Server {
    /// Serves until `shutdown` resolves; then finishes what runs, within [`GRACE`].
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let requests = Arc::new(Semaphore::new(MAX_REQUESTS));
        let mut shutdown = pin!(shutdown);
        loop {
            let (stream, peer) = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = accept(&self.listener) => accepted,
            };
            let service = Service {
                routes: self.routes.clone(),
                requests: requests.clone(),
                client: peer,
            };
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(CLIENT_TIMEOUT));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(CLIENT_TIMEOUT)
                .serve_connection(
                    TokioIo::new(Box::pin(stream)),
                    service_fn(move |request| service.clone().answer(request)),
                );
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%peer, %error, "connection ended");
                }
            });
        }
        drop(self.listener);
        let finished = timeout(GRACE, async {
            graceful.shutdown().await;
            // Instances that are idle, or still at what they left running after their responses.
            let _ = self.slots.acquire_many(MAX_INSTANCES).await;
        });
        if finished.await.is_err() {
            tracing::warn!("stopped with work unfinished");
        }
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[derive(Clone)]
struct Service {
    routes: Arc<Routes<Handler>>,
    requests: Arc<Semaphore>,
    client: SocketAddr,
}

impl Service {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<WasiBody>, Infallible> {
        let Some((handler, rest)) = self.routes.find(request.uri().path()) else {
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
        Ok(ask(handler, Request::from_parts(head, body)).await)
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

/// The component's answer, tried again for a while if all instances are busy.
async fn ask(handler: &Handler, mut request: Request<WasiBody>) -> Response<WasiBody> {
    let component = &handler.state().0.id;
    let deadline = Instant::now() + MAX_WAIT;
    loop {
        let error = match handler.handle((), request).await {
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
        let busy = error.error.is::<TryAcquireError>();
        // The handler gives the request back: it was not begun.
        match error.request.into_inner() {
            Ok(back) if busy && Instant::now() < deadline => request = back,
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
