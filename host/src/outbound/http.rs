//! The guest's outgoing HTTP requests: checked against the allow-list, sent through one client
//! whose kept-alive connections all instances share, and failed with the code that says why.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;
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

pub(crate) fn client() -> Client {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    legacy::Client::builder(TokioExecutor::new())
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .pool_max_idle_per_host(POOL_IDLE_PER_HOST)
        .pool_timer(TokioTimer::new())
        .build(connector)
}

/// One component's access to HTTP servers. Clones share the pool of connections.
#[derive(Clone)]
pub(crate) struct OutboundHttp {
    pub(crate) client: Client,
    pub(crate) allowed: Arc<AllowedHosts>,
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

impl OutboundHttp {
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
        let connected = timeout(
            limit(options.connect_timeout),
            connection.wait_for_connection_metadata(),
        );
        let early = tokio::select! {
            biased;
            response = &mut response => Some(response),
            connected = connected => connected.map(|_| None).map_err(|_| Error::ConnectionTimeout)?,
        };
        let response = match early {
            Some(response) => response,
            None => timeout(limit(options.first_byte_timeout), response)
                .await
                .map_err(|_| Error::ConnectionReadTimeout)?,
        };
        let silence = limit(options.between_bytes_timeout);
        let response = response.map_err(|error| reason(&error))?;
        Ok(response.map(|body| timed(body, silence)))
    }

    fn check(&self, uri: &http::Uri) -> Result<(), Error> {
        let (scheme, host) = (uri.scheme_str().unwrap_or(""), uri.host().unwrap_or(""));
        let port = uri.port_u16().or_else(|| default_port(scheme));
        let port = port.ok_or(Error::HttpRequestUriInvalid)?;
        if !self.allowed.allow(scheme, host, port) {
            return Err(Error::HttpRequestDenied);
        }
        if scheme != "http" {
            tracing::warn!(
                "{scheme} requests are not supported by tidemark-host, only http; `spin up` has https"
            );
            return Err(Error::TlsProtocolError);
        }
        Ok(())
    }
}

/// A response body that fails when the server is silent for too long.
fn timed(body: Incoming, silence: Duration) -> WasiBody {
    let frames = stream::unfold(body, move |mut body| async move {
        let frame = match timeout(silence, body.frame()).await {
            Ok(frame) => frame?.map_err(|error| broken(&error)),
            Err(_) => Err(Error::ConnectionReadTimeout),
        };
        Some((frame, body))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// Why there is no response, in the words of `wasi:http`.
fn reason(error: &legacy::Error) -> Error {
    match error.source().and_then(|cause| cause.downcast_ref()) {
        _ if error.is_connect() => Error::ConnectionRefused,
        Some(error) => broken(error),
        // The pool gave up a connection that the server closed.
        None => Error::ConnectionTerminated,
    }
}

fn broken(error: &hyper::Error) -> Error {
    if error.is_parse() {
        Error::HttpProtocolError
    } else {
        Error::ConnectionTerminated
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::template::Variables;

    fn outbound(allowed: &str) -> OutboundHttp {
        let entries = [allowed.to_owned()];
        let allowed = AllowedHosts::parse("c".to_owned(), &entries, &Variables::default());
        OutboundHttp {
            client: client(),
            allowed: Arc::new(allowed.unwrap()),
        }
    }

    fn get(uri: &str) -> http::Request<WasiBody> {
        let body = Empty::new().map_err(Error::from).boxed_unsync();
        http::Request::get(uri).body(body).unwrap()
    }

    async fn failure(uri: &str, options: RequestOptions) -> Error {
        let sent = outbound("*://*:*").send(get(uri), options).await;
        sent.map(drop).unwrap_err()
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
                    std::future::pending::<()>().await;
                });
            }
        });
        format!("http://{address}/")
    }

    #[tokio::test]
    async fn what_is_not_allowed_or_not_plain_http_is_refused_with_a_code_of_its_own() {
        let (denied, https) = ("http://127.0.0.1:1/", "https://127.0.0.1:1/");
        let options = RequestOptions::default;
        let denied = outbound("http://example.com")
            .send(get(denied), options())
            .await;
        assert!(matches!(denied, Err(Error::HttpRequestDenied)));
        let https = failure(https, options()).await;
        assert!(matches!(https, Error::TlsProtocolError), "{https}");
    }

    #[tokio::test]
    async fn failures_keep_their_reason() {
        let refused = failure("http://127.0.0.1:1/", RequestOptions::default()).await;
        assert!(matches!(refused, Error::ConnectionRefused), "{refused}");
        let unknown = failure("http://nobody.invalid/", RequestOptions::default()).await;
        assert!(matches!(unknown, Error::ConnectionRefused), "{unknown}");
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
        let error = failure(&server("").await, options).await;
        assert!(matches!(error, Error::ConnectionReadTimeout), "{error}");
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
        let error = response.into_body().collect().await.map(drop).unwrap_err();
        assert!(matches!(error, Error::ConnectionReadTimeout), "{error}");
    }
}
