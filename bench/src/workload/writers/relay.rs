//! The relay, as a process of its own: what it uses and how old the tidemark becomes, at rest and at work.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidemark_tests::process::{Launch, Process, Signal};

use crate::{
    contender::tidemark::{origin_config, relay_leads},
    load::{Writers, Writes},
    say,
    site::{
        Database,
        age::{Age, AgeWatch},
    },
    usage,
    workload::Bench,
};

/// How much is written meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Nothing.
    Rest,
    /// 5 000 rows a second, each in a transaction of its own, or as many as the machine can.
    Rows,
    /// 5 000 rows a second, ten in each transaction.
    Tens,
}

/// The relay at one pace.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Relay {
    /// How much is written.
    pub pace: Pace,
    /// Rows changed a second, as reached.
    pub changes: f64,
    /// Rows written to the outbox a second.
    pub recorded: f64,
    /// CPU seconds a second of the relay's process.
    pub cores: f64,
    /// CPU seconds a second of the PostgreSQL process that serves it.
    pub session_cores: f64,
    /// The tidemark's age.
    pub age: Age,
}

impl Pace {
    /// The transaction, how many rows it changes, and how many a second are tried.
    fn writes(self) -> Option<(&'static str, u32, u32)> {
        match self {
            Self::Rest => None,
            Self::Rows => Some((include_str!("../../../writes/update_used.sql"), 1, 5000)),
            Self::Tens => Some((include_str!("../../../writes/update_10_used.sql"), 10, 500)),
        }
    }
}

/// Measures each pace.
///
/// # Errors
/// The relay does not start, or a transaction fails.
pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Relay>> {
    let site = &bench.site;
    let database = site.database("relayed").await?;
    let mut relay = Process::start(Launch {
        name: "relay",
        command: origin_config(site, &database, "relay").command(&["relay"])?,
        log: site.file("relay.log"),
        end: Signal::TERM,
        lease: None,
    })?;
    relay_leads(site).await?;
    let mut paces = Vec::new();
    for pace in [Pace::Rest, Pace::Rows, Pace::Tens] {
        say(format_args!("relay: {pace:?}"));
        paces.push(at(bench, &database, relay.id(), pace).await?);
    }
    relay.stop();
    Ok(paces)
}

async fn at(bench: &Bench, database: &Database, relay: u32, pace: Pace) -> anyhow::Result<Relay> {
    let time = Duration::from_secs(bench.scale.pick(15, 2, 1));
    let watch = AgeWatch::start(&bench.site).await?;
    let recorded_before = recorded(database).await?;
    let session = session(database).await?;
    let used = || anyhow::Ok((usage::cpu(&[relay])?, usage::cpu(&[session])?));
    let (begun, before) = (Instant::now(), used()?);
    let changes = match pace.writes() {
        None => {
            tokio::time::sleep(time).await;
            0.0
        }
        Some((script, rows, rate)) => {
            let writers = Writers {
                clients: 16,
                time,
                rate: Some(rate),
            };
            let scale = bench.site.size().scale();
            Writes::of(script)?.run(database, scale, writers).await? * f64::from(rows)
        }
    };
    let (took, after) = (begun.elapsed(), used()?);
    let cores =
        |after: Duration, before| after.saturating_sub(before).as_secs_f64() / took.as_secs_f64();
    let age = watch.stop()?;
    let recorded = recorded(database).await?.saturating_sub(recorded_before) as f64;
    Ok(Relay {
        pace,
        changes,
        recorded: recorded / took.as_secs_f64(),
        cores: cores(after.0, before.0),
        session_cores: cores(after.1, before.1),
        age,
    })
}

/// The PostgreSQL process that serves the relay: the one whose session holds the leader's lock.
async fn session(database: &Database) -> anyhow::Result<u32> {
    let process = database
        .number(
            "SELECT l.pid::bigint FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
             WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND d.datname = current_database()",
        )
        .await?;
    Ok(u32::try_from(process)?)
}

/// How many rows have been written to the outbox so far, drained or not: they are numbered.
async fn recorded(database: &Database) -> anyhow::Result<i64> {
    // What sessions have counted and not told yet is told when they end, as pgbench's have.
    database
        .number(
            "SELECT coalesce(pg_stat_get_tuples_inserted('tidemark.outbox'::regclass), 0)
             FROM (SELECT pg_stat_clear_snapshot()) AS _",
        )
        .await
}
