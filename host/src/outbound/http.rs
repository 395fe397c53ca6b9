//! The guest's outgoing HTTP requests: checked against the allow-list, sent through one client
//! whose kept-alive connections all instances share, and failed with the code that says why.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Sleep, sleep, timeout};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::allow::{AllowedHosts, default_port};

/// What applies where the guest sets no timeout. Spin's value.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);
/// Shorter than the keep-alive of common servers, so that they rarely close a connection which is
/// about to be used.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(20);
const POOL_IDLE_PER_HOST: usize = 64;

/// The client that all components share.
pub(crate) type Client = legacy::Client<HttpConnector, WasiBody>;
/// What a `send_request` hook answers: the response, and a future that has nothing left to report.
type Sent = Result<(http::Response<WasiBody>, SentIo), Error>;
type SentIo = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// One component's access to HTTP servers. Clones share the pool of connections.
#[derive(Clone)]
pub(crate) struct OutboundHttp {
    client: Client,
    allowed: Arc<AllowedHosts>,
    component: Arc<str>,
}

impl OutboundHttp {
    /// The client that all components share.
    pub(crate) fn client() -> Client {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(POOL_IDLE_PER_HOST)
            .pool_timer(TokioTimer::new())
            .build(connector)
    }

    pub(crate) fn new(client: Client, allowed: Arc<AllowedHosts>, component: Arc<str>) -> Self {
        Self {
            client,
            allowed,
            component,
        }
    }

    fn check(&self, uri: &http::Uri) -> Result<(), Error> {
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err(Error::HttpRequestUriInvalid);
        };
        let Some(port) = uri.port_u16().or_else(|| default_port(scheme)) else {
            return Err(Error::HttpRequestUriInvalid);
        };
        if !self.allowed.allow(scheme, host, port) {
            tracing::warn!(
                component = %self.component,
                "outbound request denied: to allow it, add \"{scheme}://{host}:{port}\" to the \
                 component's allowed_outbound_hosts"
            );
            return Err(Error::HttpRequestDenied);
        }
        if scheme != "http" {
            tracing::warn!(
                component = %self.component,
                "{scheme} requests are not supported by tidemark-host, only http; `spin up` has https"
            );
            return Err(Error::TlsProtocolError);
        }
        Ok(())
    }

    async fn send(
        &self,
        mut request: http::Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<http::Response<WasiBody>, Error> {
        self.check(request.uri())?;
        let limit = |timeout: Option<Duration>| timeout.unwrap_or(DEFAULT_TIMEOUT);
        let mut connection = capture_connection(&mut request);
        let mut response = self.client.request(request);
        // The client speaks of "a response" only. What it captures tells when it has a connection,
        // so that each half gets the guest's own time limit.
        let connected = async {
            connection.wait_for_connection_metadata().await;
        };
        let early = tokio::select! {
            biased;
            response = &mut response => Some(response),
            connected = timeout(limit(options.connect_timeout), connected) => {
                connected.map_err(|_| Error::ConnectionTimeout)?;
                None
            }
        };
        let response = match early {
            Some(response) => response,
            None => timeout(limit(options.first_byte_timeout), response)
                .await
                .map_err(|_| Error::ConnectionReadTimeout)?,
        };
        let between_bytes = limit(options.between_bytes_timeout);
        Ok(response
            .map_err(|error| request_error(&error))?
            .map(|body| TimedBody::new(body, between_bytes).boxed_unsync()))
    }
}

impl WasiHttpHooks for OutboundHttp {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        // Reports how the guest fared with the response: nothing here depends on that.
        _consumed: SentIo,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let outbound = self.clone();
        Box::new(async move {
            let response = outbound.send(request, options.unwrap_or_default()).await?;
            // The client's own tasks drive the connection.
            Ok((response, Box::new(async { Ok(()) }) as SentIo))
        })
    }
}

/// A response body that fails when the server is silent for too long.
struct TimedBody {
    body: Incoming,
    silence: Duration,
    /// Runs only while a frame is awaited, so that a quick body costs no timer.
    timer: Option<Pin<Box<Sleep>>>,
}

impl TimedBody {
    fn new(body: Incoming, silence: Duration) -> Self {
        Self {
            body,
            silence,
            timer: None,
        }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.timer = None;
                Poll::Ready(frame.map(|frame| frame.map_err(|error| connection_error(&error))))
            }
            Poll::Pending => {
                let silence = self.silence;
                let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(silence)));
                ready!(timer.as_mut().poll(cx));
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn request_error(error: &legacy::Error) -> Error {
    if error.is_connect() {
        return connect_error(error);
    }
    match find::<hyper::Error>(error) {
        Some(error) => connection_error(error),
        // The pool gave up a connection that the server closed.
        None => Error::ConnectionTerminated,
    }
}

fn connect_error(error: &legacy::Error) -> Error {
    // The connector's error type is private, and its text is the only sign of a failed look-up.
    if error
        .source()
        .is_some_and(|it| it.to_string().starts_with("dns error"))
    {
        return Error::DnsError {
            rcode: Some("address not available".to_owned()),
            info_code: None,
        };
    }
    match find::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::TimedOut) => Error::ConnectionTimeout,
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            Error::DestinationUnavailable
        }
        _ => Error::ConnectionRefused,
    }
}

fn connection_error(error: &hyper::Error) -> Error {
    if let Some(own) = find::<Error>(error) {
        // The guest's own body failed, with a reason that is not to be hidden.
        return match own {
            Error::HttpRequestBodySize(size) => Error::HttpRequestBodySize(*size),
            _ => Error::InternalError(Some(own.to_string())),
        };
    }
    if error.is_timeout() {
        Error::ConnectionReadTimeout
    } else if error.is_parse() {
        Error::HttpProtocolError
    } else {
        Error::ConnectionTerminated
    }
}

/// The first error of type `E` among the causes of `error`.
fn find<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::template::Variables;

    fn outbound(allowed: &str) -> OutboundHttp {
        let allowed =
            AllowedHosts::parse("c", &[allowed.to_owned()], &Variables::default()).unwrap();
        OutboundHttp::new(OutboundHttp::client(), Arc::new(allowed), "c".into())
    }

    fn get(uri: &str) -> http::Request<WasiBody> {
        let body = Empty::new().map_err(Error::from).boxed_unsync();
        http::Request::get(uri).body(body).unwrap()
    }

    async fn failure(uri: &str, options: RequestOptions) -> Error {
        outbound("*://*:*")
            .send(get(uri), options)
            .await
            .map(|_| ())
            .unwrap_err()
    }

    /// A server that answers each connection with `reply` and then stays silent.
    async fn server(reply: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    let _ = stream.read(&mut buffer).await;
                    let _ = stream.write_all(reply.as_bytes()).await;
                    if reply != "close" {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        format!("http://{address}/")
    }

    #[tokio::test]
    async fn a_host_outside_the_list_is_denied() {
        let error = outbound("http://example.com")
            .send(get("http://127.0.0.1:1/"), RequestOptions::default())
            .await
            .map(|_| ())
            .unwrap_err();
        assert!(matches!(error, Error::HttpRequestDenied), "{error}");
    }

    #[tokio::test]
    async fn https_is_refused_with_a_code_of_its_own() {
        let error = failure("https://127.0.0.1:1/", RequestOptions::default()).await;
        assert!(matches!(error, Error::TlsProtocolError), "{error}");
    }

    #[tokio::test]
    async fn failures_keep_their_reason() {
        let refused = failure("http://127.0.0.1:1/", RequestOptions::default()).await;
        assert!(matches!(refused, Error::ConnectionRefused), "{refused}");
        let unknown = failure("http://nobody.invalid/", RequestOptions::default()).await;
        assert!(matches!(unknown, Error::DnsError { .. }), "{unknown}");
        let garbage = failure(&server("nonsense\r\n\r\n").await, RequestOptions::default()).await;
        assert!(matches!(garbage, Error::HttpProtocolError), "{garbage}");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closing = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                drop(listener.accept().await);
            }
        });
        let closed = failure(&closing, RequestOptions::default()).await;
        assert!(matches!(closed, Error::ConnectionTerminated), "{closed}");
    }

    #[tokio::test]
    async fn a_silent_server_hits_the_first_byte_timeout() {
        let options = RequestOptions {
            first_byte_timeout: Some(Duration::from_millis(50)),
            ..RequestOptions::default()
        };
        let start = Instant::now();
        let error = failure(&server("").await, options).await;
        assert!(matches!(error, Error::ConnectionReadTimeout), "{error}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn an_unreachable_address_hits_the_connect_timeout() {
        let options = RequestOptions {
            connect_timeout: Some(Duration::from_millis(50)),
            ..RequestOptions::default()
        };
        // A listener that accepts nothing and whose queue is full.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        for _ in 0..4 {
            let connect = tokio::net::TcpStream::connect(address);
            queue.push(timeout(Duration::from_millis(50), connect).await);
        }
        let error = failure(&format!("http://{address}/"), options).await;
        assert!(matches!(error, Error::ConnectionTimeout), "{error}");
    }

    #[tokio::test]
    async fn a_body_that_stops_hits_the_between_bytes_timeout() {
        let uri = server("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
        let options = RequestOptions {
            between_bytes_timeout: Some(Duration::from_millis(50)),
            ..RequestOptions::default()
        };
        let response = outbound("*://*:*").send(get(&uri), options).await.unwrap();
        let error = response
            .into_body()
            .collect()
            .await
            .map(|_| ())
            .unwrap_err();
        assert!(matches!(error, Error::ConnectionReadTimeout), "{error}");
    }
}
