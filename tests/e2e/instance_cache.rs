//! `l1`: an instance serves again what it has just proven, without Redis, and never beyond the promise.

use http::Method;
use rustix::process::Signal;
use serde_json::json;
use tidemark_tests::{
    http::Answer,
    stack::{OwnCatalog, Stack},
    wait,
};

use crate::support::{HIT, now_ms, read_until};

const L1: &str = "tidemark; hit; detail=l1";

/// The promise of [`CATALOG`]'s `held`, which is its `l1` as well.
const PROMISE_MS: i64 = 4_000;

const CATALOG: OwnCatalog = OwnCatalog {
    schema: "CREATE TABLE items (id bigint PRIMARY KEY, value text NOT NULL);
             INSERT INTO items SELECT n, 'old' FROM generate_series(1, 10) AS n;",
    toml: r#"
        [query.held]
        path          = "/held/{id}"
        params        = { id = "int" }
        sql           = "item.sql"
        shape         = "row"
        reads         = ["items"]
        scope         = "item:{id}"
        max_staleness = "4s"
        l1            = "4s"

        [query.briefly]
        path          = "/briefly/{id}"
        params        = { id = "int" }
        sql           = "item.sql"
        shape         = "row"
        reads         = ["items"]
        scope         = "item:{id}"
        max_staleness = "10s"
        l1            = "100ms"

        [command.change]
        method = "PUT"
        path   = "/item/{id}"
        params = { id = "int", value = "text" }
        sql    = "change.sql"

        [table.items]
        scope = "item:{id}"
    "#,
    sql: &[
        ("item.sql", "SELECT value FROM items WHERE id = :id"),
        (
            "change.sql",
            "UPDATE items SET value = :value WHERE id = :id RETURNING value",
        ),
    ],
};

async fn start() -> Stack {
    Stack::with().one_thread().catalog(CATALOG).start().await
}

/// Reads until the instance serves what it holds.
async fn l1(stack: &Stack, path: &str) -> Answer {
    read_until(stack, path, "a hit in the instance's cache", |answer| {
        answer.cache_status() == L1
    })
    .await
}

fn as_of(answer: &Answer) -> i64 {
    answer.header("tidemark-as-of").parse().unwrap()
}

#[tokio::test]
async fn a_hit_in_the_instance_s_cache_is_no_redis_command() {
    let stack = start().await;
    let mut monitor = stack.redis.monitor().await.unwrap();
    l1(&stack, "/held/1").await;
    monitor.commands().await.unwrap();

    const READS: usize = 60;
    let mut held = 0;
    for _ in 0..READS {
        let answer = stack.read("/held/1").await;
        held += usize::from(answer.cache_status() == L1);
        assert_eq!(answer.json()["value"], "old");
    }
    let commands = monitor.commands().await.unwrap();
    let lookups = commands
        .iter()
        .filter(|command| command.starts_with("\"MGET\" \"tm:{item:1}:held\""));
    // Whoever is served by another instance, or after the promise, looks once.
    assert_eq!(lookups.count(), READS - held, "{commands:#?}");
    assert!(held > READS / 2, "{held} of {READS}");
}

#[tokio::test]
async fn its_headers_are_those_of_the_look_up() {
    let stack = start().await;
    let proven = wait::until(
        "a hit, and the same from the instance's cache",
        async || {
            let looked_up = stack.hit("/held/1").await;
            (looked_up, stack.read("/held/1").await)
        },
        |(_, held)| held.cache_status() == L1,
    );
    let (looked_up, held) = proven.await;
    assert_eq!(
        held.header("tidemark-as-of"),
        looked_up.header("tidemark-as-of")
    );
    assert_eq!(held.header("etag"), looked_up.header("etag"));
    assert_eq!(held.header("cache-control"), "no-cache");
    assert_eq!(held.body, looked_up.body);
    let age = |answer: &Answer| answer.header("age").parse::<i64>().unwrap();
    assert!(age(&held) >= age(&looked_up), "{looked_up:?} {held:?}");

    let etag = held.header("etag").to_owned();
    let known = wait::until(
        "a hit in the instance's cache",
        async || {
            stack
                .read_with("/held/1", &[("if-none-match", &etag)])
                .await
        },
        |answer| answer.cache_status() == L1,
    );
    assert_eq!(known.await.status, 304);
}

#[tokio::test]
async fn i3_a_write_is_seen_past_what_the_instance_holds() {
    let stack = start().await;
    for round in 0..5 {
        l1(&stack, "/held/1").await;
        let value = format!("of round {round}");
        let written = stack
            .command(Method::PUT, "/item/1", &json!({"value": value}))
            .await;
        assert_eq!(written.header("tidemark-invalidation"), "applied");
        let at_least = written.header("tidemark-at-least");
        let answer = stack
            .read_with("/held/1", &[("tidemark-at-least", at_least)])
            .await;
        assert_eq!(answer.json()["value"], value, "{answer:?}");
        assert_ne!(answer.cache_status(), L1);
        // The one that has seen it does not get to see the state before it again.
        let after = stack.read("/held/1").await;
        if after.cache_status() != L1 {
            assert_eq!(after.json()["value"], value, "{after:?}");
        }
    }
}

#[tokio::test]
async fn i2_what_the_instance_holds_ends_with_l1() {
    let stack = start().await;
    l1(&stack, "/briefly/1").await;
    stack
        .sql("UPDATE items SET value = 'new' WHERE id = 1")
        .await;
    stack.settled().await;
    let settled = now_ms();
    wait::until(
        "the change",
        async || {
            let asked = now_ms();
            (asked, stack.read("/briefly/1").await)
        },
        |(asked, answer)| {
            let new = answer.json()["value"] == "new";
            assert!(new || answer.cache_status() == L1, "{answer:?}");
            // Not the promise of ten seconds ends it.
            assert!(new || asked - settled <= 100, "{answer:?}");
            new
        },
    )
    .await;
}

#[tokio::test]
async fn i2_while_redis_is_frozen_it_serves_until_the_promise_ends() {
    let mut stack = Stack::with()
        .one_thread()
        .catalog(CATALOG)
        .origin("TIDEMARK_INVALIDATION_WAIT_MS", 200)
        .start()
        .await;
    // Until it is the instance that holds the answer which is asked first.
    loop {
        l1(&stack, "/held/1").await;
        stack.redis.process().signal(Signal::STOP);
        let first = stack.read("/held/1").await;
        assert_eq!(first.status, 200, "{first:?}");
        if first.cache_status() == L1 {
            break;
        }
        stack.redis.process().signal(Signal::CONT);
    }
    let changed = stack
        .command(Method::PUT, "/item/1", &json!({"value": "new"}))
        .await;
    assert_eq!(changed.header("tidemark-invalidation"), "pending");
    let (_, after) = wait::until(
        "the promise has run out",
        async || {
            let asked = now_ms();
            (asked, stack.read("/held/1").await)
        },
        |(asked, answer)| {
            if answer.cache_status() != L1 {
                return true;
            }
            let age = asked - as_of(answer);
            assert!(age <= PROMISE_MS, "proven {age} ms ago: {answer:?}");
            false
        },
    )
    .await;
    assert_eq!(after.json()["value"], "new");
    assert_eq!(
        after.cache_status(),
        "tidemark; fwd=bypass; detail=redis-unavailable"
    );
    stack.redis.process().signal(Signal::CONT);
    read_until(&stack, "/held/1", "a hit", |answer| {
        answer.cache_status() == HIT
    })
    .await;
}

#[tokio::test]
async fn without_room_nothing_is_held() {
    let stack = Stack::with()
        .one_thread()
        .catalog(CATALOG)
        .edge("l1_bytes", 0)
        .start()
        .await;
    stack.hit("/held/1").await;
    for _ in 0..20 {
        let answer = stack.read("/held/1").await;
        assert_ne!(answer.cache_status(), L1);
    }
}
