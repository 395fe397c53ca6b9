//! Bad input of every kind: a clear 4xx that reaches neither Redis nor PostgreSQL.

use http::Method;
use tidemark_tests::{http::raw, stack::Stack};

use crate::support::{MISS, QUARTER, assert_problem, dashboard};

/// Targets that are wrong at edge and origin alike, with the problem that they are.
fn wrong_targets() -> Vec<(String, u16, &'static str)> {
    let dashboard = |query: &str| format!("/org/42/dashboard?{query}");
    let long = "x".repeat(9_000);
    [
        ("/".to_owned(), 404, "unknown-path"),
        ("/nope".to_owned(), 404, "unknown-path"),
        ("/org/42".to_owned(), 404, "unknown-path"),
        ("/org/42/dashboard/".to_owned(), 404, "unknown-path"),
        ("//org/42/dashboard".to_owned(), 404, "unknown-path"),
        ("/org/42/../42/dashboard".to_owned(), 404, "unknown-path"),
        // Missing, unknown, repeated.
        ("/org/42/dashboard".to_owned(), 400, "invalid-parameter"),
        (dashboard("from=2025-01-01"), 400, "invalid-parameter"),
        (
            dashboard(&format!("{QUARTER}&colour=red")),
            400,
            "invalid-parameter",
        ),
        (
            dashboard(&format!("{QUARTER}&org=42")),
            400,
            "invalid-parameter",
        ),
        (
            dashboard(&format!("{QUARTER}&from=2025-01-01")),
            400,
            "invalid-parameter",
        ),
        (
            dashboard(&format!("{QUARTER}&FROM=2025-01-01")),
            400,
            "invalid-parameter",
        ),
        // Of the wrong type.
        (
            format!("/org/x/dashboard?{QUARTER}"),
            400,
            "invalid-parameter",
        ),
        (
            format!("/org/4.2/dashboard?{QUARTER}"),
            400,
            "invalid-parameter",
        ),
        (
            format!("/org/99999999999999999999/dashboard?{QUARTER}"),
            400,
            "invalid-parameter",
        ),
        (
            dashboard("from=2025-02-30&to=2025-03-31"),
            400,
            "invalid-parameter",
        ),
        (
            dashboard("from=yesterday&to=2025-03-31"),
            400,
            "invalid-parameter",
        ),
        (dashboard("from=&to=2025-03-31"), 400, "invalid-parameter"),
        (
            dashboard(&format!("{QUARTER}&region={}", "x".repeat(33))),
            400,
            "invalid-parameter",
        ),
        (
            dashboard(&format!("{QUARTER}&region=%00")),
            400,
            "invalid-parameter",
        ),
        // Malformed.
        (
            dashboard(&format!("{QUARTER}&region=%zz")),
            400,
            "malformed-request",
        ),
        (
            dashboard(&format!("{QUARTER}&region=%4")),
            400,
            "malformed-request",
        ),
        (
            dashboard(&format!("{QUARTER}&%=1")),
            400,
            "malformed-request",
        ),
        (
            dashboard(&format!("{QUARTER}&region=%FF")),
            400,
            "malformed-request",
        ),
        (
            format!("/org/%FF/dashboard?{QUARTER}"),
            400,
            "malformed-request",
        ),
        (
            format!("/org/%4/dashboard?{QUARTER}"),
            400,
            "malformed-request",
        ),
        // Too long.
        (
            dashboard(&format!("{QUARTER}&region={long}")),
            414,
            "uri-too-long",
        ),
        (format!("/org/{long}/dashboard"), 414, "uri-too-long"),
    ]
    .into_iter()
    .collect()
}

#[tokio::test]
async fn bad_requests_are_told_so_and_touch_nothing() {
    let stack = Stack::with().log_statements().start().await;
    let mut monitor = stack.redis.monitor().await.unwrap();
    for (target, status, kind) in wrong_targets() {
        assert_problem(&stack.read(&target).await, status, kind);
        assert_problem(&stack.ask(&target).await, status, kind);
    }
    assert_eq!(monitor.commands().await.unwrap(), Vec::<String>::new());
    assert_eq!(stack.statements().await, Vec::<String>::new());

    // And nothing was lost by it.
    assert_eq!(stack.read(&dashboard(42)).await.cache_status(), MISS);
}

#[tokio::test]
async fn the_problem_names_the_parameter_and_what_is_known() {
    let stack = Stack::start().await;
    let answer = stack
        .read(&format!("/org/42/dashboard?{QUARTER}&colour=red"))
        .await;
    let problem = answer.json();
    assert_eq!(problem["type"], "urn:tidemark:problem:invalid-parameter");
    assert_eq!(problem["parameter"], "colour");
    assert_eq!(
        problem["detail"],
        "unknown parameter \"colour\"; known here: from, region, to"
    );
    let answer = stack
        .read("/org/42/dashboard?from=soon&to=2025-03-31")
        .await;
    assert_eq!(answer.json()["parameter"], "from");
}

#[tokio::test]
async fn wrong_methods_are_told_the_right_ones() {
    let stack = Stack::start().await;
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let answer = stack.edge(method, &dashboard(42), &[]).await;
        assert_problem(&answer, 405, "method-not-allowed");
        assert_eq!(answer.header("allow"), "GET, HEAD");
    }
    // A command's path is none of the edge's.
    let answer = stack.edge(Method::POST, "/org/42/orders", &[]).await;
    assert_problem(&answer, 404, "unknown-path");

    let origin = stack.origin.url();
    for (method, path, allow) in [
        (Method::GET, "/org/42/orders", "POST"),
        (Method::DELETE, "/user/42/profile", "GET, HEAD, PATCH"),
        (Method::POST, "/healthz", "GET, HEAD"),
    ] {
        let answer = stack.send(origin, method, path, &[], "").await;
        assert_problem(&answer, 405, "method-not-allowed");
        let mut methods: Vec<_> = answer.header("allow").split(", ").collect();
        methods.sort_unstable();
        assert_eq!(methods.join(", "), allow);
    }
}

#[tokio::test]
async fn an_unreadable_at_least_is_refused() {
    let stack = Stack::start().await;
    for value in ["soon", "-1", "1.5", "", "1, soon"] {
        let answer = stack
            .read_with(&dashboard(42), &[("tidemark-at-least", value)])
            .await;
        assert_problem(&answer, 400, "malformed-request");
    }
}

/// Requests that HTTP itself forbids are answered by the server below: 4xx, whatever the body.
#[tokio::test]
async fn what_is_no_http_gets_a_4xx_too() {
    let stack = Stack::start().await;
    let mebibyte = "x".repeat(1 << 20);
    let requests: [(&str, Vec<u8>, &[u16]); 5] = [
        (
            "a query string of 1 MiB",
            format!("GET /org/42/dashboard?region={mebibyte} HTTP/1.1\r\nHost: x\r\n\r\n").into(),
            &[414, 431],
        ),
        (
            "raw bytes that are not UTF-8",
            b"GET /org/\xff\xfe/dashboard HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            &[400],
        ),
        (
            "a space in the target",
            b"GET /org/4 2/dashboard HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            &[400],
        ),
        (
            "no HTTP at all",
            b"\x16\x03\x01 hello\r\n\r\n".to_vec(),
            &[400],
        ),
        (
            "a header of 1 MiB",
            format!("GET / HTTP/1.1\r\nHost: x\r\nX: {mebibyte}\r\n\r\n").into(),
            &[431],
        ),
    ];
    for base in [stack.edge.url(), stack.origin.url()] {
        for (what, request, statuses) in &requests {
            let answer = raw(base, request).await.unwrap();
            let status = answer
                .split(' ')
                .nth(1)
                .and_then(|status| status.parse().ok());
            // A server that closes while it is still being written to may reset the connection, so
            // that its answer is lost on the way: that is a refusal as well.
            assert!(
                status.map_or(answer.is_empty() && request.len() > 1 << 20, |status| {
                    statuses.contains(&status)
                }),
                "{what} at {base}: {answer}"
            );
        }
    }
    assert_eq!(stack.read(&dashboard(42)).await.status, 200);
    assert_eq!(stack.ask(&dashboard(42)).await.status, 200);
}

#[tokio::test]
async fn bad_bodies_are_told_so_and_touch_nothing() {
    let stack = Stack::with().log_statements().start().await;
    let origin = stack.origin.url();
    let items = r#""items": [{"product": 7, "quantity": 2}]"#;
    let cases: Vec<(Vec<u8>, u16, &str)> = vec![
        (b"{".to_vec(), 400, "invalid-body"),
        (b"not json".to_vec(), 400, "invalid-body"),
        (b"[]".to_vec(), 400, "invalid-body"),
        (b"null".to_vec(), 400, "invalid-body"),
        (b"{} {}".to_vec(), 400, "invalid-body"),
        (b"{\"customer\": \"\xff\"}".to_vec(), 400, "invalid-body"),
        (vec![b'['; 100_000], 400, "invalid-body"),
        (b"".to_vec(), 400, "invalid-parameter"),
        (b"{}".to_vec(), 400, "invalid-parameter"),
        (format!("{{{items}}}").into(), 400, "invalid-parameter"),
        (
            format!(r#"{{"customer": "x", {items}}}"#).into(),
            400,
            "invalid-parameter",
        ),
        (
            format!(r#"{{"customer": 4.2, {items}}}"#).into(),
            400,
            "invalid-parameter",
        ),
        (
            format!(r#"{{"customer": [42], {items}}}"#).into(),
            400,
            "invalid-parameter",
        ),
        (
            format!(r#"{{"customer": null, {items}}}"#).into(),
            400,
            "invalid-parameter",
        ),
        (
            format!(r#"{{"customer": 42, "customer": 43, {items}}}"#).into(),
            400,
            "invalid-parameter",
        ),
        (
            format!(r#"{{"customer": 42, "org": 43, {items}}}"#).into(),
            400,
            "invalid-parameter",
        ),
        (
            format!(r#"{{"customer": 42, "colour": 1, {items}}}"#).into(),
            400,
            "invalid-parameter",
        ),
        (
            format!(r#"{{"customer": 42, "date": "soon", {items}}}"#).into(),
            400,
            "invalid-parameter",
        ),
        (
            br#"{"customer": 42, "items": []}"#.to_vec(),
            400,
            "invalid-parameter",
        ),
        (
            br#"{"customer": 42, "items": {}}"#.to_vec(),
            400,
            "invalid-parameter",
        ),
        (
            br#"{"customer": 42, "items": [7]}"#.to_vec(),
            400,
            "invalid-parameter",
        ),
        (
            br#"{"customer": 42, "items": [{"product": 7}]}"#.to_vec(),
            400,
            "invalid-parameter",
        ),
        (vec![b' '; (1 << 20) + 1], 413, "body-too-large"),
    ];
    for (body, status, kind) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let answer = stack
            .send(origin, Method::POST, "/org/42/orders", &[], body)
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.problem().as_str()),
            (status, kind),
            "{shown}"
        );
    }
    let answer = stack
        .send(
            origin,
            Method::POST,
            "/org/42/orders?customer=42",
            &[],
            "{}",
        )
        .await;
    assert_problem(&answer, 400, "invalid-parameter");
    let answer = stack
        .send(
            origin,
            Method::PATCH,
            "/order/1",
            &[],
            r#"{"status": "lost"}"#,
        )
        .await;
    assert_problem(&answer, 400, "invalid-parameter");
    assert_eq!(stack.statements().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_body_that_breaks_off_changes_nothing() {
    let stack = Stack::with().log_statements().start().await;
    let request =
        b"POST /org/42/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"customer\": 42";
    let address = stack.origin.url().trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, request)
        .await
        .unwrap();
    drop(stream);
    assert_eq!(stack.ask("/healthz").await.status, 200);
    assert_eq!(stack.statements().await, Vec::<String>::new());
}
