//! Redis has less memory than there are answers.

use std::time::Duration;

use tidemark_tests::{consistency::report::say, wait};

use crate::costly::{self, POOL};

/// How long the traffic runs.
const TIME: Duration = Duration::from_secs(8);

/// What Redis needs for a tenth of the answers, beyond what it uses when it is empty, in bytes.
const TENTH: u64 = costly::ITEMS as u64 / 10 * 1_400;

async fn serves_with(policy: &str) {
    let _turn = crate::turn().await;
    let stack = costly::setup().start().await;
    let limit = stack.redis.used_memory().await.unwrap() + TENTH;
    let () = stack
        .redis(&["CONFIG", "SET", "maxmemory-policy", policy])
        .await;
    let () = stack
        .redis(&["CONFIG", "SET", "maxmemory", &limit.to_string()])
        .await;
    let activity = costly::activity(&stack).await;
    let traffic = costly::traffic(&stack).start(2);
    let enough = |now: &Duration| *now > TIME;
    wait::until("traffic", async || traffic.now(), enough).await;

    // Right although it can't be stored: a change is seen within the promise.
    stack.sql("UPDATE items SET value = 42 WHERE id = 1").await;
    wait::until(
        "the change",
        async || stack.read("/item/1").await,
        |answer| answer.status == 200 && answer.json()["value"] == 42,
    )
    .await;
    let all = traffic.between(Duration::ZERO, traffic.now());
    say(format_args!(
        "Redis with room for a tenth, {policy}: {all}; at most {} queries at a time",
        activity.most()
    ));
    let unexpected = all.unexpected(&[http::StatusCode::SERVICE_UNAVAILABLE]);
    assert!(unexpected.is_none(), "{unexpected:?}");
    assert!(activity.most() <= i64::from(POOL), "{}", activity.most());
    // What is asked for most is served, the rest as far as the database can.
    let hot = all.hottest(5);
    assert!(hot.answered_ratio() > 0.9, "the hottest: {hot}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_that_refuses_writes_serves_what_it_has() {
    serves_with("noeviction").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_that_evicts_serves_what_is_hot() {
    serves_with("allkeys-lru").await;
}
