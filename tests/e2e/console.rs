//! What is for operators: the live stream behind the console, and the admin routes. The page itself is
//! tested in a browser.

use std::{net::SocketAddr, time::Duration};

use http::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use tidemark_tests::{
    http::{Answer, Client},
    stack::Stack,
};

use crate::support::dashboard;

const TOKEN: &str = "console-secret-8a2f";

/// A stack whose origin listens where others could connect.
async fn open_to_others(token: Option<&str>) -> Stack {
    let mut setup = Stack::with().origin("TIDEMARK_LISTEN", "0.0.0.0:0");
    if let Some(token) = token {
        setup = setup.origin("TIDEMARK_ADMIN_TOKEN", token);
    }
    setup.start().await
}

/// Asks the origin by its loopback address.
async fn ask(stack: &Stack, path: &str, headers: &[(&str, &str)]) -> Answer {
    let url = local(stack, path);
    let asked = Client::default().send(Method::GET, &url, headers, "").await;
    asked.unwrap()
}

fn local(stack: &Stack, path: &str) -> String {
    let address: SocketAddr = stack.origin.url()["http://".len()..].parse().unwrap();
    format!("http://127.0.0.1:{}{path}", address.port())
}

async fn purge(stack: &Stack, headers: &[(&str, &str)], body: &str) -> Answer {
    let url = local(stack, "/admin/purge");
    let client = Client::default();
    let asked = client.send(Method::POST, &url, headers, body.to_owned());
    asked.await.unwrap()
}

#[tokio::test]
async fn whoever_watches_is_told_what_happens() {
    let stack = Stack::with()
        .own_redis_users()
        .origin("TIDEMARK_CONSOLE_DEMO", "http://127.0.0.1:1/")
        .start()
        .await;
    let url = local(&stack, "/console/stream");
    let mut events = Client::default().listen(&url, &[]).await.unwrap();

    let (name, hello) = events.next().await.unwrap();
    assert_eq!(name, "hello");
    assert_eq!(hello["demo"], json!({"edge": "http://127.0.0.1:1"}));
    let queries = hello["queries"].as_array().unwrap();
    let dashboard_query = queries.iter().find(|query| query["name"] == "dashboard");
    assert_eq!(dashboard_query.unwrap()["path"], "/org/{org}/dashboard");
    assert_eq!(dashboard_query.unwrap()["promise_ms"], 1_000);
    assert_eq!(events.of("feed").await.unwrap()["up"], true);

    let path = dashboard(42);
    stack.hit(&path).await;
    loop {
        let figures = events.of("figures").await.unwrap();
        // What edges have counted comes a second later.
        stack.read(&path).await;
        let query = figures["queries"].as_array().unwrap();
        let query = query.iter().find(|query| query["name"] == "dashboard");
        let is_hit = figures["answers"]["hit"].as_f64() > Some(0.0);
        let hottest = figures["hot"][0]["request"].as_str();
        let is_hot = hottest.is_some_and(|it| it.starts_with("/org/42/dashboard?"));
        if is_hit && is_hot && query.is_some_and(|query| query["p50_ms"].is_f64()) {
            assert_eq!(figures["regions"][0]["up"], true);
            assert!(figures["regions"][0]["age_ms"].as_u64() < Some(1_000));
            assert!(figures["regions"][0]["used_memory"].as_f64() > Some(0.0));
            assert_eq!(figures["relay"]["leads"], true);
            break;
        }
    }

    stack.sql("UPDATE orders SET status = 'shipped' WHERE id = (SELECT min(id) FROM orders WHERE org_id = 42)").await;
    let change = events.of("change").await.unwrap();
    let scopes = change["scopes"].as_array().unwrap();
    let of_org = |scope: &Value| {
        scope
            .as_str()
            .is_some_and(|it| it.starts_with("org:42?day="))
    };
    // One order, told once: by the finest of its parts.
    let told = scopes.iter().filter(|scope| of_org(scope));
    assert_eq!(told.count(), 1, "{change}");
    let touched = change["queries"].as_array().unwrap();
    assert!(touched.contains(&json!("dashboard")), "{change}");
    assert!(change["applied_ms"].as_u64() < Some(5_000), "{change}");

    // An entry whose time is up.
    stack.hit(&path).await;
    for key in stack.keys().await {
        if key.contains(":dashboard:") {
            stack.redis::<()>(&["PEXPIRE", &key, "1"]).await;
        }
    }
    let forgotten = events.of("keys").await.unwrap();
    assert_eq!(forgotten["expired"], 1, "{forgotten}");
    assert!(
        forgotten["names"][0]
            .as_str()
            .unwrap()
            .starts_with("tm:{org:42}:dashboard:")
    );
}

#[tokio::test]
async fn a_watcher_hears_that_redis_is_gone_and_back() {
    let mut stack = Stack::start().await;
    let url = local(&stack, "/console/stream");
    let mut events = Client::default().listen(&url, &[]).await.unwrap();
    assert_eq!(events.of("feed").await.unwrap()["up"], true);
    // So that an epoch has been heard of.
    stack
        .sql("UPDATE orders SET status = 'shipped' WHERE org_id = 42")
        .await;
    events.of("change").await.unwrap();
    stack.redis.process().kill();
    assert_eq!(events.of("feed").await.unwrap()["up"], false);
    loop {
        let figures = events.of("figures").await.unwrap();
        if figures["regions"][0]["up"] == false {
            assert!(figures["regions"][0]["age_ms"].is_null());
            break;
        }
    }
    stack.redis.restart().await.unwrap();
    assert_eq!(events.of("feed").await.unwrap()["up"], true);
    // The Redis that has come back is empty.
    events.of("epoch").await.unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_watchers() {
    let mut stack = Stack::start().await;
    let url = local(&stack, "/console/stream");
    let mut events = Client::default().listen(&url, &[]).await.unwrap();
    events.of("hello").await.unwrap();
    stack.origin.process().signal(Signal::TERM);
    while events.next().await.is_ok() {}
    // Cut off after 10 s, it would not have ended well.
    let ended = stack.origin.process().ended(Duration::from_secs(8)).await;
    assert!(ended.unwrap().success());
}

#[tokio::test]
async fn without_a_token_it_is_for_this_machine_by_its_own_name() {
    let stack = Stack::start().await;
    let page = ask(&stack, "/console/", &[]).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.header("content-security-policy")
            .contains("default-src 'self'")
    );
    assert_eq!(page.header("content-type"), "text/html");
    let elsewhere = ("host", "evil.example");
    for path in ["/console/", "/console/stream"] {
        let asked = ask(&stack, path, &[elsewhere]).await;
        assert_eq!(asked.problem(), "forbidden", "{path}");
    }
    let json = ("content-type", "application/json");
    let purged = purge(&stack, &[json, elsewhere], r#"{"all": true}"#).await;
    assert_eq!(purged.problem(), "forbidden");
    let read = ask(&stack, "/admin/purge", &[]).await;
    assert_eq!(
        (read.problem().as_str(), read.header("allow")),
        ("method-not-allowed", "POST")
    );
    let missing = ask(&stack, "/console/nothing.js", &[]).await;
    assert_eq!(missing.problem(), "unknown-path");
    let outside = ask(&stack, "/console/../Cargo.toml", &[]).await;
    assert_eq!(outside.problem(), "unknown-path");
}

#[tokio::test]
async fn where_others_can_connect_it_is_off_without_a_token() {
    let stack = open_to_others(None).await;
    for path in ["/console/", "/console/stream", "/console/index.html"] {
        assert_eq!(
            ask(&stack, path, &[]).await.problem(),
            "unknown-path",
            "{path}"
        );
    }
    let json = ("content-type", "application/json");
    let purged = purge(&stack, &[json], r#"{"all": true}"#).await;
    assert_eq!(purged.problem(), "unknown-path");
}

#[tokio::test]
async fn where_others_can_connect_it_takes_the_token() {
    let stack = open_to_others(Some(TOKEN)).await;
    let refused = ask(&stack, "/console/", &[]).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.problem(), "unauthorized");
    assert!(refused.header("www-authenticate").starts_with("Basic "));
    let bearer = format!("Bearer {TOKEN}");
    let shown = ask(&stack, "/console/", &[("authorization", &bearer)]).await;
    assert_eq!(shown.status, StatusCode::OK);
    let wrong = ask(&stack, "/console/", &[("authorization", "Bearer other")]).await;
    assert_eq!(wrong.problem(), "unauthorized");

    let json = ("content-type", "application/json");
    let refused = purge(&stack, &[json], r#"{"all": true}"#).await;
    assert_eq!(refused.problem(), "unauthorized");
}

#[tokio::test]
async fn a_purge_by_http_is_one_by_the_command_line() {
    let stack = Stack::start().await;
    let (one, other) = (dashboard(42), dashboard(43));
    stack.hit(&one).await;
    stack.hit(&other).await;
    let json = ("content-type", "application/json");
    let purged = purge(&stack, &[json], r#"{"scopes": ["org:42"]}"#).await;
    assert_eq!(purged.status, StatusCode::OK, "{purged:?}");
    assert_eq!(purged.json(), json!({"recorded": ["org:42"]}));
    assert_eq!(purged.header("tidemark-invalidation"), "applied");
    assert!(purged.header("tidemark-at-least").parse::<i64>().is_ok());
    let read = stack.read(&one).await;
    assert!(read.cache_status().contains("detail=changed"), "{read:?}");
    assert_eq!(stack.read(&other).await.cache_status(), "tidemark; hit");

    let purged = purge(&stack, &[json], r#"{"all": true}"#).await;
    assert_eq!(purged.header("tidemark-invalidation"), "applied");
    let read = stack.read(&other).await;
    assert!(read.cache_status().contains("detail=changed"), "{read:?}");

    for (headers, body, problem) in [
        (
            &[json][..],
            r#"{"scopes": ["nothing"]}"#,
            "invalid-parameter",
        ),
        (&[json], r#"{"scope": []}"#, "invalid-body"),
        (&[json], "", "invalid-body"),
        (&[], r#"{"all": true}"#, "malformed-request"),
        (
            &[("content-type", "text/plain")],
            r#"{"all": true}"#,
            "malformed-request",
        ),
    ] {
        let refused = purge(&stack, headers, body).await;
        assert_eq!(refused.problem(), problem, "{body}");
    }
    assert_eq!(stack.hit(&one).await.status, StatusCode::OK);
}
