//! The origin or PostgreSQL is gone: what is proven is served as long as it is proven, and not longer.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::process::Signal;
use tidemark_tests::{stack::Stack, wait};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{HIT, assert_problem, dashboard, now_ms, orders, read_until};

#[tokio::test]
async fn i2_without_a_relay_hits_end_within_the_promise() {
    const MAX_STALENESS_MS: i64 = 1_000;
    let mut stack = Stack::start().await;
    stack.hit(&dashboard(42)).await;
    stack.origin.process().kill();
    let mut hits = 0;
    let last = wait::until(
        "the promise has run out",
        async || {
            let asked_at = now_ms();
            let answer = stack.read(&dashboard(42)).await;
            if answer.cache_status() == HIT {
                hits += 1;
                let as_of: i64 = answer.header("tidemark-as-of").parse().unwrap();
                let age = asked_at - as_of;
                assert!(age <= MAX_STALENESS_MS, "a hit proven {age} ms ago");
            }
            answer
        },
        |answer| answer.cache_status() != HIT,
    )
    .await;
    assert_problem(&last, 503, "unavailable");
    assert_eq!(last.header("retry-after"), "1", "{last:?}");
    assert!(last.cache_status().contains("detail=unproven"), "{last:?}");

    stack.start_origin().await;
    let back = stack.hit(&dashboard(42)).await;
    assert_eq!(back.json()["organization"]["id"], 42);
}

#[tokio::test]
async fn a_dead_origin_is_503_and_nothing_is_stored() {
    let mut stack = Stack::start().await;
    stack.origin.process().kill();
    let answer = stack.read(&dashboard(42)).await;
    for answer in [&answer, &stack.read("/inventory/7").await] {
        assert_problem(answer, 503, "unavailable");
        assert_eq!(answer.header("retry-after"), "1", "{answer:?}");
    }
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(!text.contains("127.0.0.1"), "{text}");
    assert!(
        stack
            .keys()
            .await
            .iter()
            .all(|key| !key.contains("dashboard"))
    );
    stack.start_origin().await;
    assert_eq!(stack.read(&dashboard(42)).await.status, 200);
    stack.hit(&dashboard(42)).await;
}

#[tokio::test]
async fn an_origin_that_does_not_answer_in_time_is_504() {
    let mut stack = Stack::with().edge("origin_deadline_ms", 300).start().await;
    assert_eq!(stack.hit(&dashboard(42)).await.status, 200);
    stack.origin.process().signal(Signal::STOP);
    let answer = stack.read("/inventory/7").await;
    assert_problem(&answer, 504, "timeout");
    assert_eq!(answer.header("retry-after"), "1", "{answer:?}");
    stack.origin.process().signal(Signal::CONT);
    read_until(&stack, "/inventory/7", "an answer again", |answer| {
        answer.status == 200
    })
    .await;
}

/// How an origin ends the exchange once it has heard a request.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It closes the connection without a word.
    Closed,
    /// It closes it within its answer.
    BrokenOff,
    /// Not at all.
    Silent,
}

/// An origin that ends all exchanges like this; its URL, and how many requests it has heard.
async fn ending(end: End) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heard = Arc::new(AtomicU32::new(0));
    let counter = heard.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counter = counter.clone();
            tokio::spawn(async move {
                // A connection may be made ahead, and never used.
                if stream.read(&mut [0; 4_096]).await.unwrap_or(0) > 0 {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                let half = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
                match end {
                    End::Closed => {}
                    End::BrokenOff => stream.write_all(half).await.unwrap(),
                    End::Silent => pending().await,
                }
            });
        }
    });
    (url, heard)
}

#[tokio::test]
async fn only_a_connection_that_broke_before_an_answer_is_tried_again_and_once() {
    let stack = Stack::with().edge("origin_deadline_ms", 500).start().await;
    for (end, status, problem, requests) in [
        (End::Closed, 503, "unavailable", 2),
        (End::BrokenOff, 503, "unavailable", 1),
        (End::Silent, 504, "timeout", 1),
    ] {
        let (url, heard) = ending(end).await;
        let edge = stack.edge_with("origin_url", url).await;
        let answer = stack.read_at(&edge, "/inventory/7", &[]).await;
        assert_problem(&answer, status, problem);
        assert_eq!(heard.load(Ordering::Relaxed), requests, "{end:?}");
    }
}

#[tokio::test]
async fn i4_a_killed_origin_loses_no_change() {
    let mut stack = Stack::start().await;
    let before = orders(&stack.hit(&dashboard(42)).await);
    assert!(before > 0);
    stack.hit(&dashboard(43)).await;
    let epoch = stack.tidemark().await.unwrap().epoch;
    stack.origin.process().kill();
    stack
        .sql("UPDATE orders SET status = 'cancelled' WHERE org_id = 42")
        .await;
    stack.start_origin().await;
    stack.settled().await;
    assert_eq!(orders(&stack.read(&dashboard(42)).await), 0);
    // Redis is the same, and nothing was lost: what did not change is still proven.
    assert_eq!(stack.tidemark().await.unwrap().epoch, epoch);
    stack.hit(&dashboard(43)).await;
    stack.hit(&dashboard(42)).await;
}

#[tokio::test]
async fn postgresql_down_is_503_and_all_recovers() {
    let mut stack = Stack::with().own_server().start().await;
    stack.hit(&dashboard(42)).await;
    stack.database.server().process().stop();
    for answer in [
        stack.ask(&dashboard(43)).await,
        stack.read(&dashboard(43)).await,
        stack.ask("/readyz").await,
        stack
            .command(
                http::Method::PUT,
                "/product/7/price",
                &serde_json::json!({"price": 1}),
            )
            .await,
    ] {
        assert_problem(&answer, 503, "unavailable");
        assert_eq!(answer.header("retry-after"), "1", "{answer:?}");
    }
    assert_eq!(stack.ask("/healthz").await.status, 200);
    // What was cached can't be proven any more, and is not served.
    read_until(&stack, &dashboard(42), "no longer proven", |answer| {
        answer.status == 503
    })
    .await;

    stack.database.server().restart().await.unwrap();
    read_until(&stack, &dashboard(43), "an answer again", |answer| {
        answer.status == 200
    })
    .await;
    stack.hit(&dashboard(42)).await;
    stack
        .sql("UPDATE organizations SET name = 'After' WHERE id = 42")
        .await;
    read_until(&stack, &dashboard(42), "the change", |answer| {
        answer.json()["organization"]["name"] == "After"
    })
    .await;
    assert_eq!(stack.ask("/readyz").await.status, 200);
}

#[tokio::test]
async fn i1_postgresql_restarted_after_a_crash_loses_no_invalidation() {
    let mut stack = Stack::with().own_server().start().await;
    stack.hit(&dashboard(42)).await;
    stack
        .sql("UPDATE organizations SET name = 'Before the crash' WHERE id = 42")
        .await;
    stack.database.server().process().stop();
    stack.database.server().restart().await.unwrap();
    read_until(&stack, &dashboard(42), "the change", |answer| {
        answer.status == 200 && answer.json()["organization"]["name"] == "Before the crash"
    })
    .await;
}
