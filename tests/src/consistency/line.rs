//! One kept-alive HTTP connection, as cheap as can be: the load is made on the machine under test.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, header, request::Builder, response::Parts};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time};

/// Longer than the edge ever takes for an answer.
const TIMEOUT: Duration = Duration::from_secs(45);

/// A connection to one server, made when it is first needed and again after it broke.
#[derive(Debug)]
pub struct Line {
    /// As `127.0.0.1:3000`.
    authority: String,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Line {
    /// To a server by its URL, `http://127.0.0.1:3000`.
    pub fn to(url: &str) -> Self {
        Self {
            authority: url.trim_start_matches("http://").to_owned(),
            sender: None,
        }
    }

    /// A request to this server, to be completed.
    pub fn request(&self, method: Method, path: &str) -> Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
    }

    /// Sends a request and gives the whole answer.
    ///
    /// # Errors
    /// The connection broke, or no answer came in time.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<(Parts, Bytes)> {
        let exchanged = time::timeout(TIMEOUT, self.exchange(request)).await;
        let exchanged = exchanged.context("no answer in time").flatten();
        if exchanged.is_err() {
            self.sender = None;
        }
        exchanged
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<(Parts, Bytes)> {
        let mut sender = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => self.connect().await?,
        };
        sender.ready().await?;
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        self.sender = Some(sender);
        Ok((parts, body))
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Whoever uses the connection notices that it broke.
            let _ = connection.await;
        });
        Ok(sender)
    }
}
