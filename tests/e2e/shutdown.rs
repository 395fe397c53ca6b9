//! Stopping in order: nothing new is accepted, what runs is finished.

use std::time::Duration;

use http::Method;
use rustix::process::Signal;
use serde_json::json;
use tidemark_tests::{http::Client, stack::Stack, wait};

use crate::support::gate::{self, Gate};

/// Longer than both servers' own grace.
const LIMIT: Duration = Duration::from_secs(20);

/// Waits until a server refuses new connections.
async fn accepts_nothing_new(base: &str) {
    let url = format!("{base}/nope");
    wait::until(
        "no new connections",
        async || Client::default().get(&url).await.is_err(),
        |refused| *refused,
    )
    .await;
}

#[tokio::test]
async fn the_origin_finishes_what_runs() {
    let mut stack = Stack::with().catalog(gate::CATALOG).start().await;
    let mut gate = Gate::shut(&stack).await;
    let client = Client::default();
    let url = format!("{}/item/1", stack.origin.url());
    let query = tokio::spawn({
        let (client, url) = (client.clone(), url.clone());
        async move { client.get(&url).await.unwrap() }
    });
    let command = tokio::spawn({
        let (client, url) = (client.clone(), url.clone());
        let body = json!({"value": "new"}).to_string();
        async move { client.send(Method::PUT, &url, &[], body).await.unwrap() }
    });
    gate.queue(2).await;
    stack.origin.process().signal(Signal::TERM);
    accepts_nothing_new(stack.origin.url()).await;
    gate.open().await;
    let read = query.await.unwrap();
    assert_eq!(read.status, 200, "{read:?}");
    let written = command.await.unwrap();
    assert_eq!(written.status, 200, "{written:?}");
    // The relay runs to the end, for those who wait for it.
    assert_eq!(
        written.header("tidemark-invalidation"),
        "applied",
        "{written:?}"
    );
    let status = stack.origin.process().ended(LIMIT).await.unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn the_edge_finishes_what_runs_and_stores_it() {
    let mut stack = Stack::with().catalog(gate::CATALOG).start().await;
    let mut gate = Gate::shut(&stack).await;
    let url = format!("{}/item/1", stack.edge.url());
    let read = tokio::spawn({
        let url = url.clone();
        async move { Client::default().get(&url).await.unwrap() }
    });
    gate.queue(1).await;
    stack.edge.process().signal(Signal::TERM);
    accepts_nothing_new(stack.edge.url()).await;
    gate.open().await;
    let answer = read.await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let status = stack.edge.process().ended(LIMIT).await.unwrap();
    assert!(status.success(), "{status}");
    // Storing comes after the answer, and is finished as well.
    let keys = stack.keys().await;
    assert!(keys.iter().any(|key| key == "tm:{item:1}:item"), "{keys:?}");
}

#[tokio::test]
async fn an_idle_stack_stops_at_once() {
    let mut stack = Stack::start().await;
    // Kept-alive connections hold nobody up.
    stack.read("/products").await;
    stack.ask("/products").await;
    for process in [stack.edge.process(), stack.origin.process()] {
        process.signal(Signal::INT);
        let status = process.ended(Duration::from_secs(8)).await.unwrap();
        assert!(status.success(), "{status}");
    }
}
