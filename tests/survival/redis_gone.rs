//! Redis dies, or freezes.

use std::time::Duration;

use http::StatusCode;
use rustix::process::Signal;
use tidemark_tests::stack::Stack;

use crate::{costly, outage::Outage};

/// What a served request may take: the edge's deadline for Redis, the wait for a connection, and the
/// query, with time for a busy machine.
const BOUND: Duration = Duration::from_secs(2);

async fn survives(
    what: &str,
    go: impl AsyncFnOnce(&mut Stack),
    come_back: impl AsyncFnOnce(&mut Stack, ()),
) {
    let _turn = crate::turn().await;
    let stack = costly::setup().start().await;
    let outage = Outage::endured(what, stack, go, async |_| (), come_back).await;
    let unexpected = outage.all.unexpected(&[StatusCode::SERVICE_UNAVAILABLE]);
    assert!(unexpected.is_none(), "{unexpected:?}");
    assert!(outage.hot.answered_ratio() > 0.98, "{}", outage.hot);
    let slow = outage.meanwhile.percentile(0.99);
    assert!(slow < BOUND, "{}", outage.meanwhile);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_redis_is_killed_for_ten_seconds() {
    survives(
        "Redis killed",
        async |stack| stack.redis.process().kill(),
        async |stack, ()| stack.redis.restart().await.unwrap(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_redis_is_frozen_for_ten_seconds() {
    survives(
        "Redis frozen",
        async |stack| stack.redis.process().signal(Signal::STOP),
        async |stack, ()| stack.redis.process().signal(Signal::CONT),
    )
    .await;
}
