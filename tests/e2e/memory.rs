//! The origin's memory: without any Redis, hot answers cost PostgreSQL nothing and are as exact.

use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use rustix::process::Signal;
use sqlx::Connection as _;
use tidemark_tests::{
    http::Answer,
    origin::OriginConfig,
    port::local,
    server::Server,
    stack::{OwnCatalog, Stack},
    wait,
};

use crate::support::{
    dashboard,
    gate::{self, Gate},
    order, orders,
};

/// `Cache-Status` of an answer that the origin remembered, at the origin.
const REMEMBERED: &str = "tidemark-origin; hit";

/// The same at an edge that can't reach its Redis.
const REMEMBERED_AT_EDGE: &str =
    "tidemark-origin; hit, tidemark; fwd=bypass; detail=redis-unavailable";

/// A promise so long that nothing but exactness keeps old answers away.
const PATIENT: OwnCatalog = OwnCatalog {
    schema: "CREATE TABLE items (id bigint PRIMARY KEY, value text NOT NULL);
             INSERT INTO items SELECT n, 'old' FROM generate_series(1, 100) AS n;",
    toml: r#"
        [query.item]
        path   = "/item/{id}"
        params = { id = "int" }
        sql    = "item.sql"
        shape  = "row"
        reads  = ["items"]
        scope  = "item:{id}"
        max_staleness = "5m"

        [table.items]
        scope = "item:{id}"
    "#,
    sql: &[("item.sql", "SELECT value FROM items WHERE id = :id")],
};

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

fn is_remembered(answer: &Answer) -> bool {
    answer.cache_status().starts_with(REMEMBERED)
}

fn as_of(answer: &Answer) -> i64 {
    answer.header("tidemark-as-of").parse().unwrap()
}

fn value(answer: &Answer) -> String {
    let json = answer.json();
    json["value"].as_str().unwrap_or_default().to_owned()
}

/// How often requests have asked PostgreSQL.
async fn executions(stack: &Stack) -> usize {
    stack.statements().await.len()
}

/// Reads through the edge until the answer comes from the origin's memory.
async fn remembered(stack: &Stack, path: &str) -> Answer {
    wait::until(
        "an answer from the memory",
        async || stack.read(path).await,
        is_remembered,
    )
    .await
}

/// Reads from an origin until the answer comes from its memory.
async fn remembered_at(stack: &Stack, origin: &Server, path: &str) -> Answer {
    wait::until(
        "an answer from that origin's memory",
        async || stack.read_at(origin, path, &[]).await,
        is_remembered,
    )
    .await
}

/// A second origin on the same database and Redis.
async fn second_origin(stack: &Stack) -> Server {
    let config = OriginConfig {
        listen: local(0),
        log: stack.origin_config.log.with_file_name("second-origin.log"),
        ..stack.origin_config.clone()
    };
    config.start().await.unwrap()
}

#[tokio::test]
async fn i5_without_redis_a_hot_answer_is_executed_once() {
    const HITS: usize = 50;
    let mut stack = Stack::with().log_statements().start().await;
    stack.redis.process().kill();
    let first = remembered(&stack, &dashboard(42)).await;
    assert_eq!(first.cache_status(), REMEMBERED_AT_EDGE, "{first:?}");
    assert!(!first.header("age").is_empty(), "{first:?}");

    let before = executions(&stack).await;
    let (mut hits, mut others) = (0, 0);
    wait::until(
        "many hits",
        async || {
            let asked_at = now_ms();
            let answer = stack.read(&dashboard(42)).await;
            assert_eq!(answer.body, first.body);
            if is_remembered(&answer) {
                hits += 1;
                let age = asked_at - as_of(&answer);
                assert!(age <= 1_000, "proven {age} ms ago");
            } else {
                // The relay stood still for longer than the promise, on a machine this busy.
                others += 1;
            }
            hits
        },
        |hits| *hits >= HITS,
    )
    .await;
    assert_eq!(executions(&stack).await - before, others);

    let etag = first.header("etag").to_owned();
    let known = wait::until(
        "304 from the memory",
        async || {
            let headers = [("if-none-match", etag.as_str())];
            stack.read_at(&stack.origin, &dashboard(42), &headers).await
        },
        is_remembered,
    )
    .await;
    assert_eq!(known.status, 304, "{known:?}");
}

#[tokio::test]
async fn i1_without_redis_a_change_by_psql_is_seen_at_once_and_remembered() {
    let mut stack = Stack::start().await;
    stack.redis.process().kill();
    for name in ["First", "Second", "Third"] {
        remembered(&stack, &dashboard(42)).await;
        let others = remembered(&stack, &dashboard(43)).await;
        stack
            .sql(&format!(
                "UPDATE organizations SET name = '{name}' WHERE id = 42"
            ))
            .await;
        let visible = stack.now().await;
        let shows = |answer: &Answer| answer.json()["organization"]["name"] == name;
        wait::until(
            "the change, remembered",
            async || {
                let asked_at = now_ms();
                let answer = stack.read(&dashboard(42)).await;
                let late = as_of(&answer) >= visible || asked_at > visible + 1_000;
                assert!(shows(&answer) || !late, "visible at {visible}: {answer:?}");
                answer
            },
            |answer| is_remembered(answer) && shows(answer),
        )
        .await;
        // What did not change is remembered still, from before.
        let still = remembered(&stack, &dashboard(43)).await;
        assert_eq!(still.body, others.body);
    }
}

#[tokio::test]
async fn i1_without_redis_an_answer_older_than_the_change_is_not_remembered() {
    let mut stack = Stack::with().catalog(gate::CATALOG).start().await;
    stack.redis.process().kill();
    remembered(&stack, "/quick/1").await;
    let mut gate = Gate::shut(&stack).await;
    let early = async {
        assert_eq!(value(&stack.read("/item/1").await), "old");
    };
    let change = async {
        gate.queue(1).await;
        stack
            .sql("UPDATE items SET value = 'new' WHERE id = 1")
            .await;
        // Remembered under the next stamp: the relay has been here.
        wait::until(
            "the change, remembered",
            async || stack.read("/quick/1").await,
            |answer| is_remembered(answer) && value(answer) == "new",
        )
        .await;
        gate.open().await;
    };
    tokio::join!(early, change);
    for _ in 0..5 {
        assert_eq!(value(&stack.read("/item/1").await), "new");
    }
    assert_eq!(value(&remembered(&stack, "/item/1").await), "new");
}

#[tokio::test]
async fn i3_without_redis_a_read_that_demands_its_write_sees_it() {
    let mut stack = Stack::with()
        .origin("TIDEMARK_INVALIDATION_WAIT_MS", 0)
        .start()
        .await;
    stack.redis.process().kill();
    let mut expected = orders(&remembered(&stack, &dashboard(42)).await);
    for _ in 0..10 {
        let created = stack
            .command(Method::POST, "/org/42/orders", &order())
            .await;
        assert_eq!(created.header("tidemark-invalidation"), "pending");
        expected += 1;
        let at_least = created.header("tidemark-at-least");
        let headers = [("tidemark-at-least", at_least)];
        for server in [&stack.edge, &stack.origin] {
            let own = stack.read_at(server, &dashboard(42), &headers).await;
            assert_eq!(orders(&own), expected, "{own:?}");
            assert!(as_of(&own) >= at_least.parse().unwrap() || !is_remembered(&own));
        }
    }
    let garbled = [("tidemark-at-least", "soon")];
    let refused = stack.read_at(&stack.origin, &dashboard(42), &garbled).await;
    assert_eq!(refused.problem(), "malformed-request");
}

#[tokio::test]
async fn i1_what_is_to_be_stored_is_never_what_was_remembered() {
    let stack = Stack::with().log_statements().start().await;
    let origin = &stack.origin;
    let hit = remembered_at(&stack, origin, &dashboard(42)).await;
    // An edge stores no answer that does not say of which catalog it is.
    assert_eq!(hit.header("tidemark-catalog"), "", "{hit:?}");
    assert!(!hit.header("cache-groups").is_empty(), "{hit:?}");

    for insists in [
        ("tidemark-witness", "0123456789abcdef0123456789abcdef"),
        ("cache-control", "no-cache"),
    ] {
        let before = executions(&stack).await;
        let answer = stack.read_at(origin, &dashboard(42), &[insists]).await;
        assert_eq!(answer.cache_status(), "");
        assert!(!answer.header("tidemark-catalog").is_empty(), "{answer:?}");
        assert_eq!(executions(&stack).await - before, 1);
    }
    // So does an edge that has its Redis: nothing is told of the memory, and what it has is stored.
    let miss = stack.read(&dashboard(42)).await;
    assert_eq!(miss.cache_status(), "tidemark; fwd=miss; stored");
    stack.hit(&dashboard(42)).await;
}

#[tokio::test]
async fn i2_while_the_relay_stands_still_the_memory_ends_with_the_promise() {
    let mut stack = Stack::start().await;
    stack.redis.process().kill();
    let first = remembered(&stack, &dashboard(42)).await;
    // Queries run, and whoever drains waits.
    let mut lock = stack.database.connect().await.unwrap();
    for statement in [
        "BEGIN",
        "LOCK TABLE tidemark.outbox IN ACCESS EXCLUSIVE MODE",
    ] {
        sqlx::query(statement).execute(&mut lock).await.unwrap();
    }
    let last = wait::until(
        "the promise has run out",
        async || {
            let asked_at = now_ms();
            let answer = stack.read(&dashboard(42)).await;
            if is_remembered(&answer) {
                let age = asked_at - as_of(&answer);
                assert!(age <= 1_000, "proven {age} ms ago");
            }
            answer
        },
        |answer| !is_remembered(answer),
    )
    .await;
    assert_eq!(last.body, first.body);
    for _ in 0..5 {
        assert!(!is_remembered(&stack.read(&dashboard(42)).await));
    }
    sqlx::query("ROLLBACK").execute(&mut lock).await.unwrap();
    remembered(&stack, &dashboard(42)).await;
}

#[tokio::test]
async fn i4_after_postgresql_was_down_nothing_of_before_is_remembered() {
    let mut stack = Stack::with().own_server().start().await;
    stack.redis.process().kill();
    let before = remembered(&stack, &dashboard(42)).await;
    stack.database.server().process().stop();
    let down = wait::until(
        "no proof any more",
        async || {
            let asked_at = now_ms();
            let answer = stack.read(&dashboard(42)).await;
            if is_remembered(&answer) {
                let age = asked_at - as_of(&answer);
                assert!(age <= 1_000, "proven {age} ms ago");
                assert_eq!(answer.body, before.body);
            }
            answer
        },
        |answer| !is_remembered(answer),
    )
    .await;
    assert_eq!(down.problem(), "unavailable", "{down:?}");

    stack.database.server().restart().await.unwrap();
    // Perhaps before anybody leads again.
    stack
        .sql("UPDATE organizations SET name = 'After' WHERE id = 42")
        .await;
    let after = remembered(&stack, &dashboard(42)).await;
    assert_eq!(after.json()["organization"]["name"], "After");
}

#[tokio::test]
async fn i4_only_the_origin_that_leads_remembers() {
    let mut stack = Stack::with().catalog(PATIENT).start().await;
    let second = second_origin(&stack).await;
    stack.redis.process().kill();
    let path = "/item/1";
    remembered_at(&stack, &stack.origin, path).await;
    for _ in 0..20 {
        let follows = stack.read_at(&second, path, &[]).await;
        assert_eq!(follows.cache_status(), "");
    }

    // The leader is frozen, and another leads; there are five minutes until its promise runs out.
    stack.origin.process().signal(Signal::STOP);
    remembered_at(&stack, &second, path).await;
    stack
        .sql("UPDATE items SET value = 'new' WHERE id = 1")
        .await;
    wait::until(
        "the change, remembered",
        async || stack.read_at(&second, path, &[]).await,
        |answer| is_remembered(answer) && value(answer) == "new",
    )
    .await;
    stack.origin.process().signal(Signal::CONT);
    for _ in 0..20 {
        let woken = stack.ask(path).await;
        assert_eq!(value(&woken), "new");
        assert!(!is_remembered(&woken), "{woken:?}");
    }

    // And back: what it remembers of its first leadership is worth nothing.
    drop(second);
    stack
        .sql("UPDATE items SET value = 'newer' WHERE id = 1")
        .await;
    assert_eq!(
        value(&remembered_at(&stack, &stack.origin, path).await),
        "newer"
    );
}

#[tokio::test]
async fn i4_what_changes_while_nobody_leads_is_not_missed() {
    const LEADER_LOCK: i64 = i64::from_be_bytes(*b"tidemark");
    let mut stack = Stack::with().catalog(PATIENT).start().await;
    stack.redis.process().kill();
    let path = "/item/1";
    remembered(&stack, path).await;

    // The next in the queue for the leadership is no relay.
    let mut usurper = stack.database.connect().await.unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut usurper)
        .await
        .unwrap();
    let usurp = async {
        sqlx::query("SELECT pg_advisory_lock($1)")
            .bind(LEADER_LOCK)
            .execute(&mut usurper)
            .await
            .unwrap();
    };
    let depose = async {
        wait::until(
            "it waits for the lock",
            async || {
                let waits =
                    format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted");
                stack.value::<i64>(&waits).await
            },
            |waits| *waits == 1,
        )
        .await;
        stack
            .sql(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            )
            .await;
    };
    tokio::join!(usurp, depose);
    wait::until(
        "it knows that it does not lead",
        async || stack.read(path).await,
        |answer| !is_remembered(answer),
    )
    .await;
    for _ in 0..20 {
        assert!(!is_remembered(&stack.read(path).await));
    }
    stack
        .sql("UPDATE items SET value = 'new' WHERE id = 1")
        .await;
    usurper.close().await.unwrap();
    assert_eq!(value(&remembered(&stack, path).await), "new");
}

#[tokio::test]
async fn i4_redis_back_and_gone_again_changes_nothing_for_readers() {
    let mut stack = Stack::start().await;
    for round in 0..3 {
        stack.redis.process().kill();
        remembered(&stack, &dashboard(42)).await;
        let name = format!("Without {round}");
        stack
            .sql(&format!(
                "UPDATE organizations SET name = '{name}' WHERE id = 42"
            ))
            .await;
        let shows = |answer: &Answer| answer.json()["organization"]["name"] == name.as_str();
        wait::until(
            "the change, remembered",
            async || stack.read(&dashboard(42)).await,
            |answer| is_remembered(answer) && shows(answer),
        )
        .await;
        stack.redis.restart().await.unwrap();
        assert!(shows(&stack.hit(&dashboard(42)).await));
    }
}

#[tokio::test]
async fn a_memory_of_no_bytes_remembers_nothing() {
    let mut stack = Stack::with()
        .origin("TIDEMARK_MEMORY_BYTES", 0)
        .start()
        .await;
    stack.redis.process().kill();
    for _ in 0..10 {
        let answer = stack.read(&dashboard(42)).await;
        assert_eq!(answer.status, 200);
        assert!(!is_remembered(&answer), "{answer:?}");
    }
}
