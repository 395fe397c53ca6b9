//! What `tidemark-origin explain` tells of queries, and of changes that it takes back.

use serde_json::{Value, json};
use tidemark_tests::stack::Database;

use crate::support::{Ran, assert_says, origin, origin_on};

fn explain(database: &Database, arguments: &[&str]) -> Ran {
    let arguments: Vec<_> = ["explain"].iter().chain(arguments).copied().collect();
    origin(&origin_on(database), &arguments)
}

async fn count(database: &Database, sql: &'static str) -> i64 {
    let mut connection = database.connect().await.unwrap();
    sqlx::query_scalar(sql)
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_query_is_explained_table_by_table() {
    let database = Database::plain_erp().await.unwrap();
    let dashboard = explain(&database, &["dashboard"]);
    assert!(dashboard.success, "{dashboard:?}");
    assert_says(
        &dashboard,
        &[
            "dashboard: GET /org/{org}/dashboard (sql/dashboard.sql)",
            "{org:{org}}:dashboard:{digest of from, region, to}",
            "max_staleness  1s",
            "ttl            5m",
            "scopes         org:{org}, org:*, org:{org}?day={from}..{to}&region={region}\n",
            "orders           rows of org:{org} by org_id, day by ordered_on, region by customers.region; insert, delete, update of customer_id, id, ordered_on, org_id, status\n",
            "payments         rows of org:{org} by orders.org_id along foreign keys, day by orders.ordered_on, region by orders.customers.region; insert, delete, update of amount, order_id\n",
            "products         rows of org:{org} by order_items.orders.org_id along foreign keys; insert, delete, update of category, id, name\n",
        ],
    );
    assert!(!dashboard.stdout.contains("warning"), "{dashboard:?}");
    assert_says(&explain(&database, &["inventory"]), &["0s: never cached"]);

    let unknown = explain(&database, &["dashbord"]);
    assert!(!unknown.success);
    assert_says(
        &unknown,
        &[
            "no query \"dashbord\"",
            "dashboard, inventory, order, products",
        ],
    );
    let none = explain(&database, &[]);
    assert!(!none.success);
    assert_says(&none, &["QUERY"]);
}

#[tokio::test]
async fn what_is_told_of_a_query_is_told_to_programs_too() {
    let database = Database::plain_erp().await.unwrap();
    let json = |query: &str| -> Value {
        let ran = explain(&database, &[query, "--json"]);
        assert!(ran.success, "{ran:?}");
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let mut dashboard = json("dashboard");
    let tables = dashboard["tables"].take();
    assert_eq!(
        dashboard,
        json!({
            "query": "dashboard",
            "path": "/org/{org}/dashboard",
            "sql": "sql/dashboard.sql",
            "key": "{org:{org}}:dashboard:{digest of from, region, to}",
            "max_staleness_ms": 1_000,
            "ttl_ms": 300_000,
            "on_change": "expire",
            "l1_ms": 0,
            "scopes": ["org:{org}", "org:*", "org:{org}?day={from}..{to}&region={region}"],
            "tables": null,
            "acknowledged": [],
            "findings": [],
            "warnings": [],
        })
    );
    let table = |name: &str| {
        let tables = tables.as_array().unwrap();
        let found = tables.iter().find(|table| table["table"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {tables:?}"))
    };
    assert_eq!(
        *table("orders"),
        json!({
            "table": "orders",
            "rows_of": {
                "member": "org:{org}", "column": "org_id", "along": [],
                "parts": {"day": "ordered_on", "region": "customers.region"},
            },
            "update_of": ["customer_id", "id", "ordered_on", "org_id", "status"],
        })
    );
    assert_eq!(
        table("products")["rows_of"],
        json!({"member": "org:{org}", "column": "org_id", "along": ["order_items", "orders"], "parts": {}})
    );

    let inventory = json("inventory");
    assert_eq!(inventory["max_staleness_ms"], 0);
    assert_eq!(inventory["ttl_ms"], Value::Null);
    let products = json("products");
    assert_eq!(products["scopes"], json!(["products"]));
    assert_eq!(products["tables"][0]["rows_of"], Value::Null);
}

#[tokio::test]
async fn a_change_is_tried_and_taken_back() {
    let database = Database::erp().await.unwrap();
    let outbox = "SELECT count(*) FROM tidemark.outbox";
    let before = count(&database, outbox).await;
    let change = |sql: &str| explain(&database, &["--change", sql]);

    let ran = change("UPDATE orders SET status = 'shipped' WHERE id = 7");
    assert!(ran.success, "{ran:?}");
    assert!(
        ran.stdout
            .starts_with("UPDATE: 1 row, rolled back\nit would invalidate\n")
    );
    assert_says(&ran, &["order:7 → order of order 7\n"]);
    let (_, member) = ran.stdout.split_once("  org:").unwrap();
    let (part, queries) = member.split_once(" → ").unwrap();
    let (org, facets) = part.split_once('?').unwrap();
    assert!(
        queries.starts_with(&format!("dashboard of org {org}, {facets}\n")),
        "{ran:?}"
    );
    assert!(!ran.stdout.contains("products"), "{ran:?}");

    let ran = change("-- all of it;\nTRUNCATE reports; UPDATE products SET price = price + 1;");
    assert!(ran.success, "{ran:?}");
    assert_says(
        &ran,
        &[
            "TRUNCATE: 0 rows, rolled back",
            "report:* → report of every report\n",
            "products → products\n",
        ],
    );
    let ran = change("UPDATE inventory SET on_hand = 5");
    assert_says(&ran, &["it would invalidate nothing"]);

    assert_eq!(count(&database, outbox).await, before);
    assert!(count(&database, "SELECT count(*) FROM reports").await > 0);
}

#[tokio::test]
async fn nothing_that_could_stay_is_run() {
    let database = Database::erp().await.unwrap();
    let products = count(&database, "SELECT count(*) FROM products").await;
    for (sql, words) in [
        ("DELETE FROM payments; COMMIT", "COMMIT is no change"),
        ("DELETE FROM payments; end", "END is no change"),
        ("/* x */ Prepare transaction 'x'", "PREPARE is no change"),
        ("BEGIN", "BEGIN is no change"),
        ("DROP TABLE payments", "DROP is no change"),
        (" ; -- nothing", "no statement"),
        ("DELETE FROM 'open", "not SQL"),
        ("DELETE FROM paiments", "\"paiments\" does not exist"),
        ("UPDATE products SET price = -1", "products_price_positive"),
    ] {
        let ran = explain(&database, &["--change", sql]);
        assert!(!ran.success, "{sql}: {ran:?}");
        assert_says(&ran, &[words]);
    }
    assert!(count(&database, "SELECT count(*) FROM payments").await > 0);
    assert_eq!(
        count(&database, "SELECT count(*) FROM products").await,
        products
    );
}

#[tokio::test]
async fn a_change_needs_the_triggers_of_this_catalog() {
    let database = Database::plain_erp().await.unwrap();
    let ran = explain(&database, &["--change", "DELETE FROM payments"]);
    assert!(!ran.success);
    assert_says(&ran, &["run: tidemark-origin install"]);
}
