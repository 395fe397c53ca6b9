//! Answers of the edge beyond the plain ones: validators, HEAD, CORS, what is never cached.

use http::Method;
use tidemark_tests::stack::Stack;

use crate::support::{HIT, assert_problem, dashboard};

#[tokio::test]
async fn what_the_client_has_is_answered_304() {
    let stack = Stack::start().await;
    let hit = stack.hit(&dashboard(42)).await;
    let etag = hit.header("etag");
    for (tag, status) in [
        (etag.to_owned(), 304),
        (format!("W/{etag}"), 304),
        (format!("\"other\", {etag}"), 304),
        ("*".to_owned(), 304),
        ("\"other\"".to_owned(), 200),
    ] {
        let answer = stack
            .read_with(&dashboard(42), &[("if-none-match", &tag)])
            .await;
        assert_eq!(answer.status, status, "{tag}: {answer:?}");
        assert_eq!(answer.header("etag"), etag);
        assert_eq!(answer.body.is_empty(), status == 304);
        assert_eq!(answer.header("cache-control"), "no-cache");
    }
    // Also where it comes from the origin.
    let org_43 = stack.ask(&dashboard(43)).await;
    let tag = [("if-none-match", org_43.header("etag"))];
    let miss = stack.read_with(&dashboard(43), &tag).await;
    assert_eq!(miss.status, 304, "{miss:?}");
    let url = stack.origin.url();
    let origin = stack.send(url, Method::GET, &dashboard(43), &tag, "").await;
    assert_eq!(origin.status, 304, "{origin:?}");
    // Several fields are one list.
    let tags = [("if-none-match", "\"other\""), tag[0]];
    let edge = stack.read_with(&dashboard(43), &tags).await;
    assert_eq!(edge.status, 304, "{edge:?}");
    let origin = stack
        .send(url, Method::GET, &dashboard(43), &tags, "")
        .await;
    assert_eq!(origin.status, 304, "{origin:?}");
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let stack = Stack::start().await;
    let get = stack.hit(&dashboard(42)).await;
    let head = stack.edge(Method::HEAD, &dashboard(42), &[]).await;
    assert_eq!(head.status, 200);
    assert_eq!(head.cache_status(), HIT);
    assert_eq!(head.header("content-length"), get.body.len().to_string());
    assert_eq!(head.header("etag"), get.header("etag"));
    assert!(head.body.is_empty());

    let miss = stack.edge(Method::HEAD, &dashboard(43), &[]).await;
    assert_eq!(miss.status, 200, "{miss:?}");
    let then = stack.hit(&dashboard(43)).await;
    assert_eq!(miss.header("content-length"), then.body.len().to_string());

    let at_origin = stack
        .send(stack.origin.url(), Method::HEAD, &dashboard(42), &[], "")
        .await;
    assert_eq!(at_origin.status, 200);
    assert!(at_origin.body.is_empty());
}

#[tokio::test]
async fn max_staleness_zero_is_never_cached() {
    let stack = Stack::start().await;
    let mut monitor = stack.redis.monitor().await.unwrap();
    for on_hand in [11, 12, 13] {
        stack
            .sql(&format!(
                "UPDATE inventory SET on_hand = {on_hand} WHERE product_id = 7"
            ))
            .await;
        let answer = stack.read("/inventory/7").await;
        assert_eq!(answer.json()["on_hand"], on_hand, "{answer:?}");
        assert_eq!(
            answer.cache_status(),
            "tidemark; fwd=bypass; detail=uncacheable"
        );
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("age"), "");
    }
    assert_eq!(monitor.commands().await.unwrap(), Vec::<String>::new());
    assert!(
        stack
            .keys()
            .await
            .iter()
            .all(|key| !key.contains("inventory"))
    );
}

#[tokio::test]
async fn a_query_for_one_row_without_one_is_404_and_cached() {
    let stack = Stack::start().await;
    let [user, organization] = ["/user/999999/profile".to_owned(), dashboard(999_999)];
    for path in [&*user, "/order/999999", &organization] {
        let miss = stack.read(path).await;
        assert_problem(&miss, 404, "no-row");
        let hit = stack.hit(path).await;
        assert_problem(&hit, 404, "no-row");
        assert_eq!(hit.body, miss.body);
        assert_eq!(hit.header("content-type"), miss.header("content-type"));
        assert!(!hit.header("tidemark-as-of").is_empty(), "{hit:?}");
        // A precondition is for what was found.
        for base in [stack.edge.url(), stack.origin.url()] {
            let any = [("if-none-match", "*")];
            let answer = stack.send(base, Method::GET, path, &any, "").await;
            assert_problem(&answer, 404, "no-row");
        }
    }
    // Never cached, and found nowhere.
    let [uncacheable, unknown] = ["/inventory/999999", "/user/999999/nothing"];
    assert_problem(&stack.read(uncacheable).await, 404, "no-row");
    assert_problem(&stack.read(unknown).await, 404, "unknown-path");
    let keys = stack.keys().await;
    let entries = keys.iter().filter(|key| key.contains("}:"));
    assert_eq!(entries.count(), 3, "{keys:?}");
    // "rows" without rows is an empty list.
    assert_eq!(stack.read("/products?category=none").await.body, "[]");
}

#[tokio::test]
async fn i3_a_row_that_appears_is_no_longer_404() {
    let stack = Stack::start().await;
    let path = "/user/7777/profile";
    assert_problem(&stack.hit(path).await, 404, "no-row");
    stack
        .sql("INSERT INTO users (id, org_id, name, email) VALUES (7777, 42, 'Zoe', 'zoe@example.com')")
        .await;
    stack.settled().await;
    let answer = stack.read(path).await;
    assert_eq!(answer.json()["name"], "Zoe");
    assert!(
        answer.cache_status().contains("detail=changed"),
        "{answer:?}"
    );

    stack.hit(path).await;
    stack.sql("DELETE FROM users WHERE id = 7777").await;
    stack.settled().await;
    assert_problem(&stack.read(path).await, 404, "no-row");
}

#[tokio::test]
async fn scripts_of_configured_web_origins_may_read() {
    const APP: &str = "https://app.example.com";
    let stack = Stack::with().edge("cors_origins", APP).start().await;
    let allowed = |answer: &tidemark_tests::http::Answer| {
        answer.header("access-control-allow-origin").to_owned()
    };
    let ours = stack.read_with(&dashboard(42), &[("origin", APP)]).await;
    assert_eq!(allowed(&ours), APP);
    let varies: Vec<_> = ours.headers.get_all("vary").iter().collect();
    assert_eq!(varies, ["accept-encoding", "Origin"]);
    assert!(
        ours.header("access-control-expose-headers")
            .contains("cache-status")
    );
    let problem = stack.read_with("/nope", &[("origin", APP)]).await;
    assert_eq!(allowed(&problem), APP);
    let other = stack
        .read_with(&dashboard(42), &[("origin", "https://evil.example")])
        .await;
    assert_eq!(allowed(&other), "");

    let preflight = [("origin", APP), ("access-control-request-method", "GET")];
    let preflight = stack
        .edge(Method::OPTIONS, &dashboard(42), &preflight)
        .await;
    assert_eq!(preflight.status, 204, "{preflight:?}");
    assert_eq!(allowed(&preflight), APP);
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        "GET, HEAD"
    );
}

#[tokio::test]
async fn without_cors_nothing_is_said_about_it() {
    let stack = Stack::start().await;
    let origin = [("origin", "https://app.example.com")];
    let answer = stack.read_with(&dashboard(42), &origin).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let options = stack.edge(Method::OPTIONS, &dashboard(42), &origin).await;
    assert_problem(&options, 405, "method-not-allowed");
}

#[tokio::test]
async fn every_query_of_the_example_answers_and_is_cached_as_declared() {
    let stack = Stack::start().await;
    for path in [
        dashboard(42),
        "/report/42/data".to_owned(),
        "/user/42/profile".to_owned(),
        "/products".to_owned(),
        "/products?category=tools&limit=3".to_owned(),
        "/order/42".to_owned(),
    ] {
        let miss = stack.read(&path).await;
        assert_eq!(miss.status, 200, "{path}: {miss:?}");
        let hit = stack.hit(&path).await;
        assert_eq!(hit.body, miss.body, "{path}");
        assert_eq!(hit.body, stack.ask(&path).await.body, "{path}");
    }
}

#[tokio::test]
async fn the_origin_names_the_scopes_of_an_answer() {
    let stack = Stack::start().await;
    let answer = stack.ask(&dashboard(42)).await;
    assert_eq!(
        answer.header("cache-groups"),
        r#""org:42", "org:*", "org:42?day=2025-Q1""#
    );
    assert!(answer.header("tidemark-as-of").parse::<i64>().is_ok());
}

#[tokio::test]
async fn what_a_change_leaves_as_it_was_is_renewed_without_its_body() {
    let stack = Stack::start().await;
    let path = "/products?after=0&limit=1";
    let before = stack.hit(path).await;
    // All products are one scope; this one is on another page.
    stack
        .sql("UPDATE products SET price = price + 1 WHERE id = 7")
        .await;
    stack.settled().await;
    let renewed = stack.read(path).await;
    assert_eq!(
        renewed.cache_status(),
        "tidemark; fwd=miss; fwd-status=304; stored; detail=changed"
    );
    assert_eq!(renewed.status, 200);
    assert_eq!(renewed.body, before.body);
    assert_eq!(renewed.header("etag"), before.header("etag"));
    assert!(renewed.header("tidemark-as-of") > before.header("tidemark-as-of"));
    assert_eq!(stack.hit(path).await.body, before.body);
    // The client's own copy is another matter.
    stack
        .sql("UPDATE products SET price = price + 1 WHERE id = 7")
        .await;
    stack.settled().await;
    let tag = before.header("etag").to_owned();
    let known = stack.read_with(path, &[("if-none-match", &tag)]).await;
    assert_eq!(known.status, 304, "{known:?}");
    stack.hit(path).await;

    stack
        .sql("UPDATE products SET price = price + 1 WHERE id = 1")
        .await;
    stack.settled().await;
    let changed = stack.read(path).await;
    assert_eq!(
        changed.cache_status(),
        "tidemark; fwd=miss; stored; detail=changed"
    );
    assert_ne!(changed.body, before.body);
}
