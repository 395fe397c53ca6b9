//! One run: writers and readers at work, and the judgement in the end.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use sqlx::{Connection as _, PgConnection};
use tokio::{task::JoinSet, time};

use super::{
    history::History,
    judge::Judge,
    line::Line,
    log::{HOME, Log},
    observer::Observer,
    random::Chance,
    readers::{Reader, Shared},
    report::Report,
    workload::Question,
    world::World,
    writers::{Commander, SqlWriter},
};

/// Who is not answered for so long never will be.
const SILENCE: Duration = Duration::from_secs(60);

/// How much is going on.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What chance is made of.
    pub seed: u64,
    /// How many readers there are.
    pub readers: u64,
    /// How many writers of plain SQL there are.
    pub sql_writers: u64,
    /// How many writers of commands there are.
    pub commanders: u64,
    /// The longest pause between two transactions of one writer, in ms.
    pub longest_pause_ms: u64,
}

impl Load {
    /// What the tests use.
    pub fn of(seed: u64) -> Self {
        Self {
            seed,
            readers: 16,
            sql_writers: 6,
            commanders: 2,
            longest_pause_ms: 80,
        }
    }
}

/// The seed: `SEED` in the environment, else the clock.
///
/// # Panics
/// `SEED` is no number.
pub fn seed() -> u64 {
    match std::env::var("SEED") {
        Ok(seed) => seed.parse().expect("SEED is a number"),
        Err(_) => u64::try_from(super::now_us() % 1_000_000_007).unwrap_or(1),
    }
}

/// Writers and readers at work.
#[derive(Debug)]
pub struct Run {
    /// What they share.
    pub shared: Arc<Shared>,
    load: Load,
    observer: Observer,
    workers: JoinSet<()>,
    began: Instant,
}

impl Run {
    /// Puts everybody to work.
    ///
    /// # Errors
    /// PostgreSQL is not there.
    pub async fn start(world: &World, load: Load) -> anyhow::Result<Self> {
        let shared = Shared::new(Question::all(), world.regions.len());
        let observer = Observer::start(world.database()).await?;
        let mut streams = 0..;
        let mut chance = || Chance::new(load.seed, streams.next().unwrap_or(0));
        let edges: Vec<(u8, &str)> = (HOME..).zip(world.edges()).collect();
        let mut workers = JoinSet::new();
        for _ in 0..load.sql_writers {
            let writer = SqlWriter {
                shared: shared.clone(),
                database: world.database(),
                chance: chance(),
                longest_pause_ms: load.longest_pause_ms,
            };
            workers.spawn(writer.run());
        }
        for _ in 0..load.commanders {
            let commander = Commander {
                shared: shared.clone(),
                origin: Line::to(&world.commands()),
                readers: edges
                    .iter()
                    .map(|&(region, edge)| Reader::new(shared.clone(), region, edge, chance()))
                    .collect(),
                chance: chance(),
                longest_pause_ms: load.longest_pause_ms,
            };
            workers.spawn(commander.run());
        }
        let in_turn = edges.iter().cycle();
        for (_, &(region, edge)) in (0..load.readers).zip(in_turn) {
            workers.spawn(Reader::new(shared.clone(), region, edge, chance()).run());
        }
        Ok(Self {
            shared,
            load,
            observer,
            workers,
            began: Instant::now(),
        })
    }

    /// How long it has been going on.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// How many reads were answered so far.
    pub fn reads(&self) -> u64 {
        self.shared.reads.load(Ordering::Relaxed)
    }

    /// How many hits there were so far in each region.
    pub fn hits(&self) -> Vec<u64> {
        let hits = self.shared.hits.iter();
        hits.map(|hits| hits.load(Ordering::Relaxed)).collect()
    }

    /// How many reads were refused so far.
    pub fn refused(&self) -> u64 {
        self.shared.log.with(|log| log.refused_reads.values().sum())
    }

    /// Waits until so many reads were answered.
    ///
    /// # Errors
    /// None is answered any more.
    pub async fn until_reads(&self, reads: u64) -> anyhow::Result<()> {
        let (mut last, mut since) = (self.reads(), Instant::now());
        while last < reads {
            time::sleep(Duration::from_millis(20)).await;
            let now = self.reads();
            if now > last {
                (last, since) = (now, Instant::now());
            }
            ensure!(
                since.elapsed() < SILENCE,
                "no read was answered for {SILENCE:?}; seed {}",
                self.load.seed
            );
        }
        Ok(())
    }

    /// Sends everybody home and judges what they got.
    ///
    /// # Errors
    /// PostgreSQL is not there, or the observer has missed a transaction.
    pub async fn judge(mut self, world: &World) -> anyhow::Result<Report> {
        self.shared.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.workers.join_next().await {
            ended.context("a reader or writer has failed")?;
        }
        let lasted = self.began.elapsed();
        let sightings = self.observer.stop().await?;
        let mut log = self.shared.log.take();
        for command in &log.commands {
            // Its client was told that it was visible by then.
            let told = command.at_least.map_or(i64::MAX, |ms| ms * 1_000);
            log.known_by.insert(command.tag, told.min(command.answered));
        }
        let mut database = PgConnection::connect_with(&world.database()).await?;
        let history = History::read(&mut database, &sightings, &log.known_by).await?;
        database.close().await?;
        Ok(report(self.load.seed, lasted, &history, &log, &self.shared))
    }
}

fn report(seed: u64, lasted: Duration, history: &History, log: &Log, shared: &Shared) -> Report {
    let began = Instant::now();
    let judgement = Judge::new(history, &shared.questions, log).judge();
    Report {
        seed,
        lasted,
        judged_in: began.elapsed(),
        judgement,
        transactions: history.transactions(),
        versions: history.versions(),
        commands: log.commands.len(),
        applied: log.commands.iter().filter(|it| it.applied).count(),
        refused_reads: log.refused_reads.clone(),
        refused_commands: log.refused_commands.clone(),
        oddities: log.oddities.clone(),
    }
}
