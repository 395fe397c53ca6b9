//! What happens right now, for whoever watches: the console and `top`.
//!
//! ```text
//! metrics of this process ─┐
//! each region's Redis ─────┼─► sample, each second ─► figures ─┐
//! hot sample ──────────────┘                                   ├─► broadcast ─► each watcher
//! home region's pub/sub ─► feed: changes, epochs, evictions ───┘
//! ```
//!
//! It is done once for all watchers, and not at all while there are none.

mod feed;
mod latency;
pub mod message;
mod sample;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::aio::ConnectionManager;
use tidemark_shared::key::Keyspace;
use tokio::{
    sync::{Notify, broadcast},
    time::{self, MissedTickBehavior},
};

use crate::{http::Service, sample as hot_sample};
use feed::Listener;
use message::{Demo, Feed, Hello, Message, Promise};
use sample::{Sample, Samples, WINDOW};

/// How often figures are told.
const TICK: Duration = Duration::from_secs(1);

/// How many messages a watcher may be behind before it misses some.
const BEHIND: usize = 256;

/// How many of the hottest requests are looked at.
const HOTTEST: usize = 100;

/// How long Redis may take for the hot sample.
const DEADLINE: Duration = Duration::from_millis(500);

/// Where watchers hear what happens.
#[derive(Debug)]
pub(crate) struct Live {
    messages: broadcast::Sender<Arc<Message>>,
    watched: Notify,
    /// What was told last of the feed.
    feed: Mutex<Option<Feed>>,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self {
            messages: broadcast::Sender::new(BEHIND),
            watched: Notify::new(),
            feed: Mutex::default(),
        }
    }

    /// The state of the feed, if it is known, and everything from now on.
    pub(crate) fn watch(&self) -> (Option<Feed>, broadcast::Receiver<Arc<Message>>) {
        let watcher = self.messages.subscribe();
        self.watched.notify_one();
        (self.feed().clone(), watcher)
    }

    fn feed(&self) -> MutexGuard<'_, Option<Feed>> {
        // No step under this lock can be cut in two by a panic.
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, message: Message) {
        if let Message::Feed(feed) = &message {
            *self.feed() = Some(feed.clone());
        }
        // Nobody may be watching any more.
        let _ = self.messages.send(Arc::new(message));
    }

    fn is_watched(&self) -> bool {
        self.messages.receiver_count() > 0
    }
}

/// What a watcher is told first.
pub(crate) fn hello(service: &Service, demo: Option<&str>) -> Message {
    let queries = service.repository.catalog.queries.values();
    Message::Hello(Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        catalog: service.repository.digest,
        window_s: WINDOW.as_secs(),
        demo: demo.map(|edge| Demo {
            edge: edge.to_owned(),
        }),
        queries: queries
            .map(|query| Promise {
                name: query.name.clone(),
                path: query.path.clone(),
                promise_ms: query
                    .policy
                    .is_cacheable()
                    .then_some(query.policy.max_staleness)
                    .and_then(|promise| promise.as_millis().try_into().ok()),
            })
            .collect(),
    })
}

/// Tells the watchers of a service what happens, for ever. It may be dropped at any moment.
pub(crate) async fn run(
    service: Arc<Service>,
    home: redis::Client,
    redis: ConnectionManager,
    keyspace: Keyspace,
) {
    let listener = Listener {
        redis: &home,
        keyspace: &keyspace,
        catalog: &service.repository.catalog,
    };
    loop {
        service.live.watched.notified().await;
        let tell = |message| service.live.tell(message);
        tokio::select! {
            () = listener.listen(tell) => {}
            () = measure(&service, redis.clone(), &keyspace) => {}
        }
        *service.live.feed() = None;
    }
}

/// Tells figures until nobody watches any more.
async fn measure(service: &Service, mut redis: ConnectionManager, keyspace: &Keyspace) {
    let queries = service.repository.catalog.queries.keys();
    let queries: Vec<_> = queries.cloned().collect();
    let mut samples = Samples::default();
    let mut ticks = time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while service.live.is_watched() {
        ticks.tick().await;
        let hottest = hot_sample::hottest(&mut redis, keyspace, HOTTEST);
        let (regions, hottest) =
            tokio::join!(service.regions.ask(), time::timeout(DEADLINE, hottest));
        // The regions' own figures tell that Redis does not answer.
        let hottest = hottest.ok().and_then(Result::ok).unwrap_or_default();
        let page = service.metrics.page();
        let sample = Sample::now(&page, regions, &queries, hottest);
        if let Some(figures) = samples.push(sample) {
            service.live.tell(Message::Figures(figures.into()));
        }
    }
}
