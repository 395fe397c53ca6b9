//! What the page says when the origin is gone, and that it comes back by itself.

use tidemark_tests::stack::Stack;

use crate::{console::open, turn};

#[tokio::test]
async fn a_lost_origin_is_told_and_found_again() {
    let _turn = turn().await;
    let mut stack = Stack::start().await;
    let page = open(&stack).await;

    stack.origin.process().kill();
    let words = page
        .says("#verdict-words", |words| words.contains("Disconnected"))
        .await;
    assert!(words.starts_with("Disconnected since "), "{words}");

    stack.start_origin().await;
    page.says("#verdict-words", |words| words.starts_with("Proven:"))
        .await;
}

#[tokio::test]
async fn a_lost_redis_is_told_in_the_verdict() {
    let _turn = turn().await;
    let mut stack = Stack::start().await;
    let page = open(&stack).await;
    stack.redis.process().stop();
    page.says("#verdict-words", |words| words.contains("Redis is gone"))
        .await;
    page.says("#checks", |checks| checks.contains("does not answer"))
        .await;
    page.says("#checks", |checks| {
        checks.contains("feed of invalidations down")
    })
    .await;
    assert_eq!(page.complaints().await, [""; 0]);
}
