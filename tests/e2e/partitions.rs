//! Tables that share rows: partitions, and tables that inherit.

use tidemark_origin::capture::CaptureError;
use tidemark_tests::{http::Answer, stack::Stack};

use crate::{
    capture::sales,
    captured::{Captured, plan},
    support::{origin, read_until},
};

const CATALOG: &str = r#"
    [query.sales]
    path   = "/org/{org}/sales"
    params = { org = "int" }
    sql    = "sales.sql"
    reads  = ["sales"]
    scope  = "org:{org}"

    [table.sales]
    scope = "org:{org_id}"
"#;

/// The second one's columns are in another order, and there was one more.
const SALES: &str = "
    CREATE TABLE sales (id int, day int, org_id int, amount int, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
    CREATE TABLE sales_1 PARTITION OF sales FOR VALUES FROM (1) TO (100);
    CREATE TABLE sales_2 (gone text, note text, amount int, org_id int NOT NULL, day int NOT NULL, id int NOT NULL);
    ALTER TABLE sales_2 DROP COLUMN gone, ALTER org_id DROP NOT NULL;
    ALTER TABLE sales ATTACH PARTITION sales_2 FOR VALUES FROM (100) TO (200);
    INSERT INTO sales SELECT n, n, n FROM generate_series(1, 3) AS n;
    INSERT INTO sales SELECT n, 100 + n, n FROM generate_series(4, 6) AS n;
";

const USES: &[(&str, &[&str])] = &[("sales", &["amount"])];

#[tokio::test]
async fn i1_partitions_are_captured_however_they_are_written() {
    let mut captured = Captured::new(SALES, CATALOG, USES).await;
    for table in ["sales", "sales_2"] {
        captured
            .each_records(&[
                (&format!("UPDATE {table} SET note = 'x'"), &[]),
                (&format!("UPDATE {table} SET note = 'x' WHERE id = 4"), &[]),
                (
                    &format!("UPDATE {table} SET amount = coalesce(amount, 0) + 1 WHERE id = 4"),
                    &["org:4"],
                ),
                (
                    &format!("UPDATE {table} SET amount = coalesce(amount, 0) + 1 WHERE id > 4"),
                    &["org:5", "org:6"],
                ),
                (
                    &format!("INSERT INTO {table} (id, day, org_id) VALUES (7, 107, 7)"),
                    &["org:7"],
                ),
                (
                    &format!(
                        "INSERT INTO {table} (id, day, org_id) VALUES (8, 108, 8), (9, 109, 9)"
                    ),
                    &["org:8", "org:9"],
                ),
                (&format!("DELETE FROM {table} WHERE id = 7"), &["org:7"]),
                (
                    &format!("DELETE FROM {table} WHERE id > 6"),
                    &["org:8", "org:9"],
                ),
            ])
            .await;
    }
    captured
        .each_records(&[
            ("TRUNCATE sales_2", &["org:*"]),
            ("TRUNCATE sales", &["org:*"]),
        ])
        .await;
}

#[tokio::test]
async fn i1_copy_into_a_partition_is_captured() {
    let mut captured = Captured::new(SALES, CATALOG, USES).await;
    let mut connection = captured.database.connect().await.unwrap();
    for (table, row) in [("sales", "20\t20\t20"), ("sales_1", "21\t21\t21")] {
        let sql = format!("COPY {table} (id, day, org_id) FROM STDIN");
        let mut copy = connection.copy_in_raw(&sql).await.unwrap();
        copy.send(format!("{row}\n").as_bytes()).await.unwrap();
        copy.finish().await.unwrap();
        assert_eq!(captured.take().await, [format!("org:{}", &row[..2])]);
    }
}

#[tokio::test]
async fn i1_an_update_that_moves_rows_between_partitions_is_captured() {
    let mut captured = Captured::new(SALES, CATALOG, USES).await;
    captured
        .each_records(&[
            // To the other partition, and back.
            (
                "UPDATE sales SET day = day + 100, amount = 7 WHERE id = 1",
                &["org:1"],
            ),
            (
                "UPDATE sales SET day = day - 100, org_id = 8 WHERE id = 1",
                &["org:1", "org:8"],
            ),
            (
                "UPDATE sales SET day = day + 100, org_id = 1 WHERE id = 1",
                &["org:1", "org:8"],
            ),
            (
                "UPDATE sales SET day = day + 100, org_id = 9 WHERE id IN (2, 3)",
                &["org:2", "org:3", "org:9"],
            ),
            (
                "UPDATE sales SET day = day - 100, org_id = 10 WHERE id IN (1, 4)",
                &["org:1", "org:10", "org:4"],
            ),
        ])
        .await;
}

#[tokio::test]
async fn i1_a_row_that_is_lost_between_partitions_is_captured() {
    let mut captured = Captured::new(SALES, CATALOG, USES).await;
    let keep_out = "
        CREATE FUNCTION keep_out() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER keep_out BEFORE INSERT ON sales_2 FOR EACH ROW EXECUTE FUNCTION keep_out();
    ";
    captured.database.run(keep_out).await.unwrap();
    captured
        .each_records(&[
            ("UPDATE sales SET day = day + 100 WHERE id = 1", &["org:1"]),
            (
                "UPDATE sales SET day = day + 100 WHERE id IN (2, 3)",
                &["org:2", "org:3"],
            ),
            ("UPDATE sales SET day = day + 100 WHERE id = 1", &[]),
        ])
        .await;
}

#[tokio::test]
async fn i1_a_partition_that_is_read_by_its_name_is_captured_through_its_table() {
    let catalog = CATALOG
        .replace("\"sales\"", "\"sales_1\"")
        .replace("[table.sales]", "[table.sales_1]");
    let mut captured = Captured::new(SALES, &catalog, &[("sales_1", &[])]).await;
    captured
        .each_records(&[
            (
                "INSERT INTO sales (id, day, org_id) VALUES (30, 30, 30)",
                &["org:30"],
            ),
            (
                "INSERT INTO sales_1 (id, day, org_id) VALUES (31, 31, 31)",
                &["org:31"],
            ),
            // Away, though no column that is used changes.
            ("UPDATE sales SET day = 150 WHERE id = 30", &["org:30"]),
            ("TRUNCATE sales", &["org:*"]),
        ])
        .await;
}

#[tokio::test]
async fn i1_tables_that_inherit_are_captured_in_both_directions() {
    const INHERITING: &str = "
        CREATE TABLE documents (id int, note text);
        CREATE TABLE sales (org_id int, amount int) INHERITS (documents);
        CREATE TABLE sales_archive (box int) INHERITS (sales);
        INSERT INTO sales VALUES (1, NULL, 1, 1); INSERT INTO sales_archive VALUES (1, NULL, 2, 1);";
    let mut captured = Captured::new(INHERITING, CATALOG, USES).await;
    captured
        .each_records(&[
            ("UPDATE sales SET amount = 2", &["org:1", "org:2"]),
            ("UPDATE sales_archive SET amount = 3", &["org:2"]),
            // Rows of `documents` have no organization: anybody's may be gone.
            ("DELETE FROM documents WHERE note = 'nowhere'", &["org:*"]),
            ("DELETE FROM documents", &["org:*"]),
        ])
        .await;
}

#[tokio::test]
async fn i1_a_change_of_partitions_is_noticed() {
    let captured = Captured::new(SALES, CATALOG, USES).await;
    let mut connection = captured.database.connect().await.unwrap();
    for change in [
        "CREATE TABLE sales_3 PARTITION OF sales FOR VALUES FROM (200) TO (300)",
        "ALTER TABLE sales DETACH PARTITION sales_1",
        "ALTER TABLE sales ATTACH PARTITION sales_1 FOR VALUES FROM (1) TO (100)",
        // As before, but what it shows may have changed in between.
        "ALTER TABLE sales DETACH PARTITION sales_2;
         ALTER TABLE sales ATTACH PARTITION sales_2 FOR VALUES FROM (100) TO (200)",
        "CREATE TABLE part (LIKE sales) PARTITION BY RANGE (day);
         ALTER TABLE sales ATTACH PARTITION part FOR VALUES FROM (500) TO (600)",
        "CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (500) TO (550)",
        "DROP TABLE sales_3",
        "ALTER TABLE sales_2 DISABLE TRIGGER \"tidemark insert sales\"",
        "ALTER TABLE sales RENAME TO sold; CREATE TABLE sales (LIKE sold INCLUDING ALL)",
    ] {
        let planned = plan(&captured.database, CATALOG, USES).await.unwrap();
        planned.install(&mut connection).await.unwrap();
        planned.verify(&mut connection).await.unwrap();
        captured.database.run(change).await.unwrap();
        let verified = planned.verify(&mut connection).await;
        assert!(
            matches!(verified, Err(CaptureError::NotInstalled)),
            "{change}"
        );
        let again = plan(&captured.database, CATALOG, USES).await.unwrap();
        let verified = again.verify(&mut connection).await;
        assert!(
            matches!(verified, Err(CaptureError::NotInstalled)),
            "{change}"
        );
    }
}

#[tokio::test]
async fn i1_a_partition_that_is_attached_while_the_relay_runs_is_never_unseen() {
    let catalog = sales(
        "CREATE TABLE sales (org_id bigint, day date, amount int) PARTITION BY RANGE (day);
         CREATE TABLE sales_2025 PARTITION OF sales FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
         CREATE TABLE sales_2026 (org_id bigint, day date, amount int);
         INSERT INTO sales_2026 VALUES (42, '2026-02-03', 5);",
    );
    let stack = Stack::with().catalog(catalog).start().await;
    let total = |answer: &Answer| answer.json()["total"].as_i64().unwrap();
    assert_eq!(total(&stack.hit("/org/42/sales").await), 0);

    stack
        .sql("ALTER TABLE sales ATTACH PARTITION sales_2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')")
        .await;
    let attached = stack.now().await;
    read_until(&stack, "/org/42/sales", "nothing is proven", |answer| {
        let as_of: i64 = answer.header("tidemark-as-of").parse().unwrap();
        assert!(as_of < attached || total(answer) == 5, "{answer:?}");
        answer.cache_status().contains("detail=unproven")
    })
    .await;

    // The running relay goes on by itself once the partition has triggers.
    let installed = origin(&stack.origin_config, &["install"]);
    assert!(installed.success, "{installed:?}");
    assert_eq!(total(&stack.hit("/org/42/sales").await), 5);
    stack
        .sql("INSERT INTO sales_2026 VALUES (42, '2026-02-03', 1)")
        .await;
    read_until(&stack, "/org/42/sales", "the sale", |answer| {
        total(answer) == 6
    })
    .await;
}
