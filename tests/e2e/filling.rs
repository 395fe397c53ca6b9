//! How the cache is filled, and what it gives meanwhile: refreshed ahead of time, within the promise
//! while it is loaded anew, and somewhat beyond it while the origin fails.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use http::Method;
use serde_json::json;
use sqlx::Connection as _;
use tidemark_tests::{
    http::Answer,
    stack::{OwnCatalog, Stack},
    wait,
};

use crate::support::{HIT, assert_problem, read_until};

const CATALOG: OwnCatalog = OwnCatalog {
    schema: "CREATE TABLE items (id bigint PRIMARY KEY, value bigint NOT NULL);
             INSERT INTO items SELECT n, 0 FROM generate_series(1, 100) AS n;",
    toml: r#"
        [query.plain]
        path   = "/plain/{id}"
        params = { id = "int" }
        sql    = "item.sql"
        shape  = "row"
        reads  = ["items"]
        scope  = "item:{id}"

        [query.brief]
        path   = "/brief/{id}"
        params = { id = "int" }
        sql    = "item.sql"
        shape  = "row"
        reads  = ["items"]
        scope  = "item:{id}"
        ttl    = "2s"

        [query.sturdy]
        path   = "/sturdy/{id}"
        params = { id = "int" }
        sql    = "item.sql"
        shape  = "row"
        reads  = ["items"]
        scope  = "item:{id}"
        stale_if_error = "1h"

        [query.kept]
        path   = "/kept/{id}"
        params = { id = "int" }
        sql    = "item.sql"
        shape  = "row"
        reads  = ["items"]
        scope  = "item:{id}"
        ttl    = "1s"
        stale_if_error = "1h"

        [query.hardly]
        path   = "/hardly/{id}"
        params = { id = "int" }
        sql    = "item.sql"
        shape  = "row"
        reads  = ["items"]
        scope  = "item:{id}"
        stale_if_error = "2s"

        [query.lazy]
        path   = "/lazy/{id}"
        params = { id = "int" }
        sql    = "item.sql"
        shape  = "row"
        reads  = ["items"]
        scope  = "item:{id}"
        max_staleness = "1s"
        on_change = "revalidate"

        [command.set]
        method = "PUT"
        path   = "/item/{id}"
        params = { id = "int", value = "int" }
        sql    = "set.sql"

        [table.items]
        scope = "item:{id}"
    "#,
    sql: &[
        ("item.sql", "SELECT value FROM items WHERE id = :id"),
        (
            "set.sql",
            "UPDATE items SET value = :value WHERE id = :id RETURNING value",
        ),
    ],
};

const PROMISE_MS: i64 = 1_000;

const STAND_IN: &str = "tidemark; fwd=stale; detail=stale-if-error";

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

fn value(answer: &Answer) -> i64 {
    answer.json()["value"]
        .as_i64()
        .unwrap_or_else(|| panic!("no item: {answer:?}"))
}

/// How many queries the origin has run.
async fn executions(stack: &Stack) -> usize {
    stack.statements().await.len()
}

/// Fails unless the answer was true so long before it was asked for, at most.
#[track_caller]
fn assert_within(answer: &Answer, asked_at_ms: i64, bound_ms: i64) {
    let as_of: i64 = answer.header("tidemark-as-of").parse().unwrap();
    let age = asked_at_ms - as_of;
    assert!(age <= bound_ms, "proven {age} ms ago: {answer:?}");
}

#[tokio::test]
async fn an_answer_that_is_asked_for_is_refreshed_ahead_and_nobody_waits() {
    let stack = Stack::with()
        .catalog(CATALOG)
        .log_statements()
        .start()
        .await;
    wait::until(
        "a refresh between hits",
        async || {
            stack.hit("/brief/1").await;
            let before = executions(&stack).await;
            let mut answer = stack.read("/brief/1").await;
            while answer.cache_status() == HIT && executions(&stack).await == before {
                answer = stack.read("/brief/1").await;
            }
            // Only a machine that stands still for long lets the ttl end first.
            answer.cache_status() == HIT
        },
        |refreshed| *refreshed,
    )
    .await;
}

#[tokio::test]
async fn an_answer_whose_ttl_has_ended_is_renewed_without_its_body() {
    let stack = Stack::with().catalog(CATALOG).start().await;
    let before = stack.hit("/kept/1").await;
    let end = stack.now().await + 1_000;
    wait::until(
        "the ttl has ended",
        async || stack.now().await,
        |now| *now > end,
    )
    .await;
    let renewed = stack.read("/kept/1").await;
    assert_eq!(
        renewed.cache_status(),
        "tidemark; fwd=stale; fwd-status=304; stored; detail=expired"
    );
    assert_eq!(renewed.body, before.body);
    assert_eq!(renewed.header("etag"), before.header("etag"));
    stack.hit("/kept/1").await;
}

#[tokio::test]
async fn i2_while_the_origin_fails_only_what_the_catalog_permits_is_served() {
    let mut stack = Stack::with().catalog(CATALOG).start().await;
    for path in ["/sturdy/1", "/hardly/1", "/plain/1"] {
        stack.hit(path).await;
    }
    stack.origin.process().kill();

    let sturdy = read_until(&stack, "/sturdy/1", "no longer proven", |answer| {
        answer.cache_status() != HIT
    })
    .await;
    assert_eq!(sturdy.cache_status(), STAND_IN, "{sturdy:?}");
    assert_eq!(sturdy.status, 200);
    assert_eq!(value(&sturdy), 0);
    assert!(!sturdy.header("age").is_empty(), "{sturdy:?}");

    // Whatever is given is within its bound, and then nothing is.
    let mut stood_in = false;
    let last = wait::until(
        "the bound is reached",
        async || {
            let asked_at = now_ms();
            let answer = stack.read("/hardly/1").await;
            if answer.status == 200 {
                assert_within(&answer, asked_at, PROMISE_MS + 2_000);
                stood_in |= answer.cache_status() == STAND_IN;
            }
            answer
        },
        |answer| answer.status != 200,
    )
    .await;
    assert_problem(&last, 503, "unavailable");
    assert!(stood_in);

    assert_problem(&stack.read("/plain/1").await, 503, "unavailable");
    // Nothing stands in for what was never asked, or for what is later than it.
    assert_problem(&stack.read("/sturdy/2").await, 503, "unavailable");
    let now = stack.now().await.to_string();
    let insisting = [("tidemark-at-least", &*now)];
    let insisting = stack.read_with("/sturdy/1", &insisting).await;
    assert_problem(&insisting, 503, "unavailable");

    stack.sql("UPDATE items SET value = 1 WHERE id = 1").await;
    assert_eq!(stack.read("/sturdy/1").await.cache_status(), STAND_IN);
    stack.start_origin().await;
    stack.settled().await;
    assert_eq!(value(&stack.read("/sturdy/1").await), 1);
    stack.hit("/sturdy/1").await;
}

#[tokio::test]
async fn a_stopped_postgresql_is_bridged_where_the_catalog_permits() {
    let mut stack = Stack::with().catalog(CATALOG).own_server().start().await;
    stack.hit("/sturdy/1").await;
    stack.hit("/plain/1").await;
    stack.database.server().process().stop();
    let sturdy = read_until(&stack, "/sturdy/1", "no longer proven", |answer| {
        answer.cache_status() != HIT
    })
    .await;
    assert_eq!(
        sturdy.cache_status(),
        "tidemark; fwd=stale; fwd-status=503; detail=stale-if-error"
    );
    assert_eq!(value(&sturdy), 0);
    let plain = read_until(&stack, "/plain/1", "no longer proven", |answer| {
        answer.cache_status() != HIT
    })
    .await;
    assert_problem(&plain, 503, "unavailable");
    assert_eq!(plain.header("retry-after"), "1");

    stack.database.server().restart().await.unwrap();
    read_until(&stack, "/sturdy/1", "proven again", |answer| {
        answer.cache_status() == HIT
    })
    .await;
}

/// Writes and reads as fast as it goes, for as many changes as it takes.
#[tokio::test]
async fn i2_under_a_storm_of_writes_revalidation_keeps_the_promise_and_the_database_calm() {
    const CHANGES: i64 = 600;
    let stack = Stack::with()
        .catalog(CATALOG)
        .log_statements()
        .start()
        .await;
    stack.hit("/lazy/1").await;
    let before = executions(&stack).await;
    let started_ms = now_ms();

    let writing = async {
        let mut committed: BTreeMap<i64, i64> = BTreeMap::new();
        let mut connection = stack.database.connect().await.unwrap();
        for value in 1..=CHANGES {
            sqlx::query("UPDATE items SET value = $1 WHERE id = 1")
                .bind(value)
                .execute(&mut connection)
                .await
                .unwrap();
            committed.insert(now_ms(), value);
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        connection.close().await.unwrap();
        committed
    };
    let reading = async {
        let mut reads = Vec::new();
        loop {
            let asked_at = now_ms();
            let answer = stack.read("/lazy/1").await;
            let seen = value(&answer);
            reads.push((asked_at, answer));
            if seen == CHANGES {
                return reads;
            }
        }
    };
    let (committed, reads) = tokio::join!(writing, reading);

    let mut revalidated = 0;
    for (asked_at, answer) in &reads {
        assert_within(answer, *asked_at, PROMISE_MS);
        let promised = committed.range(..asked_at - PROMISE_MS).next_back();
        let promised = promised.map_or(0, |(_, value)| *value);
        assert!(
            value(answer) >= promised,
            "{promised} at {asked_at}: {answer:?}"
        );
        revalidated += usize::from(answer.cache_status() == "tidemark; hit; detail=revalidate");
    }
    let runs = executions(&stack).await - before;
    let promises = usize::try_from((now_ms() - started_ms) / PROMISE_MS).unwrap() + 1;
    assert!(revalidated > 0, "{} reads", reads.len());
    assert!(
        runs <= 3 * promises + 2,
        "{runs} runs in {promises} s, for {} reads of {CHANGES} changes",
        reads.len()
    );
}

#[tokio::test]
async fn i3_revalidation_gives_nothing_before_at_least() {
    let stack = Stack::with().catalog(CATALOG).start().await;
    for value_set in 1..=10 {
        stack.read("/lazy/1").await;
        let body = json!({"value": value_set});
        let written = stack.command(Method::PUT, "/item/1", &body).await;
        let at_least = written.header("tidemark-at-least").to_owned();
        let insisting = [("tidemark-at-least", &*at_least)];
        let answer = stack.read_with("/lazy/1", &insisting).await;
        assert_eq!(value(&answer), value_set, "{answer:?}");
    }
}
