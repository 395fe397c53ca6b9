//! The observer: learns from PostgreSQL's own snapshots when each transaction became visible.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use anyhow::Context as _;
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::{sync::oneshot, task::JoinHandle, time};

use super::{history::Visible, moments::BEGINNING};

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// How soon it looks again for a server that was not there.
const RETRY: Duration = Duration::from_millis(10);

/// A transaction: its number, and in which life of the server it had that. After a crash, numbers of
/// transactions that left no trace are given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// When the server was started, in µs.
    pub life: i64,
    /// Its number.
    pub xid: i64,
}

/// One look: clock, snapshot, clock.
#[derive(Clone, Debug)]
pub struct Look {
    /// When the server was started, in µs.
    pub life: i64,
    /// Before the snapshot was taken, in µs.
    pub before: i64,
    /// After it was taken, in µs.
    pub after: i64,
    /// `pg_current_snapshot()`: from here on, no transaction had ended.
    pub next: i64,
    /// Those before that which had not ended either.
    pub running: BTreeSet<i64>,
}

impl Look {
    fn sees(&self, xid: i64) -> bool {
        xid < self.next && !self.running.contains(&xid)
    }
}

/// When every transaction that has ended was first seen to have.
#[derive(Debug, Default)]
pub struct Sightings {
    ended: HashMap<Transaction, Visible>,
    /// The first look in each life, and when the last one before that was.
    lives: Vec<(i64, Look)>,
    last: Option<Look>,
}

impl Sightings {
    /// Takes a look into account; looks come in their order.
    pub fn add(&mut self, look: Look) {
        match &self.last {
            Some(last) if last.life == look.life => {
                let candidates = last.running.iter().copied().chain(last.next..look.next);
                for xid in candidates.filter(|&xid| look.sees(xid)) {
                    let life = look.life;
                    let visible = Visible {
                        not_at: last.before,
                        at: look.after,
                    };
                    self.ended.insert(Transaction { life, xid }, visible);
                }
            }
            last => {
                let since = last.as_ref().map_or(BEGINNING, |last| last.before);
                self.lives.push((since, look.clone()));
            }
        }
        self.last = Some(look);
    }

    /// When a transaction that was committed became visible; `None` if it was never seen.
    pub fn visible(&self, transaction: Transaction) -> Option<Visible> {
        if let Some(&visible) = self.ended.get(&transaction) {
            return Some(visible);
        }
        // Before the first look in its life; or after the last one in it, so before the next life.
        let (since, first) = self.lives.iter().find(|(_, first)| {
            first.life > transaction.life
                || (first.life == transaction.life && first.sees(transaction.xid))
        })?;
        Some(Visible {
            not_at: *since,
            at: first.after,
        })
    }
}

/// The task that looks.
#[derive(Debug)]
pub struct Observer {
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<Sightings>>,
}

impl Observer {
    /// Begins to look; returns after the first one.
    ///
    /// # Errors
    /// The server is not there.
    pub async fn start(database: PgConnectOptions) -> anyhow::Result<Self> {
        let mut sightings = Sightings::default();
        let mut connection = PgConnection::connect_with(&database).await?;
        sightings.add(look(&mut connection).await?);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(observe(database, connection, sightings, stopped));
        Ok(Self { stop, task })
    }

    /// Ends after one more look, which sees everything that has been committed by now.
    ///
    /// # Errors
    /// The server is not there, or said what no server says.
    pub async fn stop(self) -> anyhow::Result<Sightings> {
        // If it has ended, awaiting it says why.
        let _ = self.stop.send(());
        self.task.await?
    }
}

async fn observe(
    database: PgConnectOptions,
    mut connection: PgConnection,
    mut sightings: Sightings,
    mut stopped: oneshot::Receiver<()>,
) -> anyhow::Result<Sightings> {
    loop {
        let last = time::timeout(PAUSE, &mut stopped).await.is_ok();
        loop {
            match look(&mut connection).await {
                Ok(look) => {
                    sightings.add(look);
                    break;
                }
                Err(error) if error.is::<sqlx::Error>() => {
                    time::sleep(RETRY).await;
                    if let Ok(again) = PgConnection::connect_with(&database).await {
                        connection = again;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if last {
            return Ok(sightings);
        }
    }
}

async fn look(connection: &mut PgConnection) -> anyhow::Result<Look> {
    // `now()` is when the statement arrived, before its snapshot was taken; `clock_timestamp()` is
    // evaluated while it runs, with the snapshot in hand.
    let (life, before, snapshot, after): (i64, i64, String, i64) = sqlx::query_as(
        "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,
                (extract(epoch FROM now()) * 1000000)::bigint,
                pg_current_snapshot()::text,
                (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
    )
    .fetch_one(connection)
    .await?;
    let (next, running) = parse(&snapshot).with_context(|| format!("no snapshot: {snapshot}"))?;
    Ok(Look {
        life,
        before,
        after,
        next,
        running,
    })
}

/// Reads `xmin:xmax:xid,xid,…`.
fn parse(snapshot: &str) -> Option<(i64, BTreeSet<i64>)> {
    let mut fields = snapshot.split(':').skip(1);
    let next = fields.next()?.parse().ok()?;
    let running = fields
        .next()?
        .split(',')
        .filter(|xid| !xid.is_empty())
        .map(|xid| xid.parse().ok())
        .collect::<Option<_>>()?;
    Some((next, running))
}
