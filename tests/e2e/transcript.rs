//! What a newcomer is promised, word for word.

use http::Method;
use tidemark_tests::stack::Stack;

use crate::support::{
    HIT, MISS, QUARTER, assert_still_cached, dashboard, order, orders, read_until,
};

#[tokio::test]
async fn the_first_read_is_stored_and_the_second_is_the_same_bytes() {
    let stack = Stack::start().await;
    let miss = stack.read(&dashboard(42)).await;
    assert_eq!(miss.status, 200, "{miss:?}");
    assert_eq!(miss.cache_status(), MISS);
    assert_eq!(miss.header("content-type"), "application/json");
    assert_eq!(miss.json()["organization"]["id"], 42);

    let hit = stack.hit(&dashboard(42)).await;
    assert_eq!(hit.body, miss.body);
    assert!(hit.header("age").parse::<u32>().is_ok(), "{hit:?}");
    assert!(hit.header("etag").starts_with('"'), "{hit:?}");
    assert_eq!(hit.header("etag"), miss.header("etag"));
    assert!(
        hit.header("tidemark-as-of").parse::<i64>().is_ok(),
        "{hit:?}"
    );
}

#[tokio::test]
async fn spellings_of_one_request_share_an_answer() {
    let stack = Stack::start().await;
    let first = stack.read(&dashboard(42)).await;
    stack.hit(&dashboard(42)).await;
    for spelling in [
        "/org/42/dashboard?to=2025-03-31&from=2025-01-01",
        "/org/42/dashboard?from=2025-01-01&region=all&to=2025-03-31",
        "/org/042/dashboard?from=2025-01-01&to=2025-03-31",
        "/org/%34%32/dashboard?from=2025%2D01-01&&to=2025-03-31&",
    ] {
        let answer = stack.read(spelling).await;
        assert_eq!(answer.cache_status(), HIT, "{spelling}");
        assert_eq!(answer.body, first.body, "{spelling}");
    }
    let other = stack
        .read(&format!("/org/42/dashboard?{QUARTER}&region=north"))
        .await;
    assert_eq!(other.cache_status(), MISS);
}

#[tokio::test]
async fn i3_an_order_is_in_the_next_read_and_other_organizations_stay_cached() {
    let stack = Stack::start().await;
    let before = orders(&stack.hit(&dashboard(42)).await);
    stack.hit(&dashboard(43)).await;

    let created = stack
        .command(Method::POST, "/org/42/orders", &order())
        .await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.header("tidemark-invalidation"), "applied");
    assert_eq!(created.json()["org"], 42);

    let after = stack.read(&dashboard(42)).await;
    assert_eq!(
        after.cache_status(),
        "tidemark; fwd=miss; stored; detail=changed"
    );
    assert_eq!(orders(&after), before + 1);
    assert_still_cached(&stack, &dashboard(43)).await;
    stack.hit(&dashboard(42)).await;
}

#[tokio::test]
async fn a_plain_update_shows_in_a_moment() {
    let stack = Stack::start().await;
    let before = orders(&stack.hit(&dashboard(42)).await);
    stack.hit(&dashboard(43)).await;
    stack
        .sql("UPDATE orders SET status = 'cancelled' WHERE org_id = 42 AND status <> 'cancelled'")
        .await;
    assert!(before > 0);
    read_until(
        &stack,
        &dashboard(42),
        "the cancelled orders are gone",
        |answer| orders(answer) == 0,
    )
    .await;
    assert_still_cached(&stack, &dashboard(43)).await;
}

#[tokio::test]
async fn keys_are_readable_and_hold_no_raw_values() {
    let stack = Stack::start().await;
    stack
        .hit(&format!("/org/42/dashboard?{QUARTER}&region=north"))
        .await;
    stack.hit("/user/42/profile").await;
    stack.hit("/products?category=tools").await;
    let keys = stack.keys().await;
    for key in &keys {
        assert!(key.starts_with("tm:"), "{key}");
        for value in ["2025", "north", "tools"] {
            assert!(!key.contains(value), "{key} shows {value}");
        }
    }
    let has = |name: &str| keys.iter().any(|key| key == name);
    let has_hashed = |prefix: &str| {
        keys.iter().any(|key| {
            let hash = key.strip_prefix(prefix);
            hash.is_some_and(|hash| hash.len() == 32 && hash.chars().all(|c| c.is_ascii_hexdigit()))
        })
    };
    assert!(has_hashed("tm:{org:42}:dashboard:"), "{keys:?}");
    assert!(has_hashed("tm:{products}:products:"), "{keys:?}");
    assert!(has("tm:{user:42}:profile"), "{keys:?}");
    for stamp in ["tm:{org:42}", "tm:{org:*}", "tm:{products}", "tm:tidemark"] {
        assert!(has(stamp), "{stamp} is not in {keys:?}");
    }
}
