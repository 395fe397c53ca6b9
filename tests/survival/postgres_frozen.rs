//! PostgreSQL freezes: it refuses nothing and answers nothing.

use std::time::{Duration, Instant};

use http::StatusCode;
use tidemark_tests::{consistency::report::say, stack::Stack};

use crate::{
    costly::{self, ITEMS, PROMISE, STATEMENT},
    outage::Outage,
};

/// What any request may take: the wait for a slot, then a statement that PostgreSQL does not end, with time
/// for a busy machine.
const BOUND: Duration = STATEMENT.saturating_mul(3);

/// What is served past the promise, while the origin fails.
const LASTING: &str = "/lasting/1";

async fn is_stale_but_there(stack: &Stack) {
    let begun = Instant::now();
    let answer = stack.read(LASTING).await;
    let took = begun.elapsed();
    say(format_args!(
        "PostgreSQL frozen: a stale_if_error answer after {took:.1?}"
    ));
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert!(
        answer.cache_status().contains("detail=stale-if-error"),
        "{answer:?}"
    );
    assert!(took < BOUND, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i2_i5_postgresql_is_frozen_for_ten_seconds() {
    let _turn = crate::turn().await;
    let stack = costly::setup().start().await;
    stack.hit(LASTING).await;
    let outage = Outage::endured(
        "PostgreSQL frozen",
        stack,
        async |stack| stack.database.server().freeze().unwrap(),
        is_stale_but_there,
        async |_, frozen| drop(frozen),
    )
    .await;
    let statuses = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
    let unexpected = outage.all.unexpected(&statuses);
    assert!(unexpected.is_none(), "{unexpected:?}");
    // What is proven is served on, and then nothing is: the promise has run out.
    let before = outage.before.hit_ratio();
    assert!(
        outage.proven.hit_ratio() >= 0.95 * before,
        "within {PROMISE:?}: {}",
        outage.proven
    );
    assert!(outage.unproven.requests() > 0);
    assert_eq!(outage.unproven.hit_ratio(), 0.0, "{}", outage.unproven);
    assert!(outage.all.slowest() < BOUND, "{}", outage.meanwhile);
    // Nothing has changed meanwhile, so hardly anything has to be asked for again.
    let bound = i64::try_from(ITEMS).unwrap() / 4;
    assert!(outage.executed < bound, "{} executions", outage.executed);
}
