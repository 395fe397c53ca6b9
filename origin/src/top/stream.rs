//! The origin's live stream: connected to, read, and connected to again.

use std::{error::Error, time::Duration};

use futures_util::{StreamExt as _, stream::BoxStream};
use reqwest::{
    Client, StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE},
    redirect,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sse_stream::{Sse, SseByteStream};
use tokio::{
    sync::mpsc::{self, Sender, error::SendError},
    time,
};

use crate::{live::message::Message, relay::back_off::BackOff};

/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(5);

/// Figures come each second: of a connection that is silent for so long nothing more will.
const SILENCE: Duration = Duration::from_secs(5);

/// How many messages may wait for a screen, or a reader of lines.
const WAITING: usize = 64;

/// The media type of a stream of events.
const EVENTS: &str = "text/event-stream";

/// Where an origin tells what happens.
#[derive(Clone, Debug)]
pub struct Source {
    client: Client,
    url: Url,
    token: Option<String>,
}

/// Why nothing is heard from an origin.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The address is none. It may hold a password, so it is not repeated.
    #[error("that is no address of an origin; write http://127.0.0.1:3001, and no user in it")]
    Address,
    /// It can't be reached.
    #[error("{}", innermost(.0))]
    Unreachable(#[source] reqwest::Error),
    /// The connection broke, or what came is no stream of events.
    #[error("{}", innermost(.0))]
    Broken(#[source] sse_stream::Error),
    /// It wants a token.
    #[error("it wants its token; set TIDEMARK_ADMIN_TOKEN as for the origin")]
    Token,
    /// It has no console.
    #[error(
        "it has no console: others can connect to it, and it has no --admin-token; or it is no origin"
    )]
    NoConsole,
    /// It is for those on its machine, and was not called so.
    #[error("it wants to be called 127.0.0.1 or localhost, as long as it has no --admin-token")]
    OtherName,
    /// It answers something else.
    #[error("it answers {0} and no events")]
    NoEvents(StatusCode),
    /// It has ended the stream.
    #[error("it has ended the stream")]
    Ended,
}

/// The cause that says most: all others say that a request failed.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// One message, as it came: also one that only a later version can read. As JSON it is an object with the
/// name of its event in `event`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    event: String,
    #[serde(flatten)]
    data: Map<String, Value>,
}

impl Heard {
    /// Nothing if it is no event of the stream's: those have a name, and a JSON object.
    fn of(event: Sse) -> Option<Self> {
        let mut data: Map<String, Value> = serde_json::from_str(&event.data?).ok()?;
        // The name may be told there as well.
        data.remove("event");
        let event = event.event?;
        Some(Self { event, data })
    }

    /// What it says.
    ///
    /// # Errors
    /// Another version has sent it.
    pub fn read(self) -> serde_json::Result<Message> {
        let Self { event, mut data } = self;
        data.insert("event".to_owned(), Value::String(event));
        serde_json::from_value(Value::Object(data))
    }
}

/// What comes of listening.
#[derive(Debug)]
pub enum News {
    /// A message has come.
    Heard(Heard),
    /// The connection is lost, or could not be made again; it is tried again.
    Lost(StreamError),
    /// There is a connection again.
    Found,
}

/// Messages, until the connection is lost.
pub struct Connection(BoxStream<'static, Result<Heard, StreamError>>);

impl Source {
    /// The stream of the origin at this address, such as `http://127.0.0.1:3001`.
    ///
    /// # Errors
    /// It is no address.
    pub fn new(origin: &str, token: Option<String>) -> Result<Self, StreamError> {
        let mut url = Url::parse(origin).map_err(|_| StreamError::Address)?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        let has_more = url.query().is_some() || url.fragment().is_some();
        if url.scheme() != "http" || !url.has_host() || has_user || has_more {
            return Err(StreamError::Address);
        }
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/console/stream"));
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .build()
            .map_err(StreamError::Unreachable)?;
        Ok(Self { client, url, token })
    }

    /// Connects.
    ///
    /// # Errors
    /// The origin can't be reached, or does not let itself be listened to.
    pub async fn connect(&self) -> Result<Connection, StreamError> {
        let mut request = self.client.get(self.url.clone()).header(ACCEPT, EVENTS);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(StreamError::Unreachable)?;
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|it| it.to_str().ok());
        match response.status() {
            StatusCode::OK if content_type.is_some_and(|it| it.starts_with(EVENTS)) => {}
            StatusCode::UNAUTHORIZED => return Err(StreamError::Token),
            StatusCode::FORBIDDEN => return Err(StreamError::OtherName),
            StatusCode::NOT_FOUND => return Err(StreamError::NoConsole),
            status => return Err(StreamError::NoEvents(status)),
        }
        let events = SseByteStream::new(response.bytes_stream());
        let messages = events.filter_map(async |event| match event {
            Ok(event) => Heard::of(event).map(Ok),
            Err(error) => Some(Err(StreamError::Broken(error))),
        });
        Ok(Connection(messages.boxed()))
    }

    /// Listens for ever: to a connection, and whenever that is lost to another one. It ends when the
    /// receiver is dropped.
    pub fn follow(self, connection: Connection) -> mpsc::Receiver<News> {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            // An error means that nobody listens any more.
            let _ = self.tell(connection, &sender).await;
        });
        receiver
    }

    async fn tell(
        &self,
        mut connection: Connection,
        listener: &Sender<News>,
    ) -> Result<(), SendError<News>> {
        let mut back_off = BackOff::default();
        loop {
            let why = loop {
                match connection.0.next().await {
                    Some(Ok(heard)) => {
                        back_off = BackOff::default();
                        listener.send(News::Heard(heard)).await?;
                    }
                    Some(Err(why)) => break why,
                    None => break StreamError::Ended,
                }
            };
            listener.send(News::Lost(why)).await?;
            connection = loop {
                time::sleep(back_off.next()).await;
                match self.connect().await {
                    Ok(connection) => break connection,
                    Err(why) => listener.send(News::Lost(why)).await?,
                }
            };
            listener.send(News::Found).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_plain_http_and_holds_no_secret() {
        for (origin, stream) in [
            (
                "http://127.0.0.1:3001",
                "http://127.0.0.1:3001/console/stream",
            ),
            ("http://[::1]:3001/", "http://[::1]:3001/console/stream"),
            ("http://proxy/origin/", "http://proxy/origin/console/stream"),
        ] {
            assert_eq!(Source::new(origin, None).unwrap().url.as_str(), stream);
        }
        for origin in [
            "127.0.0.1:3001",
            "https://origin",
            "http://me:secret@origin",
            "http://:secret@origin",
            "http://origin?token=secret",
            "",
        ] {
            let error = Source::new(origin, None).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_message_is_an_object_with_the_name_of_its_event() {
        let event = |data: &str| Sse::default().event("feed").data(data);
        let heard = Heard::of(event(r#"{"at":7,"up":true}"#)).unwrap();
        let line = serde_json::to_string(&heard).unwrap();
        assert_eq!(line, r#"{"event":"feed","at":7,"up":true}"#);
        assert_eq!(serde_json::from_str::<Heard>(&line).unwrap(), heard);
        let twice = event(r#"{"event":"feed","at":7,"up":true}"#);
        assert_eq!(Heard::of(twice).unwrap(), heard);
        assert!(matches!(heard.read(), Ok(Message::Feed(feed)) if feed.up));
        for nothing in ["", "7", "[]", "{"] {
            assert_eq!(Heard::of(event(nothing)), None);
        }
        assert_eq!(Heard::of(Sse::default().data("{}")), None);
    }
}
