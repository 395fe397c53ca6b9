//! Whoever writes, and however: what a change touches is invalidated, and nothing else.

use sqlx::Connection as _;
use tidemark_tests::stack::{Database, OwnCatalog, Stack};

use crate::support::{assert_still_cached, dashboard, orders, outbox, read_until};

/// Runs SQL that takes orders away from organization 42, and nothing from 43.
async fn orders_of_42_vanish(sql: &str) {
    let stack = Stack::start().await;
    let before = orders(&stack.hit(&dashboard(42)).await);
    assert!(before > 0);
    stack.hit(&dashboard(43)).await;
    stack.sql(sql).await;
    read_until(&stack, &dashboard(42), sql, |answer| {
        orders(answer) < before
    })
    .await;
    assert_still_cached(&stack, &dashboard(43)).await;
}

#[tokio::test]
async fn i1_a_delete_that_cascades_invalidates() {
    orders_of_42_vanish(
        "DELETE FROM payments WHERE order_id IN (SELECT id FROM orders WHERE org_id = 42);
         DELETE FROM orders WHERE org_id = 42",
    )
    .await;
}

#[tokio::test]
async fn i1_a_data_modifying_with_query_invalidates() {
    orders_of_42_vanish(
        "WITH gone AS (UPDATE orders SET status = 'cancelled' WHERE org_id = 42 RETURNING id)
         SELECT count(*) FROM gone",
    )
    .await;
}

#[tokio::test]
async fn i1_a_function_that_writes_invalidates() {
    orders_of_42_vanish(
        "DO $$ BEGIN UPDATE orders SET status = 'cancelled' WHERE org_id = 42; END $$",
    )
    .await;
}

#[tokio::test]
async fn i1_an_upsert_invalidates() {
    orders_of_42_vanish(
        "INSERT INTO orders (id, org_id, customer_id, status)
         SELECT id, org_id, customer_id, 'cancelled' FROM orders WHERE org_id = 42
         ON CONFLICT (id) DO UPDATE SET status = EXCLUDED.status",
    )
    .await;
}

#[tokio::test]
async fn i1_a_prepared_statement_invalidates() {
    orders_of_42_vanish(
        "PREPARE cancel(bigint) AS UPDATE orders SET status = 'cancelled' WHERE org_id = $1;
         EXECUTE cancel(42)",
    )
    .await;
}

#[tokio::test]
async fn i1_a_replica_session_invalidates() {
    orders_of_42_vanish(
        "SET session_replication_role = replica;
         UPDATE orders SET status = 'cancelled' WHERE org_id = 42",
    )
    .await;
}

#[tokio::test]
async fn i1_an_order_that_moves_invalidates_both_organizations() {
    let stack = Stack::start().await;
    let [from, to] = [42, 43].map(dashboard);
    let (had, got) = (
        orders(&stack.hit(&from).await),
        orders(&stack.hit(&to).await),
    );
    stack.hit(&dashboard(44)).await;
    stack
        .sql(
            "UPDATE orders SET org_id = 43, customer_id = 43, created_by = NULL
             WHERE id = (SELECT id FROM orders WHERE org_id = 42 AND status <> 'cancelled'
                         AND ordered_on BETWEEN '2025-01-01' AND '2025-03-31' LIMIT 1)",
        )
        .await;
    read_until(&stack, &from, "one order less", |answer| {
        orders(answer) == had - 1
    })
    .await;
    read_until(&stack, &to, "one order more", |answer| {
        orders(answer) == got + 1
    })
    .await;
    assert_still_cached(&stack, &dashboard(44)).await;
}

#[tokio::test]
async fn i1_one_statement_over_many_organizations_invalidates_each() {
    let stack = Stack::start().await;
    let orgs = [41, 42, 43, 44];
    for org in orgs {
        assert!(
            orders(&stack.hit(&dashboard(org)).await) > 0,
            "organization {org}"
        );
    }
    stack
        .sql("UPDATE orders SET status = 'cancelled' WHERE org_id IN (41, 42, 43)")
        .await;
    for org in [41, 42, 43] {
        read_until(&stack, &dashboard(org), "no order left", |answer| {
            orders(answer) == 0
        })
        .await;
    }
    assert_still_cached(&stack, &dashboard(44)).await;
}

#[tokio::test]
async fn i1_truncate_invalidates_everybody() {
    let stack = Stack::start().await;
    for org in [42, 43] {
        stack.hit(&dashboard(org)).await;
    }
    stack.sql("TRUNCATE orders, order_items, payments").await;
    for org in [42, 43] {
        read_until(&stack, &dashboard(org), "no order left", |answer| {
            orders(answer) == 0
        })
        .await;
    }
}

#[tokio::test]
async fn i1_copy_invalidates() {
    let stack = Stack::start().await;
    let order: i64 = stack
        .value("SELECT min(id) FROM orders WHERE org_id = 42")
        .await;
    let path = format!("/order/{order}");
    let paid = |answer: &tidemark_tests::http::Answer| answer.json()["paid"].as_f64().unwrap();
    let before = paid(&stack.hit(&path).await);
    let mut connection = stack.database.connect().await.unwrap();
    let mut copy = connection
        .copy_in_raw("COPY payments (order_id, amount, method) FROM STDIN")
        .await
        .unwrap();
    copy.send(format!("{order}\t1.25\tcash\n").as_bytes())
        .await
        .unwrap();
    copy.finish().await.unwrap();
    connection.close().await.unwrap();
    read_until(&stack, &path, "the payment", |answer| {
        (paid(answer) - before - 1.25).abs() < 1e-9
    })
    .await;
}

#[tokio::test]
async fn i1_a_change_along_the_foreign_key_invalidates_the_parent() {
    let stack = Stack::start().await;
    let units =
        |answer: &tidemark_tests::http::Answer| answer.json()["totals"]["units"].as_i64().unwrap();
    let before = units(&stack.hit(&dashboard(42)).await);
    stack.hit(&dashboard(43)).await;
    stack
        .sql(
            "UPDATE order_items SET quantity = quantity + 1
             WHERE id = (SELECT i.id FROM order_items i JOIN orders o ON o.id = i.order_id
                         WHERE o.org_id = 42 AND o.status <> 'cancelled'
                           AND o.ordered_on BETWEEN '2025-01-01' AND '2025-03-31' LIMIT 1)",
        )
        .await;
    read_until(&stack, &dashboard(42), "one unit more", |answer| {
        units(answer) == before + 1
    })
    .await;
    assert_still_cached(&stack, &dashboard(43)).await;
}

#[tokio::test]
async fn i1_a_table_without_scope_invalidates_all_who_read_it() {
    let stack = Stack::start().await;
    for path in [dashboard(42), dashboard(43), "/products".to_owned()] {
        stack.hit(&path).await;
    }
    stack.hit("/user/42/profile").await;
    stack.sql("UPDATE products SET category = 'renamed'").await;
    for path in [dashboard(42), dashboard(43), "/products".to_owned()] {
        read_until(&stack, &path, "the new category", |answer| {
            String::from_utf8_lossy(&answer.body).contains("renamed")
        })
        .await;
    }
    assert_still_cached(&stack, "/user/42/profile").await;
}

#[tokio::test]
async fn i1_a_commit_that_comes_late_is_not_missed() {
    // Its outbox row has a lower id than those of transactions that committed long before it.
    let stack = Stack::start().await;
    let before = orders(&stack.hit(&dashboard(42)).await);
    let mut late = stack.database.connect().await.unwrap();
    let mut transaction = late.begin().await.unwrap();
    sqlx::query("UPDATE orders SET status = 'cancelled' WHERE org_id = 42")
        .execute(&mut *transaction)
        .await
        .unwrap();
    for _ in 0..3 {
        stack
            .sql("UPDATE organizations SET name = name || '!' WHERE id = 43")
            .await;
        stack.settled().await;
    }
    assert_eq!(orders(&stack.hit(&dashboard(42)).await), before);
    transaction.commit().await.unwrap();
    read_until(&stack, &dashboard(42), "the late commit", |answer| {
        orders(answer) == 0
    })
    .await;
}

#[tokio::test]
async fn a_rollback_invalidates_nothing() {
    let stack = Stack::start().await;
    stack.hit(&dashboard(42)).await;
    stack
        .sql("BEGIN; UPDATE orders SET status = 'cancelled'; ROLLBACK")
        .await;
    stack.settled().await;
    assert_still_cached(&stack, &dashboard(42)).await;
}

#[tokio::test]
async fn a_table_that_no_query_reads_invalidates_nothing() {
    let stack = Stack::start().await;
    stack.hit(&dashboard(42)).await;
    stack.hit("/products").await;
    stack
        .sql(
            "CREATE TABLE notes (text text); INSERT INTO notes VALUES ('x');
              UPDATE inventory SET on_hand = on_hand + 1",
        )
        .await;
    stack.settled().await;
    assert_still_cached(&stack, &dashboard(42)).await;
    assert_still_cached(&stack, "/products").await;
}

#[tokio::test]
async fn the_outbox_is_empty_once_all_is_applied() {
    let stack = Stack::start().await;
    stack
        .sql("UPDATE orders SET status = 'cancelled'; UPDATE products SET price = price + 1")
        .await;
    tidemark_tests::wait::until(
        "the outbox is empty",
        async || {
            stack
                .value::<i64>("SELECT count(*) FROM tidemark.outbox")
                .await
        },
        |rows| *rows == 0,
    )
    .await;
}

/// What a statement puts into the outbox where no relay takes it out.
async fn outbox_after(sql: &str) -> Vec<String> {
    let database = Database::erp().await.unwrap();
    database.run(sql).await.unwrap();
    outbox(&database).await
}

#[tokio::test]
async fn a_statement_records_each_scope_once() {
    assert_eq!(
        outbox_after("UPDATE customers SET name = name || '!' WHERE org_id = 42")
            .await
            .iter()
            .filter(|scope| scope.starts_with("m org"))
            .collect::<Vec<_>>(),
        ["m org 42"]
    );
    assert_eq!(
        outbox_after("UPDATE organizations SET name = name || '!' WHERE id IN (42, 43)").await,
        // And the keys from which the profiles of its users are found.
        [
            "m org 42",
            "m org 43",
            "p user:{users.id} by (org_id from id) 42",
            "p user:{users.id} by (org_id from id) 43",
        ]
    );
    assert_eq!(
        outbox_after("UPDATE products SET price = price + 1").await,
        ["t products"]
    );
}

#[tokio::test]
async fn a_statement_that_touches_no_row_records_nothing() {
    for sql in [
        "UPDATE orders SET status = 'cancelled' WHERE id < 0",
        "DELETE FROM products WHERE id < 0",
        "BEGIN; UPDATE products SET price = price + 1; ROLLBACK",
    ] {
        assert_eq!(outbox_after(sql).await, Vec::<String>::new(), "{sql}");
    }
}

#[tokio::test]
async fn more_than_a_thousand_members_are_recorded_as_the_family() {
    const NEW: &str =
        "INSERT INTO orders (org_id, customer_id) SELECT 42, 42 FROM generate_series(1, ";
    let thousand = outbox_after(&format!("{NEW}1000)")).await;
    // … their organization, and the key from which its reports are found.
    assert_eq!(thousand.len(), 1000 + 2);
    let more = outbox_after(&format!("{NEW}1001)")).await;
    assert_eq!(
        more,
        [
            "f order",
            "m org 42",
            "p report:{organizations.reports.id} by (id) 42"
        ]
    );
}

#[tokio::test]
async fn i1_a_bulk_change_invalidates_each_member() {
    let stack = Stack::start().await;
    stack
        .sql("INSERT INTO orders (org_id, customer_id) SELECT 42, 42 FROM generate_series(1, 1500)")
        .await;
    let last: i64 = stack.value("SELECT max(id) FROM orders").await;
    let path = format!("/order/{last}");
    stack.hit(&path).await;
    stack.sql("UPDATE orders SET status = 'delivered'").await;
    read_until(&stack, &path, "delivered", |answer| {
        answer.json()["status"] == "delivered"
    })
    .await;
}

/// A table that holds rows of other tables as well, which can be written to directly.
pub(crate) const fn sales(schema: &'static str) -> OwnCatalog {
    OwnCatalog {
        schema,
        toml: r#"
            [query.sales]
            path   = "/org/{org}/sales"
            params = { org = "int" }
            sql    = "sales.sql"
            shape  = "row"
            reads  = ["sales"]
            scope  = "org:{org}"

            [table.sales]
            scope = "org:{org_id}"
        "#,
        sql: &[(
            "sales.sql",
            "SELECT coalesce(sum(amount), 0) AS total FROM sales WHERE org_id = :org",
        )],
    }
}

/// Writes to the table itself and to the part of it, and expects both to be noticed.
async fn writes_to_both_are_noticed(schema: &'static str, part: &str) {
    let stack = Stack::with().catalog(sales(schema)).start().await;
    for (table, total) in [("sales", 1), (part, 2)] {
        stack.hit("/org/42/sales").await;
        stack
            .sql(&format!("INSERT INTO {table} VALUES (42, '2025-02-03', 1)"))
            .await;
        read_until(&stack, "/org/42/sales", table, |answer| {
            answer.json()["total"] == total
        })
        .await;
    }
    stack.hit("/org/42/sales").await;
    stack.sql(&format!("TRUNCATE {part}")).await;
    read_until(&stack, "/org/42/sales", "what is left", |answer| {
        answer.json()["total"] != 2
    })
    .await;
}

#[tokio::test]
async fn i1_a_write_to_a_partition_invalidates() {
    writes_to_both_are_noticed(
        "CREATE TABLE sales (org_id bigint, day date, amount int) PARTITION BY RANGE (day);
         CREATE TABLE sales_2025 PARTITION OF sales FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');",
        "sales_2025",
    )
    .await;
}

#[tokio::test]
async fn i1_a_write_to_an_inheriting_table_invalidates() {
    writes_to_both_are_noticed(
        "CREATE TABLE sales (org_id bigint, day date, amount int);
         CREATE TABLE sales_archive () INHERITS (sales);",
        "sales_archive",
    )
    .await;
}

#[tokio::test]
async fn i1_a_backlog_of_several_batches_is_applied_whole() {
    let stack = Stack::start().await;
    assert!(orders(&stack.hit(&dashboard(42)).await) > 0);
    stack
        .sql(
            "INSERT INTO tidemark.outbox (kind, name, members)
             SELECT 'm', 'user', ARRAY[n::text] FROM generate_series(1, 5000) AS n;
             UPDATE orders SET status = 'cancelled' WHERE org_id = 42",
        )
        .await;
    stack.settled().await;
    assert_eq!(orders(&stack.read(&dashboard(42)).await), 0);
    tidemark_tests::wait::until(
        "the outbox is empty",
        async || {
            stack
                .value::<i64>("SELECT count(*) FROM tidemark.outbox")
                .await
        },
        |rows| *rows == 0,
    )
    .await;
}
