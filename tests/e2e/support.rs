//! What several test modules need.

use std::{
    path::Path,
    process::{Command, Output},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use tidemark_tests::{
    http::Answer,
    origin::OriginConfig,
    port::local,
    stack::{Database, Stack},
    wait,
};

/// The quarter that the tests look at.
pub(crate) const QUARTER: &str = "from=2025-01-01&to=2025-03-31";

/// What `Cache-Status` says of a hit.
pub(crate) const HIT: &str = "tidemark; hit";

/// What `Cache-Status` says where nothing was cached.
pub(crate) const MISS: &str = "tidemark; fwd=miss; stored";

/// The dashboard of an organization.
pub(crate) fn dashboard(org: i64) -> String {
    format!("/org/{org}/dashboard?{QUARTER}")
}

/// An order that counts in [`QUARTER`].
pub(crate) fn order() -> Value {
    json!({"customer": 42, "date": "2025-03-31", "items": [{"product": 7, "quantity": 2}]})
}

/// The time, in ms since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// How many orders a dashboard counts.
pub(crate) fn orders(dashboard: &Answer) -> i64 {
    dashboard.json()["totals"]["orders"]
        .as_i64()
        .unwrap_or_else(|| panic!("no dashboard: {dashboard:?}"))
}

/// Fails unless the answer is this kind of problem.
#[track_caller]
pub(crate) fn assert_problem(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    assert_eq!(answer.problem(), kind, "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store", "{answer:?}");
    assert_eq!(answer.json()["status"], status, "{answer:?}");
}

/// Reads through the edge until `accept` likes the answer: within [`wait::LIMIT`], and in practice
/// within milliseconds.
pub(crate) async fn read_until(
    stack: &Stack,
    path: &str,
    what: &str,
    accept: impl Fn(&Answer) -> bool,
) -> Answer {
    wait::until(what, async || stack.read(path).await, accept).await
}

/// Reads what has not been invalidated: a hit. On a machine so busy that the relay stands still for
/// longer than the promise, the edge may say `unproven` for a while, and nothing else.
pub(crate) async fn assert_still_cached(stack: &Stack, path: &str) {
    let answer = read_until(stack, path, "proven again", |answer| {
        !answer.cache_status().contains("detail=unproven")
    })
    .await;
    assert_eq!(answer.cache_status(), HIT, "{path}");
}

/// Runs SQL of the test's own.
pub(crate) async fn execute(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .unwrap();
}

/// Settings for the origin's other commands, on a database.
pub(crate) fn origin_on(database: &Database) -> OriginConfig {
    OriginConfig {
        catalog: tidemark_tests::erp::catalog(),
        database_url: database.url(),
        redis_url: "redis://127.0.0.1:1".to_owned(),
        listen: local(0),
        log: "/dev/null".into(),
        lease: None,
        environment: vec![("RUST_LOG", "warn".to_owned())],
    }
}

/// The same with a catalog of the test's own.
pub(crate) fn with_catalog(database: &Database, folder: &Path) -> OriginConfig {
    OriginConfig {
        catalog: folder.to_owned(),
        ..origin_on(database)
    }
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("it starts");
    Ran {
        success: status.success(),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// What is in the outbox, without numbers, each scope once: `m org 42`, or `p org:{orders.org_id} by
/// id 7` for a key.
pub(crate) async fn outbox(database: &Database) -> Vec<String> {
    let mut connection = database.connect().await.unwrap();
    sqlx::query_scalar(
        "SELECT DISTINCT concat_ws(' ', kind, name, value) FROM tidemark.outbox
         LEFT JOIN LATERAL unnest(members) AS value ON true ORDER BY 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap()
}

/// Runs `tidemark-origin` with these arguments to its end.
pub(crate) fn origin(config: &OriginConfig, arguments: &[&str]) -> Ran {
    run(config.command(arguments).expect("the origin is built"))
}

/// Fails unless a command has said all of these words.
#[track_caller]
pub(crate) fn assert_says(ran: &Ran, words: &[&str]) {
    let said = format!("{}\n{}", ran.stdout, ran.stderr);
    for word in words {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
}

/// The value of a line of the origin's `/metrics`, named with its labels.
pub(crate) async fn metric(stack: &Stack, line: &str) -> f64 {
    let text = String::from_utf8(stack.ask("/metrics").await.body.to_vec()).unwrap();
    let found = text.lines().find_map(|found| found.strip_prefix(line));
    let value = found.unwrap_or_else(|| panic!("no {line} in {text}"));
    value.trim().parse().unwrap()
}

/// The number of a test's choosing in a query string, so that each has a key of its own.
pub(crate) fn product_page(after: usize) -> String {
    format!("/products?after={after}&limit=1")
}

/// The tests' slow catalog: a query that waits as long as anybody holds advisory lock 1.
pub(crate) mod gate {
    use sqlx::{Connection as _, PgConnection};
    use tidemark_tests::{
        stack::{OwnCatalog, Stack},
        wait,
    };

    /// One row, `item(1) = 'old'`; `/item/1` reads it and then waits at the gate, so that its
    /// snapshot is older than whatever happens while it waits.
    pub(crate) const CATALOG: OwnCatalog = OwnCatalog {
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
            acknowledge = { "pg_advisory_xact_lock_shared(bigint)" = "it answers the same each time" }

            [query.quick]
            path   = "/quick/{id}"
            params = { id = "int" }
            sql    = "quick.sql"
            shape  = "row"
            reads  = ["items"]
            scope  = "item:{id}"

            [command.change]
            method = "PUT"
            path   = "/item/{id}"
            params = { id = "int", value = "text" }
            sql    = "change.sql"

            [table.items]
            scope = "item:{id}"
        "#,
        sql: &[
            (
                "item.sql",
                "SELECT value, pg_advisory_xact_lock_shared(1)::text AS gate FROM items WHERE id = :id",
            ),
            ("quick.sql", "SELECT value FROM items WHERE id = :id"),
            (
                "change.sql",
                "UPDATE items SET value = :value WHERE id = :id RETURNING value, pg_advisory_xact_lock_shared(1)::text AS gate",
            ),
        ],
    };

    /// How often an edge has asked Redis for an entry and its stamps.
    pub(crate) async fn mgets(stack: &Stack) -> u64 {
        let info: String = stack.redis(&["INFO", "commandstats"]).await;
        let calls = info.lines().find_map(|line| {
            let statistics = line.strip_prefix("cmdstat_mget:calls=")?;
            statistics.split(',').next()
        });
        calls.and_then(|calls| calls.parse().ok()).unwrap_or(0)
    }

    /// Waits until so many requests have asked Redis.
    pub(crate) async fn have_asked(stack: &Stack, requests: u64) {
        wait::until(
            "all have asked Redis",
            async || mgets(stack).await,
            |seen| *seen >= requests,
        )
        .await;
    }

    /// The gate, shut.
    pub(crate) struct Gate(PgConnection);

    impl Gate {
        /// Shuts it.
        pub(crate) async fn shut(stack: &Stack) -> Self {
            let mut connection = stack.database.connect().await.unwrap();
            sqlx::query("SELECT pg_advisory_lock(1)")
                .execute(&mut connection)
                .await
                .unwrap();
            Self(connection)
        }

        /// Waits until this many statements wait at it.
        pub(crate) async fn queue(&mut self, length: i64) {
            wait::until(
                "statements at the gate",
                async || {
                    sqlx::query_scalar::<_, i64>(
                        "SELECT count(*) FROM pg_locks
                         WHERE locktype = 'advisory' AND NOT granted
                           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
                    )
                    .fetch_one(&mut self.0)
                    .await
                    .unwrap()
                },
                |waiting| *waiting == length,
            )
            .await;
        }

        /// Opens it.
        pub(crate) async fn open(self) {
            self.0.close().await.unwrap();
        }
    }
}
