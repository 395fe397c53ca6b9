//! What protects PostgreSQL from the origin's own requests: shared statements, bounded lines, bounded
//! answers, and an end for what nobody waits for.

use std::time::Instant;

use http::{Method, StatusCode};
use tempfile::TempDir;
use tidemark_tests::{
    http::{Answer, Client},
    resident::resident,
    stack::{Database, OwnCatalog, Stack},
    wait,
};
use tokio::task::JoinHandle;

use crate::support::{assert_problem, assert_says, gate::Gate, metric, origin, with_catalog};

/// What an edge observed, as it says so: one thing, and another.
const SAW: [&str; 2] = [
    "00000000000000000000000000000001",
    "00000000000000000000000000000002",
];

/// Longer than a test may take: what ends before, something has ended.
const LONG_MS: u32 = 600_000;

/// Queries that wait at the gate, and some that do not.
const CATALOG: OwnCatalog = OwnCatalog {
    schema: "CREATE TABLE items (id bigint PRIMARY KEY, value text NOT NULL);
             INSERT INTO items SELECT n, 'old' FROM generate_series(1, 100) AS n;",
    toml: r#"
        [query.item]
        path   = "/item/{id}"
        params = { id = "int" }
        sql    = "gated.sql"
        shape  = "row"
        reads  = ["items"]
        scope  = "item:{id}"
        acknowledge = { "pg_advisory_xact_lock_shared(bigint)" = "it answers the same each time" }

        [query.balance]
        path   = "/balance/{id}"
        params = { id = "int" }
        sql    = "gated.sql"
        shape  = "row"
        reads  = ["items"]
        max_staleness = "0s"

        [query.report]
        path   = "/report/{id}"
        params = { id = "int" }
        sql    = "gated.sql"
        shape  = "row"
        reads  = ["items"]
        limit  = 1
        acknowledge = { "pg_advisory_xact_lock_shared(bigint)" = "it answers the same each time" }

        [query.quick]
        path   = "/quick/{id}"
        params = { id = "int" }
        sql    = "quick.sql"
        shape  = "row"
        reads  = ["items"]

        [query.long]
        path   = "/long/{bytes}"
        params = { bytes = "int" }
        sql    = "long.sql"
        reads  = ["items"]

        [query.sleep]
        path   = "/sleep/{seconds}"
        params = { seconds = "int" }
        sql    = "sleep.sql"
        reads  = ["items"]
        acknowledge = { "pg_sleep(double precision)" = "it answers the same each time" }

        [command.rename]
        method = "PUT"
        path   = "/item/{id}"
        params = { id = "int", bytes = "int" }
        sql    = "rename.sql"

        [table.items]
        scope = "item:{id}"
    "#,
    sql: &[
        (
            "gated.sql",
            "SELECT value, pg_advisory_xact_lock_shared(1)::text AS gate FROM items WHERE id = :id",
        ),
        ("quick.sql", "SELECT value FROM items WHERE id = :id"),
        (
            "long.sql",
            "SELECT repeat('x', :bytes::int) AS x FROM items WHERE id = 1",
        ),
        (
            "sleep.sql",
            "SELECT pg_sleep(:seconds)::text AS slept FROM items WHERE id = 1",
        ),
        (
            "rename.sql",
            "UPDATE items SET value = 'new' WHERE id = :id RETURNING repeat('x', :bytes::int) AS x",
        ),
    ],
};

/// A query that takes two slots.
const HEAVY: OwnCatalog = OwnCatalog {
    toml: r#"
        [query.heavy]
        path   = "/heavy/{id}"
        params = { id = "int" }
        sql    = "gated.sql"
        shape  = "row"
        reads  = ["items"]
        weight = 2
        acknowledge = { "pg_advisory_xact_lock_shared(bigint)" = "it answers the same each time" }

        [query.quick]
        path   = "/quick/{id}"
        params = { id = "int" }
        sql    = "quick.sql"
        shape  = "row"
        reads  = ["items"]
    "#,
    ..CATALOG
};

/// A request to the origin that is under way.
fn ask(stack: &Stack, path: &str, saw: Option<&'static str>) -> JoinHandle<Answer> {
    let url = format!("{}{path}", stack.origin.url());
    tokio::spawn(async move {
        let headers: Vec<_> = saw.iter().map(|saw| ("tidemark-witness", *saw)).collect();
        let client = Client::default();
        client.send(Method::GET, &url, &headers, "").await.unwrap()
    })
}

/// Waits until a line of `/metrics` has this value.
async fn until_metric(stack: &Stack, line: &str, value: f64) {
    wait::until(
        line,
        async || metric(stack, line).await,
        |found| *found == value,
    )
    .await;
}

const COALESCED: &str = r#"tidemark_queries_coalesced_total{query="item"}"#;
const WAITING: &str = "tidemark_queries_waiting";

#[tokio::test]
async fn i5_edges_that_have_observed_the_same_share_a_statement() {
    let stack = Stack::with()
        .catalog(CATALOG)
        .log_statements()
        .start()
        .await;
    let other = stack.another_edge(&stack.redis).await;
    stack.read("/quick/1").await;
    let before = stack.statements().await.len();
    let mut gate = Gate::shut(&stack).await;
    let here = stack.read("/item/1");
    let there = async {
        gate.queue(1).await;
        let there = stack.read_at(&other, "/item/1", &[]);
        let open = async {
            until_metric(&stack, COALESCED, 1.0).await;
            gate.open().await;
        };
        tokio::join!(there, open).0
    };
    let (here, there) = tokio::join!(here, there);
    assert_eq!(here.json()["value"], "old");
    assert_eq!(here.body, there.body);
    assert_eq!(stack.statements().await.len() - before, 1);
}

#[tokio::test]
async fn i5_a_key_has_one_running_statement_and_one_that_waits() {
    let stack = Stack::with()
        .catalog(CATALOG)
        .log_statements()
        .start()
        .await;
    stack.ask("/quick/1").await;
    let before = stack.statements().await.len();
    let mut gate = Gate::shut(&stack).await;
    let mut asked = vec![ask(&stack, "/item/1", Some(SAW[0]))];
    gate.queue(1).await;
    // One shares the running statement, all others the next one, but for the first of them.
    for (shared, saw) in [SAW[0], SAW[1], SAW[1]].into_iter().enumerate() {
        asked.push(ask(&stack, "/item/1", Some(saw)));
        if shared != 1 {
            let coalesced = if shared == 0 { 1.0 } else { 2.0 };
            until_metric(&stack, COALESCED, coalesced).await;
        }
    }
    for nonsense in [None, Some("nonsense")] {
        asked.push(ask(&stack, "/item/1", nonsense));
    }
    until_metric(&stack, COALESCED, 4.0).await;
    stack
        .sql("UPDATE items SET value = 'new' WHERE id = 1")
        .await;
    gate.queue(1).await;
    gate.open().await;
    let mut values = Vec::new();
    for asked in asked {
        let value = asked.await.unwrap().json()["value"].clone();
        values.push(value.as_str().unwrap().to_owned());
    }
    assert_eq!(values, ["old", "old", "new", "new", "new", "new"]);
    assert_eq!(stack.statements().await.len() - before, 2);
}

#[tokio::test]
async fn what_is_never_cached_is_of_its_own_moment() {
    let stack = Stack::with().catalog(CATALOG).start().await;
    let mut gate = Gate::shut(&stack).await;
    let asked = [(); 2].map(|()| ask(&stack, "/balance/1", Some(SAW[0])));
    gate.queue(2).await;
    gate.open().await;
    for asked in asked {
        assert_eq!(asked.await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn i5_who_finds_the_line_full_is_shed_at_once() {
    let stack = Stack::with()
        .catalog(CATALOG)
        .origin("TIDEMARK_QUERY_CONNECTIONS", 1)
        .origin("TIDEMARK_QUERY_QUEUE", 1)
        .origin("TIDEMARK_ACQUIRE_TIMEOUT_MS", LONG_MS)
        .origin("TIDEMARK_STATEMENT_TIMEOUT_MS", LONG_MS)
        .start()
        .await;
    let mut gate = Gate::shut(&stack).await;
    let running = ask(&stack, "/item/1", None);
    gate.queue(1).await;
    assert_eq!(metric(&stack, "tidemark_queries_running").await, 1.0);
    let waiting = ask(&stack, "/item/2", None);
    until_metric(&stack, WAITING, 1.0).await;
    let begun = Instant::now();
    let shed = stack.ask("/quick/3").await;
    assert_problem(&shed, 503, "unavailable");
    assert_eq!(shed.header("retry-after"), "1");
    assert!(begun.elapsed() < wait::LIMIT);
    let line = r#"tidemark_queries_shed_total{query="quick",reason="queue-full"}"#;
    assert_eq!(metric(&stack, line).await, 1.0);
    gate.open().await;
    assert_eq!(running.await.unwrap().status, 200);
    assert_eq!(waiting.await.unwrap().status, 200);
    assert_eq!(stack.ask("/quick/3").await.status, 200);
}

#[tokio::test]
async fn an_origin_that_is_busy_is_ready() {
    let stack = Stack::with()
        .catalog(CATALOG)
        .origin("TIDEMARK_QUERY_CONNECTIONS", 1)
        .origin("TIDEMARK_QUERY_QUEUE", 0)
        .start()
        .await;
    let mut gate = Gate::shut(&stack).await;
    let running = ask(&stack, "/item/1", None);
    gate.queue(1).await;
    assert_problem(&stack.ask("/quick/1").await, 503, "unavailable");
    assert_eq!(stack.ask("/readyz").await.status, 200);
    gate.open().await;
    assert_eq!(running.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_limited_query_does_not_starve_the_others() {
    let stack = Stack::with()
        .catalog(CATALOG)
        .origin("TIDEMARK_QUERY_CONNECTIONS", 2)
        .origin("TIDEMARK_QUERY_QUEUE", 2)
        .origin("TIDEMARK_ACQUIRE_TIMEOUT_MS", LONG_MS)
        .origin("TIDEMARK_STATEMENT_TIMEOUT_MS", LONG_MS)
        .start()
        .await;
    let mut gate = Gate::shut(&stack).await;
    let mut reports = vec![ask(&stack, "/report/1", None)];
    gate.queue(1).await;
    reports.extend([2, 3].map(|id| ask(&stack, &format!("/report/{id}"), None)));
    until_metric(&stack, WAITING, 2.0).await;
    assert_problem(&stack.ask("/report/4").await, 503, "unavailable");
    // There is a slot for others, and then the common line.
    assert_eq!(stack.ask("/quick/1").await.status, 200);
    let item = ask(&stack, "/item/1", None);
    gate.queue(2).await;
    let quick = ask(&stack, "/quick/2", None);
    until_metric(&stack, WAITING, 3.0).await;
    gate.open().await;
    for asked in reports.into_iter().chain([item, quick]) {
        assert_eq!(asked.await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_heavy_query_takes_several_slots() {
    let stack = Stack::with()
        .catalog(HEAVY)
        .origin("TIDEMARK_QUERY_CONNECTIONS", 2)
        .origin("TIDEMARK_ACQUIRE_TIMEOUT_MS", 100)
        .origin("TIDEMARK_STATEMENT_TIMEOUT_MS", LONG_MS)
        .start()
        .await;
    let mut gate = Gate::shut(&stack).await;
    let heavy = ask(&stack, "/heavy/1", None);
    gate.queue(1).await;
    assert_problem(&stack.ask("/quick/1").await, 503, "unavailable");
    let line = r#"tidemark_queries_shed_total{query="quick",reason="too-long"}"#;
    assert_eq!(metric(&stack, line).await, 1.0);
    gate.open().await;
    assert_eq!(heavy.await.unwrap().status, 200);
    assert_eq!(stack.ask("/quick/1").await.status, 200);
}

#[tokio::test]
async fn a_query_that_is_too_heavy_to_run_is_refused_at_the_start() {
    let folder = TempDir::new().unwrap();
    HEAVY.write(folder.path()).unwrap();
    let database = Database::empty().await.unwrap();
    let mut config = with_catalog(&database, folder.path());
    config
        .environment
        .push(("TIDEMARK_QUERY_CONNECTIONS", "1".to_owned()));
    let ran = origin(&config, &["serve"]);
    assert!(!ran.success);
    assert_says(&ran, &["\"heavy\" has weight = 2", "--query-connections"]);
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_even_sent() {
    const MIB: usize = 1024 * 1024;
    let mut stack = Stack::with()
        .catalog(CATALOG)
        .origin("TIDEMARK_STATEMENT_TIMEOUT_MS", LONG_MS)
        .start()
        .await;
    assert_eq!(stack.ask("/long/10").await.json()[0]["x"], "x".repeat(10));
    let whole = stack.ask(&format!("/long/{}", 31 * MIB)).await;
    assert_eq!(whole.status, 200);
    drop(whole);
    let before = resident(stack.origin.process().id()).mib;
    let through_edge = stack.read(&format!("/long/{}", 33 * MIB)).await;
    assert_problem(&through_edge, 500, "answer-too-long");
    let longer = stack.ask(&format!("/long/{}", 80 * MIB)).await;
    assert_problem(&longer, 500, "answer-too-long");
    let after = resident(stack.origin.process().id()).mib;
    assert!(after < before + 32, "{before} → {after} MiB");
    let log = std::fs::read_to_string(&stack.origin_config.log).unwrap();
    assert!(log.contains("name=\"long\""), "{log}");
}

#[tokio::test]
async fn a_command_whose_answer_is_too_long_changes_nothing() {
    let stack = Stack::with()
        .catalog(CATALOG)
        .origin("TIDEMARK_MAX_ANSWER_BYTES", 1_000)
        .start()
        .await;
    let body = |bytes: i32| serde_json::json!({ "bytes": bytes });
    let refused = stack.command(Method::PUT, "/item/1", &body(1_000)).await;
    assert_problem(&refused, 500, "answer-too-long");
    assert_eq!(stack.ask("/quick/1").await.json()["value"], "old");
    let done = stack.command(Method::PUT, "/item/1", &body(900)).await;
    assert_eq!(done.status, StatusCode::OK);
    assert_eq!(stack.ask("/quick/1").await.json()["value"], "new");
}

/// A stack whose only slot is taken for as long as a statement runs, which PostgreSQL does not end.
async fn one_slot() -> Stack {
    Stack::with()
        .catalog(CATALOG)
        .origin("TIDEMARK_QUERY_CONNECTIONS", 1)
        .origin("TIDEMARK_ACQUIRE_TIMEOUT_MS", LONG_MS)
        .origin("TIDEMARK_STATEMENT_TIMEOUT_MS", LONG_MS)
        .start()
        .await
}

/// How many statements sleep.
async fn sleepers(stack: &Stack) -> i64 {
    stack
        .value(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event = 'PgSleep'",
        )
        .await
}

/// Waits until so many statements sleep.
async fn until_asleep(stack: &Stack, statements: i64) {
    wait::until(
        "statements asleep",
        async || sleepers(stack).await,
        |asleep| *asleep == statements,
    )
    .await;
}

#[tokio::test]
async fn what_nobody_waits_for_ends_in_postgres_and_frees_its_slot() {
    const ROUNDS: u32 = 3;
    let stack = one_slot().await;
    for round in 1..=ROUNDS {
        let asked = ask(&stack, "/sleep/600", Some(SAW[0]));
        until_asleep(&stack, 1).await;
        let waiting = ask(&stack, &format!("/quick/{round}"), None);
        until_metric(&stack, WAITING, 1.0).await;
        asked.abort();
        assert_eq!(waiting.await.unwrap().status, 200);
        assert_eq!(sleepers(&stack).await, 0, "the slot was free too early");
    }
    let line = r#"tidemark_queries_abandoned_total{query="sleep"}"#;
    assert_eq!(metric(&stack, line).await, f64::from(ROUNDS));
    until_metric(&stack, "tidemark_queries_running", 0.0).await;
}

#[tokio::test]
async fn only_the_last_client_that_leaves_ends_a_statement() {
    let stack = Stack::with().catalog(CATALOG).start().await;
    let mut gate = Gate::shut(&stack).await;
    let first = ask(&stack, "/item/1", Some(SAW[0]));
    gate.queue(1).await;
    let second = ask(&stack, "/item/1", Some(SAW[0]));
    until_metric(&stack, COALESCED, 1.0).await;
    first.abort();
    let _ = first.await;
    // Whatever ends statements would have ended it by the time that another one has been ended.
    let other = ask(&stack, "/item/2", None);
    gate.queue(2).await;
    other.abort();
    gate.queue(1).await;
    gate.open().await;
    assert_eq!(second.await.unwrap().json()["value"], "old");
}
