//! The events of a relay, as they come: some are lost, and whoever applies them finds out.

use std::time::Duration;

use futures_util::StreamExt as _;
use tidemark_shared::{event::Event, history};
use tokio::{
    sync::mpsc::{self, Receiver, Sender, error::TrySendError},
    task::JoinSet,
    time,
};

use crate::relay::back_off::BackOff;

/// How many events wait at most for a Redis that is slow. Beyond it they are dropped: that they are
/// missing shows in the next one.
const QUEUE: usize = 256;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(1);

/// How long nothing may come: a relay publishes many times a second, also where nothing changes.
const SILENCE: Duration = Duration::from_secs(2);

/// The events of one Redis. Dropping it ends the subscription.
pub(super) struct Feed {
    queue: Receiver<Event>,
    /// One that could not be merged with those before it.
    next: Option<Event>,
    _listener: JoinSet<()>,
}

/// Why a subscription has ended; it is made again.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    #[error("no answer in time")]
    Unanswered,
    #[error("no event for {SILENCE:?}; does a relay write to this Redis?")]
    Silent,
    #[error("the connection has ended")]
    Ended,
}

impl Feed {
    /// Subscribes, for ever.
    pub(super) fn start(client: redis::Client, channel: String) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        let mut listener = JoinSet::new();
        listener.spawn(listen_for_ever(client, channel, sender));
        Self {
            queue,
            next: None,
            _listener: listener,
        }
    }

    /// The next event, after one that has not been applied yet, if there is such. Those that have
    /// gathered meanwhile come as one where they can, so that whoever is slow falls behind no further.
    pub(super) async fn next(&mut self, unapplied: Option<Event>) -> Event {
        let mut event = match unapplied.or_else(|| self.next.take()) {
            Some(event) => event,
            None => match self.queue.recv().await {
                Some(event) => event,
                // The listener never ends by itself.
                None => std::future::pending().await,
            },
        };
        while let Some(later) = self.next.take().or_else(|| self.queue.try_recv().ok()) {
            match history::merged(&event, &later) {
                Some(both) => event = both,
                None => {
                    self.next = Some(later);
                    break;
                }
            }
        }
        event
    }
}

async fn listen_for_ever(client: redis::Client, channel: String, queue: Sender<Event>) {
    let mut back_off = BackOff::default();
    let from = client.get_connection_info().addr().to_string();
    loop {
        time::sleep(back_off.next()).await;
        let error = match listen(&client, &channel, &queue, &mut back_off).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        if back_off.is_quiet() {
            tracing::warn!(from, %error, "no events; subscribing again");
        }
    }
}

async fn listen(
    client: &redis::Client,
    channel: &str,
    queue: &Sender<Event>,
    back_off: &mut BackOff,
) -> Result<std::convert::Infallible, FeedError> {
    let subscription = time::timeout(CONNECT, async {
        let mut subscription = client.get_async_pubsub().await?;
        subscription.subscribe(channel).await?;
        Ok::<_, redis::RedisError>(subscription)
    });
    let subscription = subscription.await.map_err(|_| FeedError::Unanswered)??;
    let mut messages = subscription.into_on_message();
    let mut hears = false;
    loop {
        let message = time::timeout(SILENCE, messages.next())
            .await
            .map_err(|_| FeedError::Silent)?
            .ok_or(FeedError::Ended)?;
        match serde_json::from_slice::<Event>(message.get_payload_bytes()) {
            Ok(event) => {
                if !std::mem::replace(&mut hears, true) {
                    *back_off = BackOff::default();
                    back_off.next();
                    tracing::info!(epoch = %event.epoch, event = %event.id, "events come");
                }
                if let Err(TrySendError::Full(event)) = queue.try_send(event) {
                    tracing::debug!(event = %event.id, "dropped: too many wait");
                }
            }
            Err(error) => {
                tracing::debug!(%error, "not an event of this version; left out");
            }
        }
    }
}
