//! The same load while servers and network fail: answers may be missing, and are never wrong.

use std::time::Duration;

use tidemark_tests::consistency::{
    chaos::{Telling, weather},
    report::say,
    run::{Load, seed},
};

/// About as long as it takes for each kind of fault to be met once.
const DURATION: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i4_whatever_fails_every_answer_keeps_the_promises() {
    let _turn = crate::turn().await;
    let weathered = weather(Load::of(seed()), DURATION, Telling::None, || false)
        .await
        .unwrap();
    say(format_args!("chaos:\n{weathered}"));
    weathered.assert_kept();
    let regions = &weathered.report.judgement.regions;
    assert_eq!(regions.len(), 2, "{weathered}");
    assert!(regions.values().all(|share| share.hits > 0), "{weathered}");
}
