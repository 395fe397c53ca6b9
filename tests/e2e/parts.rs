//! Parts of members: changes that leave the rest of a member's answers cached.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use redis::AsyncCommands as _;
use sqlx::Connection as _;
use tidemark_tests::stack::{Database, OwnCatalog, Stack};

use crate::{
    captured::{Captured, plan},
    support::{assert_still_cached, dashboard, execute, order, orders, read_until},
};

/// Items belong to orders, orders to shops and to customers, who are in a region.
const SCHEMA: &str = "
    CREATE TABLE customers (id int PRIMARY KEY, shop_id int, region text, note text);
    CREATE TABLE orders (
        id int PRIMARY KEY, shop_id int, customer_id int REFERENCES customers ON DELETE SET NULL,
        day date, total int DEFAULT 1, note text
    );
    CREATE TABLE items (id int PRIMARY KEY, order_id int REFERENCES orders ON DELETE CASCADE, amount int DEFAULT 1);
    CREATE INDEX ON orders (customer_id); CREATE INDEX ON items (order_id);
    INSERT INTO customers VALUES (1, 1, 'north'), (2, 1, 'south'), (3, 2, 'north'), (4, 1, NULL);
    INSERT INTO orders VALUES (1, 1, 1, '2025-12-07'), (2, 1, 2, '2025-07-01'), (3, 2, 3, '2025-12-07');
    INSERT INTO items VALUES (1, 1), (2, 2), (3, 3);
";

const CATALOG: OwnCatalog = OwnCatalog {
    schema: SCHEMA,
    toml: r#"
        [query.sales]
        path   = "/shop/{shop}/sales"
        params = { shop = "int", from = "date?", to = "date?", region = "text = all" }
        sql    = "sales.sql"
        shape  = "row"
        reads  = ["customers", "orders", "items"]
        scope  = "shop:{shop}"
        where  = { day = "{from}..{to}", region = "{region} unless all" }

        [query.orders]
        path   = "/shop/{shop}/orders"
        params = { shop = "int" }
        sql    = "orders.sql"
        shape  = "row"
        reads  = ["orders"]
        scope  = "shop:{shop}"

        [table.customers]
        scope  = "shop:{shop_id}"
        [table.orders]
        scope  = "shop:{shop_id}"
        facets = { day = "{day}", region = "{customers.region}" }
        [table.items]
        scope  = "shop:{orders.shop_id}"
        facets = { day = "{orders.day}", region = "{orders.customers.region}" }
    "#,
    sql: &[
        (
            "sales.sql",
            "SELECT coalesce(sum(i.amount * o.total), 0) AS total
             FROM orders o JOIN items i ON i.order_id = o.id LEFT JOIN customers c ON c.id = o.customer_id
             WHERE o.shop_id = :shop AND (:from IS NULL OR o.day >= :from) AND (:to IS NULL OR o.day <= :to)
               AND (:region = 'all' OR c.region = :region)",
        ),
        (
            "orders.sql",
            "SELECT count(*) AS orders, sum(total) AS total FROM orders WHERE shop_id = :shop",
        ),
    ],
};

const USES: &[(&str, &[&str])] = &[
    ("customers", &["region"]),
    ("orders", &["total", "day", "shop_id"]),
    ("items", &["amount"]),
];

/// What a change touches that is known to concern one day and one region.
fn parts(shop: u32, day: &str, region: &str) -> Vec<String> {
    let (month, year) = (&day[..7], &day[..4]);
    let quarter = match &day[5..7] {
        "12" => "Q4",
        "07" => "Q3",
        other => panic!("a quarter for {other}"),
    };
    let days = [day, month, &format!("{year}-{quarter}"), year];
    let days = days.iter().map(|period| format!("day={period}"));
    let mut parts: Vec<_> = days
        .flat_map(|day| [format!("{day}&region={region}"), day])
        .chain([format!("region={region}"), String::new()])
        .map(|part| format!("shop:{shop}?{part}"))
        .collect();
    parts.sort();
    parts
}

fn all(lists: &[&[String]]) -> Vec<String> {
    let mut all = lists.concat();
    all.sort();
    all.dedup();
    all
}

async fn captured() -> Captured {
    Captured::new(SCHEMA, CATALOG.toml, USES).await
}

#[tokio::test]
async fn a_change_touches_the_parts_that_its_rows_are_in() {
    let mut captured = captured().await;
    let winter = parts(1, "2025-12-07", "north");
    let summer = parts(1, "2025-07-01", "south");
    let both = all(&[&winter, &summer]);
    for (sql, expected) in [
        (
            "INSERT INTO orders VALUES (10, 1, 1, '2025-12-07')",
            &winter,
        ),
        ("INSERT INTO items VALUES (10, 10)", &winter),
        ("UPDATE items SET amount = 2 WHERE id = 10", &winter),
        ("UPDATE orders SET total = 2 WHERE id = 10", &winter),
        ("UPDATE orders SET note = 'x'", &vec![]),
        ("UPDATE orders SET total = 3 WHERE shop_id = 1", &both),
        (
            "UPDATE items SET amount = 3 WHERE order_id IN (1, 2)",
            &both,
        ),
        // From one part to another: an order, and an item.
        (
            "UPDATE orders SET day = '2025-07-01', customer_id = 2 WHERE id = 10",
            &both,
        ),
        ("UPDATE items SET order_id = 1 WHERE id = 10", &both),
        ("DELETE FROM items WHERE id = 10", &winter),
        // And with it, those that refer to it.
        ("DELETE FROM orders WHERE id = 1", &winter),
        (
            "INSERT INTO orders VALUES (11, 1, 1, '2025-12-07'), (12, 2, 3, '2025-12-07')",
            &all(&[&winter, &parts(2, "2025-12-07", "north")]),
        ),
        ("TRUNCATE items", &vec!["shop:*".to_owned()]),
    ] {
        assert_eq!(captured.records(sql).await, *expected, "{sql}");
    }
}

#[tokio::test]
async fn what_does_not_know_its_part_touches_the_member() {
    let mut captured = captured().await;
    for sql in [
        // No day, no customer, and one without a region.
        "INSERT INTO orders VALUES (10, 1, 1, NULL)",
        "INSERT INTO orders VALUES (11, 1, NULL, '2025-12-07')",
        "INSERT INTO orders VALUES (12, 1, 4, '2025-12-07')",
        "INSERT INTO items VALUES (10, 10)",
        // Days that no parameter can be.
        "INSERT INTO orders VALUES (13, 1, 1, 'infinity')",
        "INSERT INTO orders VALUES (14, 1, 1, '0044-03-15 BC')",
        "INSERT INTO orders VALUES (15, 1, 1, '5000000-01-01')",
        // Others may be in the same statement.
        "INSERT INTO orders VALUES (16, 1, 1, NULL), (17, 1, 1, '2025-12-07')",
        // Customers tell no day.
        "INSERT INTO customers VALUES (10, 1, 'north')",
        "UPDATE customers SET region = 'east' WHERE id = 1",
        "DELETE FROM customers WHERE id = 1",
    ] {
        assert_eq!(captured.records(sql).await, ["shop:1"], "{sql}");
    }
    captured
        .each_records(&[
            ("UPDATE customers SET note = 'x'", &[]),
            ("INSERT INTO orders VALUES (20, NULL, 2, '2025-12-07')", &[]),
            (
                "INSERT INTO orders VALUES (21, NULL, 2, '2025-12-07'), (22, NULL, 2, NULL)",
                &[],
            ),
        ])
        .await;
}

#[tokio::test]
async fn days_are_the_same_whatever_the_writers_settings_are() {
    let mut captured = captured().await;
    let expected = parts(1, "2025-12-07", "north");
    for style in ["German", "SQL, DMY", "Postgres, MDY", "ISO, YMD"] {
        let sql =
            format!("SET DateStyle = {style}; UPDATE orders SET total = total + 1 WHERE id = 1");
        assert_eq!(captured.records(&sql).await, expected, "{style}");
    }
}

#[tokio::test]
async fn many_rows_or_many_parts_touch_the_member() {
    let mut captured = captured().await;
    let orders = |count: u32, from: u32, day: &str| {
        format!(
            "INSERT INTO orders SELECT {from} + n, 1, 1, {day} FROM generate_series(1, {count}) AS n"
        )
    };
    let winter = parts(1, "2025-12-07", "north");
    let one_day = "'2025-12-07'";
    assert_eq!(captured.records(&orders(100, 1_000, one_day)).await, winter);
    assert_eq!(
        captured.records(&orders(101, 2_000, one_day)).await,
        ["shop:1"]
    );
    let scopes = captured.records("UPDATE orders SET total = 7 WHERE id <= 1100 AND id > 1000");
    assert_eq!(scopes.await, winter);
    let scopes = captured.records("UPDATE orders SET total = 8 WHERE id > 2000");
    assert_eq!(scopes.await, ["shop:1"]);

    let each_another = "'2025-01-01'::date + n";
    let scopes = captured.records(&orders(64, 3_000, each_another)).await;
    assert!(!scopes.contains(&"shop:1".to_owned()), "{scopes:?}");
    let scopes = captured.records(&orders(65, 4_000, each_another)).await;
    assert_eq!(scopes, ["shop:1"]);
}

/// As under thousands of changes a second: the relay tells no parts of more keys than it takes a moment for.
#[tokio::test]
async fn of_many_changes_at_a_time_no_parts_are_told() {
    let mut captured = captured().await;
    let mut relay = captured.database.connect().await.unwrap();
    for (count, from, expected) in [(64, 1_000, true), (65, 2_000, false)] {
        let one = |id: u32| format!("INSERT INTO orders VALUES ({id}, 1, 1, '2025-12-07');");
        let all: String = (from..from + count).map(one).collect();
        captured.database.run(&all).await.unwrap();
        // All keys of a path at once, as a cycle resolves them.
        let told: bool = sqlx::query_scalar(
            "SELECT bool_and(found::json -> 'facets' IS NOT NULL) FROM (
                 SELECT name, array_agg(key ORDER BY id, place) AS keys
                 FROM tidemark.outbox CROSS JOIN LATERAL unnest(members) WITH ORDINALITY AS k (key, place)
                 WHERE kind = 'q' GROUP BY name
             ) AS q CROSS JOIN LATERAL unnest(tidemark.members(name, keys)) AS found",
        )
        .fetch_one(&mut relay)
        .await
        .unwrap();
        assert_eq!(told, expected, "{count}");
        captured.take().await;
    }
}

/// Neither transaction sees the other, and what was true before either is forgotten all the same.
#[tokio::test]
async fn i1_what_tells_the_part_moves_under_an_open_writer() {
    for isolation in ["READ COMMITTED", "REPEATABLE READ"] {
        let mut captured = captured().await;
        let mut item = captured.database.connect().await.unwrap();
        let begin = format!("BEGIN ISOLATION LEVEL {isolation}; INSERT INTO items VALUES (10, 1)");
        execute(&mut item, &begin).await;
        let moved = captured
            .records("UPDATE orders SET day = '2025-07-01' WHERE id = 1")
            .await;
        let summer = parts(1, "2025-07-01", "north");
        assert_eq!(moved, all(&[&parts(1, "2025-12-07", "north"), &summer]));
        execute(&mut item, "COMMIT").await;
        assert_eq!(captured.take().await, summer, "{isolation}");

        // Two steps away; the customer's own change touches all of the shop.
        execute(&mut item, &begin.replace("(10, 1)", "(11, 1)")).await;
        let moved = captured.records("UPDATE customers SET region = 'west' WHERE id = 1");
        assert_eq!(moved.await, ["shop:1"]);
        execute(&mut item, "COMMIT").await;
        assert_eq!(captured.take().await, parts(1, "2025-07-01", "west"));
        item.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_facets_column_has_the_values_of_the_parameter() {
    let database = Database::empty().await.unwrap();
    let error = async |column: &str, facet: &str, query: &str| {
        database
            .run(&format!(
                "DROP TABLE IF EXISTS orders, customers;
                 CREATE TABLE customers (id int PRIMARY KEY, shop_id int, region {column});
                 CREATE TABLE orders (id int PRIMARY KEY, shop_id int, customer_id int REFERENCES customers, day {column})"
            ))
            .await
            .unwrap();
        let toml = format!(
            r#"
            [query.q]
            path = "/q/{{shop}}"
            params = {{ shop = "int", a = "date", b = "text", c = "int" }}
            sql = "q.sql"
            reads = ["customers", "orders"]
            scope = "shop:{{shop}}"
            where = {{ it = "{query}" }}
            [table.{table}]
            scope = "shop:{{shop_id}}"
            facets = {{ it = "{facet}" }}
            [table.{other}]
            scope = "shop:{{shop_id}}"
            "#,
            table = if facet == "{orders.day}" {
                "customers"
            } else {
                "orders"
            },
            other = if facet == "{orders.day}" {
                "orders"
            } else {
                "customers"
            },
        );
        plan(&database, &toml, &[])
            .await
            .err()
            .map(|it| it.to_string())
    };
    for (column, facet, query) in [
        ("date", "{day}", "{a}"),
        ("date", "{day}", "{a}..{a}"),
        ("text", "{day}", "{b}"),
        ("bigint", "{day}", "{c}"),
        ("text", "{customers.region}", "{b}"),
        ("date", "{customers.region}", "{a}"),
    ] {
        assert_eq!(error(column, facet, query).await, None, "{column} {query}");
    }
    for (column, facet, query, expected) in [
        (
            "timestamptz",
            "{day}",
            "{a}",
            "\"orders\" has \"day\" of type timestamp with time zone, but the facet \"it\" is the date parameter \"a\"",
        ),
        (
            "text",
            "{day}",
            "{a}",
            "of type text, but the facet \"it\" is the date parameter",
        ),
        (
            "date",
            "{day}",
            "{b}",
            "of type date, but the facet \"it\" is the text(200) parameter",
        ),
        (
            "numeric",
            "{customers.region}",
            "{c}",
            "\"customers\" has \"region\" of type numeric",
        ),
        (
            "date",
            "{until}",
            "{a}",
            "\"orders\" has no column \"until\"",
        ),
        (
            "date",
            "{orders.day}",
            "{a}",
            "the facet \"it\" leads to \"orders\", of which several rows may refer to one",
        ),
    ] {
        let error = error(column, facet, query).await.unwrap_or_default();
        assert!(
            error.contains(expected),
            "{column} {facet} {query}: {error}"
        );
    }
}

const YEAR: &str = "/shop/1/sales?from=2025-01-01&to=2025-12-31";
const DECEMBER: &str = "/shop/1/sales?from=2025-12-01&to=2025-12-31";
const SUMMER: &str = "/shop/1/sales?from=2025-07-01&to=2025-09-30";
const NORTH: &str = "/shop/1/sales?from=2025-12-01&to=2025-12-31&region=north";
const SOUTH: &str = "/shop/1/sales?from=2025-12-01&to=2025-12-31&region=south";
const EVER: &str = "/shop/1/sales";
const ORDERS: &str = "/shop/1/orders";

#[tokio::test]
async fn i1_a_change_is_seen_where_it_shows_and_nowhere_else() {
    let stack = Stack::with().catalog(CATALOG).start().await;
    let total = |answer: &tidemark_tests::http::Answer| answer.json()["total"].as_i64();
    let every = [YEAR, DECEMBER, SUMMER, NORTH, SOUTH, EVER, ORDERS];
    for path in every {
        stack.hit(path).await;
    }
    // What changes, and what is asked again although it does not.
    let touched = async |sql: &str, changed: &[&str], again: &[&str]| {
        let mut before = Vec::new();
        for path in every {
            before.push(total(&stack.hit(path).await));
        }
        stack.sql(sql).await;
        stack.settled().await;
        for (path, before) in every.iter().zip(before) {
            if changed.contains(path) {
                read_until(&stack, path, sql, |answer| total(answer) != before).await;
            } else if !again.contains(path) {
                assert_still_cached(&stack, path).await;
            }
        }
    };
    let december = &[YEAR, DECEMBER, NORTH, EVER];
    let more = "UPDATE items SET amount = amount + 1 WHERE id = 1";
    touched(more, december, &[ORDERS]).await;
    let more = "UPDATE items SET amount = amount + 1 WHERE id = 2";
    touched(more, &[YEAR, SUMMER, EVER], &[ORDERS]).await;
    let dearer = "UPDATE orders SET total = total + 1 WHERE id = 1";
    touched(dearer, &[YEAR, DECEMBER, NORTH, EVER, ORDERS], &[]).await;
    let of_another_shop = "UPDATE orders SET total = total + 1 WHERE id = 3";
    touched(of_another_shop, &[], &[]).await;
    // Customers tell no day, so that all of the shop is asked again.
    let elsewhere = "UPDATE customers SET region = 'south' WHERE id = 1";
    touched(elsewhere, &[NORTH, SOUTH], &every).await;
    let earlier = "UPDATE orders SET day = '2025-07-02' WHERE id = 1";
    touched(earlier, &[DECEMBER, SUMMER, SOUTH], &[YEAR, EVER, ORDERS]).await;
    let long_ago = "UPDATE orders SET day = '1999-12-31' WHERE id = 1";
    touched(long_ago, &[YEAR, SUMMER], &[EVER, ORDERS]).await;
}

/// The example, with all of its tables and a command.
#[tokio::test]
async fn an_order_leaves_other_quarters_and_regions_cached() {
    let stack = Stack::start().await;
    let of = "/org/42/dashboard?from=2025-07-01&to=2025-09-30";
    // Who orders is in one region: some other one has nobody who does.
    let region: String = stack
        .value("SELECT region FROM customers WHERE id = 42")
        .await;
    let here = format!("{}&region={region}", dashboard(42));
    let elsewhere = format!("{}&region=nowhere", dashboard(42));
    for path in [of, &here, &elsewhere] {
        stack.hit(path).await;
    }
    let before = orders(&stack.hit(&here).await);
    let entered = stack
        .command(Method::POST, "/org/42/orders", &order())
        .await;
    assert_eq!(entered.status, StatusCode::CREATED, "{entered:?}");
    assert_eq!(orders(&stack.read(&here).await), before + 1);
    for path in [of, &elsewhere] {
        assert_still_cached(&stack, path).await;
    }
}

/// A change touches ten parts, and Redis has stamps for those that somebody has asked for.
#[tokio::test]
async fn parts_that_nobody_asked_for_take_no_memory() {
    let stack = Stack::with().catalog(CATALOG).start().await;
    let stamps = async || {
        let mut redis = stack.redis.connect().await.unwrap();
        let names: BTreeSet<String> = redis.keys(r"*{shop:1}\?*").await.unwrap();
        names
    };
    stack.hit(NORTH).await;
    stack.hit(ORDERS).await;
    let asked = stamps().await;
    assert_eq!(asked.len(), 2, "{asked:?}");
    stack
        .sql("UPDATE orders SET total = 9 WHERE shop_id = 1")
        .await;
    stack.settled().await;
    assert_eq!(stamps().await, asked);
}
