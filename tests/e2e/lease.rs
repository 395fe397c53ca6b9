//! Misses on one key at several instances: one asks the origin, the others wait a moment for what it
//! stores. And whatever becomes of the lease, nobody waits for long.

use futures_util::future::join_all;
use tidemark_tests::{
    redis::Monitor,
    stack::{OwnCatalog, Stack},
    wait,
};

use crate::support::{
    HIT, MISS,
    gate::{self, Gate},
};

/// A query that takes its time.
const SLOW: OwnCatalog = OwnCatalog {
    schema: "CREATE TABLE items (id bigint PRIMARY KEY, value text NOT NULL);
             INSERT INTO items SELECT n, 'old' FROM generate_series(1, 100) AS n;",
    toml: r#"
        [query.slow]
        path   = "/slow/{id}"
        params = { id = "int" }
        sql    = "slow.sql"
        shape  = "row"
        reads  = ["items"]
        scope  = "item:{id}"
        acknowledge = { "pg_sleep(double precision)" = "it changes no answer" }

        [table.items]
        scope = "item:{id}"
    "#,
    sql: &[(
        "slow.sql",
        "SELECT value, pg_sleep(0.1)::text AS pause FROM items WHERE id = :id",
    )],
};

/// How many queries the origin has run.
async fn executions(stack: &Stack) -> usize {
    stack.statements().await.len()
}

/// Collects commands until so many of them have asked for a lease.
async fn leases_asked_for(monitor: &mut Monitor, number: usize) {
    let mut seen = 0;
    wait::until(
        "leases asked for",
        async || {
            let commands = monitor.commands().await.unwrap();
            let asked = |it: &&String| it.starts_with("\"SET\" \"tm:lease:");
            seen += commands.iter().filter(asked).count();
            seen
        },
        |seen| *seen >= number,
    )
    .await;
}

#[tokio::test]
async fn i5_instances_that_miss_the_same_share_one_query() {
    let stack = Stack::with()
        .catalog(gate::CATALOG)
        .log_statements()
        .start()
        .await;
    let other = stack.another_edge(&stack.redis).await;
    // Before either edge has a connection, since it ignores those that it finds.
    let mut monitor = stack.redis.monitor().await.unwrap();
    let mut item = 0;
    // Several attempts: a machine that stands still makes the second one give up waiting.
    wait::until(
        "one query for two instances",
        async || {
            item += 1;
            let path = format!("/item/{item}");
            // Both instances are there already, and the stamps.
            stack.read(&format!("/quick/{item}")).await;
            stack.read_at(&other, &format!("/quick/{item}"), &[]).await;
            let before = executions(&stack).await;
            monitor.commands().await.unwrap();
            let mut gate = Gate::shut(&stack).await;
            let second = async {
                gate.queue(1).await;
                leases_asked_for(&mut monitor, 1).await;
                let second = stack.read_at(&other, &path, &[]);
                let open = async {
                    leases_asked_for(&mut monitor, 1).await;
                    gate.open().await;
                };
                tokio::join!(second, open).0
            };
            let (first, second) = tokio::join!(stack.read(&path), second);
            assert_eq!(first.cache_status(), MISS, "{first:?}");
            assert_eq!(second.json(), first.json());
            let runs = executions(&stack).await - before;
            second.cache_status() == HIT && runs == 1
        },
        |shared| *shared,
    )
    .await;
}

#[tokio::test]
async fn i5_a_herd_at_two_edges_is_one_query() {
    const READERS: usize = 10;
    let stack = Stack::with().catalog(SLOW).log_statements().start().await;
    let other = stack.another_edge(&stack.redis).await;
    // The set-up of the origin's connection is logged as well.
    stack.read("/slow/100").await;
    let mut item = 0;
    wait::until(
        "one query for a herd",
        async || {
            item += 1;
            let path = format!("/slow/{item}");
            let before = executions(&stack).await;
            let here = join_all((0..READERS).map(|_| stack.read(&path)));
            let there = join_all((0..READERS).map(|_| stack.read_at(&other, &path, &[])));
            let (here, there) = tokio::join!(here, there);
            for answer in here.iter().chain(&there) {
                assert_eq!(answer.status, 200, "{answer:?}");
                assert_eq!(answer.body, here[0].body);
            }
            executions(&stack).await - before
        },
        |runs| *runs == 1,
    )
    .await;
}

#[tokio::test]
async fn a_lease_whose_holder_is_gone_costs_a_moment_and_is_left_alone() {
    let stack = Stack::with().catalog(gate::CATALOG).start().await;
    let lease = "tm:lease:{item:1}:quick";
    let () = stack
        .redis(&["SET", lease, "somebody's", "PX", "600000"])
        .await;
    let answer = stack.read("/quick/1").await;
    assert_eq!(answer.cache_status(), MISS, "{answer:?}");
    stack.hit("/quick/1").await;
    let held: String = stack.redis(&["GET", lease]).await;
    assert_eq!(held, "somebody's");
}

#[tokio::test]
async fn a_lease_is_given_back_once_its_answer_is_stored_or_has_failed() {
    let mut stack = Stack::with().catalog(gate::CATALOG).start().await;
    let leases = async |stack: &Stack| -> Vec<String> {
        let keys = stack.keys().await;
        keys.into_iter()
            .filter(|key| key.contains("lease"))
            .collect()
    };
    let mut monitor = stack.redis.monitor().await.unwrap();
    stack.hit("/quick/1").await;
    leases_asked_for(&mut monitor, 1).await;
    wait::until("given back", async || leases(&stack).await, Vec::is_empty).await;

    // Proven for a while yet, so that a miss goes to Redis and then to an origin that is gone.
    stack.origin.process().kill();
    assert_eq!(stack.read("/quick/2").await.status, 503);
    wait::until("given back", async || leases(&stack).await, Vec::is_empty).await;
}

#[tokio::test]
async fn whoever_demands_what_no_tidemark_covers_does_not_queue_up() {
    let stack = Stack::with().catalog(gate::CATALOG).start().await;
    stack.read("/quick/1").await;
    let mut monitor = stack.redis.monitor().await.unwrap();
    let far = (stack.now().await + 600_000).to_string();
    let answer = stack
        .read_with("/quick/1", &[("tidemark-at-least", &*far)])
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let commands = monitor.commands().await.unwrap();
    assert!(
        commands.iter().all(|command| !command.contains("lease")),
        "{commands:#?}"
    );
}
