//! Rows that belong to a member along foreign keys.

use sqlx::Connection as _;
use tidemark_tests::stack::{OwnCatalog, Stack};

use crate::{
    captured::Captured,
    support::{assert_still_cached, execute, read_until},
};

/// Lines belong to orders, orders to projects, projects to organizations; an order's key has two
/// columns.
const SCHEMA: &str = "
    CREATE TABLE projects (id int PRIMARY KEY, org_id bigint, title text);
    CREATE TABLE orders (
        shop text, number int, project_id int REFERENCES projects ON UPDATE CASCADE ON DELETE SET NULL,
        note text, PRIMARY KEY (shop, number)
    );
    CREATE TABLE lines (
        id bigint PRIMARY KEY, shop text, number int, amount int DEFAULT 1, note text,
        FOREIGN KEY (shop, number) REFERENCES orders ON DELETE CASCADE DEFERRABLE
    );
    INSERT INTO projects SELECT n, n FROM generate_series(1, 3) AS n;
    INSERT INTO orders SELECT 's', n, n FROM generate_series(1, 3) AS n;
    INSERT INTO lines SELECT n, 's', n FROM generate_series(1, 3) AS n;
";

const CATALOG: &str = r#"
    [query.lines]
    path   = "/org/{org}/lines"
    params = { org = "int" }
    sql    = "lines.sql"
    shape  = "row"
    reads  = ["lines"]
    scope  = "org:{org}"

    [table.lines]
    scope = "org:{orders.projects.org_id}"
"#;

const SQL: &str = "SELECT coalesce(sum(l.amount), 0) AS total
    FROM lines l JOIN orders o USING (shop, number) JOIN projects p ON p.id = o.project_id
    WHERE p.org_id = :org";

/// As it has to be written to be served: the tables on the way are read as well.
const OWN: OwnCatalog = OwnCatalog {
    schema: SCHEMA,
    toml: r#"
        [query.lines]
        path   = "/org/{org}/lines"
        params = { org = "int" }
        sql    = "lines.sql"
        shape  = "row"
        reads  = ["lines", "orders", "projects"]
        scope  = "org:{org}"

        [table.lines]
        scope = "org:{orders.projects.org_id}"
        [table.orders]
        scope = "org:{projects.org_id}"
        [table.projects]
        scope = "org:{org_id}"
    "#,
    sql: &[("lines.sql", SQL)],
};

const USES: &[(&str, &[&str])] = &[("lines", &["amount"])];

#[tokio::test]
async fn keys_lead_to_the_member_over_several_steps() {
    let mut captured = Captured::new(SCHEMA, CATALOG, USES).await;
    captured
        .each_records(&[
            ("INSERT INTO lines VALUES (10, 's', 1)", &["org:1"]),
            (
                "INSERT INTO lines VALUES (11, 's', 1), (12, 's', 2)",
                &["org:1", "org:2"],
            ),
            ("UPDATE lines SET amount = 2 WHERE id = 10", &["org:1"]),
            ("UPDATE lines SET note = 'x'", &[]),
            (
                "UPDATE lines SET number = 3 WHERE id = 10",
                &["org:1", "org:3"],
            ),
            (
                "UPDATE lines SET number = 3 WHERE id IN (11, 12)",
                &["org:1", "org:2", "org:3"],
            ),
            // A key that is not there as a whole refers to nothing.
            (
                "INSERT INTO lines VALUES (20, NULL, 1), (21, 's', NULL), (22, NULL, NULL)",
                &[],
            ),
            ("INSERT INTO lines VALUES (23, NULL, 1)", &[]),
            ("UPDATE lines SET shop = 's' WHERE id = 23", &["org:1"]),
            ("DELETE FROM lines WHERE id IN (20, 21, 22, 23)", &["org:1"]),
            ("DELETE FROM lines WHERE id = 12", &["org:3"]),
            ("TRUNCATE lines", &["org:*"]),
        ])
        .await;
}

#[tokio::test]
async fn a_move_on_the_way_is_recorded_where_it_happens() {
    let mut captured = Captured::new(SCHEMA, CATALOG, USES).await;
    captured
        .each_records(&[
            // What no answer shows of a table that is only on the way.
            ("UPDATE orders SET note = 'x'", &[]),
            ("UPDATE projects SET title = 'x' WHERE id = 1", &[]),
            (
                "UPDATE orders SET project_id = 3 WHERE number = 1",
                &["org:1", "org:3"],
            ),
            (
                "UPDATE projects SET org_id = 7 WHERE id = 2",
                &["org:2", "org:7"],
            ),
            ("UPDATE projects SET org_id = NULL WHERE id = 2", &["org:7"]),
            // The key that orders refer to, which cascades.
            ("UPDATE projects SET id = 30 WHERE id = 3", &["org:3"]),
            // Nobody's any more; the lines stay.
            ("DELETE FROM projects WHERE id = 30", &["org:3"]),
            ("INSERT INTO projects VALUES (40, 4)", &["org:4"]),
            ("UPDATE orders SET project_id = 40", &["org:4"]),
            ("DELETE FROM orders WHERE number = 1", &["org:4"]),
            ("TRUNCATE projects CASCADE", &["org:*"]),
        ])
        .await;
}

/// Which rows refer to which changes without a change of any row that refers.
#[tokio::test]
async fn keys_that_are_exchanged_move_what_refers_to_them() {
    let schema = format!(
        "{SCHEMA} ALTER TABLE orders DROP CONSTRAINT orders_project_id_fkey,
         ADD FOREIGN KEY (project_id) REFERENCES projects DEFERRABLE INITIALLY DEFERRED;"
    );
    let mut captured = Captured::new(&schema, CATALOG, USES).await;
    let scopes = captured
        .records(
            "BEGIN; UPDATE projects SET id = -1 WHERE id = 1; UPDATE projects SET id = 1 WHERE id = 2;
             UPDATE projects SET id = 2 WHERE id = -1; COMMIT",
        )
        .await;
    assert_eq!(scopes, ["org:1", "org:2"]);
}

#[tokio::test]
async fn many_keys_are_recorded_as_the_family() {
    let schema =
        format!("{SCHEMA} INSERT INTO orders SELECT 't', n, 1 FROM generate_series(1, 1001) AS n");
    let mut captured = Captured::new(&schema, CATALOG, USES).await;
    let lines = |count| {
        format!(
            "INSERT INTO lines SELECT n + {count} * 10000, 't', n FROM generate_series(1, {count}) AS n"
        )
    };
    // All of them of one organization.
    assert_eq!(captured.records(&lines(1000)).await, ["org:1"]);
    assert_eq!(captured.records(&lines(1001)).await, ["org:*"]);
}

#[tokio::test]
async fn a_key_of_a_path_that_nobody_knows_any_more_is_the_family() {
    let mut captured = Captured::new(SCHEMA, CATALOG, USES).await;
    captured
        .each_records(&[(
            "INSERT INTO tidemark.outbox (kind, name, members) VALUES ('p', 'team:{users.team} by id', '{{7}}')",
            &["team:*"],
        )])
        .await;
}

/// The parent moves while a child's writer is open: neither sees the other, and both are right.
async fn parent_moves_under_an_open_writer(isolation: &str) {
    let stack = Stack::with().catalog(OWN).start().await;
    let totals = |path: &'static str| {
        (path, |answer: &tidemark_tests::http::Answer| {
            answer.json()["total"].as_i64()
        })
    };
    let (from, total) = totals("/org/1/lines");
    let to = "/org/9/lines";
    stack.hit(from).await;

    let mut child = stack.database.connect().await.unwrap();
    execute(&mut child, &format!("BEGIN ISOLATION LEVEL {isolation}")).await;
    execute(&mut child, "INSERT INTO lines VALUES (100, 's', 1, 41)").await;
    stack
        .sql("UPDATE projects SET org_id = 9 WHERE id = 1")
        .await;
    stack.settled().await;
    // The new member's answer is cached, without the child.
    assert_eq!(total(&stack.hit(to).await), Some(1));
    assert_eq!(total(&stack.hit(from).await), Some(0));
    stack.hit("/org/2/lines").await;

    execute(&mut child, "COMMIT").await;
    read_until(&stack, to, "the child", |answer| total(answer) == Some(42)).await;
    assert_still_cached(&stack, "/org/2/lines").await;
    child.close().await.unwrap();
}

#[tokio::test]
async fn i1_a_parent_that_moves_under_an_open_writer() {
    parent_moves_under_an_open_writer("READ COMMITTED").await;
}

#[tokio::test]
async fn i1_a_parent_that_moves_under_an_open_writer_with_an_older_snapshot() {
    parent_moves_under_an_open_writer("REPEATABLE READ").await;
}

/// The other way round: the parent's move is open while a child is written and applied.
#[tokio::test]
async fn i1_a_child_that_is_written_under_an_open_move() {
    for isolation in ["READ COMMITTED", "REPEATABLE READ"] {
        let mut captured = Captured::new(SCHEMA, CATALOG, USES).await;
        let mut mover = captured.database.connect().await.unwrap();
        execute(&mut mover, &format!("BEGIN ISOLATION LEVEL {isolation}")).await;
        execute(&mut mover, "UPDATE projects SET org_id = 9 WHERE id = 1").await;
        assert_eq!(
            captured
                .records("INSERT INTO lines VALUES (100, 's', 1)")
                .await,
            ["org:1"]
        );
        execute(&mut mover, "COMMIT").await;
        assert_eq!(captured.take().await, ["org:1", "org:9"]);
    }
}

/// Checked at the end, so that a child may come before its parent.
#[tokio::test]
async fn i1_a_child_that_is_written_before_its_parent() {
    let mut captured = Captured::new(SCHEMA, CATALOG, USES).await;
    captured
        .each_records(&[
            (
                "BEGIN; SET CONSTRAINTS ALL DEFERRED;
                 INSERT INTO lines VALUES (100, 'new', 1); INSERT INTO orders VALUES ('new', 1, 2); COMMIT",
                &["org:2"],
            ),
            (
                "BEGIN; SET CONSTRAINTS ALL DEFERRED;
                 UPDATE lines SET shop = 'newer' WHERE id = 100; INSERT INTO orders VALUES ('newer', 1, 3); COMMIT",
                &["org:2", "org:3"],
            ),
        ])
        .await;
}

/// Products belong to the orders whose lines refer to them, and to those orders' organizations.
const AGAINST: &str = r#"
    [query.order]
    path   = "/order/{id}"
    params = { id = "int" }
    sql    = "order.sql"
    shape  = "row"
    reads  = ["lines", "products"]
    scope  = "order:{id}"

    [query.sales]
    path   = "/org/{org}/sales"
    params = { org = "int" }
    sql    = "sales.sql"
    reads  = ["products"]
    scope  = "org:{org}"

    [query.products]
    path   = "/products"
    sql    = "products.sql"
    reads  = ["products"]

    [table.lines]
    scope = "order:{order_id}"
    [table.products]
    scope = ["order:{lines.order_id}", "org:{lines.orders.org_id}"]
"#;

const PRODUCTS: &str = "
    CREATE TABLE products (id bigint PRIMARY KEY, name text, price int, note text);
    CREATE TABLE orders (id bigint PRIMARY KEY, org_id int);
    CREATE TABLE lines (
        id bigint PRIMARY KEY, order_id bigint REFERENCES orders ON DELETE CASCADE,
        product_id int REFERENCES products, quantity int DEFAULT 1
    );
    CREATE INDEX ON lines (product_id); CREATE INDEX ON lines (order_id);
    INSERT INTO products SELECT n FROM generate_series(1, 4) AS n;
    INSERT INTO orders SELECT n, n + 10 FROM generate_series(1, 3) AS n;
    INSERT INTO lines VALUES (1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 3, 3);
";

const SHOWN: &[(&str, &[&str])] = &[("products", &["name"]), ("lines", &["quantity"])];

#[tokio::test]
async fn a_foreign_key_is_followed_to_the_rows_that_refer() {
    let mut captured = Captured::new(PRODUCTS, AGAINST, SHOWN).await;
    captured
        .each_records(&[
            (
                "UPDATE products SET name = 'x' WHERE id = 1",
                &["order:1", "order:2", "org:11", "org:12", "products"],
            ),
            (
                "UPDATE products SET name = 'x' WHERE id > 1",
                &["order:2", "order:3", "org:12", "org:13", "products"],
            ),
            ("UPDATE products SET note = 'x'", &[]),
            // Nobody's.
            ("UPDATE products SET name = 'y' WHERE id = 4", &["products"]),
            ("INSERT INTO products VALUES (5)", &["products"]),
            // Beyond what refers: no row can have such a value.
            ("INSERT INTO products VALUES (5000000000)", &["products"]),
            ("DELETE FROM products WHERE id >= 5", &["products"]),
            // What leads there records its own moves.
            ("INSERT INTO lines VALUES (5, 3, 4)", &["order:3", "org:13"]),
            (
                "UPDATE lines SET product_id = 2 WHERE id = 5",
                &["order:3", "org:13"],
            ),
            (
                "UPDATE lines SET order_id = 1 WHERE id = 5",
                &["order:1", "order:3", "org:11", "org:13"],
            ),
            // The quantity is shown in orders, and only in orders.
            ("UPDATE lines SET quantity = 2 WHERE id = 5", &["order:1"]),
            (
                "UPDATE orders SET org_id = 20 WHERE id = 1",
                &["org:11", "org:20"],
            ),
            (
                "UPDATE products SET name = 'z' WHERE id = 2",
                &["order:1", "order:2", "org:12", "org:20", "products"],
            ),
            ("DELETE FROM orders WHERE id = 1", &["order:1", "org:20"]),
            ("TRUNCATE lines", &["order:*", "org:*"]),
        ])
        .await;
}

#[tokio::test]
async fn members_that_are_too_many_are_recorded_as_the_family() {
    let schema = format!(
        "{PRODUCTS} INSERT INTO orders SELECT n, n % 7 FROM generate_series(1001, 2001) AS n;
         INSERT INTO lines SELECT n, n, 4 FROM generate_series(1001, 2001) AS n"
    );
    let mut captured = Captured::new(&schema, AGAINST, SHOWN).await;
    let few: Vec<_> = (0..7).map(|org| format!("org:{org}")).collect();
    let with = |first: &str| {
        let mut scopes = vec![first.to_owned()];
        scopes.extend(few.clone());
        scopes.push("products".to_owned());
        scopes
    };
    // 1 001 orders, but of 7 organizations.
    assert_eq!(
        captured
            .records("UPDATE products SET name = 'x' WHERE id = 4")
            .await,
        with("order:*")
    );
    // One order less is named.
    captured.records("DELETE FROM orders WHERE id = 2001").await;
    let scopes = captured
        .records("UPDATE products SET name = 'y' WHERE id = 4")
        .await;
    assert_eq!(scopes.len(), 1_000 + 7 + 1);
    // More lines than are looked at.
    captured
        .records("INSERT INTO lines SELECT n, 1001, 4 FROM generate_series(10001, 20001) AS n")
        .await;
    assert_eq!(
        captured
            .records("UPDATE products SET name = 'z' WHERE id = 4")
            .await,
        ["order:*", "org:*", "products"]
    );
}

/// A change of a product and of what refers to it, in transactions that don't see each other.
#[tokio::test]
async fn i1_a_row_that_comes_to_refer_under_an_open_writer() {
    let mut captured = Captured::new(PRODUCTS, AGAINST, SHOWN).await;
    let mut product = captured.database.connect().await.unwrap();
    execute(
        &mut product,
        "BEGIN; UPDATE products SET name = 'x' WHERE id = 4",
    )
    .await;
    assert_eq!(
        captured.records("INSERT INTO lines VALUES (9, 3, 4)").await,
        ["order:3", "org:13"]
    );
    execute(&mut product, "COMMIT").await;
    assert_eq!(captured.take().await, ["order:3", "org:13", "products"]);
}
