//! Redis dies, or freezes, under a load of which the database could serve only a fraction.

use std::time::Duration;

use http::StatusCode;
use rustix::process::Signal;
use tidemark_tests::{
    consistency::report::say,
    stack::Stack,
    traffic::{Figures, Running},
    wait,
};
use tokio::time;

use crate::costly::{self, POOL};

/// How long it is gone.
const GONE: Duration = Duration::from_secs(10);

/// How soon it is as it was.
const RECOVERY: Duration = Duration::from_secs(5);

/// What hits are counted over.
const WINDOW: Duration = Duration::from_secs(1);

/// What a served request may take: the edge's deadline for Redis, the wait for a connection, and the
/// query, with time for a busy machine.
const BOUND: Duration = Duration::from_secs(2);

/// How many of the paths count as hot: together they are half of all requests.
const HOT: usize = 20;

/// Waits until nearly everything is a hit.
async fn warmed_up(traffic: &Running) -> Figures {
    let last = async || traffic.last(WINDOW);
    let minute = Duration::from_secs(60);
    let is_warm = |figures: &Figures| figures.requests() > 100 && figures.hit_ratio() > 0.97;
    wait::until_within(minute, "a warm cache", last, is_warm).await
}

async fn survives(
    what: &str,
    go: impl AsyncFnOnce(&mut Stack),
    come_back: impl AsyncFnOnce(&mut Stack),
) {
    let _turn = crate::turn().await;
    let mut stack = costly::setup().start().await;
    let traffic = costly::traffic(&stack).start(1);
    let before = warmed_up(&traffic).await;
    let activity = costly::activity(&stack).await;
    let executed = costly::executed(&stack).await;

    let gone = traffic.now();
    go(&mut stack).await;
    time::sleep(GONE).await;
    come_back(&mut stack).await;
    let back = traffic.now();
    let as_before = |figures: &Figures| figures.hit_ratio() >= 0.95 * before.hit_ratio();
    let since_back = async || traffic.between(traffic.now().saturating_sub(WINDOW), traffic.now());
    wait::until_within(wait::LIMIT, "hits as before", since_back, |figures| {
        traffic.now() > back + WINDOW && as_before(figures)
    })
    .await;
    let recovered = traffic.now().saturating_sub(back + WINDOW);

    let meanwhile = traffic.between(gone, back);
    let hot = meanwhile.hottest(HOT);
    let executed = costly::executed(&stack).await - executed;
    say(format_args!(
        "{what}: before {before}\n  meanwhile {meanwhile}\n  the {HOT} hottest {hot}\n  \
         at most {} queries at a time, {executed} in all; hits as before after {recovered:.1?}",
        activity.most(),
    ));
    let all = traffic.between(Duration::ZERO, traffic.now());
    let unexpected = all.unexpected(&[StatusCode::SERVICE_UNAVAILABLE]);
    assert!(unexpected.is_none(), "{unexpected:?}");
    assert!(activity.most() <= i64::from(POOL), "{}", activity.most());
    assert!(hot.answered_ratio() > 0.98, "{hot}");
    assert!(meanwhile.percentile(0.99) < BOUND, "{meanwhile}");
    assert!(recovered <= RECOVERY, "hits again after {recovered:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_redis_is_killed_for_ten_seconds() {
    survives(
        "Redis killed",
        async |stack| stack.redis.process().kill(),
        async |stack| stack.redis.restart().await.unwrap(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_redis_is_frozen_for_ten_seconds() {
    survives(
        "Redis frozen",
        async |stack| stack.redis.process().signal(Signal::STOP),
        async |stack| stack.redis.process().signal(Signal::CONT),
    )
    .await;
}
