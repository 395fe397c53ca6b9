//! The hot sample: what edges tell Redis about their reads, behind them and at no read's cost.

use rustix::process::Signal;
use tidemark_shared::hot::Era;
use tidemark_tests::{
    stack::Stack,
    wait::{self, until},
};

use crate::support::{HIT, assert_problem, dashboard, gate, now_ms, product_page};

/// The sample, the most read first.
async fn sample(stack: &Stack) -> Vec<(String, f64)> {
    let name = format!("tm:hot:{}", Era::at(now_ms()));
    stack
        .redis(&["ZREVRANGE", &name, "0", "-1", "WITHSCORES"])
        .await
}

async fn sampled(stack: &Stack, requests: usize) -> Vec<String> {
    let sample = until(
        "the sample",
        async || sample(stack).await,
        |sample| sample.len() == requests,
    )
    .await;
    sample.into_iter().map(|(target, _)| target).collect()
}

#[tokio::test]
async fn what_is_read_more_often_is_hotter() {
    let stack = Stack::start().await;
    for _ in 0..9 {
        stack.read(&dashboard(42)).await;
    }
    // Neither of these is anything that could be filled.
    stack.read("/inventory/7").await;
    assert_problem(
        &stack.read("/org/x/dashboard").await,
        400,
        "invalid-parameter",
    );
    // Two spellings of one request.
    stack.read("/products?limit=1&after=3").await;
    stack.read("/products?after=03&limit=1").await;
    stack.read("/user/42/profile").await;
    let hottest = until(
        "nine reads count for more than two, and two for more than one",
        async || sample(&stack).await,
        |sample| matches!(&sample[..], [(_, nine), (_, two), (_, one)] if *nine > 8.5 * one && *two > 1.9 * one),
    )
    .await;
    let targets: Vec<_> = hottest.iter().map(|(target, _)| target.as_str()).collect();
    assert_eq!(
        targets,
        [
            "/org/42/dashboard?from=2025-01-01&region=all&to=2025-03-31",
            "/products?after=3&limit=1",
            "/user/42/profile",
        ]
    );
    let era = Era::at(now_ms());
    let left: i64 = stack.redis(&["PTTL", &format!("tm:hot:{era}")]).await;
    assert!(left > 13 * 24 * 60 * 60 * 1_000, "{left}");
}

#[tokio::test]
async fn hits_from_the_instance_s_own_cache_count() {
    let stack = Stack::with().catalog(gate::CATALOG).start().await;
    stack.hit("/quick/1").await;
    sampled(&stack, 1).await;
    let score = async || sample(&stack).await[0].1;
    let before = score().await;
    assert_eq!(stack.hit("/quick/1").await.cache_status(), HIT);
    until("one more", score, |score| *score > before).await;
}

#[tokio::test]
async fn a_read_costs_no_write_of_its_own() {
    let stack = Stack::start().await;
    let mut monitor = stack.redis.monitor().await.unwrap();
    const READS: usize = 640;
    for after in 0..READS {
        stack.read(&product_page(after % 300)).await;
    }
    sampled(&stack, 300).await;
    let tallies = monitor.tallies().await.unwrap();
    // One for 64 reads, and one a second for the rest: most seconds have far more.
    assert!((300 / 64..READS / 8).contains(&tallies), "{tallies}");
}

#[tokio::test]
async fn a_sample_that_can_t_be_written_is_dropped_and_nobody_notices() {
    let mut stack = Stack::start().await;
    stack.hit(&product_page(0)).await;
    sampled(&stack, 1).await;
    stack.hit(&product_page(1)).await;
    stack.redis.process().signal(Signal::STOP);
    for _ in 0..10 {
        assert_eq!(stack.read(&product_page(0)).await.status, 200);
    }
    stack.redis.process().signal(Signal::CONT);
    stack.settled().await;
    wait::until(
        "it goes on",
        async || {
            stack.read(&product_page(2)).await;
            sample(&stack).await
        },
        |sample| sample.iter().any(|(target, _)| *target == product_page(2)),
    )
    .await;
}
