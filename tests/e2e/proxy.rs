//! Edges that reach their Redis through a proxy before several servers, and a Redis that is a node of a
//! cluster: one namespace is at one server, or nothing of it is believed.

use std::fs;

use http::Method;
use tidemark_tests::{
    http::Answer,
    redis::Redis,
    server::Server,
    stack::{OwnCatalog, Stack},
    wait,
};

use crate::support::{dashboard, order, orders, origin};

/// A hash tag of its own before all names.
const TAGGED: &str = "{tm}:";

/// What twemproxy and Redis Cluster take for a hash tag.
const BRACES: &str = "{}";

/// Each item is a member, and so has a place of its own.
const ITEMS: OwnCatalog = OwnCatalog {
    schema: "CREATE TABLE items (id bigint PRIMARY KEY, value text NOT NULL);
             INSERT INTO items SELECT n, 'old' FROM generate_series(1, 100) AS n;",
    toml: r#"
        [query.item]
        path          = "/item/{id}"
        params        = { id = "int" }
        sql           = "item.sql"
        shape         = "row"
        reads         = ["items"]
        scope         = "item:{id}"
        ttl           = "1h"
        max_staleness = "1h"

        [table.items]
        scope = "item:{id}"
    "#,
    sql: &[("item.sql", "SELECT value FROM items WHERE id = :id")],
};

async fn names_at(redis: &Redis) -> Vec<String> {
    let mut connection = redis.connect().await.unwrap();
    let mut keys = redis::cmd("KEYS");
    keys.arg("*").query_async(&mut connection).await.unwrap()
}

fn log_of(server: &Server) -> String {
    fs::read_to_string(server.log()).unwrap()
}

#[track_caller]
fn assert_nothing_refused(edge: &Server) {
    let log = log_of(edge);
    for event in ["redis-refused", "redis-lost-stamps"] {
        assert!(!log.contains(event), "{log}");
    }
}

/// A hit, a command that is seen at once, and a change by SQL that is seen.
async fn everything_works(stack: &Stack) {
    let path = dashboard(42);
    let before = orders(&stack.hit(&path).await);
    let created = stack
        .command(Method::POST, "/org/42/orders", &order())
        .await;
    assert_eq!(created.header("tidemark-invalidation"), "applied");
    assert_eq!(orders(&stack.read(&path).await), before + 1);
    let other = stack.hit(&dashboard(43)).await;
    stack
        .sql("UPDATE organizations SET name = 'Renamed' WHERE id = 42")
        .await;
    stack.settled().await;
    let shows_it = |answer: Answer| String::from_utf8_lossy(&answer.body).contains("Renamed");
    assert!(shows_it(stack.read(&path).await));
    assert!(shows_it(stack.hit(&path).await));
    assert_eq!(stack.hit(&dashboard(43)).await.body, other.body);
}

#[tokio::test]
async fn i3_edges_work_through_twemproxy_with_a_tagged_namespace() {
    let stack = Stack::with()
        .key_prefix(TAGGED)
        .twemproxy(BRACES)
        .start()
        .await;
    everything_works(&stack).await;
    wait::until(
        "the edge has counted",
        async || stack.redis::<u64>(&["HLEN", "{tm}:edge:figures"]).await,
        |fields| *fields > 0,
    )
    .await;
    let proxy = stack.proxy.as_ref().unwrap();
    assert_eq!(names_at(&proxy.other).await, [""; 0]);
    assert_nothing_refused(&stack.edge);
}

#[tokio::test]
async fn i1_a_namespace_that_a_proxy_spreads_is_never_stale() {
    let stack = Stack::with().catalog(ITEMS).twemproxy(BRACES).start().await;
    let proxy = stack.proxy.as_ref().unwrap();
    let read = async |id: usize| stack.read(&format!("/item/{id}")).await;
    for id in 1..=20 {
        for _ in 0..3 {
            assert_eq!(read(id).await.json()["value"], "old");
        }
    }
    // At least the leases of some.
    let spread = wait::until(
        "names at the other server",
        async || names_at(&proxy.other).await,
        |names| !names.is_empty(),
    );
    spread.await;
    stack.sql("UPDATE items SET value = 'new'").await;
    stack.settled().await;
    for id in 1..=20 {
        let answer = read(id).await;
        assert_eq!(answer.json()["value"], "new", "{answer:?}");
    }
    let log = log_of(&stack.edge);
    assert!(log.contains("event=redis-lost-stamps"), "{log}");
}

#[tokio::test]
async fn a_node_of_a_cluster_works_with_a_tagged_namespace() {
    let stack = Stack::with()
        .key_prefix(TAGGED)
        .cluster_node()
        .start()
        .await;
    everything_works(&stack).await;
    let status = origin(&stack.origin_config, &["status"]);
    assert!(status.success, "{status:?}");
    assert_nothing_refused(&stack.edge);
}

#[tokio::test]
async fn a_node_of_a_cluster_is_refused_with_any_other_namespace() {
    let mut stack = Stack::start().await;
    let node = stack.another_cluster_node("node").await;
    stack.origin_config.redis_url = node.url();
    stack.restart_origin().await;
    let log = wait::until(
        "the relay says why",
        async || log_of(&stack.origin),
        |log| log.contains("this is a node of a cluster"),
    );
    assert!(log.await.contains("--key-prefix '{tm}:'"));
    let status = origin(&stack.origin_config, &["status"]);
    assert!(!status.success, "{status:?}");
    for words in ["a node of a cluster", "→ give the names a hash tag"] {
        assert!(status.stdout.contains(words), "{words}: {status:?}");
    }
    let edge = stack.another_edge(&node).await;
    for _ in 0..3 {
        let answer = stack.read_at(&edge, &dashboard(42), &[]).await;
        assert_eq!(
            answer.last_cache_status(),
            "tidemark; fwd=bypass; detail=redis-unavailable"
        );
    }
    assert!(log_of(&edge).contains("event=redis-refused"));
    assert_eq!(names_at(&node).await, [""; 0]);
}
