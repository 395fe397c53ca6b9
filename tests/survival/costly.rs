//! A catalog whose query costs time and nothing else, so that a small machine is as good as a large one.

use std::time::Duration;

use tidemark_tests::{
    activity::{Activity, executions},
    stack::{OwnCatalog, Setup, Stack},
    traffic::Traffic,
};

/// The word by which PostgreSQL's views tell the costly query.
pub(crate) const WORD: &str = "pg_sleep";

/// How many queries the origin runs at a time.
pub(crate) const POOL: u32 = 4;

/// How many different answers there are.
pub(crate) const ITEMS: usize = 400;

/// `/item/{id}` takes 50 ms, and so does `/lasting/{id}`, which may be served while the origin fails.
/// `/live/{id}` takes next to nothing and is never cached.
pub(crate) const CATALOG: OwnCatalog = OwnCatalog {
    schema: SCHEMA,
    toml: r#"
        [query.item]
        path   = "/item/{id}"
        params = { id = "int" }
        sql    = "item.sql"
        shape  = "row"
        reads  = ["items"]
        scope  = "item:{id}"
        ttl    = "10m"
        max_staleness = "2s"
        acknowledge = { "pg_sleep(double precision)" = "it answers the same each time" }

        [query.lasting]
        path   = "/lasting/{id}"
        params = { id = "int" }
        sql    = "item.sql"
        shape  = "row"
        reads  = ["items"]
        scope  = "item:{id}"
        ttl    = "10m"
        max_staleness  = "2s"
        stale_if_error = "10m"
        acknowledge = { "pg_sleep(double precision)" = "it answers the same each time" }

        [query.live]
        path   = "/live/{id}"
        params = { id = "int" }
        sql    = "live.sql"
        shape  = "row"
        reads  = ["items"]
        max_staleness = "0s"

        [table.items]
        scope = "item:{id}"
    "#,
    sql: &[
        (
            "item.sql",
            "SELECT id, value, repeat('x', 1000) AS filling, pg_sleep(0.05)::text AS slept FROM items WHERE id = :id",
        ),
        LIVE,
    ],
};

/// The file of `/live/{id}`.
pub(crate) const LIVE: (&str, &str) = ("live.sql", "SELECT id, value FROM items WHERE id = :id");

pub(crate) const SCHEMA: &str = "
    CREATE EXTENSION pg_stat_statements;
    CREATE TABLE items (id bigint PRIMARY KEY, value bigint NOT NULL DEFAULT 0);
    INSERT INTO items SELECT n FROM generate_series(1, 400) AS n;
";

/// The promise of what is cached.
pub(crate) const PROMISE: Duration = Duration::from_secs(2);

/// How long PostgreSQL works on one statement.
pub(crate) const STATEMENT: Duration = Duration::from_secs(2);

/// A stack of it, with a server of its own.
pub(crate) fn setup() -> Setup {
    Stack::with()
        .catalog(CATALOG)
        .own_server()
        .origin("TIDEMARK_QUERY_CONNECTIONS", POOL)
        .origin("TIDEMARK_ACQUIRE_TIMEOUT_MS", 500)
        .origin("TIDEMARK_STATEMENT_TIMEOUT_MS", STATEMENT.as_millis())
        .origin("TIDEMARK_INVALIDATION_WAIT_MS", 200)
}

/// Many times what the pool could answer: 4 in 50 ms are 80 a second.
pub(crate) fn traffic(stack: &Stack) -> Traffic {
    Traffic {
        edge: stack.edge.url().to_owned(),
        paths: (1..=ITEMS).map(|id| format!("/item/{id}")).collect(),
        clients: 20,
        pace: Duration::from_millis(50),
    }
}

/// Watches how many of the costly queries run at a time.
pub(crate) async fn activity(stack: &Stack) -> Activity {
    Activity::of(stack.database.connect().await.unwrap(), WORD)
}

/// How many of the costly queries have been run.
pub(crate) async fn executed(stack: &Stack) -> i64 {
    let mut connection = stack.database.connect().await.unwrap();
    executions(&mut connection, WORD).await.unwrap()
}
