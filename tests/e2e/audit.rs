//! The audit: it finds what went past the triggers, and nothing else.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::Connection as _;
use tempfile::TempDir;
use tidemark_tests::{
    http::Client,
    stack::{OwnCatalog, Stack},
    wait,
};
use tokio::task::spawn_blocking;

use crate::support::{Ran, dashboard, gate, origin, product_page};

/// Runs `audit` while the test goes on.
async fn audit(stack: &Stack, arguments: &[&'static str]) -> Ran {
    let config = stack.origin_config.clone();
    let arguments: Vec<_> = [&["audit"], arguments].concat();
    spawn_blocking(move || origin(&config, &arguments))
        .await
        .unwrap()
}

/// A change that no trigger's record survives, as by somebody who bypasses capture.
async fn change_unseen(stack: &Stack, sql: &str) {
    stack
        .sql(&format!(
            "BEGIN; {sql}; DELETE FROM tidemark.outbox; COMMIT"
        ))
        .await;
}

/// The number in front of a word of the summary.
fn count(ran: &Ran, word: &str) -> u32 {
    let words: Vec<_> = ran.stdout.split_whitespace().collect();
    words
        .windows(2)
        .find(|pair| pair[1].trim_end_matches(',') == word)
        .and_then(|pair| pair[0].parse().ok())
        .unwrap_or_else(|| panic!("no {word} in {ran:?}"))
}

#[tokio::test]
async fn i1_an_audit_of_what_rests_finds_all_of_it_equal() {
    let stack = Stack::start().await;
    let mut paths: Vec<_> = (0..10).map(product_page).collect();
    paths.extend([
        dashboard(42),
        format!("{}&region=a%20b%26c", dashboard(43)),
        "/user/42/profile".to_owned(),
        "/order/7".to_owned(),
        "/report/3/data".to_owned(),
    ]);
    for path in &paths {
        stack.hit(path).await;
    }
    let ran = audit(&stack, &["--rate", "1000"]).await;
    assert!(ran.success, "{ran:?}");
    assert_eq!(count(&ran, "samples:"), 15, "each entry once: {ran:?}");
    assert_eq!(count(&ran, "equal"), 15, "{ran:?}");

    let ran = audit(&stack, &["--rate", "1000/s", "--samples", "4"]).await;
    assert_eq!(count(&ran, "samples:"), 4, "{ran:?}");
}

#[tokio::test]
async fn i1_an_audit_finds_no_violation_while_others_write() {
    let stack = Arc::new(Stack::start().await);
    let paths: Vec<_> = (1..=40)
        .map(dashboard)
        .chain((0..40).map(product_page))
        .collect();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (database, stop) = (stack.database.connect().await.unwrap(), stop.clone());
        tokio::spawn(async move {
            let mut database = database;
            let mut written = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                for sql in [
                    "UPDATE products SET price = price + 1 WHERE id = 1 + (random() * 39)::int",
                    "UPDATE organizations SET name = name || '.' WHERE id = 1 + (random() * 39)::int",
                ] {
                    sqlx::raw_sql(sql).execute(&mut database).await.unwrap();
                    written += 1;
                }
                // As fast as it can, it would invalidate everything all the time.
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            database.close().await.unwrap();
            written
        })
    };
    let reader = {
        let (base, stop) = (stack.edge.url().to_owned(), stop.clone());
        tokio::spawn(async move {
            let client = Client::default();
            for path in paths.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let answer = client.get(&format!("{base}{path}")).await.unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        })
    };
    let mut judged = 0;
    let until = Instant::now() + wait::LIMIT;
    while judged < 60 && Instant::now() < until {
        let ran = audit(&stack, &["--rate", "200", "--samples", "60"]).await;
        assert!(ran.success, "{ran:?}");
        assert_eq!(count(&ran, "violations"), 0, "{ran:?}");
        judged += count(&ran, "equal") + count(&ran, "explained");
    }
    stop.store(true, Ordering::Relaxed);
    reader.await.unwrap();
    assert!(writer.await.unwrap() > 10);
    assert!(judged >= 60, "only {judged} judged");
}

#[tokio::test]
async fn a_change_past_the_triggers_is_a_violation() {
    let stack = Stack::start().await;
    for org in [42, 43] {
        stack.hit(&dashboard(org)).await;
    }
    change_unseen(
        &stack,
        "UPDATE organizations SET name = 'Whisper GmbH' WHERE id = 42",
    )
    .await;
    stack.settled().await;
    // That is the point: the edge can't know.
    stack.hit(&dashboard(42)).await;

    let ran = audit(&stack, &["--rate", "1000"]).await;
    assert!(!ran.success, "{ran:?}");
    assert_eq!(count(&ran, "violations"), 1, "{ran:?}");
    assert_eq!(count(&ran, "equal"), 1, "{ran:?}");
    for told in [
        "{org:42}:dashboard:",
        "org:42 org:*",
        "as_of=",
        "cached=",
        "ORDER BY",
    ] {
        assert!(ran.stderr.contains(told), "no {told} in {ran:?}");
    }
    assert!(!ran.stderr.contains("Whisper"), "{ran:?}");

    // A change that is seen puts it right.
    stack
        .sql("UPDATE organizations SET name = 'Loud GmbH' WHERE id = 42")
        .await;
    stack.settled().await;
    stack.hit(&dashboard(42)).await;
    let ran = audit(&stack, &["--rate", "1000"]).await;
    assert!(ran.success, "{ran:?}");
    assert_eq!(count(&ran, "equal"), 2, "{ran:?}");
}

#[tokio::test]
async fn a_row_that_is_gone_unseen_is_a_violation() {
    let stack = Stack::with().catalog(gate::CATALOG).start().await;
    stack.hit("/quick/7").await;
    change_unseen(&stack, "DELETE FROM items WHERE id = 7").await;
    stack.settled().await;
    let ran = audit(&stack, &["--rate", "1000"]).await;
    assert_eq!(count(&ran, "violations"), 1, "{ran:?}");
    assert!(ran.stderr.contains("no row"), "{ran:?}");
}

#[tokio::test]
async fn what_changes_while_the_audit_asks_is_explained() {
    let stack = Stack::with().catalog(gate::CATALOG).start().await;
    stack.hit("/quick/7").await;
    let mut writer = stack.database.connect().await.unwrap();
    let mut change = writer.begin().await.unwrap();
    sqlx::raw_sql(
        "LOCK TABLE items IN ACCESS EXCLUSIVE MODE; UPDATE items SET value = 'new' WHERE id = 7",
    )
    .execute(&mut *change)
    .await
    .unwrap();

    // It has seen a fresh entry, and its query waits for the table: then the change commits.
    let commit = async {
        wait::until(
            "the audit's query waits",
            async || {
                stack
                    .value::<i64>(
                        "SELECT count(*) FROM pg_locks WHERE NOT granted
                             AND relation = 'items'::regclass",
                    )
                    .await
            },
            |waiting| *waiting == 1,
        )
        .await;
        change.commit().await.unwrap();
    };
    let (ran, ()) = tokio::join!(audit(&stack, &["--rate", "1000"]), commit);
    assert!(ran.success, "{ran:?}");
    assert_eq!(count(&ran, "explained"), 1, "{ran:?}");
    assert_eq!(count(&ran, "samples:"), 1, "{ran:?}");
}

#[tokio::test]
async fn what_can_t_be_judged_is_skipped_with_its_reason() {
    let mut stack = Stack::start().await;
    stack.hit(&dashboard(42)).await;
    let () = stack.redis(&["SET", "tm:{org:42}:garbage", "x"]).await;
    let () = stack.redis(&["LPUSH", "tm:{org:42}:list", "x"]).await;
    let () = stack.redis(&["SET", "others:{org:42}:entry", "x"]).await;
    let ran = audit(&stack, &["--rate", "1000"]).await;
    assert!(ran.success, "{ran:?}");
    assert_eq!(count(&ran, "samples:"), 3, "{ran:?}");
    assert_eq!(count(&ran, "equal"), 1, "{ran:?}");
    assert!(ran.stdout.contains("2 not an entry"), "{ran:?}");

    // Nothing is fresh without a relay, and nothing is called wrong for it.
    stack.origin.process().kill();
    wait::until(
        "the tidemark is too old",
        async || stack.read(&dashboard(42)).await.cache_status().to_owned(),
        |status| status.contains("unproven"),
    )
    .await;
    let ran = audit(&stack, &["--rate", "1000"]).await;
    assert!(ran.success, "{ran:?}");
    assert!(ran.stdout.contains("1 not fresh"), "{ran:?}");
}

#[tokio::test]
async fn with_another_catalog_than_the_relay_s_nothing_is_judged() {
    let stack = Stack::with().catalog(gate::CATALOG).start().await;
    stack.hit("/quick/7").await;
    let folder = TempDir::new().unwrap();
    gate::CATALOG.write(folder.path()).unwrap();
    let sql = "SELECT value || '!' AS value FROM items WHERE id = :id";
    fs::write(folder.path().join("quick.sql"), sql).unwrap();
    let mut config = stack.origin_config.clone();
    config.catalog = folder.path().to_owned();
    let ran = spawn_blocking(move || origin(&config, &["audit"]))
        .await
        .unwrap();
    assert!(ran.success, "{ran:?}");
    assert!(
        ran.stdout.contains("1 the relay has another catalog"),
        "{ran:?}"
    );
}

/// A line of `/metrics`: the count of a query's findings.
async fn samples(stack: &Stack, query: &str, result: &str) -> Option<u64> {
    let metrics = stack.ask("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").starts_with("text/plain"));
    let line = format!("tidemark_audit_samples_total{{query=\"{query}\",result=\"{result}\"}} ");
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    text.lines()
        .find_map(|shown| shown.strip_prefix(&line))
        .map(|number| number.parse().unwrap())
}

#[tokio::test]
async fn serve_audits_as_it_goes_and_counts() {
    let stack = Stack::with()
        .origin("TIDEMARK_AUDIT_RATE", "200/s")
        .start()
        .await;
    assert_eq!(samples(&stack, "report", "violation").await, Some(0));
    stack.hit(&dashboard(42)).await;
    wait::until(
        "audited",
        async || samples(&stack, "dashboard", "equal").await,
        |count| *count > Some(0),
    )
    .await;
    assert_eq!(samples(&stack, "dashboard", "violation").await, Some(0));
    change_unseen(
        &stack,
        "UPDATE organizations SET name = 'Whisper GmbH' WHERE id = 42",
    )
    .await;
    wait::until(
        "found",
        async || samples(&stack, "dashboard", "violation").await,
        |count| *count > Some(0),
    )
    .await;
    let log = fs::read_to_string(stack.origin.log()).unwrap();
    assert!(log.contains("ERROR") && log.contains("audit"), "{log}");
    assert!(!log.contains("Whisper"), "{log}");
}

#[tokio::test]
async fn without_a_rate_nothing_is_audited() {
    let stack = Stack::start().await;
    stack.hit(&dashboard(42)).await;
    assert_eq!(samples(&stack, "dashboard", "equal").await, None);
}

/// An answer that is never the same twice.
const RESTLESS: OwnCatalog = OwnCatalog {
    // Not what it says it is, and so taken at its word by `check`.
    schema: "CREATE TABLE items (id bigint PRIMARY KEY); INSERT INTO items VALUES (1);
             CREATE FUNCTION luck() RETURNS float8 IMMUTABLE LANGUAGE sql AS 'SELECT random()'",
    toml: r#"
        [query.items]
        path  = "/items"
        sql   = "items.sql"
        reads = ["items"]

        [query.dice]
        path  = "/dice"
        sql   = "dice.sql"
        reads = ["items"]
        acknowledge = { "random()" = "a game" }
    "#,
    sql: &[
        ("items.sql", "SELECT id, luck() FROM items"),
        ("dice.sql", "SELECT id, random() FROM items"),
    ],
};

#[tokio::test]
async fn a_query_that_does_not_answer_the_same_twice_is_found_out() {
    let stack = Stack::with().catalog(RESTLESS).start().await;
    stack.hit("/items").await;
    stack.hit("/dice").await;
    let ran = audit(&stack, &["--rate", "1000"]).await;
    assert_eq!(count(&ran, "violations"), 1, "{ran:?}");
    assert_eq!(count(&ran, "skipped"), 1, "what is acknowledged: {ran:?}");
    assert!(ran.stderr.contains("random()"), "{ran:?}");
}
