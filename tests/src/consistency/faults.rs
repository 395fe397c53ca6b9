//! Faults: whatever can go wrong with servers and network, one after the other, as chance has it.
//!
//! A fault lasts until [`Storm::strike`] returns: that heals it. To add one, name it in [`Fault`],
//! list it, and say what it does to the [`World`].

use std::{collections::HashSet, fmt, mem::discriminant, time::Duration};

use anyhow::Context as _;
use rustix::process::Signal;
use sqlx::{Connection as _, PgConnection};
use tokio::time;

use super::{
    now_us,
    random::Chance,
    world::{Manager, Network, World},
};
use crate::{
    redis::Redis,
    tcp_relay::{TcpRelay, Weather},
};

/// A server that was told to end at once does so within this.
const END: Duration = Duration::from_secs(20);

/// What Redis is set back to is at least this old, in ms: too old for its tidemark to prove anything
/// to any query, and young enough for its entries to be there. (See the limit in
/// `docs/consistency.md`.)
const TOO_OLD_MS: u64 = 3_100;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Redis is killed and comes back empty.
    RedisLost,
    /// Redis is killed and comes back with what it held some time ago.
    RedisSetBack,
    /// Redis does not answer (SIGSTOP), and later does all that it was told meanwhile.
    RedisFrozen,
    /// Redis is busy with something else (`DEBUG SLEEP`).
    RedisBusy,
    /// All keys are removed while everybody stays connected.
    RedisFlushed,
    /// Keys vanish at random.
    RedisEvicts,
    /// PostgreSQL is ended at once (SIGQUIT) and recovers.
    PostgresCrashed,
    /// An edge is killed and started again.
    EdgeKilled,
    /// An edge does not answer (SIGSTOP), and later goes on where it was: with what it has looked up
    /// by then, it may store an answer.
    EdgeFrozen,
    /// The far region's manager is killed and started again.
    ManagerKilled,
    /// The manager stands still (SIGSTOP), and later goes on where it was.
    ManagerFrozen,
    /// Whoever hears the home region's events is cut off, and misses some.
    SubscriptionsEnded,
    /// An origin is killed; edges go to the other one.
    OriginKilled,
    /// An origin does not answer (SIGSTOP), and later goes on where it was.
    OriginFrozen,
    /// The leading relay loses its session, and with it the lock.
    LeaderDeposed,
    /// An origin freezes and the leader's session ends meanwhile: for a moment two relays believe
    /// that they lead.
    TwoLeaders,
    /// All connections of a path are cut.
    PathCut(Path),
    /// A path is slow.
    PathSlow(Path),
    /// A path swallows everything, and delivers it in the end.
    PathSilent(Path),
    /// A path refuses connections.
    PathClosed(Path),
}

/// A way through the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// From a region's edge to its Redis.
    EdgeToRedis(usize),
    /// From the edges to the origin.
    EdgeToOrigin,
    /// From both origins to Redis.
    OriginsToRedis,
    /// From one origin to PostgreSQL.
    OriginToPostgres(usize),
    /// From a region's manager to the home region's Redis.
    ManagerToSource(usize),
    /// From a region's manager to the Redis there.
    ManagerToRedis(usize),
}

impl Path {
    fn any(chance: &mut Chance, regions: usize) -> Self {
        match chance.below(12) {
            0 | 1 => Self::EdgeToRedis(chance.below(regions)),
            2 | 3 => Self::EdgeToOrigin,
            4 | 5 => Self::OriginsToRedis,
            6 | 7 => Self::ManagerToSource(far(chance, regions)),
            8 | 9 => Self::ManagerToRedis(far(chance, regions)),
            one => Self::OriginToPostgres(one % 2),
        }
    }

    fn of(self, world: &World) -> anyhow::Result<&TcpRelay> {
        let network = network(world)?;
        let manager = |region: usize| world.regions[region].manager.as_ref();
        let relay = match self {
            Self::EdgeToRedis(region) => world.regions[region].edge_to_redis.as_ref(),
            Self::EdgeToOrigin => Some(&network.edge_to_origin),
            Self::OriginsToRedis => Some(&network.origins_to_redis),
            Self::OriginToPostgres(number) => network.origins_to_postgres.get(number),
            Self::ManagerToSource(region) => manager(region).and_then(|it| it.to_source.as_ref()),
            Self::ManagerToRedis(region) => manager(region).and_then(|it| it.to_redis.as_ref()),
        };
        relay.with_context(|| format!("this world has no {self:?}"))
    }
}

impl Fault {
    /// Every kind of fault, in an order of chance: whoever goes through them meets each one.
    pub fn shuffled(chance: &mut Chance, regions: usize) -> Vec<Self> {
        let mut all = vec![
            Self::RedisLost,
            Self::RedisSetBack,
            Self::RedisFrozen,
            Self::RedisBusy,
            Self::RedisFlushed,
            Self::RedisEvicts,
            Self::PostgresCrashed,
            Self::EdgeKilled,
            Self::EdgeFrozen,
            Self::ManagerKilled,
            Self::ManagerFrozen,
            Self::SubscriptionsEnded,
            Self::OriginKilled,
            Self::OriginFrozen,
            Self::LeaderDeposed,
            Self::TwoLeaders,
            Self::PathCut(Path::any(chance, regions)),
            Self::PathSlow(Path::any(chance, regions)),
            Self::PathSilent(Path::any(chance, regions)),
            Self::PathClosed(Path::any(chance, regions)),
        ];
        for place in (1..all.len()).rev() {
            all.swap(place, chance.below(place + 1));
        }
        all
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A fault that was.
#[derive(Clone, Copy, Debug)]
pub struct Struck {
    /// Which one.
    pub fault: Fault,
    /// When it began, in µs.
    pub began: i64,
    /// When it was healed, in µs.
    pub healed: i64,
}

/// Brings faults over a world, and heals them.
#[derive(Debug)]
pub struct Storm {
    chance: Chance,
    coming: Vec<Fault>,
    /// What there was so far.
    pub struck: Vec<Struck>,
}

impl Storm {
    /// A storm that follows from a seed.
    pub fn new(chance: Chance) -> Self {
        Self {
            chance,
            coming: Vec::new(),
            struck: Vec::new(),
        }
    }

    /// How many kinds of faults there were.
    pub fn kinds(&self) -> usize {
        let kinds: HashSet<_> = self
            .struck
            .iter()
            .map(|struck| discriminant(&struck.fault))
            .collect();
        kinds.len()
    }

    /// Brings the next fault over the world, heals it, and leaves the world alone for a while.
    ///
    /// # Errors
    /// A server does not come back.
    pub async fn strike(&mut self, world: &mut World) -> anyhow::Result<Fault> {
        if self.coming.is_empty() {
            self.coming = Fault::shuffled(&mut self.chance, world.regions.len());
        }
        let fault = self.coming.pop().context("there are kinds of faults")?;
        let began = now_us();
        let done = self.bring(fault, world).await;
        done.with_context(|| format!("after {fault}"))?;
        self.struck.push(Struck {
            fault,
            began,
            healed: now_us(),
        });
        self.pause(100, 1_000).await;
        Ok(fault)
    }

    async fn bring(&mut self, fault: Fault, world: &mut World) -> anyhow::Result<()> {
        let region = self.chance.below(world.regions.len());
        let redis = &mut world.regions[region].redis;
        match fault {
            Fault::RedisLost => {
                redis.process().kill();
                self.pause(0, 800).await;
                redis.restart().await?;
            }
            Fault::RedisSetBack => {
                let snapshot = redis.save().await?;
                self.pause(TOO_OLD_MS, TOO_OLD_MS + 1_000).await;
                redis.crash_back_to(&snapshot).await?;
            }
            Fault::RedisFrozen => {
                redis.process().signal(Signal::STOP);
                self.pause(100, 2_500).await;
                redis.process().signal(Signal::CONT);
            }
            Fault::RedisBusy => {
                let mut connection = redis.connect().await?;
                let seconds = Duration::from_millis(self.chance.between(100, 2_000));
                let () = redis::cmd("DEBUG")
                    .arg("SLEEP")
                    .arg(seconds.as_secs_f64())
                    .query_async(&mut connection)
                    .await?;
            }
            Fault::RedisFlushed => {
                let mut connection = redis.connect().await?;
                let () = redis::cmd("FLUSHALL").query_async(&mut connection).await?;
            }
            Fault::RedisEvicts => self.evict(&world.regions[region].redis).await?,
            Fault::PostgresCrashed => {
                world.postgres.process().signal(Signal::QUIT);
                world.postgres.process().ended(END).await?;
                self.pause(0, 800).await;
                world.postgres.restart().await?;
            }
            Fault::EdgeKilled => {
                let edge = &mut world.regions[region].edge;
                edge.server.process().kill();
                self.pause(0, 500).await;
                edge.server = edge.config.start().await?;
            }
            Fault::EdgeFrozen => {
                let edge = world.regions[region].edge.server.process();
                edge.signal(Signal::STOP);
                self.pause(100, 2_500).await;
                edge.signal(Signal::CONT);
            }
            Fault::ManagerKilled => {
                let manager = self.any_manager(world)?;
                manager.process.kill();
                self.pause(0, 2_000).await;
                manager.process = manager.config.start().await?;
            }
            Fault::ManagerFrozen => {
                let manager = self.any_manager(world)?;
                manager.process.signal(Signal::STOP);
                self.pause(100, 3_000).await;
                manager.process.signal(Signal::CONT);
            }
            Fault::SubscriptionsEnded => {
                let mut connection = world.regions[0].redis.connect().await?;
                for _ in 0..self.chance.one_of(6) {
                    let _ended: u64 = redis::cmd("CLIENT")
                        .arg(&["KILL", "TYPE", "pubsub"])
                        .query_async(&mut connection)
                        .await?;
                    self.pause(0, 300).await;
                }
            }
            Fault::OriginKilled => {
                let number = self.any_origin(world);
                world.origins[number].server.process().kill();
                lead_edges_past(world, number)?;
                self.pause(0, 1_500).await;
                let origin = &mut world.origins[number];
                origin.server = origin.config.start().await?;
            }
            Fault::OriginFrozen => {
                let number = self.freeze_an_origin(world)?;
                self.pause(200, 2_500).await;
                world.origins[number].server.process().signal(Signal::CONT);
            }
            Fault::LeaderDeposed => end_leaders_session(world).await?,
            Fault::TwoLeaders => {
                let number = self.freeze_an_origin(world)?;
                end_leaders_session(world).await?;
                self.pause(300, 2_500).await;
                world.origins[number].server.process().signal(Signal::CONT);
            }
            Fault::PathCut(path) => {
                for _ in 0..self.chance.one_of(4) {
                    path.of(world)?.cut();
                    self.pause(0, 200).await;
                }
            }
            Fault::PathSlow(path) => {
                let delay = Duration::from_millis(self.chance.between(2, 150));
                self.change(path, Weather::Delayed(delay), world).await?;
            }
            Fault::PathSilent(path) => self.change(path, Weather::BlackHole, world).await?,
            Fault::PathClosed(path) => self.change(path, Weather::Refused, world).await?,
        }
        Ok(())
    }

    async fn change(
        &mut self,
        path: Path,
        weather: Weather,
        world: &mut World,
    ) -> anyhow::Result<()> {
        path.of(world)?.weather(weather);
        self.pause(200, 2_500).await;
        path.of(world)?.weather(Weather::Fair);
        Ok(())
    }

    /// Removes half of all keys, a few times.
    async fn evict(&mut self, redis: &Redis) -> anyhow::Result<()> {
        let mut connection = redis.connect().await?;
        for _ in 0..5 {
            let keys: Vec<String> = redis::cmd("KEYS")
                .arg("*")
                .query_async(&mut connection)
                .await?;
            let evicted: Vec<_> = keys
                .into_iter()
                .filter(|_| self.chance.percent(50))
                .collect();
            if !evicted.is_empty() {
                let () = redis::cmd("DEL")
                    .arg(evicted)
                    .query_async(&mut connection)
                    .await?;
            }
            self.pause(0, 100).await;
        }
        Ok(())
    }

    fn any_manager<'a>(&mut self, world: &'a mut World) -> anyhow::Result<&'a mut Manager> {
        let region = far(&mut self.chance, world.regions.len());
        let manager = world.regions[region].manager.as_mut();
        manager.context("a far region has a manager")
    }

    fn any_origin(&mut self, world: &World) -> usize {
        self.chance.below(world.origins.len())
    }

    fn freeze_an_origin(&mut self, world: &mut World) -> anyhow::Result<usize> {
        let number = self.any_origin(world);
        world.origins[number].server.process().signal(Signal::STOP);
        lead_edges_past(world, number)?;
        Ok(number)
    }

    async fn pause(&mut self, least_ms: u64, most_ms: u64) {
        let pause = self.chance.between(least_ms, most_ms);
        time::sleep(Duration::from_millis(pause)).await;
    }
}

/// Any region but the first one.
fn far(chance: &mut Chance, regions: usize) -> usize {
    1 + chance.below(regions.saturating_sub(1))
}

fn network(world: &World) -> anyhow::Result<&Network> {
    let network = world.network.as_ref();
    network.context("this world has no network that can fail")
}

/// Leads edges to another origin than this one.
fn lead_edges_past(world: &World, number: usize) -> anyhow::Result<()> {
    let other = (number + 1) % world.origins.len();
    let target = world.origins[other].config.listen;
    network(world)?.edge_to_origin.lead_to(target);
    Ok(())
}

async fn end_leaders_session(world: &World) -> anyhow::Result<()> {
    let mut database = PgConnection::connect_with(&world.database()).await?;
    sqlx::query(
        "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
         WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = 'tidemark-origin'",
    )
    .execute(&mut database)
    .await?;
    database.close().await?;
    Ok(())
}
