//! The demo on the page: a dashboard that follows whoever changes something.

use crate::{
    console::{demo, figure, open, psql, show_organization},
    turn,
};

const REVENUE: &str = ".totals > div:nth-child(1) dd";
const ORDERS: &str = ".totals > div:nth-child(2) dd";
const OUTCOME: &str = "#demo-outcome";

#[tokio::test]
async fn the_dashboard_is_drawn_beside_its_timing_and_follows_psql() {
    let _turn = turn().await;
    let stack = demo().await;
    let page = open(&stack).await;

    let orders: i64 = stack
        .value("SELECT count(*) FROM orders WHERE org_id = 42 AND status <> 'cancelled' AND ordered_on BETWEEN '2025-01-01' AND '2025-03-31'")
        .await;
    let orders = orders as f64;
    page.says(ORDERS, |text| figure(text) == Some(orders)).await;
    let edge = "#demo-timing tbody tr:nth-child(1)";
    let direct = "#demo-timing tbody tr:nth-child(2)";
    page.says(edge, |text| text.contains("hit") && text.contains("ms"))
        .await;
    page.says(direct, |text| {
        text.contains("PostgreSQL") && text.contains("ms")
    })
    .await;

    let revenue = page.text(REVENUE).await;
    psql(
        &stack,
        "UPDATE order_items SET unit_price = unit_price + 1 FROM orders
         WHERE orders.id = order_id AND org_id = 42",
    );
    page.says(REVENUE, |text| text != revenue).await;
    page.says("#feed", |text| text.contains("org:42")).await;

    // Another organization.
    let name: String = stack
        .value("SELECT name FROM organizations WHERE id = 7")
        .await;
    show_organization(&page, 7).await;
    page.says("#demo-board h3", |text| text.starts_with(&name))
        .await;
    assert_eq!(page.complaints().await, [""; 0]);
}

#[tokio::test]
async fn buttons_change_something_and_tell_how_soon_the_edge_had_it() {
    let _turn = turn().await;
    let stack = demo().await;
    let page = open(&stack).await;
    let orders = page.says(ORDERS, |text| figure(text).is_some()).await;
    let orders = figure(&orders).unwrap();

    page.click("#place-order").await;
    let told = page
        .says(OUTCOME, |text| text.contains("the edge had it"))
        .await;
    assert!(told.contains("ms after the click"), "{told}");
    page.says(ORDERS, |text| figure(text) == Some(orders + 1.0))
        .await;

    page.click("#change-price").await;
    let told = page
        .says(OUTCOME, |text| {
            text.starts_with("Price") && text.contains("the edge had it")
        })
        .await;
    let price: String = stack
        .value("SELECT price::text FROM products WHERE id = 7")
        .await;
    assert!(told.contains(&price), "{told}, {price}");
    page.says("#demo-price", |text| text.contains(&price)).await;

    // What is refused is told, and changes nothing.
    stack.sql("UPDATE inventory SET on_hand = 0").await;
    page.click("#place-order").await;
    page.says(OUTCOME, |text| text.starts_with("Failed: "))
        .await;
}
