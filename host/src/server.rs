//! The listening side: connections, routes, and the requests handed to components.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use wasmtime_wasi_http::handler::{InstantiationError, ProxyHandler};
use wasmtime_wasi_http::{Error, WasiBody};

use crate::compile::MAX_INSTANCES;
use crate::guest::{Instances, NoSlot};
use crate::routes::Routes;

/// Connections at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;
/// Requests in components at once; more wait.
const MAX_REQUESTS: usize = 1024;
/// How long a request waits for its turn before it is answered 503.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// Pause before a request that found all instances busy is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// How long a client may take for the head of a request, and idle between two.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests and what they left running may take when the host stops.
const GRACE: Duration = Duration::from_secs(10);
/// Pause after a failed `accept`, such as one for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const PATH_INFO: HeaderName = HeaderName::from_static("spin-path-info");
const FULL_URL: HeaderName = HeaderName::from_static("spin-full-url");
const CLIENT_ADDR: HeaderName = HeaderName::from_static("spin-client-addr");

/// A component that answers requests.
pub(crate) struct Target {
    pub(crate) id: Arc<str>,
    pub(crate) handler: ProxyHandler<Instances>,
}

/// The server of one application.
pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) routes: Arc<Routes<Arc<Target>>>,
    /// One permit for each instance that may live.
    pub(crate) slots: Arc<Semaphore>,
    /// Tells the instances that the host stops.
    pub(crate) stopping: watch::Sender<bool>,
}

impl Server {
    /// Serves until `shutdown` resolves; then finishes what runs, within [`GRACE`].
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let requests = Arc::new(Semaphore::new(MAX_REQUESTS));
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        tokio::pin!(shutdown);
        loop {
            let (stream, peer, permit) = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = accept(&self.listener, &connections) => accepted,
            };
            let service = Service {
                routes: self.routes.clone(),
                requests: requests.clone(),
                client: HeaderValue::try_from(peer.to_string()).ok(),
            };
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(
                    TokioIo::new(stream),
                    service_fn(move |request| service.clone().answer(request)),
                );
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%peer, %error, "connection ended");
                }
                drop(permit);
            });
        }
        drop(self.listener);
        let deadline = Instant::now() + GRACE;
        let finished = timeout_at(deadline, async {
            graceful.shutdown().await;
            // What components left running after their responses.
            self.stopping.send_replace(true);
            let _ = self.slots.acquire_many(MAX_INSTANCES).await;
        });
        if finished.await.is_err() {
            tracing::warn!("stopped with work unfinished");
        }
    }
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed: a permit always comes.
    let permit = connections.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                return (stream, peer, permit);
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
    routes: Arc<Routes<Arc<Target>>>,
    requests: Arc<Semaphore>,
    /// The client's address, ready to be a header.
    client: Option<HeaderValue>,
}

impl Service {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<WasiBody>, Infallible> {
        let Some((target, rest)) = self.routes.find(request.uri().path()) else {
            return Ok(plain(
                StatusCode::NOT_FOUND,
                "No route matches this path.\n",
            ));
        };
        let target = target.clone();
        let Some(path_info) = header_value(rest) else {
            return Ok(plain(
                StatusCode::BAD_REQUEST,
                "The path can't be understood.\n",
            ));
        };
        let (mut head, body) = request.into_parts();
        head.uri = match absolute(&head.uri, head.headers.get(header::HOST)) {
            Ok(uri) => uri,
            Err(problem) => return Ok(plain(StatusCode::BAD_REQUEST, problem)),
        };
        // About the connection, not about the request; a guest that forwards headers must not
        // forward it.
        head.headers.remove(header::CONNECTION);
        let full_url = header_value(&head.uri.to_string());
        for (name, value) in [
            (PATH_INFO, Some(path_info)),
            (FULL_URL, full_url),
            (CLIENT_ADDR, self.client.clone()),
        ] {
            match value {
                Some(value) => head.headers.insert(name, value),
                None => head.headers.remove(name),
            };
        }
        let deadline = Instant::now() + MAX_WAIT;
        let Ok(Ok(_permit)) = timeout(MAX_WAIT, self.requests.acquire()).await else {
            return Ok(overloaded());
        };
        let body = body.map_err(Error::from).boxed_unsync();
        Ok(target
            .answer(Request::from_parts(head, body), deadline)
            .await)
    }
}

impl Target {
    async fn answer(
        &self,
        mut request: Request<WasiBody>,
        deadline: Instant,
    ) -> Response<WasiBody> {
        loop {
            let error = match self.handler.handle((), request).await {
                Ok(response) => return response,
                Err(error) => error,
            };
            let error = match error.downcast::<InstantiationError<()>>() {
                Err(error) => {
                    tracing::error!(component = %self.id, "the request failed: {error:#}");
                    return plain(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "The component failed; the host's log says why.\n",
                    );
                }
                Ok(error) => error,
            };
            if !error.error.is::<NoSlot>() {
                tracing::error!(component = %self.id, "no instance: {:?}", error.error);
                return overloaded();
            }
            if Instant::now() >= deadline {
                return overloaded();
            }
            // The handler gives the request back: it was not begun.
            let Ok(back) = error.request.into_inner() else {
                return overloaded();
            };
            request = back;
            sleep(RETRY_PAUSE).await;
        }
    }
}

/// The request's URI as Spin gives it to guests: with scheme and authority.
fn absolute(uri: &Uri, host: Option<&HeaderValue>) -> Result<Uri, &'static str> {
    let named: Option<Authority> = match host {
        Some(host) => Some(
            Authority::try_from(host.as_bytes()).map_err(|_| "The Host header is no host.\n")?,
        ),
        None => None,
    };
    let authority = match (named, uri.authority()) {
        (Some(named), Some(authority)) if named != *authority => {
            return Err("The Host header contradicts the request's target.\n");
        }
        (Some(named), _) => named,
        (None, Some(authority)) => authority.clone(),
        (None, None) => return Err("The Host header is missing.\n"),
    };
    let mut parts = uri.clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    Uri::from_parts(parts).map_err(|_| "The request's target can't be understood.\n")
}

fn header_value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

fn overloaded() -> Response<WasiBody> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "The host is overloaded.\n");
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<WasiBody> {
    let body = Full::new(Bytes::from_static(text.as_bytes()));
    let mut response = Response::new(body.map_err(Error::from).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_sees_an_absolute_uri() {
        let table: &[(&str, Option<&str>, Result<&str, &str>)] = &[
            ("/a?b=1", Some("h:1"), Ok("http://h:1/a?b=1")),
            ("http://h/a", None, Ok("http://h/a")),
            ("http://h/a", Some("h"), Ok("http://h/a")),
            ("http://h/a", Some("other"), Err("contradicts")),
            ("/a", None, Err("missing")),
            ("/a", Some("a b"), Err("no host")),
        ];
        for (uri, host, expected) in table {
            let host = host.map(|host| HeaderValue::from_str(host).unwrap());
            let made = absolute(&uri.parse().unwrap(), host.as_ref());
            match expected {
                Ok(expected) => assert_eq!(made.unwrap().to_string(), *expected),
                Err(part) => assert!(made.unwrap_err().contains(part), "{uri}"),
            }
        }
    }
}
