//! A plain HTTP client: what tests send is sent as it is, and nothing is followed or retried.

use std::{fmt, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

/// Longer than any answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A client with kept-alive connections.
#[derive(Clone, Debug)]
pub struct Client(legacy::Client<HttpConnector, Full<Bytes>>);

/// An answer, whole.
#[derive(Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Default for Client {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self(legacy::Client::builder(TokioExecutor::new()).build(connector))
    }
}

impl Client {
    /// `GET`.
    ///
    /// # Errors
    /// No answer came.
    pub async fn get(&self, url: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, url, &[], Bytes::new()).await
    }

    /// Listens to server-sent events.
    ///
    /// # Errors
    /// No stream of them is there.
    pub async fn listen(&self, url: &str, headers: &[(&str, &str)]) -> anyhow::Result<Events> {
        let mut request = Request::builder().uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::default())?;
        let response = time::timeout(TIMEOUT, self.0.request(request)).await??;
        let content_type = response.headers().get(header::CONTENT_TYPE);
        anyhow::ensure!(
            content_type.is_some_and(|it| it == "text/event-stream"),
            "{url} is no stream of events: {response:?}"
        );
        Ok(Events {
            body: response.into_body(),
            received: Vec::new(),
        })
    }

    /// Any request.
    ///
    /// # Errors
    /// No answer came.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into()))?;
        let exchange = async {
            let (head, body) = self.0.request(request).await?.into_parts();
            anyhow::Ok(Answer {
                status: head.status,
                headers: head.headers,
                body: body.collect().await?.to_bytes(),
            })
        };
        let answer = time::timeout(TIMEOUT, exchange).await;
        answer
            .context("no answer in time")
            .flatten()
            .with_context(|| format!("asking {url}"))
    }
}

/// Server-sent events (HTML Standard §9.2), as they come.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    received: Vec<u8>,
}

impl Events {
    /// The next event: its name and its data, as JSON.
    ///
    /// # Errors
    /// The stream ends, or none comes in time.
    pub async fn next(&mut self) -> anyhow::Result<(String, Value)> {
        loop {
            let end = self.received.windows(2).position(|two| two == b"\n\n");
            let Some(end) = end else {
                let frame = time::timeout(TIMEOUT, self.body.frame()).await;
                let frame = frame.context("no event in time")?;
                let frame = frame.context("the stream has ended")??;
                self.received.extend(frame.data_ref().into_iter().flatten());
                continue;
            };
            let block: Vec<_> = self.received.drain(..end + 2).collect();
            let block = String::from_utf8(block)?;
            let field = |name| block.lines().find_map(|line| line.strip_prefix(name));
            // A comment keeps the connection alive.
            if let (Some(name), Some(data)) = (field("event: "), field("data: ")) {
                return Ok((name.to_owned(), serde_json::from_str(data)?));
            }
        }
    }

    /// The data of the next event of this name.
    ///
    /// # Errors
    /// The stream ends, or none comes in time.
    pub async fn of(&mut self, name: &str) -> anyhow::Result<Value> {
        let found = async {
            loop {
                let (event, data) = self.next().await?;
                if event == name {
                    return anyhow::Ok(data);
                }
            }
        };
        let found = time::timeout(TIMEOUT, found).await;
        found.with_context(|| format!("no event {name:?} in time"))?
    }
}

impl Answer {
    /// A header field's value; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// What the caches did, from the origin to the client.
    pub fn cache_status(&self) -> &str {
        self.header("cache-status")
    }

    /// What the cache did that is nearest to the client.
    pub fn last_cache_status(&self) -> &str {
        let all = self.cache_status();
        all.rsplit_once(", ").map_or(all, |(_, last)| last)
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The kind of problem that this is; empty if it is none.
    ///
    /// # Panics
    /// It claims to be a problem and is no JSON.
    pub fn problem(&self) -> String {
        if self.header(header::CONTENT_TYPE.as_str()) != "application/problem+json" {
            return String::new();
        }
        let json = self.json();
        let kind = json["type"].as_str().unwrap_or_default();
        kind.trim_start_matches("urn:tidemark:problem:").to_owned()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} {:?}\n{body}", self.status, self.headers)
    }
}

/// Sends bytes as they are and gives what comes back until the server closes; for requests that no
/// client makes.
///
/// # Errors
/// The connection fails before there is an answer.
pub async fn raw(url: &str, request: &[u8]) -> anyhow::Result<String> {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await?;
    // The server may answer and close before it has read all.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = time::timeout(TIMEOUT, stream.read_to_end(&mut answer)).await;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
