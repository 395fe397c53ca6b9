//! Who may share whose load, and what may be stored: the rules of §5.5 under the worst timing.

use futures_util::future::join_all;
use http::Method;
use serde_json::json;
use tidemark_tests::{
    http::Client,
    stack::{Setup, Stack},
};

use crate::support::{
    HIT,
    gate::{self, Gate, have_asked, mgets},
    read_until,
};

/// A stack whose requests at the edge all find the same instance.
fn one_instance() -> Setup {
    Stack::with().one_thread().catalog(gate::CATALOG)
}

#[tokio::test]
async fn i1_whoever_reads_after_a_change_shares_no_older_load() {
    let stack = one_instance().start().await;
    let mut gate = Gate::shut(&stack).await;
    let early = async {
        let early = stack.read("/item/1").await;
        assert_eq!(early.json()["value"], "old");
    };
    let late = async {
        gate.queue(1).await;
        stack
            .sql("UPDATE items SET value = 'new' WHERE id = 1")
            .await;
        stack.settled().await;
        let asked = mgets(&stack).await;
        let late = async {
            let late = stack.read("/item/1").await;
            assert_eq!(late.json()["value"], "new", "{late:?}");
        };
        let open = async {
            have_taken_their_seats(&stack, asked + 1).await;
            gate.open().await;
        };
        tokio::join!(late, open);
    };
    tokio::join!(early, late);
    // What the early reader's load left behind, if anything, is not served.
    for _ in 0..5 {
        assert_eq!(stack.read("/item/1").await.json()["value"], "new");
    }
    assert_eq!(stack.hit("/item/1").await.json()["value"], "new");
}

/// Waits until so many requests have asked Redis and been seated: what the edge answers after
/// that, it answers with all of them aboard a load.
async fn have_taken_their_seats(stack: &Stack, requests: u64) {
    have_asked(stack, requests).await;
    stack.read("/nope").await;
}

#[tokio::test]
async fn i1_an_answer_older_than_the_change_is_not_served_from_the_cache() {
    let stack = one_instance().start().await;
    let mut gate = Gate::shut(&stack).await;
    let early = async {
        assert_eq!(stack.read("/item/1").await.json()["value"], "old");
    };
    let change = async {
        gate.queue(1).await;
        stack
            .sql("UPDATE items SET value = 'new' WHERE id = 1")
            .await;
        stack.settled().await;
        gate.open().await;
    };
    tokio::join!(early, change);
    assert_eq!(stack.hit("/item/1").await.json()["value"], "new");
}

#[tokio::test]
async fn i3_a_writer_shares_no_load_from_before_its_write() {
    let stack = one_instance().start().await;
    let mut gate = Gate::shut(&stack).await;
    let reader = async {
        assert_eq!(stack.read("/item/1").await.json()["value"], "old");
    };
    let writer = async {
        gate.queue(1).await;
        // The command waits at the gate as well, its transaction open.
        let body = json!({"value": "mine"});
        let command = stack.command(Method::PUT, "/item/1", &body);
        let open = async {
            gate.queue(2).await;
            gate.open().await;
        };
        let (written, ()) = tokio::join!(command, open);
        assert_eq!(
            written.header("tidemark-invalidation"),
            "applied",
            "{written:?}"
        );
        assert_eq!(stack.read("/item/1").await.json()["value"], "mine");
    };
    tokio::join!(reader, writer);
}

#[tokio::test]
async fn i5_concurrent_misses_share_a_load() {
    const READERS: usize = 12;
    let stack = one_instance().log_statements().start().await;
    // The stamps are there already.
    stack.read("/quick/1").await;
    let before = stack.statements().await.len();
    let mut gate = Gate::shut(&stack).await;
    let asked = mgets(&stack).await;
    let readers = join_all((0..READERS).map(|_| stack.read("/item/1")));
    let open = async {
        have_taken_their_seats(&stack, asked + READERS as u64).await;
        gate.queue(1).await;
        gate.open().await;
    };
    let (answers, ()) = tokio::join!(readers, open);
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    let loads = stack.statements().await.len() - before;
    let collapsed = answers
        .iter()
        .filter(|answer| answer.cache_status().contains("collapsed"))
        .count();
    assert_eq!(loads, 1, "{collapsed} of {READERS} shared a load");
    assert_eq!(collapsed, READERS - 1);
}

#[tokio::test]
async fn a_client_that_leaves_takes_nobodys_answer_with_it() {
    let stack = one_instance().start().await;
    let mut gate = Gate::shut(&stack).await;
    let client = Client::default();
    let url = format!("{}/item/1", stack.edge.url());
    let impatient = tokio::spawn({
        let (client, url) = (client.clone(), url.clone());
        async move { client.get(&url).await.map(drop) }
    });
    gate.queue(1).await;
    let asked = mgets(&stack).await;
    let patient = tokio::spawn(async move { client.get(&url).await.unwrap() });
    have_taken_their_seats(&stack, asked + 1).await;
    impatient.abort();
    let _ = impatient.await;
    gate.open().await;
    let answer = patient.await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["value"], "old");
    read_until(&stack, "/item/1", "a hit", |answer| {
        answer.cache_status() == HIT
    })
    .await;
}
