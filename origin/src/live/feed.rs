//! What is heard from the home region's Redis: the relay's events, and what Redis forgets by itself.

use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::PubSubStream;
use tidemark_shared::{
    catalog::{Catalog, Query},
    epoch::Epoch,
    event::Event,
    key::Keyspace,
    part,
};
use tokio::time::{self, Instant};

use super::message::{Change, Feed, Forgotten, Message, NewEpoch};
use crate::clock::now_ms;

/// How long Redis may take to let itself be listened to.
const DEADLINE: Duration = Duration::from_secs(1);

/// The pause before the next attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// How often it is told what Redis has forgotten.
const FORGOTTEN: Duration = Duration::from_secs(1);

/// A relay says something many times a second, also where nothing changes. A connection that is silent for
/// so long may be dead.
const SILENCE: Duration = Duration::from_secs(5);

/// How many scopes are told of one event.
const SCOPES: usize = 20;

/// How many names of forgotten entries are told.
const NAMES: usize = 5;

/// Where it is listened, and to what.
pub(super) struct Listener<'a> {
    pub(super) redis: &'a redis::Client,
    pub(super) keyspace: &'a Keyspace,
    pub(super) catalog: &'a Catalog,
}

impl Listener<'_> {
    /// Tells what is heard, for ever. It may be dropped at any moment.
    pub(super) async fn listen(&self, tell: impl Fn(Message)) {
        let (mut told, mut epoch) = (None, None);
        let tell_state = |told: &mut Option<bool>, up| {
            if told.replace(up) != Some(up) {
                tell(Message::Feed(Feed { at: now_ms(), up }));
            }
        };
        loop {
            match time::timeout(DEADLINE, self.subscribe()).await {
                Ok(Ok(messages)) => {
                    tell_state(&mut told, true);
                    self.hear(messages, &mut epoch, &tell).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "no feed of changes"),
                Err(_) => tracing::debug!("no feed of changes: no answer in time"),
            }
            tell_state(&mut told, false);
            time::sleep(PAUSE).await;
        }
    }

    async fn subscribe(&self) -> redis::RedisResult<PubSubStream> {
        let (mut sink, stream) = self.redis.get_async_pubsub().await?.split();
        let [expired, evicted] = self.forgetting();
        // Of the relay first: a user without the right to the others hears at least of changes.
        sink.subscribe(self.keyspace.events()).await?;
        if let Err(error) = sink.subscribe(&[expired, evicted]).await {
            tracing::debug!(%error, "no feed of what Redis forgets");
        }
        Ok(stream)
    }

    /// The channels of what has expired and what was evicted (Redis' keyspace notifications).
    fn forgetting(&self) -> [String; 2] {
        let database = self.redis.get_connection_info().redis_settings().db();
        ["expired", "evicted"].map(|what| format!("__keyevent@{database}__:{what}"))
    }

    /// Until the connection ends; `epoch` is what was heard of last, maybe by another one.
    async fn hear(
        &self,
        mut messages: PubSubStream,
        epoch: &mut Option<Epoch>,
        tell: &impl Fn(Message),
    ) {
        let [expired, evicted] = self.forgetting();
        let mut looked = None;
        let mut forgotten = Forgotten::default();
        let mut due = time::interval_at(Instant::now() + FORGOTTEN, FORGOTTEN);
        loop {
            let message = tokio::select! {
                message = time::timeout(SILENCE, messages.next()) => message,
                _ = due.tick() => {
                    if forgotten.expired + forgotten.evicted > 0 {
                        let at = now_ms();
                        tell(Message::Keys(Forgotten { at, ..std::mem::take(&mut forgotten) }));
                    }
                    continue;
                }
            };
            let Ok(Some(message)) = message else { return };
            let channel = message.get_channel_name();
            if channel == expired || channel == evicted {
                let name = String::from_utf8_lossy(message.get_payload_bytes());
                if self.keyspace.parse_entry(&name).is_some() {
                    match channel == expired {
                        true => forgotten.expired += 1,
                        false => forgotten.evicted += 1,
                    }
                    if forgotten.names.len() < NAMES {
                        forgotten.names.push(name.into_owned());
                    }
                }
            } else if let Ok(event) = serde_json::from_slice::<Event>(message.get_payload_bytes()) {
                let at = now_ms();
                let before = epoch.replace(event.epoch);
                if before.is_some_and(|before| before != event.epoch) {
                    let epoch = event.epoch;
                    tell(Message::Epoch(NewEpoch { at, epoch }));
                }
                if !event.scopes.is_empty() {
                    tell(Message::Change(self.change(&event, looked, at)));
                }
                looked = Some(event.as_of);
            }
        }
    }

    /// What an event says; the relay has `looked` before it.
    fn change(&self, event: &Event, looked: Option<i64>, at: i64) -> Change {
        let queries = self.catalog.queries.values();
        let is_touched = |query: &&Query| {
            let is_cached = query.policy.is_cacheable();
            is_cached && event.scopes.iter().any(|scope| query.depends_on(scope))
        };
        let told = part::finest(&event.scopes);
        let scopes = told.iter().take(SCOPES);
        Change {
            id: event.id,
            at,
            as_of: event.as_of,
            scopes: scopes.map(ToString::to_string).collect(),
            more: told.len().saturating_sub(SCOPES),
            queries: queries
                .filter(is_touched)
                .map(|query| query.name.clone())
                .collect(),
            applied_ms: looked.map(|looked| at.saturating_sub(looked).max(0).unsigned_abs()),
        }
    }
}
