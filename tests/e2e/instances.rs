//! How many instances of the component the host starts, and when they end.

use std::{fs, time::Duration};

use rustix::process::Signal;
use tidemark_tests::stack::{Setup, Stack};

use crate::support::dashboard;

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
