//! Workloads 2 and 3, the setting of the article: people look at the dashboards of their organizations, some
//! enter orders, and every answer is judged.
//!
//! - [`setting`]: which dashboards there are, and which orders each of them shows;
//! - [`trace`]: the requests, made up front from one seed;
//! - [`client`]: who makes them, and the [`log`] of what happened;
//! - [`judge`]: which answers were stale, and by how much;
//! - [`possible`]: how many reads PostgreSQL need not have heard of;
//! - [`outcome`]: all of it in figures.
//!
//! # What is compared
//! Each contender has its turn on a fresh copy of the same database and an empty Redis, with the same number of
//! clients in a closed loop, for the same time. All follow one trace from its beginning; who is faster gets
//! further. So ratios are per read: mean latency, statements a read, reads saved. Nobody is measured on its
//! first minute: before the time begins, each dashboard is read once, in the order in which the trace first
//! reads them, as far as that gets in its time. Who keeps nothing for longer than a second has only a short
//! warm-up.

mod client;
mod database;
pub mod judge;
pub mod log;
pub mod outcome;
mod participant;
pub mod possible;
mod report;
pub mod setting;
pub mod trace;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};

pub use self::report::report;
use self::{
    client::{Clients, Target},
    judge::Judge,
    log::Log,
    outcome::{Article, Series, Turn},
    participant::{Cast, Participant},
    trace::{Recipe, Trace},
};
use super::Bench;
use crate::{contender::Invalidation, say, site::Database, statistics::rotated};

/// All chances follow from it.
const SEED: u64 = 20_260_101;

/// How many clients there are, each with one request at a time.
const CLIENTS: usize = 16;

/// More requests a second than anybody answers, so that no trace ends before its time.
const FASTEST: usize = 40_000;

/// What only the dashboard's statement says. (Not a constant in it: `pg_stat_statements` leaves those out.)
const STATEMENT: &str = "invoiced AS (";

/// How long things take.
#[derive(Clone, Copy, Debug)]
struct Times {
    turn: Duration,
    warm_up: Duration,
    rounds: usize,
}

/// What all turns have in common.
struct Course {
    times: Times,
    organizations: u16,
    warm_up: Arc<Trace>,
    trace: Arc<Trace>,
}

/// Measures.
///
/// # Errors
/// Something does not start or does not answer as it should, or an answer is impossible.
pub async fn run(bench: &Bench) -> anyhow::Result<Article> {
    let times = bench.scale.pick(
        Times {
            turn: Duration::from_secs(60),
            warm_up: Duration::from_secs(60),
            rounds: 2,
        },
        Times {
            turn: Duration::from_secs(5),
            warm_up: Duration::from_secs(5),
            rounds: 1,
        },
        Times {
            turn: Duration::from_secs(1),
            warm_up: Duration::from_secs(1),
            rounds: 1,
        },
    );
    let course = Course::prepare(bench, times).await?;
    let cast = Cast::gather(bench).await?;
    let mut contenders: Vec<Series> = Vec::new();
    for round in 0..times.rounds {
        for participant in rotated(&cast.participants, round) {
            let name = participant.name();
            say(format_args!(
                "article: round {} of {}, {name}",
                round + 1,
                times.rounds
            ));
            let (invalidation, turn) = course.turn(bench, &cast, *participant).await?;
            say(format_args!("  {}", told(&turn)));
            match contenders.iter_mut().find(|it| it.contender == name) {
                Some(series) => series.turns.push(turn),
                None => contenders.push(Series {
                    contender: name,
                    invalidation,
                    turns: vec![turn],
                }),
            }
        }
    }
    Ok(Article {
        clients: CLIENTS,
        turn_seconds: times.turn.as_secs_f64(),
        warm_up_seconds: times.warm_up.as_secs_f64(),
        organizations: course.organizations,
        contenders,
        peers: bench.peers,
    })
}

impl Course {
    async fn prepare(bench: &Bench, times: Times) -> anyhow::Result<Self> {
        let database = bench.site.plain_database("article").await?;
        let mut connection = database.connect().await?;
        let customers = database::customers(&mut connection).await?;
        let recipe = Recipe {
            seed: SEED,
            steps: FASTEST * usize::try_from(times.turn.as_secs())?,
            writes_per_thousand: 10,
            elsewhere_per_hundred: 25,
            products: database::products(&mut connection).await?,
        };
        let trace = recipe.trace(&customers);
        Ok(Self {
            times,
            organizations: u16::try_from(customers.len())?,
            warm_up: Arc::new(trace.of_first_reads()),
            trace: Arc::new(trace),
        })
    }

    /// A contender's turn, on fresh data.
    async fn turn(
        &self,
        bench: &Bench,
        cast: &Cast,
        participant: Participant,
    ) -> anyhow::Result<(Invalidation, Turn)> {
        bench.site.flush_redis().await?;
        let database = participant.database(&bench.site).await?;
        let contender = cast.start(participant, &bench.site, &database).await?;
        let mut connection = database.connect().await?;
        let mut log = Log {
            baseline: database::totals(&mut connection, self.organizations).await?,
            ..Log::default()
        };
        let target = Target {
            reads: contender.reads.clone(),
            writes: contender.writes.clone().context("it takes no orders")?,
        };
        let clients = Arc::new(Clients::new(target, CLIENTS, connection));

        let warm_up = match participant.keeps_answers() {
            true => self.times.warm_up,
            // This is only for connections and prepared statements.
            false => Duration::from_secs(2).min(self.times.warm_up),
        };
        let failure = clients.follow(&self.warm_up, warm_up, &mut log).await?;
        ensure!(
            failure.is_none(),
            "warming up: {}",
            failure.unwrap_or_default()
        );
        let before = database.executions(STATEMENT).await?;
        // What was counted is a fresh database's. In the turn itself there may be none.
        ensure!(before > 0, "PostgreSQL has counted none of the statements");
        log.measured_from = clients.now();
        let failure = clients
            .follow(&self.trace, self.times.turn, &mut log)
            .await?;
        let statements = database.executions(STATEMENT).await? - before;
        if let Some(failure) = failure {
            say(format_args!("  not everything went well, first: {failure}"));
        }
        let invalidation = contender.invalidation;
        drop(contender);

        let judge = Judge::new(&log);
        self.check(&judge, &database).await?;
        let turn = Turn::of(&log, &judge, u64::try_from(statements)?)?;
        Ok((invalidation, turn))
    }

    /// The judge is to know all commits: what it expects is compared with the database.
    async fn check(&self, judge: &Judge, database: &Database) -> anyhow::Result<()> {
        let mut connection = database.connect().await?;
        let found = database::totals(&mut connection, self.organizations).await?;
        for (key, found) in setting::Key::all(self.organizations).zip(found) {
            let (least, most) = judge.finally(key).context("a key is unknown")?;
            let orders = least.orders..=most.orders;
            let units = least.units..=most.units;
            ensure!(
                orders.contains(&found.orders) && units.contains(&found.units),
                "the judge expected {least:?} to {most:?} at {}, and there are {found:?}",
                key.path()
            );
        }
        Ok(())
    }
}

fn told(turn: &Turn) -> String {
    format!(
        "{} reads, {:.1} ms at the mean, {} statements; stale: {} of own orders, {} of others'",
        turn.reads,
        turn.latency.mean_ms,
        turn.statements,
        turn.staleness.application.answers,
        turn.staleness.elsewhere.answers
    )
}
