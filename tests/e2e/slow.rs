//! An origin that is there and does not answer.

use rustix::process::Signal;
use tidemark_tests::stack::Stack;

use crate::support::{HIT, assert_problem, dashboard};

/// Takes as long as the edge waits for an origin: half a minute, in which it does nothing.
#[tokio::test]
async fn an_origin_that_hangs_is_504_and_the_edge_goes_on() {
    let mut stack = Stack::start().await;
    stack.hit("/report/42/data").await;
    stack.origin.process().signal(Signal::STOP);
    let path = dashboard(42);
    let hanging = stack.read(&path);
    let meanwhile = async {
        // This one's promise is half a minute: still proven.
        let report = stack.read("/report/42/data").await;
        assert_eq!(report.cache_status(), HIT);
        assert_eq!(stack.read("/nope").await.status, 404);
    };
    let (answer, ()) = tokio::join!(hanging, meanwhile);
    assert_problem(&answer, 504, "timeout");
    stack.origin.process().signal(Signal::CONT);
    stack.hit(&dashboard(42)).await;
}
