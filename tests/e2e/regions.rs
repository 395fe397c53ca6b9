//! One relay, several Redis: one that is lost delays nobody, and is believed again only for a reason.

use std::time::{Duration, Instant};

use http::Method;
use rustix::process::Signal;
use serde_json::json;
use tidemark_shared::tidemark::Tidemark;
use tidemark_tests::{port::local, redis::Redis, stack::Stack, wait};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time,
};

use crate::support::{dashboard, order, orders, origin};

/// A stack whose origin writes to a second Redis as well.
async fn two_regions() -> (Stack, Redis) {
    let mut stack = Stack::with()
        .origin("TIDEMARK_INVALIDATION_WAIT_MS", 500)
        .start()
        .await;
    let other = stack.another_redis("other-redis").await;
    stack.origin_config.redis_url = format!("{},{}", stack.redis.url(), other.url());
    stack.restart_origin().await;
    stack.relay_leads().await;
    stack.settled_at(&other).await;
    (stack, other)
}

/// Waits until the relay has said this of a region since it started.
async fn says(stack: &Stack, what: &str, redis: &Redis) {
    let port = format!(":{}/0", redis.config().port);
    wait::until(
        what,
        async || std::fs::read_to_string(stack.origin.log()).unwrap(),
        |log| {
            log.lines()
                .any(|line| line.contains(what) && line.contains(&port))
        },
    )
    .await;
}

/// How old a tidemark gets at most while `condition` does not hold, in ms.
async fn oldest_until(
    redis: &Redis,
    stack: &Stack,
    mut condition: impl AsyncFnMut() -> bool,
) -> i64 {
    let mut connection = stack.database.connect().await.unwrap();
    let mut oldest = 0;
    while !condition().await {
        let tidemark = redis.tidemark().await.unwrap().expect("a tidemark");
        let now: i64 =
            sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
                .fetch_one(&mut connection)
                .await
                .unwrap();
        oldest = oldest.max(now - tidemark.as_of);
    }
    oldest
}

fn rename(name: &str) -> String {
    format!("UPDATE organizations SET name = '{name}' WHERE id = 42")
}

#[tokio::test]
async fn i2_a_frozen_region_delays_neither_the_other_nor_commands() {
    let (stack, mut other) = two_regions().await;
    let before = orders(&stack.hit(&dashboard(42)).await);
    let held = stack.settled_at(&other).await;
    other.process().signal(Signal::STOP);
    let frozen = Instant::now();
    let oldest = oldest_until(&stack.redis, &stack, async || {
        frozen.elapsed() > Duration::from_secs(3)
    })
    .await;
    println!("while another region is frozen, the tidemark is at most {oldest} ms old");
    assert!(oldest < 700, "{oldest} ms");
    let created = stack
        .command(Method::POST, "/org/42/orders", &order())
        .await;
    assert_eq!(created.header("tidemark-invalidation"), "applied");
    assert_eq!(orders(&stack.read(&dashboard(42)).await), before + 1);

    // It has missed a change.
    other.process().signal(Signal::CONT);
    let after = stack.settled_at(&other).await;
    assert_ne!(after.epoch, held.epoch);
    says(&stack, "doubt=\"behind\"", &other).await;
}

#[tokio::test]
async fn i4_a_region_that_missed_nothing_keeps_its_epoch() {
    let (stack, mut other) = two_regions().await;
    let held = stack.settled_at(&other).await;
    other.process().signal(Signal::STOP);
    says(&stack, "region lost", &other).await;
    stack.settled().await;
    other.process().signal(Signal::CONT);
    let after = stack.settled_at(&other).await;
    assert_eq!(after.epoch, held.epoch);
    assert!(after.event > held.event);

    // A change is applied to both, in the epochs in which they are.
    let home = stack.tidemark().await.unwrap();
    stack.sql(&rename("Both")).await;
    assert_eq!(stack.settled().await.epoch, home.epoch);
    assert_eq!(stack.settled_at(&other).await.epoch, held.epoch);
}

#[tokio::test]
async fn i4_a_region_that_comes_back_empty_begins_a_new_epoch() {
    let (stack, mut other) = two_regions().await;
    let held = stack.settled_at(&other).await;
    let home = stack.tidemark().await.unwrap();
    other.restart().await.unwrap();
    let after = stack.settled_at(&other).await;
    assert_ne!(after.epoch, held.epoch);
    assert_eq!(stack.settled().await.epoch, home.epoch, "home goes on");
}

#[tokio::test]
async fn i4_without_its_own_region_the_relay_serves_the_other() {
    let (mut stack, other) = two_regions().await;
    let edge = stack.another_edge(&other).await;
    let before = orders(&stack.hit_at(&edge, &dashboard(42)).await);
    stack.redis.process().signal(Signal::STOP);
    says(&stack, "region lost", &stack.redis).await;
    let created = stack
        .command(Method::POST, "/org/42/orders", &order())
        .await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.header("tidemark-invalidation"), "pending");
    stack.settled_at(&other).await;
    let answer = stack.read_at(&edge, &dashboard(42), &[]).await;
    assert_eq!(orders(&answer), before + 1);
    let left: i64 = stack.value("SELECT count(*) FROM tidemark.outbox").await;
    assert_eq!(left, 0, "rows do not wait for a lost region");
    stack.redis.process().signal(Signal::CONT);
    stack.settled().await;
    assert_eq!(orders(&stack.hit(&dashboard(42)).await), before + 1);
}

#[tokio::test]
async fn i4_while_every_region_is_lost_changes_stay_in_the_outbox() {
    let (mut stack, mut other) = two_regions().await;
    stack.hit(&dashboard(42)).await;
    let term = stack.settled().await.term;
    stack.redis.process().signal(Signal::STOP);
    other.process().signal(Signal::STOP);
    says(&stack, "region lost", &stack.redis).await;
    says(&stack, "region lost", &other).await;
    let path = "/product/7/price";
    let written = stack
        .command(Method::PUT, path, &json!({"price": 12.5}))
        .await;
    assert_eq!(written.header("tidemark-invalidation"), "pending");
    // Longer than PostgreSQL lets a silent leader live.
    let stranded = Instant::now();
    let left = wait::until(
        "time goes by",
        async || {
            stack
                .value::<i64>("SELECT count(*) FROM tidemark.outbox")
                .await
        },
        |_| stranded.elapsed() > Duration::from_secs(3),
    )
    .await;
    assert!(left > 0);
    for process in [stack.redis.process(), other.process()] {
        process.signal(Signal::CONT);
    }
    let after: Tidemark = stack.settled().await;
    assert_eq!(after.term, term, "the same leadership");
    stack.settled_at(&other).await;
    let left: i64 = stack.value("SELECT count(*) FROM tidemark.outbox").await;
    assert_eq!(left, 0);
}

/// A way to a Redis on which each answer takes a while longer.
struct LongWay {
    port: u16,
    forwarder: JoinHandle<()>,
}

impl LongWay {
    async fn to(redis: &Redis, delay: Duration) -> Self {
        let listener = TcpListener::bind(local(0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let to = local(redis.config().port);
        let forwarder = tokio::spawn(async move {
            let mut ways = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(to).await else {
                    continue;
                };
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                ways.spawn(async move {
                    let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
                });
                ways.spawn(async move {
                    let mut bytes = vec![0; 64 * 1024];
                    while let Ok(length @ 1..) = from_server.read(&mut bytes).await {
                        time::sleep(delay).await;
                        if to_client.write_all(&bytes[..length]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { port, forwarder }
    }
}

impl Drop for LongWay {
    fn drop(&mut self) {
        self.forwarder.abort();
    }
}

// The way has a thread of its own while the purge runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_drain_to_a_far_region_keeps_the_leadership() {
    let mut stack = Stack::start().await;
    let other = stack.another_redis("other-redis").await;
    let way = LongWay::to(&other, Duration::from_millis(130)).await;
    let far = other.url().replace(
        &format!(":{}", other.config().port),
        &format!(":{}", way.port),
    );
    stack.origin_config.redis_url = format!("{},{far}", stack.redis.url());
    stack.restart_origin().await;
    stack.settled().await;
    let held = stack.settled_at(&other).await;
    // Nine events, one after the other: longer than PostgreSQL waits for a silent leader.
    let scopes: Vec<_> = (0..9_000).map(|id| format!("org:{id}")).collect();
    let mut purge = vec!["purge", "--invalidation-wait-ms", "20000"];
    purge.extend(scopes.iter().map(String::as_str));
    let begun = Instant::now();
    let purged = origin(&stack.origin_config, &purge);
    assert!(purged.success, "{purged:?}");
    println!(
        "9 events to a far region took {} ms",
        begun.elapsed().as_millis()
    );
    let after = stack.settled_at(&other).await;
    assert_eq!(after.term, held.term, "the same leadership");
    assert_eq!(stack.settled().await.term, held.term);
}
