//! A catalog whose answers are as long as one asks for.

use tidemark_tests::stack::{OwnCatalog, Setup, Stack};

/// Bytes in a MiB.
pub(crate) const MIB: usize = 1024 * 1024;

const CATALOG: OwnCatalog = OwnCatalog {
    schema: "CREATE TABLE items (id bigint PRIMARY KEY);
             INSERT INTO items SELECT n FROM generate_series(1, 400) AS n;",
    toml: r#"
        [query.sized]
        path   = "/sized/{bytes}/{id}"
        params = { bytes = "int", id = "int" }
        sql    = "sized.sql"
        shape  = "row"
        reads  = ["items"]
        scope  = "item:{id}"
        ttl    = "10m"

        [query.slow]
        path   = "/slow/{id}"
        params = { id = "int" }
        sql    = "slow.sql"
        shape  = "row"
        reads  = ["items"]
        max_staleness = "0s"
        acknowledge = { "pg_sleep(double precision)" = "it answers the same each time" }

        [table.items]
        scope = "item:{id}"
    "#,
    sql: &[
        (
            "sized.sql",
            "SELECT id, repeat('x', :bytes::int) AS filling FROM items WHERE id = :id",
        ),
        (
            "slow.sql",
            "SELECT id, pg_sleep(600)::text AS slept FROM items WHERE id = :id",
        ),
    ],
};

/// A stack of it.
pub(crate) fn setup() -> Setup {
    Stack::with().catalog(CATALOG)
}

/// What to ask for.
pub(crate) fn path(bytes: usize, id: usize) -> String {
    format!("/sized/{bytes}/{id}")
}
