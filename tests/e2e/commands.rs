//! Commands: what they answer, what they refuse, and that the next read sees them.

use http::Method;
use serde_json::{Value, json};
use tidemark_tests::stack::Stack;

use crate::support::{HIT, dashboard, order, read_until};

#[tokio::test]
async fn every_command_of_the_example_changes_what_is_read_next() {
    let stack = Stack::start().await;
    let created = stack
        .command(Method::POST, "/org/42/orders", &order())
        .await;
    assert_eq!(created.status, 201, "{created:?}");
    let id = created.json()["id"].as_i64().unwrap();
    let order_path = format!("/order/{id}");
    assert_eq!(stack.hit(&order_path).await.json()["status"], "pending");

    let shipped = stack
        .command(Method::PATCH, &order_path, &json!({"status": "shipped"}))
        .await;
    assert_eq!(shipped.status, 200, "{shipped:?}");
    assert_eq!(stack.read(&order_path).await.json()["status"], "shipped");
    stack.hit(&order_path).await;

    let payment = json!({"amount": 19.99, "method": "card"});
    let paid = stack
        .command(Method::POST, &format!("{order_path}/payments"), &payment)
        .await;
    assert_eq!(paid.status, 201, "{paid:?}");
    assert_eq!(stack.read(&order_path).await.json()["paid"], json!(19.99));

    stack.hit("/products?limit=1&after=6").await;
    let priced = stack
        .command(Method::PUT, "/product/7/price", &json!({"price": 24.9}))
        .await;
    assert_eq!(priced.status, 200, "{priced:?}");
    assert_eq!(
        stack.read("/products?limit=1&after=6").await.json()[0]["price"],
        json!(24.90)
    );

    stack.hit("/user/42/profile").await;
    let renamed = stack
        .command(
            Method::PATCH,
            "/user/42/profile",
            &json!({"name": "Ada Lovelace"}),
        )
        .await;
    assert_eq!(renamed.status, 200, "{renamed:?}");
    assert_eq!(
        stack.read("/user/42/profile").await.json()["name"],
        "Ada Lovelace"
    );
}

#[tokio::test]
async fn what_the_data_does_not_allow_is_told_and_not_done() {
    let stack = Stack::start().await;
    let state = "SELECT (SELECT count(*) FROM orders) || '/' || (SELECT count(*) FROM order_items)
                     || '/' || (SELECT sum(on_hand) FROM inventory)
                     || '/' || (SELECT count(*) FROM payments)
                     || '/' || (SELECT string_agg(email, ',' ORDER BY id) FROM users)
                     || '/' || (SELECT sum(price) FROM products)";
    let before: String = stack.value(state).await;
    let order = |customer: i64, product: i64, quantity: i64| json!({"customer": customer, "items": [{"product": product, "quantity": quantity}]});
    let cases: Vec<(Method, &str, Value, u16, &str)> = vec![
        (
            Method::POST,
            "/org/42/orders",
            order(43, 7, 1),
            422,
            "unprocessable",
        ),
        (
            Method::POST,
            "/org/42/orders",
            order(42, 999_999, 1),
            422,
            "unprocessable",
        ),
        (
            Method::POST,
            "/org/42/orders",
            order(42, 7, 0),
            422,
            "unprocessable",
        ),
        (
            Method::POST,
            "/org/42/orders",
            order(42, 7, 99_999),
            422,
            "unprocessable",
        ),
        (
            Method::POST,
            "/org/999999/orders",
            order(42, 7, 1),
            404,
            "no-row",
        ),
        (
            Method::PATCH,
            "/order/999999",
            json!({"status": "shipped"}),
            404,
            "no-row",
        ),
        (
            Method::POST,
            "/order/999999/payments",
            json!({"amount": 1, "method": "card"}),
            404,
            "no-row",
        ),
        (
            Method::POST,
            "/order/1/payments",
            json!({"amount": 0, "method": "card"}),
            422,
            "unprocessable",
        ),
        (
            Method::POST,
            "/order/1/payments",
            json!({"amount": 1e11, "method": "card"}),
            422,
            "unprocessable",
        ),
        (
            Method::PUT,
            "/product/7/price",
            json!({"price": 0}),
            422,
            "unprocessable",
        ),
        (
            Method::PUT,
            "/product/999999/price",
            json!({"price": 1}),
            404,
            "no-row",
        ),
        (
            Method::PATCH,
            "/user/42/profile",
            json!({"email": "USER43@example.com"}),
            409,
            "conflict",
        ),
        (
            Method::PATCH,
            "/user/42/profile",
            json!({"email": "nonsense"}),
            422,
            "unprocessable",
        ),
        (
            Method::PATCH,
            "/user/999999/profile",
            json!({"name": "x"}),
            404,
            "no-row",
        ),
    ];
    for (method, path, body, status, kind) in cases {
        let answer = stack.command(method, path, &body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.problem().as_str()),
            (status, kind),
            "{path} {body}: {answer:?}"
        );
        // Nothing of PostgreSQL's own text gets out.
        let text = String::from_utf8_lossy(&answer.body).to_lowercase();
        for inside in [
            "constraint",
            "violates",
            "orders_",
            "users_",
            "insert",
            "sqlstate",
        ] {
            assert!(!text.contains(inside), "{answer:?}");
        }
    }
    assert_eq!(stack.value::<String>(state).await, before);
    let outbox: i64 = stack.value("SELECT count(*) FROM tidemark.outbox").await;
    assert_eq!(outbox, 0);
}

#[tokio::test]
async fn an_answer_says_from_when_on_it_is_seen() {
    let stack = Stack::start().await;
    stack.hit(&dashboard(42)).await;
    let created = stack
        .command(Method::POST, "/org/42/orders", &order())
        .await;
    assert_eq!(created.header("tidemark-invalidation"), "applied");
    assert_eq!(created.header("cache-control"), "no-store");
    let at_least = created.header("tidemark-at-least").to_owned();
    let moment: i64 = at_least.parse().unwrap();
    assert!(stack.tidemark().await.unwrap().as_of >= moment);

    let insisting = [("tidemark-at-least", at_least.as_str())];
    let fresh = stack.read_with(&dashboard(42), &insisting).await;
    assert_eq!(fresh.status, 200);
    let hit = read_until(&stack, &dashboard(42), "a hit", |answer| {
        answer.cache_status() == HIT
    })
    .await;
    assert_eq!(hit.body, fresh.body);
    assert!(hit.header("tidemark-as-of").parse::<i64>().unwrap() >= moment);
}

#[tokio::test]
async fn i3_a_read_that_insists_on_the_future_is_not_a_hit() {
    let stack = Stack::start().await;
    stack.hit(&dashboard(42)).await;
    let far = (stack.tidemark().await.unwrap().as_of + 3_600_000).to_string();
    let answer = stack
        .read_with(&dashboard(42), &[("tidemark-at-least", &far)])
        .await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.cache_status().starts_with("tidemark; fwd=request;")
            && answer.cache_status().ends_with("detail=at-least"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_command_does_not_wait_for_the_poll() {
    let stack = Stack::with()
        .origin("TIDEMARK_POLL_MS", 8_000)
        .origin("TIDEMARK_INVALIDATION_WAIT_MS", 5_000)
        .start()
        .await;
    for price in 1..=8 {
        let body = json!({ "price": price });
        let written = stack.command(Method::PUT, "/product/7/price", &body).await;
        assert_eq!(
            written.header("tidemark-invalidation"),
            "applied",
            "{written:?}"
        );
    }
}

#[tokio::test]
async fn i3_of_several_demands_the_latest_counts() {
    let stack = Stack::start().await;
    stack.hit(&dashboard(42)).await;
    let now = stack.tidemark().await.unwrap().as_of;
    let (past, future) = ((now - 1).to_string(), (now + 3_600_000).to_string());
    let list = format!("{past}, {future}");
    for demands in [
        &[past.as_str(), &future] as &[&str],
        &[&future, &past],
        &[&list],
    ] {
        let fields: Vec<_> = demands
            .iter()
            .map(|demand| ("tidemark-at-least", *demand))
            .collect();
        let answer = stack.read_with(&dashboard(42), &fields).await;
        assert!(
            answer.cache_status().ends_with("detail=at-least"),
            "{fields:?}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn i3_read_your_writes() {
    const WRITES: i64 = 25;
    let stack = Stack::start().await;
    let writer = async |product: i64| {
        let page = format!("/products?limit=1&after={}", product - 1);
        for cents in 1..=WRITES {
            let price = json!(cents);
            let path = format!("/product/{product}/price");
            let written = stack
                .command(Method::PUT, &path, &json!({"price": price}))
                .await;
            assert_eq!(
                written.header("tidemark-invalidation"),
                "applied",
                "{written:?}"
            );
            let read = stack.read(&page).await;
            assert_eq!(read.json()[0]["price"].as_f64(), price.as_f64(), "{read:?}");
        }
    };
    // They invalidate each other all the time: the list depends on the whole table.
    tokio::join!(writer(3), writer(17), writer(29));
}
