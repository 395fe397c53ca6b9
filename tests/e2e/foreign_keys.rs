//! Rows that belong to a member along foreign keys.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tidemark_tests::stack::{OwnCatalog, Stack};

use crate::{
    captured::Captured,
    support::{assert_still_cached, read_until},
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

async fn execute(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .unwrap();
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
