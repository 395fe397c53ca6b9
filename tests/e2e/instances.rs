//! How many instances of the component the host starts, and when they end.

use std::{fs, time::Duration};

use futures_util::future::join_all;
use rustix::process::Signal;
use tidemark_tests::{
    stack::{Setup, Stack},
    wait,
};

use crate::support::{
    dashboard,
    gate::{self, Gate, have_asked, mgets},
};

/// A stack whose edge logs each instance that it starts.
fn counting() -> Setup {
    Stack::with().edge_environment("RUST_LOG", "info,tidemark_host=debug")
}

/// How many instances the edge has started until now.
fn started(stack: &Stack) -> usize {
    let log = fs::read_to_string(stack.edge.log()).unwrap();
    log.matches("a new instance").count()
}

#[tokio::test]
async fn an_instance_takes_as_many_requests_as_it_may() {
    const READS: usize = 12;
    let stack = counting()
        .edge_environment("TIDEMARK_MAX_INSTANCE_REUSE_COUNT", 2)
        .start()
        .await;
    stack.hit(&dashboard(42)).await;
    let before = started(&stack);
    for _ in 0..READS {
        stack.read(&dashboard(42)).await;
    }
    let started = started(&stack) - before;
    assert!(
        (READS / 2..=READS).contains(&started),
        "{started} instances"
    );
}

#[tokio::test]
async fn a_crowd_is_given_as_few_instances_as_may_take_it() {
    const CROWD: usize = 12;
    for (at_once, expected) in [(16, 1), (3, 4)] {
        let stack = counting()
            .catalog(gate::CATALOG)
            .one_thread()
            .edge_environment("TIDEMARK_MAX_INSTANCE_CONCURRENT_REUSE_COUNT", at_once)
            .edge_environment("TIDEMARK_IDLE_INSTANCE_TIMEOUT", "1h")
            .start()
            .await;
        // Instances that are there already count as well.
        stack.read("/quick/1").await;
        let mut gate = Gate::shut(&stack).await;
        let asked = mgets(&stack).await;
        let crowd = join_all((0..CROWD).map(|_| stack.read("/item/1")));
        let open = async {
            gate.queue(1).await;
            let all_begun = wait::until(
                "instances for all",
                async || started(&stack),
                |started| *started >= expected,
            );
            all_begun.await;
            have_asked(&stack, asked + CROWD as u64).await;
            gate.open().await;
        };
        let (answers, ()) = tokio::join!(crowd, open);
        assert!(
            answers.iter().all(|answer| answer.status == 200),
            "{answers:?}"
        );
        assert_eq!(started(&stack), expected, "{at_once} at once");
    }
}

#[tokio::test]
async fn an_instance_goes_when_it_has_rested() {
    let stack = counting()
        .one_thread()
        .edge_environment("TIDEMARK_IDLE_INSTANCE_TIMEOUT", "1ms")
        .start()
        .await;
    wait::until(
        "another instance",
        async || {
            // A read keeps it at work for a while: it tells of what was read.
            stack.read("/nope").await;
            started(&stack)
        },
        |started| *started > 1,
    )
    .await;
}

#[tokio::test]
async fn idle_instances_keep_nobody_from_stopping() {
    let mut stack = counting()
        .edge_environment("TIDEMARK_IDLE_INSTANCE_TIMEOUT", "1h")
        .start()
        .await;
    stack.hit(&dashboard(42)).await;
    stack.edge.process().signal(Signal::TERM);
    // Sooner than by the host's own grace, after which it ends whatever is left.
    let status = stack.edge.process().ended(Duration::from_secs(8)).await;
    assert!(status.unwrap().success());
}
