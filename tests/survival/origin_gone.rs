//! The only origin is killed, and comes back.

use std::time::Duration;

use http::StatusCode;

use crate::{
    costly::{self, ITEMS},
    outage::Outage,
};

/// What any request may take: the machine refuses connections at once.
const BOUND: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i2_i5_the_origin_is_killed_for_ten_seconds() {
    let _turn = crate::turn().await;
    let stack = costly::setup().start().await;
    let outage = Outage::endured(
        "origin killed",
        stack,
        async |stack| stack.origin.process().kill(),
        async |_| (),
        async |stack, ()| stack.start_origin().await,
    )
    .await;
    let unexpected = outage.all.unexpected(&[StatusCode::SERVICE_UNAVAILABLE]);
    assert!(unexpected.is_none(), "{unexpected:?}");
    let before = outage.before.hit_ratio();
    assert!(
        outage.proven.hit_ratio() >= 0.95 * before,
        "{}",
        outage.proven
    );
    assert!(outage.all.slowest() < BOUND, "{}", outage.meanwhile);
    let bound = i64::try_from(ITEMS).unwrap() / 4;
    assert!(outage.executed < bound, "{} executions", outage.executed);
}
