//! Installing and removing capture, and that the origin serves nothing without it.

use std::fs;

use tempfile::TempDir;
use tidemark_tests::stack::{Database, OwnCatalog};

use crate::support::{Ran, origin, origin_on};

async fn scalar(database: &Database, sql: &'static str) -> i64 {
    let mut connection = database.connect().await.unwrap();
    sqlx::query_scalar(sql)
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

async fn triggers(database: &Database) -> i64 {
    scalar(
        database,
        "SELECT count(*) FROM pg_trigger WHERE tgname LIKE '%tidemark%' AND NOT tgisinternal",
    )
    .await
}

async fn schemas(database: &Database) -> i64 {
    scalar(
        database,
        "SELECT count(*) FROM pg_namespace WHERE nspname = 'tidemark'",
    )
    .await
}

/// What `serve` says where it must not serve.
fn refusal(database: &Database) -> String {
    let Ran {
        success,
        stderr,
        stdout,
    } = origin(&origin_on(database), &["serve"]);
    assert!(!success, "it serves: {stdout}");
    assert!(!stdout.contains("listening"), "{stdout}");
    stderr
}

#[tokio::test]
async fn installing_again_changes_nothing() {
    let database = Database::plain_erp().await.unwrap();
    let config = origin_on(&database);
    let first = origin(&config, &["install"]);
    assert!(first.success, "{first:?}");
    assert!(
        first
            .stdout
            .starts_with("installed the outbox and triggers on "),
        "{first:?}"
    );
    for table in [
        "customers",
        "order_items",
        "orders",
        "organizations",
        "products",
    ] {
        assert!(first.stdout.contains(table), "{first:?}");
    }
    // Only read by a query that is never cached.
    assert!(!first.stdout.contains("inventory"), "{first:?}");
    let count = triggers(&database).await;
    assert!(count > 0);

    let second = origin(&config, &["install"]);
    assert!(second.stdout.starts_with("nothing to do"), "{second:?}");
    assert_eq!(triggers(&database).await, count);
}

#[tokio::test]
async fn a_dry_run_prints_the_sql_and_changes_nothing() {
    let database = Database::plain_erp().await.unwrap();
    let config = origin_on(&database);
    let dry = origin(&config, &["install", "--dry-run"]);
    assert!(dry.success, "{dry:?}");
    assert!(dry.stdout.starts_with("BEGIN;") && dry.stdout.trim_end().ends_with("COMMIT;"));
    assert_eq!(schemas(&database).await, 0);

    // The same SQL, run by hand, is the installation.
    database.run(&dry.stdout).await.unwrap();
    let then = origin(&config, &["install"]);
    assert!(then.stdout.starts_with("nothing to do"), "{then:?}");
}

#[tokio::test]
async fn uninstalling_removes_everything() {
    let database = Database::erp().await.unwrap();
    let config = origin_on(&database);
    assert!(triggers(&database).await > 0);
    let gone = origin(&config, &["uninstall"]);
    assert!(gone.success, "{gone:?}");
    assert_eq!(
        (triggers(&database).await, schemas(&database).await),
        (0, 0)
    );
    database
        .run("UPDATE orders SET status = 'cancelled'")
        .await
        .unwrap();
    assert!(refusal(&database).contains("run: tidemark-origin install"));
    assert!(origin(&config, &["uninstall"]).success, "again is no error");
    assert!(origin(&config, &["install"]).success);
}

#[tokio::test]
async fn nothing_is_served_without_the_triggers_of_this_catalog() {
    let database = Database::plain_erp().await.unwrap();
    assert!(refusal(&database).contains("run: tidemark-origin install"));
    let relay = origin(&origin_on(&database), &["relay"]);
    assert!(
        !relay.success && relay.stderr.contains("run: tidemark-origin install"),
        "{relay:?}"
    );

    let database = Database::erp().await.unwrap();
    for damage in [
        "ALTER TABLE orders DISABLE TRIGGER",
        // Silent in sessions that apply replicated changes.
        "ALTER TABLE orders ENABLE TRIGGER",
        "DROP TRIGGER",
    ] {
        let on = if damage == "DROP TRIGGER" {
            "ON orders"
        } else {
            ""
        };
        let damage = format!(
            "DO $$ BEGIN EXECUTE (
                SELECT format('{damage} %I {on}', tgname) FROM pg_trigger
                WHERE tgrelid = 'orders'::regclass AND tgname LIKE '%tidemark%' LIMIT 1
             ); END $$"
        );
        database.run(&damage).await.unwrap();
        assert!(
            refusal(&database).contains("run: tidemark-origin install"),
            "{damage}"
        );
        let repaired = origin(&origin_on(&database), &["install"]);
        assert!(
            repaired.stdout.starts_with("installed"),
            "{damage}: {repaired:?}"
        );
    }
}

#[tokio::test]
async fn another_catalog_renews_the_triggers() {
    let database = Database::erp().await.unwrap();
    let folder = TempDir::new().unwrap();
    let erp = tidemark_tests::erp::catalog();
    std::os::unix::fs::symlink(erp.join("sql"), folder.path().join("sql")).unwrap();
    let text = fs::read_to_string(erp.join("tidemark.toml")).unwrap();
    let changed = text.replace(", \"user:{created_by}\"", "");
    assert_ne!(changed, text);
    fs::write(folder.path().join("tidemark.toml"), changed).unwrap();

    let mut config = origin_on(&database);
    config.catalog = folder.path().to_owned();
    let serve = origin(&config, &["serve"]);
    assert!(
        serve.stderr.contains("run: tidemark-origin install"),
        "{serve:?}"
    );
    let renewed = origin(&config, &["install"]);
    assert!(renewed.stdout.starts_with("installed"), "{renewed:?}");
    let back = origin(&origin_on(&database), &["install"]);
    assert!(back.stdout.starts_with("installed"), "{back:?}");
}

#[tokio::test]
async fn a_partition_without_triggers_is_noticed() {
    const CATALOG: OwnCatalog = OwnCatalog {
        schema: "CREATE TABLE sales (org_id bigint, day date) PARTITION BY RANGE (day);
                 CREATE TABLE sales_2025 PARTITION OF sales FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');",
        toml: r#"
            [query.sales]
            path  = "/sales"
            sql   = "sales.sql"
            reads = ["sales"]
        "#,
        sql: &[("sales.sql", "SELECT count(*) FROM sales")],
    };
    let database = Database::empty().await.unwrap();
    database.run(CATALOG.schema).await.unwrap();
    let folder = TempDir::new().unwrap();
    CATALOG.write(folder.path()).unwrap();
    let mut config = origin_on(&database);
    config.catalog = folder.path().to_owned();
    assert!(origin(&config, &["install"]).success);
    assert!(
        origin(&config, &["install"])
            .stdout
            .starts_with("nothing to do")
    );

    let partition = "CREATE TABLE sales_2026 PARTITION OF sales FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')";
    database.run(partition).await.unwrap();
    let serve = origin(&config, &["serve"]);
    assert!(
        serve.stderr.contains("run: tidemark-origin install"),
        "{serve:?}"
    );
    assert!(
        origin(&config, &["install"])
            .stdout
            .starts_with("installed")
    );
}

#[tokio::test]
async fn i1_what_changed_without_triggers_is_invalidated_when_they_are_back() {
    let database = Database::erp().await.unwrap();
    for (damage, of_table) in [
        (
            "ALTER TABLE products DISABLE TRIGGER USER",
            "SELECT count(*) FROM tidemark.outbox WHERE kind = 't' AND name = 'products'",
        ),
        // The triggers stay with the old table.
        (
            "ALTER TABLE payments RENAME TO payments_old; CREATE TABLE payments (LIKE payments_old);
             ALTER TABLE payments ADD FOREIGN KEY (order_id) REFERENCES orders",
            "SELECT count(*) FROM tidemark.outbox WHERE kind = 'f' AND name = 'order'",
        ),
    ] {
        database.run("DELETE FROM tidemark.outbox").await.unwrap();
        database.run(damage).await.unwrap();
        let install = origin(&origin_on(&database), &["install"]);
        assert!(
            install.stdout.starts_with("installed"),
            "{damage}: {install:?}"
        );
        assert_eq!(scalar(&database, of_table).await, 1, "{damage}");
    }
}
