//! An update that changes nothing that a query uses records nothing, and no other one is missed.

use std::collections::BTreeMap;

use tidemark_origin::{capture::CaptureError, usage::Columns};

use crate::captured::{Captured, plan};

const CATALOG: &str = r#"
    [query.items]
    path   = "/org/{org}/items"
    params = { org = "int" }
    sql    = "items.sql"
    reads  = ["items"]
    scope  = "org:{org}"

    [table.items]
    scope = "org:{org_id}"
"#;

/// As [`CATALOG`], but for everybody.
const WHOLE: &str = r#"
    [query.items]
    path  = "/items"
    sql   = "items.sql"
    reads = ["items"]
"#;

const ITEMS: &str = "
    CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE TABLE items (
        id bigint PRIMARY KEY, org_id bigint, price numeric, half numeric GENERATED ALWAYS AS (price / 2) STORED,
        name text COLLATE ci, weight float8, facts json, note text
    );
    INSERT INTO items (id, org_id, price, name, weight, facts, note)
    SELECT n, n, 1.0, 'a', '-0.0', '{\"a\":1}', repeat('long ', 1000) FROM generate_series(1, 4) AS n;
";

#[tokio::test]
async fn only_rows_with_a_change_in_a_used_column_are_recorded() {
    let mut captured = Captured::new(ITEMS, CATALOG, &[("items", &["price", "name"])]).await;
    captured
        .each_records(&[
            ("UPDATE items SET note = 'x' WHERE id = 1", &[]),
            ("UPDATE items SET note = 'y', weight = 7", &[]),
            ("UPDATE items SET price = price, name = name", &[]),
            (
                "UPDATE items SET price = 2.0, note = 'z' WHERE id = 1",
                &["org:1"],
            ),
            (
                "UPDATE items SET price = CASE WHEN id IN (2, 3) THEN price + 1 ELSE price END",
                &["org:2", "org:3"],
            ),
            // To another member, and away from all.
            (
                "UPDATE items SET org_id = 20 WHERE id = 2",
                &["org:2", "org:20"],
            ),
            (
                "UPDATE items SET org_id = NULL WHERE id IN (2, 3)",
                &["org:20", "org:3"],
            ),
            ("UPDATE items SET price = 5 WHERE org_id IS NULL", &[]),
            ("UPDATE items SET price = 6 WHERE id = 2", &[]),
            ("UPDATE items SET org_id = 3 WHERE id = 3", &["org:3"]),
        ])
        .await;
}

#[tokio::test]
async fn what_is_equal_but_looks_different_counts() {
    let used = &["price", "name", "weight", "facts"];
    let mut captured = Captured::new(ITEMS, CATALOG, &[("items", used)]).await;
    for change in [
        "price = 1.00",
        "name = 'A'",
        "weight = 0.0",
        "facts = '{\"a\": 1}'",
    ] {
        captured
            .each_records(&[
                (
                    &format!("UPDATE items SET {change} WHERE id = 1"),
                    &["org:1"],
                ),
                (
                    &format!("UPDATE items SET {change}"),
                    &["org:2", "org:3", "org:4"],
                ),
            ])
            .await;
    }
}

#[tokio::test]
async fn a_generated_column_counts_as_its_value_changes() {
    let mut captured = Captured::new(ITEMS, CATALOG, &[("items", &["half"])]).await;
    captured
        .each_records(&[
            ("UPDATE items SET note = 'x'", &[]),
            ("UPDATE items SET price = 8 WHERE id = 1", &["org:1"]),
            ("UPDATE items SET price = 8 WHERE id < 3", &["org:2"]),
        ])
        .await;
}

#[tokio::test]
async fn rows_whose_key_changes_count_on_both_sides() {
    let mut captured = Captured::new(ITEMS, CATALOG, &[("items", &["price"])]).await;
    captured
        .each_records(&[
            // Nothing that is used has changed, but which row is which can't be told.
            (
                "UPDATE items SET id = id + 100 WHERE id < 3",
                &["org:1", "org:2"],
            ),
            // Each takes the place of another.
            (
                "UPDATE items SET price = 9 WHERE id = 3; DELETE FROM tidemark.outbox;
                 UPDATE items SET id = id - 1 WHERE id IN (3, 4)",
                &["org:3", "org:4"],
            ),
        ])
        .await;
}

#[tokio::test]
async fn where_only_existence_matters_updates_record_nothing() {
    let mut captured = Captured::new(ITEMS, WHOLE, &[("items", &[])]).await;
    captured
        .each_records(&[
            ("UPDATE items SET price = price + 1, id = id + 100", &[]),
            ("INSERT INTO items (id) VALUES (9)", &["items"]),
            (
                "INSERT INTO items (id) VALUES (9) ON CONFLICT (id) DO UPDATE SET price = 3",
                &[],
            ),
            ("DELETE FROM items WHERE id = 9", &["items"]),
            ("DELETE FROM items WHERE id = 9", &[]),
            ("TRUNCATE items", &["items"]),
        ])
        .await;
    // A member's column decides where a row is.
    let mut captured = Captured::new(ITEMS, CATALOG, &[("items", &[])]).await;
    captured
        .each_records(&[
            ("UPDATE items SET price = price + 1", &[]),
            (
                "UPDATE items SET org_id = 9 WHERE id = 1",
                &["org:1", "org:9"],
            ),
        ])
        .await;
}

#[tokio::test]
async fn as_a_whole_table_as_well() {
    let mut captured = Captured::new(ITEMS, WHOLE, &[("items", &["price"])]).await;
    captured
        .each_records(&[
            ("UPDATE items SET note = 'x'", &[]),
            ("UPDATE items SET note = 'y' WHERE id = 1", &[]),
            ("UPDATE items SET price = 3 WHERE id = 1", &["items"]),
            ("UPDATE items SET price = 3", &["items"]),
            ("UPDATE items SET price = 3", &[]),
        ])
        .await;
}

/// What depends on a row in one way is invalidated by the columns that matter there, and by no others.
#[tokio::test]
async fn each_scope_is_recorded_for_its_own_columns() {
    const BOTH: &str = r#"
        [query.items]
        path   = "/org/{org}/items"
        params = { org = "int" }
        sql    = "items.sql"
        reads  = ["items"]
        scope  = "org:{org}"
        [query.prices]
        path   = "/prices"
        sql    = "prices.sql"
        reads  = ["items"]
        [query.facts]
        path   = "/item/{id}/facts"
        params = { id = "int" }
        sql    = "facts.sql"
        reads  = ["items"]
        scope  = "item:{id}"

        [table.items]
        scope = ["org:{org_id}", "item:{id}"]
    "#;
    let columns: &[(&str, &[&str])] = &[
        ("items", &["name"]),
        ("prices", &["price"]),
        ("facts", &["facts", "price"]),
    ];
    let uses = columns.iter().map(|(query, columns)| {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        let of_items = ("items".to_owned(), Columns::Named(columns));
        ((*query).to_owned(), BTreeMap::from([of_items]))
    });
    let mut captured = Captured::planned(ITEMS, BOTH, &uses.collect()).await;
    captured
        .each_records(&[
            ("UPDATE items SET note = 'x' WHERE id = 1", &[]),
            ("UPDATE items SET note = 'y'", &[]),
            ("UPDATE items SET name = 'b' WHERE id = 1", &["org:1"]),
            ("UPDATE items SET name = 'c' WHERE id < 3", &["org:1", "org:2"]),
            ("UPDATE items SET price = 7 WHERE id = 1", &["item:1", "items"]),
            (
                "UPDATE items SET price = 7 WHERE id < 3",
                &["item:2", "items"],
            ),
            ("UPDATE items SET facts = '1' WHERE id = 4", &["item:4"]),
            (
                "UPDATE items SET name = CASE id WHEN 1 THEN 'd' ELSE name END, facts = '{}' WHERE id < 3",
                &["item:1", "item:2", "org:1"],
            ),
            ("UPDATE items SET org_id = 9 WHERE id = 1", &["org:1", "org:9"]),
            // Which row is which can't be told: all of them count, for everything.
            (
                "UPDATE items SET id = id + 100 WHERE id IN (3, 4)",
                &["item:103", "item:104", "item:3", "item:4", "items", "org:3", "org:4"],
            ),
            ("DELETE FROM items WHERE id = 2", &["item:2", "items", "org:2"]),
            ("TRUNCATE items", &["item:*", "items", "org:*"]),
        ])
        .await;
}

#[tokio::test]
async fn where_nothing_is_known_of_the_columns_every_update_counts() {
    let mut captured = Captured::new(ITEMS, CATALOG, &[]).await;
    captured
        .each_records(&[
            ("UPDATE items SET note = note WHERE id = 1", &["org:1"]),
            (
                "UPDATE items SET note = note WHERE id < 3",
                &["org:1", "org:2"],
            ),
        ])
        .await;
}

/// Tables whose rows can't be told apart by a key while triggers run: every updated row counts.
#[tokio::test]
async fn without_a_key_every_updated_row_counts() {
    for key in [
        "",
        "CREATE UNIQUE INDEX ON items (id)",
        "ALTER TABLE items ALTER id SET NOT NULL; CREATE UNIQUE INDEX ON items (id) WHERE id > 0",
        "ALTER TABLE items ALTER id SET NOT NULL; CREATE UNIQUE INDEX ON items ((id + 1))",
        "ALTER TABLE items ADD PRIMARY KEY (id) DEFERRABLE",
        "ALTER TABLE items ADD PRIMARY KEY (id); CREATE TABLE more () INHERITS (items)",
        "CREATE TABLE parents (id bigint PRIMARY KEY); INSERT INTO parents VALUES (1), (2);
         ALTER TABLE items ADD PRIMARY KEY (id), ADD FOREIGN KEY (id) REFERENCES parents ON UPDATE CASCADE",
    ] {
        let schema = format!(
            "CREATE TABLE items (id bigint, org_id bigint, price int, note text);
             INSERT INTO items SELECT n, n, n FROM generate_series(1, 2) AS n; {key}"
        );
        let mut captured = Captured::new(&schema, CATALOG, &[("items", &["price"])]).await;
        let recorded = captured.records("UPDATE items SET note = 'x'").await;
        assert_eq!(recorded, ["org:1", "org:2"], "{key}");
    }
}

#[tokio::test]
async fn any_key_that_holds_at_once_will_do() {
    for key in [
        "ALTER TABLE items ALTER id SET NOT NULL; CREATE UNIQUE INDEX ON items (id)",
        "ALTER TABLE items ALTER id SET NOT NULL, ALTER org_id SET NOT NULL;
         CREATE UNIQUE INDEX ON items (org_id, id) INCLUDE (note)",
        "ALTER TABLE items ADD PRIMARY KEY (id)",
    ] {
        let schema = format!(
            "CREATE TABLE items (id varchar(9), org_id bigint, price int, note text);
             INSERT INTO items SELECT n, n, n FROM generate_series(1, 2) AS n; {key}"
        );
        let mut captured = Captured::new(&schema, CATALOG, &[("items", &["price"])]).await;
        captured
            .each_records(&[
                ("UPDATE items SET note = 'x'", &[]),
                ("UPDATE items SET price = 7", &["org:1", "org:2"]),
            ])
            .await;
    }
}

/// The operators of such a key are nobody's to find by a `search_path`.
#[tokio::test]
async fn a_key_of_a_type_from_an_extension_works_whatever_the_search_path() {
    let schema = "CREATE SCHEMA types; CREATE EXTENSION citext SCHEMA types;
        CREATE TABLE items (id types.citext PRIMARY KEY, org_id bigint, price int, note text);
        INSERT INTO items SELECT 'item ' || n, n, n FROM generate_series(1, 2) AS n";
    let mut captured = Captured::new(schema, CATALOG, &[("items", &["price", "id"])]).await;
    captured
        .each_records(&[
            ("UPDATE items SET note = 'x'", &[]),
            (
                "SET search_path = ''; UPDATE public.items SET note = 'x'",
                &[],
            ),
            (
                "UPDATE items SET id = 'Item 1' WHERE org_id = 1",
                &["org:1"],
            ),
            ("UPDATE items SET id = upper(id::text)", &["org:1", "org:2"]),
        ])
        .await;
}

/// Nobody who writes can make the triggers, which run as their owner, call something else.
#[tokio::test]
async fn operators_of_the_writers_own_are_not_called() {
    let schema = format!(
        "{ITEMS} CREATE SCHEMA own;
         CREATE FUNCTION own.never(bigint, bigint) RETURNS boolean LANGUAGE plpgsql
         AS $$ BEGIN RAISE 'called'; END $$;
         CREATE FUNCTION own.never(record, record) RETURNS boolean LANGUAGE plpgsql
         AS $$ BEGIN RAISE 'called'; END $$;
         CREATE OPERATOR own.= (FUNCTION = own.never, LEFTARG = bigint, RIGHTARG = bigint, MERGES, HASHES);
         CREATE OPERATOR own.> (FUNCTION = own.never, LEFTARG = bigint, RIGHTARG = bigint);
         CREATE OPERATOR own.*<> (FUNCTION = own.never, LEFTARG = record, RIGHTARG = record);
         CREATE FUNCTION own.count() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE 'called'; END $$;"
    );
    let mut captured = Captured::new(&schema, CATALOG, &[("items", &["price"])]).await;
    captured
        .each_records(&[
            (
                "SET search_path = own, public, pg_catalog; UPDATE items SET price = 3 WHERE id OPERATOR(pg_catalog.=) 1",
                &["org:1"],
            ),
            (
                "SET search_path = own, public, pg_catalog; UPDATE items SET price = 4",
                &["org:1", "org:2", "org:3", "org:4"],
            ),
            (
                "SET search_path = own, public, pg_catalog; DELETE FROM items",
                &["org:1", "org:2", "org:3", "org:4"],
            ),
        ])
        .await;
}

#[tokio::test]
async fn other_columns_are_another_installation() {
    let captured = Captured::new(ITEMS, CATALOG, &[("items", &["price"])]).await;
    let mut connection = captured.database.connect().await.unwrap();
    for uses in [&["price", "name"][..], &[]] {
        let other = plan(&captured.database, CATALOG, &[("items", uses)])
            .await
            .unwrap();
        let verified = other.verify(&mut connection).await;
        assert!(
            matches!(verified, Err(CaptureError::NotInstalled)),
            "{uses:?}"
        );
    }
    captured.installation.verify(&mut connection).await.unwrap();
}
