//! The relay: one leads, another takes over, and readers notice nothing.

use http::Method;
use tidemark_tests::{
    origin::OriginConfig,
    port::local,
    process::{Launch, Process},
    server::Server,
    stack::Stack,
    wait,
};

use crate::support::{dashboard, order, orders, read_until};

/// A second origin on the same database and Redis.
async fn second_origin(stack: &Stack) -> Server {
    let config = OriginConfig {
        listen: local(0),
        log: stack.origin_config.log.with_file_name("second-origin.log"),
        ..stack.origin_config.clone()
    };
    config.start().await.unwrap()
}

async fn leaders(stack: &Stack) -> i64 {
    stack
        .value(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .await
}

#[tokio::test]
async fn i4_one_relay_leads_and_another_takes_over() {
    let mut stack = Stack::start().await;
    let second = second_origin(&stack).await;
    let before = orders(&stack.hit(&dashboard(42)).await);
    let first_term = stack.settled().await.term;
    assert_eq!(leaders(&stack).await, 1);

    // A command that is not the leader's is applied just as well.
    let created = stack
        .send(
            second.url(),
            Method::POST,
            "/org/42/orders",
            &[],
            order().to_string(),
        )
        .await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.header("tidemark-invalidation"), "applied");
    assert_eq!(orders(&stack.read(&dashboard(42)).await), before + 1);
    assert_eq!(stack.settled().await.term, first_term);

    let address = stack.origin.url().to_owned();
    stack.origin.process().kill();
    stack
        .sql("UPDATE orders SET status = 'cancelled' WHERE org_id = 42")
        .await;
    let tidemark = stack.settled().await;
    assert!(tidemark.term > first_term, "{tidemark:?}");
    assert_eq!(leaders(&stack).await, 1);

    // Back as a follower.
    stack.start_origin().await;
    assert_eq!(stack.origin.url(), address);
    read_until(&stack, &dashboard(42), "the change", |answer| {
        answer.status == 200 && orders(answer) == 0
    })
    .await;
    assert_eq!(stack.settled().await.term, tidemark.term);
    assert_eq!(leaders(&stack).await, 1);
}

#[tokio::test]
async fn i4_a_leader_that_loses_its_connection_leads_again_or_is_replaced() {
    let stack = Stack::start().await;
    let before = orders(&stack.hit(&dashboard(42)).await);
    assert!(before > 0);
    let term = stack.settled().await.term;
    stack
        .sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE datname = current_database() AND application_name = 'tidemark-origin'",
        )
        .await;
    stack
        .sql("UPDATE orders SET status = 'cancelled' WHERE org_id = 42")
        .await;
    let tidemark = stack.settled().await;
    assert!(tidemark.term > term);
    read_until(&stack, &dashboard(42), "the change", |answer| {
        answer.status == 200 && orders(answer) == 0
    })
    .await;
}

#[tokio::test]
async fn the_relay_runs_alone_as_well() {
    let mut stack = Stack::start().await;
    let before = orders(&stack.hit(&dashboard(42)).await);
    assert!(before > 0);
    stack.origin.process().kill();
    let _relay = Process::start(Launch {
        name: "relay",
        command: stack.origin_config.command(&["relay"]).unwrap(),
        log: stack.origin_config.log.with_file_name("relay.log"),
        end: rustix::process::Signal::TERM,
        lease: None,
    })
    .unwrap();
    stack.relay_leads().await;
    // Without an origin hits are still proven.
    stack.hit(&dashboard(42)).await;
    stack
        .sql("UPDATE orders SET status = 'cancelled' WHERE org_id = 42")
        .await;
    wait::until(
        "the change is noticed",
        async || stack.read(&dashboard(42)).await,
        |answer| answer.cache_status().contains("detail=changed"),
    )
    .await;
}

#[tokio::test]
async fn a_relay_of_a_lower_term_does_not_overwrite_the_tidemark() {
    let stack = Stack::start().await;
    let held = stack.settled().await;
    let higher = held.to_json().replacen(
        &format!("\"term\":{}", held.term),
        &format!("\"term\":{}", held.term + 5),
        1,
    );
    let () = stack.redis(&["SET", "tm:tidemark", &higher]).await;
    // It gives up its term and leads again with a later one, until it has passed the other.
    let tidemark = wait::until(
        "a later term",
        async || stack.tidemark().await,
        |tidemark| tidemark.is_some_and(|tidemark| tidemark.as_of > held.as_of + 1),
    )
    .await
    .unwrap();
    assert!(tidemark.term >= held.term + 5, "{tidemark:?}");
}
