//! All kinds of statements that change rows: each records what it touched, and no more.

use crate::captured::Captured;

const CATALOG: &str = r#"
    [query.orders]
    path   = "/org/{org}/orders"
    params = { org = "int" }
    sql    = "orders.sql"
    reads  = ["orders", "lines"]
    scope  = "org:{org}"

    [query.lines]
    path  = "/lines"
    sql   = "lines.sql"
    reads = ["lines"]

    [table.orders]
    scope = "org:{org_id}"

    [table.lines]
    scope = "org:{orders.org_id}"
"#;

const SCHEMA: &str = "
    CREATE TABLE people (id int PRIMARY KEY);
    CREATE TABLE orders (
        id int PRIMARY KEY, org_id int, total int, note text,
        buyer int REFERENCES people ON UPDATE CASCADE ON DELETE SET NULL,
        seller int REFERENCES people ON UPDATE CASCADE ON DELETE CASCADE
    );
    CREATE TABLE lines (
        id int PRIMARY KEY, order_id int REFERENCES orders ON UPDATE CASCADE ON DELETE CASCADE, amount int
    );
    INSERT INTO people SELECT generate_series(1, 9);
    INSERT INTO orders SELECT n, n, 1, NULL, n, n FROM generate_series(1, 4) AS n;
    INSERT INTO lines SELECT n, n, 1 FROM generate_series(1, 4) AS n;
";

const USES: &[(&str, &[&str])] = &[("orders", &["total", "buyer"]), ("lines", &["amount"])];

#[tokio::test]
async fn i1_merge_and_upserts_are_captured() {
    let mut captured = Captured::new(SCHEMA, CATALOG, USES).await;
    captured
        .each_records(&[
            (
                "MERGE INTO orders o USING (VALUES (1, 10), (2, 2), (3, 3), (9, 9)) AS new (id, org)
                 ON o.id = new.id
                 WHEN MATCHED AND o.id = 1 THEN UPDATE SET org_id = new.org
                 WHEN MATCHED AND o.id = 2 THEN DELETE
                 WHEN MATCHED THEN UPDATE SET note = 'unused'
                 WHEN NOT MATCHED THEN INSERT (id, org_id) VALUES (new.id, new.org)",
                // The deleted one's line went with it.
                &["lines", "org:1", "org:10", "org:2", "org:9"],
            ),
            (
                "INSERT INTO orders (id, org_id) VALUES (3, 30) ON CONFLICT (id) DO UPDATE SET org_id = EXCLUDED.org_id",
                &["org:3", "org:30"],
            ),
            (
                "INSERT INTO orders (id, org_id) VALUES (3, 31), (20, 20) ON CONFLICT (id) DO UPDATE SET note = 'x'",
                &["org:20"],
            ),
            ("INSERT INTO orders (id, org_id) VALUES (3, 31) ON CONFLICT DO NOTHING", &[]),
            (
                "WITH one AS (UPDATE orders SET total = 5 WHERE id = 3 RETURNING id),
                      two AS (DELETE FROM lines WHERE id = 4 RETURNING id),
                      three AS (INSERT INTO orders (id, org_id) VALUES (21, 21) RETURNING id)
                 SELECT FROM one, two, three",
                &["lines", "org:21", "org:30", "org:4"],
            ),
            ("CREATE TABLE copied AS SELECT * FROM orders", &[]),
        ])
        .await;
}

#[tokio::test]
async fn i1_what_foreign_keys_do_is_captured() {
    let mut captured = Captured::new(SCHEMA, CATALOG, USES).await;
    captured
        .each_records(&[
            // Both columns of one row, one after the other: the buyer is used.
            ("UPDATE people SET id = 101 WHERE id = 1", &["org:1"]),
            (
                "UPDATE people SET id = id + 100 WHERE id IN (2, 3)",
                &["org:2", "org:3"],
            ),
            // Only the seller, which no query uses.
            (
                "UPDATE orders SET buyer = NULL WHERE id = 4; DELETE FROM tidemark.outbox;
                 UPDATE people SET id = 104 WHERE id = 4",
                &[],
            ),
            (
                "UPDATE orders SET seller = NULL WHERE id IN (1, 2); DELETE FROM tidemark.outbox;
                 DELETE FROM people WHERE id = 101",
                &["org:1"],
            ),
            // Through orders to their lines.
            ("DELETE FROM people WHERE id = 103", &["lines", "org:3"]),
            // The key that lines refer to, which no query of the lines shows.
            ("UPDATE orders SET id = 20 WHERE id = 2", &["org:2"]),
            ("DELETE FROM orders WHERE id = 20", &["lines", "org:2"]),
            ("TRUNCATE people CASCADE", &["lines", "org:*"]),
        ])
        .await;
}

#[tokio::test]
async fn i1_functions_and_subtransactions_are_captured() {
    let mut captured = Captured::new(SCHEMA, CATALOG, USES).await;
    captured
        .each_records(&[
            (
                "DO $$ BEGIN
                    UPDATE orders SET total = 2 WHERE id = 1;
                    BEGIN
                        UPDATE orders SET total = 2 WHERE id = 2;
                        RAISE 'undone';
                    EXCEPTION WHEN raise_exception THEN
                        UPDATE orders SET total = 2 WHERE id = 3;
                    END;
                 END $$",
                &["org:1", "org:3"],
            ),
            (
                "BEGIN; SAVEPOINT s; UPDATE orders SET total = 7; ROLLBACK TO s;
                 UPDATE orders SET total = 7 WHERE id = 4; RELEASE s; COMMIT",
                &["org:4"],
            ),
            ("BEGIN; UPDATE orders SET total = 9; ROLLBACK", &[]),
        ])
        .await;
}

/// A trigger of the application's own may change what is written, or that anything is.
#[tokio::test]
async fn i1_what_other_triggers_make_of_a_write_is_captured() {
    let schema = format!(
        "{SCHEMA}
         CREATE FUNCTION adjust() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.note = 'skip' THEN RETURN NULL; END IF;
            IF NEW.note = 'double' THEN NEW.total := NEW.total * 2; END IF;
            IF NEW.note = 'give away' THEN NEW.org_id := 77; END IF;
            RETURN NEW;
         END $$;
         CREATE TRIGGER adjust BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION adjust();
         CREATE FUNCTION also() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            UPDATE lines SET amount = amount + 1 WHERE order_id = NEW.id; RETURN NULL;
         END $$;
         CREATE TRIGGER also AFTER UPDATE ON orders FOR EACH ROW
            WHEN (NEW.note = 'also') EXECUTE FUNCTION also();"
    );
    let mut captured = Captured::new(&schema, CATALOG, USES).await;
    captured
        .each_records(&[
            ("UPDATE orders SET note = 'skip', total = 3", &[]),
            ("UPDATE orders SET note = 'double' WHERE id = 1", &["org:1"]),
            (
                "UPDATE orders SET note = 'give away' WHERE id = 2",
                &["org:2", "org:77"],
            ),
            (
                "INSERT INTO orders (id, org_id, note) VALUES (50, 50, 'give away')",
                &["org:77"],
            ),
            (
                "UPDATE orders SET note = 'also' WHERE id IN (3, 4)",
                &["lines", "org:3", "org:4"],
            ),
        ])
        .await;
}

#[tokio::test]
async fn i1_replica_sessions_and_roles_without_rights_are_captured() {
    let schema = format!(
        "{SCHEMA} DO $$ BEGIN CREATE ROLE writer_only; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         GRANT INSERT, UPDATE, DELETE, SELECT, TRUNCATE ON orders TO writer_only;"
    );
    let grant = "GRANT USAGE ON SCHEMA tidemark TO writer_only; GRANT CREATE ON SCHEMA public TO writer_only;";
    let mut captured = Captured::new(&schema, CATALOG, USES).await;
    captured
        .each_records(&[
            (
                "SET session_replication_role = replica; UPDATE orders SET total = 5 WHERE id = 1",
                &["org:1"],
            ),
            (
                "SET ROLE writer_only; UPDATE orders SET total = 5 WHERE id = 2",
                &["org:2"],
            ),
            (
                "SET ROLE writer_only; INSERT INTO orders (id, org_id) VALUES (60, 60), (61, 61)",
                &["org:60", "org:61"],
            ),
        ])
        .await;
    // Nor can a role that may look into the schema have the functions called for its own purposes.
    captured.database.run(grant).await.unwrap();
    let own = captured
        .database
        .run(
            "SET ROLE writer_only; CREATE TABLE own (org_id int);
             CREATE TRIGGER own AFTER TRUNCATE ON own EXECUTE FUNCTION tidemark.\"capture truncate orders\"()",
        )
        .await;
    assert!(own.unwrap_err().to_string().contains("permission denied"));
}
