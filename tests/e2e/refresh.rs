//! `on_change = "refresh"`: what is read most is loaded anew after a change, before anybody reads it.

use std::time::{Duration, Instant};

use tidemark_tests::{
    stack::{OwnCatalog, Stack},
    wait,
};
use tokio::{task::spawn_blocking, time::sleep};

use crate::support::{HIT, assert_says, gate::Gate, metric, origin, read_until};

/// Two queries of the same rows, of which one is refreshed, and one that waits at the gate.
const CATALOG: OwnCatalog = OwnCatalog {
    schema: "CREATE TABLE items (id bigint PRIMARY KEY, value text NOT NULL);
             INSERT INTO items SELECT n, 'old' FROM generate_series(1, 100) AS n;",
    toml: r#"
        [query.item]
        path      = "/item/{id}"
        params    = { id = "int" }
        sql       = "item.sql"
        shape     = "row"
        reads     = ["items"]
        scope     = "item:{id}"
        on_change = "refresh"

        [query.plain]
        path   = "/plain/{id}"
        params = { id = "int" }
        sql    = "item.sql"
        shape  = "row"
        reads  = ["items"]
        scope  = "item:{id}"

        [query.busy]
        path   = "/busy/{id}"
        params = { id = "int" }
        sql    = "busy.sql"
        shape  = "row"
        reads  = ["items"]
        max_staleness = "0s"

        [table.items]
        scope = "item:{id}"
    "#,
    sql: &[
        ("item.sql", "SELECT value FROM items WHERE id = :id"),
        (
            "busy.sql",
            "SELECT value, pg_advisory_xact_lock_shared(1)::text AS gate FROM items WHERE id = :id",
        ),
    ],
};

async fn change(stack: &Stack, id: u32, value: &str) {
    let sql = format!("UPDATE items SET value = '{value}' WHERE id = {id}");
    stack.sql(&sql).await;
}

async fn refreshes(stack: &Stack, outcome: &str) -> f64 {
    let line = format!("tidemark_refreshes_total{{query=\"item\",outcome=\"{outcome}\"}} ");
    metric(stack, &line).await
}

/// Reads an item until the origin that leads knows that it is hot: then it is loaded after a change.
async fn heat(stack: &Stack, id: u32) {
    stack.hit(&format!("/item/{id}")).await;
    let before = refreshes(stack, "loaded").await;
    let mut changes = 0;
    wait::until(
        "it is hot",
        async || {
            changes += 1;
            change(stack, id, &format!("warming {changes}")).await;
            stack.settled().await;
            refreshes(stack, "loaded").await
        },
        |loaded| *loaded > before,
    )
    .await;
    holds(stack, id, &format!("warming {changes}")).await;
}

/// What is cached of an item; empty if nothing is.
async fn entry(stack: &Stack, id: u32) -> String {
    let name = format!("tm:{{item:{id}}}:item");
    let entry: Option<Vec<u8>> = stack.redis(&["GET", &name]).await;
    String::from_utf8_lossy(&entry.unwrap_or_default()).into_owned()
}

/// Waits until what is cached of an item is this, without reading it.
async fn holds(stack: &Stack, id: u32, value: &str) {
    let shown = format!("\"{value}\"");
    wait::until(
        "its entry",
        async || entry(stack, id).await,
        |entry| entry.contains(&shown),
    )
    .await;
}

/// What the next read is told: a hit, unless the machine stands still for so long that nothing is proven.
async fn assert_served(stack: &Stack, id: u32, value: &str) {
    let answer = read_until(stack, &format!("/item/{id}"), "proven", |answer| {
        !answer.cache_status().contains("detail=unproven")
    })
    .await;
    assert_eq!(answer.cache_status(), HIT, "{answer:?}");
    assert_eq!(answer.json()["value"], value, "{answer:?}");
}

#[tokio::test]
async fn i1_a_hot_answer_is_there_before_it_is_read_again() {
    let stack = Stack::with().catalog(CATALOG).start().await;
    heat(&stack, 1).await;
    change(&stack, 1, "new").await;
    holds(&stack, 1, "new").await;
    assert_served(&stack, 1, "new").await;

    // The row goes, and is there again: an answer like any other.
    stack.sql("DELETE FROM items WHERE id = 1").await;
    let gone = read_until(&stack, "/item/1", "no row", |answer| {
        answer.cache_status() == HIT && answer.status == 404
    });
    gone.await;
    stack.sql("INSERT INTO items VALUES (1, 'back')").await;
    holds(&stack, 1, "back").await;
    assert_served(&stack, 1, "back").await;
    assert!(refreshes(&stack, "failed").await == 0.0);
}

#[tokio::test]
async fn what_nobody_reads_and_what_does_not_say_refresh_is_left_alone() {
    let stack = Stack::with().catalog(CATALOG).start().await;
    heat(&stack, 1).await;
    for id in [1, 3] {
        stack.hit(&format!("/plain/{id}")).await;
    }
    change(&stack, 2, "cold").await;
    change(&stack, 3, "other").await;
    // Touched later than those: when it has been loaded, they would have been.
    change(&stack, 1, "hot").await;
    holds(&stack, 1, "hot").await;
    let cold: i64 = stack.redis(&["EXISTS", "tm:{item:2}:item"]).await;
    assert_eq!(cold, 0);
    let plain = stack.read("/plain/3").await;
    assert_eq!(
        plain.cache_status(),
        "tidemark; fwd=miss; stored; detail=changed"
    );
}

#[tokio::test]
async fn i5_a_storm_on_one_key_is_loaded_now_and_then_and_its_last_change_at_the_end() {
    let stack = Stack::with().catalog(CATALOG).start().await;
    heat(&stack, 1).await;
    let before = refreshes(&stack, "loaded").await;
    let mut changes = 0_u32;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        changes += 1;
        change(&stack, 1, &format!("storm {changes}")).await;
        sleep(Duration::from_millis(5)).await;
    }
    holds(&stack, 1, &format!("storm {changes}")).await;
    let loads = refreshes(&stack, "loaded").await - before;
    // At most one in a tenth of a second, besides the last one before and the first and the last one here.
    let most = begun.elapsed().as_secs_f64() / 0.1 + 3.0;
    assert!(
        (2.0..=most).contains(&loads),
        "{loads} loads for {changes} changes"
    );
    // Its load may have seen the change before its stamps were new; then it is loaded once more.
    let answer = stack.hit("/item/1").await;
    assert_eq!(answer.json()["value"], format!("storm {changes}"));
}

#[tokio::test]
async fn i5_a_refresh_waits_while_requests_need_the_slots() {
    let stack = Stack::with()
        .catalog(CATALOG)
        .origin("TIDEMARK_QUERY_CONNECTIONS", 2)
        .origin("TIDEMARK_ACQUIRE_TIMEOUT_MS", 600_000)
        .start()
        .await;
    heat(&stack, 1).await;
    let mut gate = Gate::shut(&stack).await;
    let busy = stack.ask("/busy/1");
    let meanwhile = async {
        gate.queue(1).await;
        for round in 1..=5 {
            change(&stack, 1, &format!("busy {round}")).await;
            stack.settled().await;
            // There is a slot for whoever asks.
            assert_eq!(stack.read(&format!("/plain/{round}")).await.status, 200);
        }
        let cached = entry(&stack, 1).await;
        assert!(cached.contains("warming"), "{cached}");
        gate.open().await;
    };
    let (answer, ()) = tokio::join!(busy, meanwhile);
    assert_eq!(answer.status, 200);
    holds(&stack, 1, "busy 5").await;
    assert_served(&stack, 1, "busy 5").await;
}

#[tokio::test]
async fn explain_tells_of_it() {
    let stack = Stack::with().catalog(CATALOG).start().await;
    let config = stack.origin_config.clone();
    let explain = move |query| origin(&config, &["explain", query]);
    let (item, plain) = spawn_blocking(move || (explain("item"), explain("plain")))
        .await
        .unwrap();
    assert_says(
        &item,
        &["on_change", "refresh: what is read most is loaded anew"],
    );
    assert!(!plain.stdout.contains("on_change"), "{plain:?}");
}

#[tokio::test]
async fn whoever_takes_the_lead_refreshes() {
    let mut stack = Stack::with().catalog(CATALOG).start().await;
    heat(&stack, 1).await;
    stack.restart_origin().await;
    heat(&stack, 1).await;
    change(&stack, 1, "after").await;
    holds(&stack, 1, "after").await;
    assert_served(&stack, 1, "after").await;
}
