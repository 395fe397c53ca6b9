//! `tidemark-origin warm`: the cache is filled before anybody reads.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tidemark_tests::{
    origin::OriginConfig,
    stack::{OwnCatalog, Stack},
    wait::until,
};
use tokio::task::spawn_blocking;

use crate::support::{HIT, Ran, assert_says, origin, run};

const CATALOG: OwnCatalog = OwnCatalog {
    schema: "CREATE TABLE items (id bigint PRIMARY KEY, value text NOT NULL, day date NOT NULL);
             INSERT INTO items SELECT n, 'old', DATE '2025-01-01' + n::int FROM generate_series(1, 40) AS n;",
    toml: r#"
        [query.item]
        path   = "/item/{id}"
        params = { id = "int" }
        sql    = "item.sql"
        warm   = "warm_item.sql"
        shape  = "row"
        reads  = ["items"]
        scope  = "item:{id}"
        max_staleness = "20s"

        [query.days]
        path   = "/days"
        params = { from = "date", at = "timestamp?", word = "text = none" }
        sql    = "days.sql"
        warm   = "warm_days.sql"
        reads  = ["items"]
        max_staleness = "20s"

        [query.fragile]
        path   = "/fragile/{id}"
        params = { id = "int" }
        sql    = "fragile.sql"
        warm   = "warm_fragile.sql"
        reads  = ["items"]
        max_staleness = "20s"

        [query.strange]
        path   = "/strange/{id}"
        params = { id = "int" }
        sql    = "fragile.sql"
        warm   = "warm_strange.sql"
        reads  = ["items"]

        [query.writing]
        path   = "/writing/{id}"
        params = { id = "int" }
        sql    = "fragile.sql"
        warm   = "warm_writing.sql"
        reads  = ["items"]

        [query.exact]
        path   = "/exact/{id}"
        params = { id = "int" }
        sql    = "fragile.sql"
        reads  = ["items"]
        max_staleness = "0s"

        [table.items]
        scope = "item:{id}"
    "#,
    sql: &[
        ("item.sql", "SELECT value FROM items WHERE id = :id"),
        ("warm_item.sql", "SELECT id FROM items ORDER BY id -- all of them"),
        (
            "days.sql",
            "SELECT id FROM items WHERE day >= :from AND day < coalesce(:at, 'infinity') AND value <> :word ORDER BY id",
        ),
        (
            "warm_days.sql",
            "SELECT day AS \"from\", timestamptz '2025-01-01 12:00+00' AS at FROM items WHERE id = 1 UNION ALL
             SELECT day, NULL FROM items WHERE id = 2;",
        ),
        ("fragile.sql", "SELECT 1 / (id - 3) AS it FROM items WHERE id = :id"),
        ("warm_fragile.sql", "SELECT n AS id FROM generate_series(1, 5) AS n"),
        ("warm_strange.sql", "SELECT id, value AS colour FROM items"),
        ("warm_writing.sql", "SELECT nextval('seen') AS id"),
    ],
};

async fn warm(stack: &Stack, arguments: &[&str]) -> Ran {
    let config = stack.origin_config.clone();
    let arguments: Vec<_> = [&["warm"], arguments].concat();
    let arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
    spawn_blocking(move || {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        origin(&config, &arguments)
    })
    .await
    .unwrap()
}

#[track_caller]
fn assert_summary(ran: &Ran, summary: &str) {
    assert_eq!(ran.stdout.trim(), summary, "{ran:?}");
}

async fn assert_hits(stack: &Stack, paths: &[&str]) {
    for path in paths {
        let answer = stack.read(path).await;
        assert_eq!(answer.cache_status(), HIT, "{path}: {answer:?}");
    }
}

/// A list in a file.
fn list(lines: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("list");
    fs::write(&file, lines).unwrap();
    (folder, file)
}

#[tokio::test]
async fn i1_what_was_read_most_is_loaded_and_what_is_fresh_left_alone() {
    let stack = Stack::with().catalog(CATALOG).start().await;
    for id in [1, 1, 2, 3] {
        stack.hit(&format!("/item/{id}")).await;
    }
    until(
        "the sample",
        async || {
            let name: Vec<String> = stack.redis(&["KEYS", "tm:hot:*"]).await;
            match &name[..] {
                [name] => stack.redis(&["ZCARD", name]).await,
                _ => 0,
            }
        },
        |requests: &i64| *requests == 3,
    )
    .await;
    stack
        .sql("UPDATE items SET value = 'new' WHERE id IN (1, 2)")
        .await;
    stack.settled().await;
    let ran = warm(&stack, &[]).await;
    assert!(ran.success, "{ran:?}");
    assert_summary(
        &ran,
        "3 answers: 2 loaded, 1 already fresh, 0 not found, 0 failed",
    );
    assert_eq!(stack.hit("/item/1").await.json()["value"], "new");
    assert_hits(&stack, &["/item/1", "/item/2", "/item/3"]).await;

    let ran = warm(&stack, &["--hottest", "1"]).await;
    assert_summary(
        &ran,
        "1 answers: 0 loaded, 1 already fresh, 0 not found, 0 failed",
    );
}

#[tokio::test]
async fn a_list_is_loaded_from_a_file_or_standard_input() {
    let stack = Stack::with().catalog(CATALOG).start().await;
    let (_folder, file) =
        list("# the first\n/item/01\n\n  /days?from=2025-01-05&word=none\n/item/999\n");
    let ran = warm(&stack, &["--from", file.to_str().unwrap()]).await;
    assert!(ran.success, "{ran:?}");
    assert_summary(
        &ran,
        "3 answers: 2 loaded, 0 already fresh, 1 not found, 0 failed",
    );
    assert_hits(&stack, &["/item/1", "/days?from=2025-01-05", "/item/999"]).await;

    let mut command = stack
        .origin_config
        .command(&["warm", "--from", "-", "--concurrency", "1", "--rate", "100"])
        .unwrap();
    command.stdin(File::open(&file).unwrap());
    let ran = spawn_blocking(|| run(command)).await.unwrap();
    assert_summary(
        &ran,
        "3 answers: 0 loaded, 3 already fresh, 0 not found, 0 failed",
    );
}

#[tokio::test]
async fn a_bad_line_stops_before_anything_is_loaded() {
    let stack = Stack::with().catalog(CATALOG).start().await;
    for (line, said) in [
        ("/nowhere", "no query has this path"),
        ("/item/x", "parameter \"id\" must be a whole number"),
        ("/exact/1", "exact is never cached (max_staleness = \"0s\")"),
    ] {
        let (_folder, file) = list(&format!("/item/1\n# a comment\n{line}\n"));
        let ran = warm(&stack, &["--from", file.to_str().unwrap()]).await;
        assert!(!ran.success, "{ran:?}");
        assert_says(&ran, &["line 3", said]);
    }
    let ran = warm(&stack, &["--from", "/nowhere/list"]).await;
    assert_says(&ran, &["cannot read /nowhere/list"]);
    let keys = stack.keys().await;
    assert!(!keys.iter().any(|key| key.contains("}:")), "{keys:?}");
}

#[tokio::test]
async fn all_that_a_query_enumerates_is_loaded() {
    let stack = Stack::with().catalog(CATALOG).start().await;
    let ran = warm(&stack, &["--query", "item", "days", "--concurrency", "4"]).await;
    assert!(ran.success, "{ran:?}");
    assert_summary(
        &ran,
        "42 answers: 42 loaded, 0 already fresh, 0 not found, 0 failed",
    );
    assert_hits(
        &stack,
        &[
            "/item/1",
            "/item/40",
            "/days?from=2025-01-02&at=2025-01-01T12:00:00Z",
            "/days?from=2025-01-03",
        ],
    )
    .await;
}

#[tokio::test]
async fn the_example_says_what_is_worth_warming() {
    let stack = Stack::start().await;
    let ran = warm(&stack, &["--query", "dashboard", "--concurrency", "4"]).await;
    assert!(ran.success, "{ran:?}");
    let organizations: i64 = stack
        .value("SELECT count(DISTINCT org_id) FROM orders")
        .await;
    let loaded = format!("{organizations} answers: {organizations} loaded, ");
    assert!(ran.stdout.starts_with(&loaded), "{ran:?}");
}

#[tokio::test]
async fn what_can_t_be_enumerated_is_told() {
    let stack = Stack::with().catalog(CATALOG).start().await;
    stack.sql("CREATE SEQUENCE seen").await;
    for (query, said) in [
        (
            "strange",
            "warm_strange.sql: the column \"colour\" is no parameter of strange; it has id",
        ),
        ("writing", "read-only transaction"),
        ("exact", "exact is never cached (max_staleness = \"0s\")"),
        (
            "other",
            "there is no query \"other\"; there are days, exact,",
        ),
    ] {
        let ran = warm(&stack, &["--query", query]).await;
        assert!(!ran.success, "{ran:?}");
        assert_says(&ran, &[said]);
    }
    let both = warm(&stack, &["--query", "item", "--hottest", "3"]).await;
    assert_says(&both, &["cannot be used with"]);
}

#[tokio::test]
async fn what_fails_is_counted_and_the_rest_is_loaded() {
    let stack = Stack::with().catalog(CATALOG).start().await;
    let ran = warm(&stack, &["--query", "fragile"]).await;
    assert!(!ran.success, "{ran:?}");
    assert_summary(
        &ran,
        "5 answers: 4 loaded, 0 already fresh, 0 not found, 1 failed",
    );
    assert_says(
        &ran,
        &[
            "{fragile}:fragile:",
            "division by zero",
            "1 answers were not loaded",
        ],
    );
    assert_hits(&stack, &["/fragile/1", "/fragile/5"]).await;
}

#[tokio::test]
async fn without_a_relay_there_is_nothing_to_warm() {
    let mut stack = Stack::with().catalog(CATALOG).start().await;
    let ran = warm(&stack, &["--key-prefix", "other:", "--query", "item"]).await;
    assert!(!ran.success, "{ran:?}");
    assert_says(
        &ran,
        &["there is no tidemark in Redis; is a relay running?"],
    );

    let silent = OriginConfig {
        redis_url: "redis://127.0.0.1:1".to_owned(),
        ..stack.origin_config.clone()
    };
    let ran = spawn_blocking(move || origin(&silent, &["warm"]))
        .await
        .unwrap();
    assert_says(&ran, &["cannot connect to Redis; is --redis right?"]);

    stack.origin.process().stop();
    let mut redis = stack.redis_connection().await;
    until(
        "it stands still for long",
        async || {
            // As if so much time had passed.
            let text: String = redis::cmd("GET")
                .arg("tm:tidemark")
                .query_async(&mut redis)
                .await
                .unwrap();
            let mut tidemark: serde_json::Value = serde_json::from_str(&text).unwrap();
            let as_of = tidemark["as_of"].as_i64().unwrap();
            tidemark["as_of"] = (as_of - 60_000).into();
            let () = redis::cmd("SET")
                .arg("tm:tidemark")
                .arg(tidemark.to_string())
                .query_async(&mut redis)
                .await
                .unwrap();
            warm(&stack, &["--query", "item"]).await
        },
        |ran| ran.stderr.contains("the tidemark in Redis stands still"),
    )
    .await;
}

#[tokio::test]
async fn a_run_that_is_stopped_says_how_far_it_came_and_the_next_one_goes_on() {
    let stack = Stack::with().catalog(CATALOG).start().await;
    let mut command = stack
        .origin_config
        .command(&["warm", "--query", "item", "--rate", "2"])
        .unwrap();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    until(
        "some are loaded",
        async || stack.keys().await,
        |keys| keys.iter().filter(|key| key.ends_with("}:item")).count() >= 6,
    )
    .await;
    interrupt(&child);
    let output = spawn_blocking(|| child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    let ran = Ran {
        success: output.status.success(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!ran.success, "{ran:?}");
    assert_says(
        &ran,
        &["warm: ", " so far", "stopped; run it again to go on"],
    );
    let loaded: u32 = ran.stdout.split(' ').nth(2).unwrap().parse().unwrap();
    assert!((5..40).contains(&loaded), "{ran:?}");

    let ran = warm(&stack, &["--query", "item"]).await;
    assert!(ran.success, "{ran:?}");
    let fresh: u32 = ran.stdout.split(' ').nth(4).unwrap().parse().unwrap();
    // One may have been stored in the moment in which it was stopped.
    assert!((loaded..=loaded + 1).contains(&fresh), "{ran:?}");
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}
