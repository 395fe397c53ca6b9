//! The cache manager: a region that only hears events is as fresh, and never more trusted than it
//! deserves.

use std::time::{Duration, Instant};

use http::Method;
use rustix::process::Signal;
use tidemark_tests::{
    http::Answer,
    process::{Launch, Process},
    redis::Redis,
    server::Server,
    stack::Stack,
    wait,
};

use crate::support::{dashboard, order, orders, origin};

/// A stack and a second region: a Redis and an edge that only a manager feeds.
struct Regions {
    stack: Stack,
    edge: Server,
    redis: Redis,
}

impl Regions {
    async fn start() -> Self {
        let stack = Stack::start().await;
        let redis = stack.another_redis("far-redis").await;
        let edge = stack.another_edge(&redis).await;
        Self { stack, edge, redis }
    }

    /// A manager from the stack's Redis to the far one.
    async fn manager(&self, name: &'static str) -> Process {
        let mut manager = self.launch(name, &self.stack.redis.url(), &self.redis.url());
        let route = manager.says("applying events of ", wait::LIMIT).await;
        let route = route.unwrap();
        assert!(route.contains(" to 127.0.0.1:"), "{route}");
        manager
    }

    fn launch(&self, name: &'static str, from: &str, to: &str) -> Process {
        let origin = &self.stack.origin_config;
        let mut command = origin.command(&["manager"]).unwrap();
        command
            .env("TIDEMARK_FROM", from)
            .env("TIDEMARK_TO", to)
            .env("RUST_LOG", "tidemark_origin=debug");
        Process::start(Launch {
            name,
            command,
            log: origin.log.with_file_name(format!("{name}.log")),
            end: Signal::TERM,
            lease: None,
        })
        .unwrap()
    }

    async fn read(&self, path: &str) -> Answer {
        self.stack.read_at(&self.edge, path, &[]).await
    }

    async fn hit(&self, path: &str) -> Answer {
        self.stack.hit_at(&self.edge, path).await
    }

    async fn tidemark(&self) -> tidemark_shared::tidemark::Tidemark {
        self.stack.settled_at(&self.redis).await
    }

    async fn rename(&self, name: &str) {
        self.stack
            .sql(&format!(
                "UPDATE organizations SET name = '{name}' WHERE id = 42"
            ))
            .await;
    }

    /// Runs a command on a Redis, as words.
    async fn redis<T: redis::FromRedisValue>(redis: &Redis, words: &[&str]) -> T {
        let mut connection = redis.connect().await.unwrap();
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut connection).await.unwrap()
    }
}

fn name(answer: &Answer) -> String {
    let json = answer.json();
    json["organization"]["name"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer:?}"))
        .to_owned()
}

#[tokio::test]
async fn i1_a_change_reaches_the_far_region() {
    let regions = Regions::start().await;
    let mut manager = regions.manager("manager").await;
    let before = name(&regions.hit(&dashboard(42)).await);
    let held = regions.tidemark().await;
    assert!(held.upstream.is_some());
    assert_eq!(
        held.upstream,
        Some(regions.stack.tidemark().await.unwrap().epoch)
    );
    regions.hit(&dashboard(43)).await;
    regions.rename("Far away").await;
    assert_ne!(before, "Far away");
    assert_eq!(regions.tidemark().await.epoch, held.epoch);
    let answer = regions.read(&dashboard(42)).await;
    assert!(
        answer.cache_status().contains("detail=changed"),
        "{answer:?}"
    );
    assert_eq!(name(&answer), "Far away");
    assert_eq!(name(&regions.hit(&dashboard(42)).await), "Far away");

    // It ends in order when it is told to.
    manager.signal(Signal::INT);
    let status = manager.ended(wait::LIMIT).await.unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn i2_without_its_manager_a_region_stops_serving_within_the_promise() {
    let regions = Regions::start().await;
    let mut manager = regions.manager("manager").await;
    regions.hit(&dashboard(42)).await;
    let held = regions.tidemark().await;
    manager.kill();
    let killed = Instant::now();
    wait::until(
        "no more hits",
        async || regions.read(&dashboard(42)).await,
        |answer| answer.cache_status().contains("detail=unproven"),
    )
    .await;
    let took = killed.elapsed();
    println!(
        "last hit {} ms after the manager was killed",
        took.as_millis()
    );
    assert!(took < Duration::from_millis(2_500), "{took:?}");

    // Nothing has changed meanwhile: it goes on where it was, and everything cached is good again.
    let _manager = regions.manager("manager-again").await;
    assert_eq!(regions.tidemark().await.epoch, held.epoch);
    regions.hit(&dashboard(42)).await;
}

#[tokio::test]
async fn i4_a_manager_that_missed_a_change_begins_a_new_epoch() {
    let regions = Regions::start().await;
    let mut manager = regions.manager("manager").await;
    regions.hit(&dashboard(42)).await;
    let held = regions.tidemark().await;
    manager.kill();
    regions.rename("While it was away").await;
    regions.stack.settled().await;
    let _manager = regions.manager("manager-again").await;
    assert_ne!(regions.tidemark().await.epoch, held.epoch);
    let answer = regions.read(&dashboard(42)).await;
    assert_eq!(name(&answer), "While it was away", "{answer:?}");
    assert!(answer.cache_status().contains("detail=epoch"), "{answer:?}");
    assert_eq!(
        name(&regions.hit(&dashboard(42)).await),
        "While it was away"
    );
}

#[tokio::test]
async fn i4_lost_events_are_never_stale_answers_and_lost_heartbeats_cost_nothing() {
    let regions = Regions::start().await;
    let mut manager = regions.manager("manager").await;
    regions.hit(&dashboard(42)).await;
    let held = regions.tidemark().await;
    // Heartbeats only.
    for _ in 0..5 {
        let killed = unsubscribe(&regions).await;
        assert_eq!(killed, 1);
        assert_eq!(regions.tidemark().await.epoch, held.epoch);
    }
    regions.hit(&dashboard(42)).await;

    // Changes while nobody listens: each is noticed afterwards.
    let mut epoch = held.epoch;
    for round in 0..3 {
        manager.signal(Signal::STOP);
        let killed = unsubscribe(&regions).await;
        assert_eq!(killed, 1);
        let new = format!("Unheard {round}");
        regions.rename(&new).await;
        regions.stack.settled().await;
        manager.signal(Signal::CONT);
        let after = regions.tidemark().await.epoch;
        assert_ne!(after, epoch);
        epoch = after;
        let answer = regions.read(&dashboard(42)).await;
        assert_eq!(name(&answer), new, "{answer:?}");
        regions.hit(&dashboard(42)).await;
    }

    // Changes in the very moment: heard or not, whatever the far edge proves is true.
    let mut epochs = vec![epoch];
    for round in 0..20 {
        unsubscribe(&regions).await;
        let new = format!("Round {round}");
        regions.rename(&new).await;
        epochs.push(regions.tidemark().await.epoch);
        let answer = regions.read(&dashboard(42)).await;
        assert_eq!(name(&answer), new, "{answer:?}");
    }
    epochs.dedup();
    println!("20 changes, of which {} were missed", epochs.len() - 1);
    regions.hit(&dashboard(42)).await;
}

/// Ends the manager's subscription; how many there were.
async fn unsubscribe(regions: &Regions) -> i64 {
    let words = ["CLIENT", "KILL", "TYPE", "pubsub"];
    Regions::redis(&regions.stack.redis, &words).await
}

#[tokio::test]
async fn i4_a_far_redis_that_fell_back_begins_a_new_epoch() {
    let mut regions = Regions::start().await;
    let _manager = regions.manager("manager").await;
    regions.hit(&dashboard(42)).await;
    let held = regions.tidemark().await;
    let old: Vec<u8> = Regions::redis(&regions.redis, &["GET", "tm:tidemark"]).await;
    regions.rename("New").await;
    assert_eq!(regions.tidemark().await.epoch, held.epoch);
    // To a moment before the change: by the tidemark alone.
    let old = String::from_utf8(old).unwrap();
    let () = Regions::redis(&regions.redis, &["SET", "tm:tidemark", &old]).await;
    assert_ne!(regions.tidemark().await.epoch, held.epoch);
    assert_eq!(name(&regions.hit(&dashboard(42)).await), "New");

    // To nothing at all.
    let held = regions.tidemark().await;
    regions.redis.restart().await.unwrap();
    assert_ne!(regions.tidemark().await.epoch, held.epoch);
    assert_eq!(name(&regions.hit(&dashboard(42)).await), "New");
}

#[tokio::test]
async fn i4_two_managers_on_one_redis_do_no_harm() {
    let regions = Regions::start().await;
    let mut first = regions.manager("manager").await;
    let _second = regions.manager("second-manager").await;
    regions.hit(&dashboard(42)).await;
    let held = regions.tidemark().await;
    for round in 0..10 {
        let new = format!("Round {round}");
        regions.rename(&new).await;
        assert_eq!(regions.tidemark().await.epoch, held.epoch);
        assert_eq!(name(&regions.read(&dashboard(42)).await), new);
    }
    first.kill();
    regions.rename("By the second").await;
    assert_eq!(regions.tidemark().await.epoch, held.epoch);
    assert_eq!(name(&regions.read(&dashboard(42)).await), "By the second");
}

#[tokio::test]
async fn i4_a_frozen_source_is_left_and_taken_up_again() {
    let mut regions = Regions::start().await;
    let mut manager = regions.manager("manager").await;
    regions.hit(&dashboard(42)).await;
    let held = regions.tidemark().await;
    regions.stack.redis.process().signal(Signal::STOP);
    wait::until(
        "it notices the silence",
        async || manager.output().unwrap(),
        |log| log.contains("no events; subscribing again"),
    )
    .await;
    regions.stack.redis.process().signal(Signal::CONT);
    assert_eq!(regions.tidemark().await.epoch, held.epoch);
    manager.stop();
}

#[tokio::test]
async fn i4_what_gathers_while_the_far_redis_is_frozen_is_merged_or_dropped() {
    let mut regions = Regions::start().await;
    let manager = regions.manager("manager").await;
    regions.hit(&dashboard(42)).await;
    let held = regions.tidemark().await;
    let gives_up = async |times: usize| {
        wait::until(
            "attempts to apply it",
            async || manager.output().unwrap(),
            |log| log.matches("can't apply events").count() >= times,
        )
        .await;
    };
    regions.redis.process().signal(Signal::STOP);
    regions.rename("Merged").await;
    gives_up(1).await;
    regions.stack.settled().await;
    regions.redis.process().signal(Signal::CONT);
    assert_eq!(regions.tidemark().await.epoch, held.epoch);
    assert_eq!(name(&regions.read(&dashboard(42)).await), "Merged");

    // More than fits into one event: the rest queues up, and what is too much is dropped.
    regions.redis.process().signal(Signal::STOP);
    let scopes: Vec<_> = (0..2_500).map(|id| format!("org:{id}")).collect();
    let mut purge = vec!["purge"];
    purge.extend(scopes.iter().map(String::as_str));
    let purged = origin(&regions.stack.origin_config, &purge);
    assert!(purged.success, "{purged:?}");
    wait::until(
        "the queue is full",
        async || manager.output().unwrap(),
        |log| log.contains("dropped: too many wait"),
    )
    .await;
    regions.rename("Dropped").await;
    regions.stack.settled().await;
    regions.redis.process().signal(Signal::CONT);
    assert_ne!(regions.tidemark().await.epoch, held.epoch);
    assert_eq!(name(&regions.read(&dashboard(42)).await), "Dropped");
    assert_eq!(name(&regions.hit(&dashboard(42)).await), "Dropped");
}

#[tokio::test]
async fn i3_at_least_is_right_in_a_far_region_even_if_that_lags() {
    let regions = Regions::start().await;
    let mut manager = regions.manager("manager").await;
    let before = orders(&regions.hit(&dashboard(42)).await);
    let demand = async |created: &Answer| {
        let at_least = created.header("tidemark-at-least").to_owned();
        let headers = [("tidemark-at-least", at_least.as_str())];
        let path = dashboard(42);
        regions.stack.read_at(&regions.edge, &path, &headers).await
    };
    let create = async || {
        let stack = &regions.stack;
        stack
            .command(Method::POST, "/org/42/orders", &order())
            .await
    };
    // Far away, a moment after the command: right at once, from the cache or past it.
    for more in 1..=5 {
        let created = create().await;
        assert_eq!(created.header("tidemark-invalidation"), "applied");
        let answer = demand(&created).await;
        assert_eq!(orders(&answer), before + more, "{answer:?}");
    }
    regions.tidemark().await;
    assert_eq!(orders(&regions.hit(&dashboard(42)).await), before + 5);

    // Frozen: for as long as the promise lasts the far region proves an earlier state, which a plain
    // read may get, but not one that demands more.
    manager.signal(Signal::STOP);
    let created = create().await;
    let answer = demand(&created).await;
    assert_eq!(orders(&answer), before + 6, "{answer:?}");
    assert!(
        ["detail=at-least", "detail=unproven"]
            .iter()
            .any(|why| answer.cache_status().ends_with(why)),
        "{answer:?}"
    );
    // Another command later, the same holds, whatever was stored by then.
    let created = create().await;
    assert_eq!(orders(&demand(&created).await), before + 7);

    manager.signal(Signal::CONT);
    regions.tidemark().await;
    assert_eq!(orders(&regions.hit(&dashboard(42)).await), before + 7);
}

#[tokio::test]
async fn one_server_is_no_two_regions() {
    let regions = Regions::start().await;
    let url = regions.stack.redis.url();
    let other_database = format!("{url}/1");
    for to in [&url, &other_database] {
        let mut manager = regions.launch("manager", &url, to);
        let status = manager.ended(wait::LIMIT).await.unwrap();
        assert!(!status.success());
        let said = manager.output().unwrap();
        assert!(said.contains("one Redis server"), "{said}");
        assert!(!said.contains("redis-secret"), "{said}");
    }
}
