//! One leadership: from the advisory lock to the first failure.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{Connection as _, PgConnection};
use tidemark_shared::{
    event::{Event, EventId},
    history::{self, Doubt, Ground, Record},
    scope::Scope,
};

use super::{
    RelayConfig, RelayError,
    fleet::{Change, Fleet, Return},
    ground, in_time,
    outbox::{self, Drained, Horizon},
    region::{Target, new_epoch},
};
use crate::{capture::CaptureError, memory::Memory, metrics, refresh::Heat, tide::TideGauge};

/// The advisory lock of the leading relay: "tidemark" in ASCII.
pub(crate) const LEADER_LOCK: i64 = i64::from_be_bytes(*b"tidemark");

/// How long a leader may say nothing before PostgreSQL ends its session, and with it its lock: it may
/// be frozen or cut off, and can't tell.
const SILENCE: Duration = Duration::from_secs(1);

/// How long a new leader waits for regions that do not answer.
const GATHER: Duration = Duration::from_millis(500);

/// How often the triggers are held against the catalog.
const VERIFY: Duration = Duration::from_secs(5);

/// How long a leader that polls this often may say nothing.
pub(crate) fn silence(poll: Duration) -> Duration {
    SILENCE.max(4 * poll)
}

/// Connects for a leadership: a session that PostgreSQL itself ends soon after its relay has vanished,
/// whether it was frozen, cut off or lost its machine.
pub(super) async fn connect(config: &RelayConfig) -> Result<PgConnection, sqlx::Error> {
    let mut database = PgConnection::connect_with(config.database.options()).await?;
    let silence = silence(config.poll).as_millis();
    for setting in [
        "idle_in_transaction_session_timeout",
        "tcp_user_timeout",
        // Since PostgreSQL 14; before that a frozen leader keeps its lock until it is ended.
        "idle_session_timeout",
    ] {
        // Unlike SET, this does not fail where the setting is unknown.
        sqlx::query(
            "SELECT set_config(name, $2, false) FROM pg_catalog.pg_settings WHERE name = $1",
        )
        .bind(setting)
        .bind(format!("{silence}ms"))
        .execute(&mut database)
        .await?;
    }
    Ok(database)
}

/// Whether this session leads from now on.
pub(super) async fn try_lock(database: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(LEADER_LOCK)
        .fetch_one(database)
        .await
}

/// What a cycle leaves to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cycle {
    /// Nothing: everything visible has been applied.
    Whole,
    /// There is more in the outbox than one cycle takes.
    Part,
    /// Every region is lost; what changes stays in the outbox. The memory knows of it.
    Stranded,
}

/// The state of one leadership. The lock is held as long as `database` lives.
pub(super) struct Leadership<'a> {
    config: &'a RelayConfig,
    database: PgConnection,
    fleet: Fleet,
    /// What every epoch's ground says of the database.
    history: String,
    /// The next event; its term is this leadership's.
    next: EventId,
    /// The last event whose rows have left the outbox.
    last_change: EventId,
    /// From where the outbox has to be read.
    horizon: Horizon,
    /// The same for this process's own memory, which needs no Redis.
    remembered: Horizon,
    memory: Arc<Memory>,
    verified: Instant,
    /// When the drain began after which nothing was left: what is visible only since then was
    /// committed since then. `None` before there was one.
    level: Option<Instant>,
}

impl<'a> Leadership<'a> {
    /// Takes up the work where the last leader left it. The session holds the lock.
    pub(super) async fn begin(
        config: &'a RelayConfig,
        targets: &[Arc<Target>],
        gauge: TideGauge,
        heat: Arc<Heat>,
        memory: Arc<Memory>,
        mut database: PgConnection,
    ) -> Result<Self, RelayError> {
        let verified = config.installation.verify(&mut database).await;
        doubt_unseen(&mut database, verified.map_err(RelayError::from)).await?;
        let mut fleet = Fleet::new(targets, gauge, heat);
        let next = first_of(outbox::next_term(&mut database).await?);
        let last_change = outbox::last_event(&mut database).await?;
        let horizon = outbox::begin(&mut database).await?;
        // Nothing is remembered yet, so what is visible by now need not be forgotten.
        let remembered = outbox::present(&mut database).await?;
        let history = ground::database(&mut database).await?;
        fleet.gather(GATHER).await;
        Ok(Self {
            config,
            database,
            fleet,
            history,
            next,
            last_change,
            horizon,
            remembered,
            memory,
            verified: Instant::now(),
            level: None,
        })
    }

    /// The number of this leadership.
    pub(super) const fn term(&self) -> i64 {
        self.next.term
    }

    /// Waits for a lost region to answer again.
    pub(super) async fn has_return(&mut self) {
        self.fleet.has_return().await;
    }

    /// One cycle, see the module above. Each of its steps is bounded, but not their number.
    pub(super) async fn cycle(&mut self) -> Result<Cycle, RelayError> {
        if self.verified.elapsed() >= VERIFY {
            let verified = in_time(self.config.installation.verify(&mut self.database)).await;
            doubt_unseen(&mut self.database, verified).await?;
            self.verified = Instant::now();
        }
        for back in self.fleet.take_returned() {
            in_time(self.admit(back)).await?;
        }
        let is_stranded = self.fleet.is_lost();
        let begun = Instant::now();
        let drained = self.drain(is_stranded).await?;
        if is_stranded {
            return Ok(Cycle::Stranded);
        }
        let mut heard = Instant::now();
        let mut prev = self.last_change;
        let mut parts = parts(&drained.scopes).peekable();
        while let Some(scopes) = parts.next() {
            let is_last = parts.peek().is_none();
            let change = Change {
                id: self.next,
                prev,
                as_of: (is_last && drained.whole).then_some(drained.as_of),
                catalog: self.config.catalog,
                stamp_ttl_ms: u64::try_from(self.config.stamp_ttl.as_millis()).unwrap_or(u64::MAX),
                scopes: scopes.to_vec(),
            };
            self.next = self.next.next();
            self.fleet.apply(&change).await;
            if self.fleet.is_lost() {
                return Ok(Cycle::Stranded);
            }
            metrics::count_invalidations(scopes);
            if !scopes.is_empty() {
                prev = change.id;
            }
            if heard.elapsed() >= SILENCE / 4 {
                self.sign_of_life().await?;
                heard = Instant::now();
            }
        }
        if !drained.rows.is_empty() {
            if let Some(level) = self.level {
                metrics::count_applied(level);
            }
            let settled = outbox::settle(&mut self.database, &drained.rows, prev);
            in_time(settled).await?;
            for (table, records) in &drained.changes {
                metrics::count_changes(table, *records);
            }
            tracing::debug!(event = %prev, scopes = drained.scopes.len(), "changes applied");
            self.last_change = prev;
        }
        self.horizon = drained.next;
        Ok(if drained.whole {
            self.level = Some(begun);
            Cycle::Whole
        } else {
            Cycle::Part
        })
    }

    /// Takes what is visible, and lets the memory know before anybody else. While all regions are lost,
    /// rows stay in the outbox, so that each is only looked at until all transactions as old have ended.
    async fn drain(&mut self, is_stranded: bool) -> Result<Drained, RelayError> {
        let from = if is_stranded {
            &self.remembered
        } else {
            &self.horizon
        };
        let begun = Instant::now();
        let drained = outbox::drain(&mut self.database, &self.config.installation, from);
        let drained = in_time(drained).await;
        let drained = doubt_unseen(&mut self.database, drained).await?;
        self.memory.touch(&drained.scopes);
        if drained.whole {
            self.memory.rise(drained.as_of, self.next, begun);
            self.remembered = drained.next.clone();
        }
        Ok(drained)
    }

    /// Without one, PostgreSQL gives the leadership to somebody else.
    async fn sign_of_life(&mut self) -> Result<(), RelayError> {
        in_time(self.database.ping()).await
    }

    /// Takes a region in that has been connected to: it goes on in its epoch if nothing can have been
    /// lost, else it begins a new one.
    async fn admit(&mut self, back: Return) -> Result<(), RelayError> {
        let name = self.fleet.name(&back);
        let recorded = ground::recorded(&mut self.database, &name).await?;
        let found = Ground {
            redis: back.found.identity().to_owned(),
            database: self.history.clone(),
            catalog: self.config.catalog,
        };
        let held = back.found.tidemark();
        let resumed =
            history::resumed(recorded.as_ref(), &found, held, self.last_change, self.next);
        let (epoch, doubt) = match resumed {
            Ok(epoch) => (epoch, None),
            Err(doubt) => {
                if let (Doubt::Foreign, Some(held)) = (doubt, held) {
                    self.surpass(&name, held.term).await?;
                }
                let epoch = new_epoch();
                let record = Record {
                    ground: found,
                    epoch,
                };
                ground::record(&mut self.database, &name, &record).await?;
                (epoch, Some(doubt))
            }
        };
        self.fleet.admit(back, epoch, doubt);
        Ok(())
    }

    /// Takes a new term, later than one that this database has not given out. That the session still
    /// answers proves that it still leads: had another relay of this database taken that term, this
    /// session would have ended before.
    async fn surpass(&mut self, region: &str, term: i64) -> Result<(), RelayError> {
        let next = outbox::next_term_after(&mut self.database, term).await?;
        tracing::warn!(
            region,
            foreign_term = term,
            term = next,
            "this Redis belongs to another database, or to an earlier life of this one"
        );
        self.next = first_of(next);
        Ok(())
    }
}

const fn first_of(term: i64) -> EventId {
    EventId { term, seq: 1 }
}

/// One event's scopes after the other; one empty part where there are none: the heartbeat.
fn parts(scopes: &[Scope]) -> impl Iterator<Item = &[Scope]> {
    let heartbeat = scopes.is_empty().then_some(scopes);
    heartbeat
        .into_iter()
        .chain(scopes.chunks(Event::MAX_SCOPES))
}

/// Where changes may have gone unseen, forgets the epochs: whoever leads once everything is in place
/// begins new ones.
async fn doubt_unseen<T>(
    database: &mut PgConnection,
    outcome: Result<T, RelayError>,
) -> Result<T, RelayError> {
    if let Err(RelayError::Capture(CaptureError::NotInstalled)) = outcome {
        match ground::forget(database).await {
            // Without the table there is nothing to forget.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => {}
            forgotten => forgotten?,
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_split_into_events_of_bounded_size() {
        let sizes = |count: usize| {
            let scopes: Vec<_> = (0..count).map(|n| Scope::Table(n.to_string())).collect();
            parts(&scopes).map(<[Scope]>::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(0), [0]);
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(1_000), [1_000]);
        assert_eq!(sizes(2_001), [1_000, 1_000, 1]);
    }
}
