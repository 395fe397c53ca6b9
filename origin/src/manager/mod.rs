//! The cache manager: applies a relay's events to a Redis that the relay can't reach.
//!
//! ```text
//! relay ─► Redis "from" ── events (pub/sub, lossy) ──► manager ─► Redis "to": stamps, tidemark, event
//! ```
//!
//! It remembers nothing: what it has applied is in the tidemark of its own Redis, written in the same
//! atomic step as the stamps. Each event names its predecessor, so that it knows whether it has missed
//! one; if so, it begins a new epoch, and everything cached there is a miss
//! ([`tidemark_shared::history::succession`]). So nothing has to be delivered for sure, and several
//! managers on one Redis do no harm: one applies an event, the others find that it has been.

mod feed;

use std::{convert::Infallible, time::Duration};

use tidemark_shared::{
    event::Event,
    history::{self, Succession},
    key::Keyspace,
};
use tokio::time;

use crate::{
    metrics,
    relay::{
        back_off::BackOff,
        region::{Found, Region, RegionError, Target, new_epoch, within},
    },
};
use feed::Feed;

/// How long its Redis may take to answer.
const DEADLINE: Duration = Duration::from_secs(1);

/// What a manager needs.
#[derive(Clone, Debug)]
pub struct ManagerConfig {
    /// The Redis whose events it hears.
    pub from: redis::Client,
    /// The Redis to which it applies them.
    pub to: redis::Client,
    /// The names in both.
    pub keyspace: Keyspace,
}

/// A cache manager for one Redis.
#[derive(Debug)]
pub struct Manager {
    config: ManagerConfig,
    from: Target,
    to: Target,
}

/// Why a manager can't work.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// It would hear its own events.
    #[error(
        "--from and --to are databases of one Redis server; a manager needs two servers (the relay writes to this one itself)"
    )]
    OneServer,
}

impl Manager {
    /// Waits until both servers answer.
    ///
    /// # Errors
    /// They are one.
    pub async fn connect(config: ManagerConfig) -> Result<Self, ManagerError> {
        let target = |client: &redis::Client| Target::new(client.clone(), config.keyspace.clone());
        let this = Self {
            from: target(&config.from),
            to: target(&config.to),
            config,
        };
        let (from, to) = tokio::join!(reach(&this.from), reach(&this.to));
        if from.identity() == to.identity() {
            return Err(ManagerError::OneServer);
        }
        Ok(this)
    }

    /// Where it applies whose events, without credentials.
    pub fn route(&self) -> String {
        format!("events of {} to {}", self.from, self.to)
    }

    /// Applies events for ever; failures are logged and tried again. It may be dropped at any moment.
    pub async fn run(self) {
        let channel = self.config.keyspace.events();
        let mut feed = Feed::start(self.config.from.clone(), channel);
        let mut unapplied = None;
        let mut back_off = BackOff::default();
        loop {
            time::sleep(back_off.next()).await;
            let error = match self
                .apply_all(&mut feed, &mut unapplied, &mut back_off)
                .await
            {
                Ok(never) => match never {},
                Err(error) => error,
            };
            if back_off.is_quiet() {
                tracing::warn!(to = %self.to, %error, "can't apply events; connecting again");
            }
        }
    }

    /// Applies events until its Redis fails; the one that was not applied by then is left.
    async fn apply_all(
        &self,
        feed: &mut Feed,
        unapplied: &mut Option<Event>,
        back_off: &mut BackOff,
    ) -> Result<Infallible, RegionError> {
        let found = within(DEADLINE, self.to.connect()).await?;
        let mut region = Region::new(&self.to, found);
        loop {
            let next = feed.next(unapplied.take()).await;
            let event = unapplied.insert(next);
            within(DEADLINE, self.apply(&mut region, event)).await?;
            *unapplied = None;
            *back_off = BackOff::default();
            back_off.next();
        }
    }

    async fn apply(&self, region: &mut Region, event: &Event) -> Result<(), RegionError> {
        loop {
            let succession = history::succession(region.tidemark(), event);
            let epoch = match (succession, region.tidemark()) {
                (Succession::Known, _) => return Ok(()),
                (Succession::Next, Some(held)) => held.epoch,
                (Succession::Next, None) | (Succession::Broken(_), _) => new_epoch(),
            };
            let here = Event {
                epoch,
                ..event.clone()
            };
            match region.apply(&here, Some(event.epoch)).await {
                Ok(()) => {
                    if let Succession::Broken(doubt) = succession {
                        metrics::count_epoch(&self.to.to_string(), doubt);
                        tracing::info!(to = %self.to, %epoch, event = %event.id, doubt = doubt.name(), "a new epoch begins");
                    } else if !event.scopes.is_empty() {
                        tracing::debug!(event = %event.id, scopes = event.scopes.len(), "changes applied");
                    }
                    return Ok(());
                }
                // Another manager may have applied it.
                Err(RegionError::Overtaken) => region.look().await?,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Waits until a Redis answers.
async fn reach(target: &Target) -> Found {
    let mut back_off = BackOff::default();
    loop {
        time::sleep(back_off.next()).await;
        match within(DEADLINE, target.connect()).await {
            Ok(found) => return found,
            Err(error) if back_off.is_quiet() => {
                tracing::warn!(redis = %target, %error, "no answer yet; it is tried again");
            }
            Err(_) => {}
        }
    }
}
