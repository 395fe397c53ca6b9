//! Redis fails over to a state of a moment ago, which its tidemark still proves: as of then.

use http::Method;
use serde_json::json;
use tidemark_tests::{
    consistency::{now_us, workload::CATALOG, writers::new_tag},
    stack::Stack,
    wait,
};

const PATH: &str = "/register/1";

/// What Redis has lost is the news of a write that was answered `applied`. Nobody can know that at
/// once, except who sends back `Tidemark-At-Least`; the others are held to the promise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_at_least_sees_a_write_that_a_failover_has_forgotten() {
    let _turn = crate::turn().await;
    let mut stack = Stack::with().catalog(CATALOG).start().await;
    let before = stack.hit(PATH).await;
    let snapshot = stack.redis.save().await.unwrap();
    let body = json!({"tag": new_tag()});
    let written = stack.command(Method::PUT, PATH, &body).await;
    assert_eq!(
        written.header("tidemark-invalidation"),
        "applied",
        "{written:?}"
    );
    let at_least = written.header("tidemark-at-least").to_owned();
    stack.redis.crash_back_to(&snapshot).await.unwrap();

    wait::until(
        "a hit on the new state",
        async || {
            let mine = stack
                .read_with(PATH, &[("tidemark-at-least", &at_least)])
                .await;
            assert_eq!(mine.status, 200, "{mine:?}");
            assert_ne!(mine.body, before.body, "{mine:?}");
            let asked = now_us();
            let any = stack.read(PATH).await;
            if any.cache_status() == "tidemark; hit" {
                let as_of: i64 = any.header("tidemark-as-of").parse().unwrap();
                let age = asked / 1_000 - as_of;
                assert!(age <= 1_000, "proven {age} ms ago: {any:?}");
            }
            any
        },
        |any| any.cache_status() == "tidemark; hit" && any.body != before.body,
    )
    .await;
}
