//! The relay: one leads, another takes over, and readers notice nothing.

use std::{
    fs,
    time::{Duration, Instant},
};

use http::Method;
use rustix::process::Signal;
use tidemark_shared::tidemark::Tidemark;
use tidemark_tests::{
    http::Answer,
    origin::OriginConfig,
    port::local,
    process::{Launch, Process},
    server::Server,
    stack::Stack,
    wait,
};

use crate::support::{dashboard, order, orders, origin, read_until};

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
        end: Signal::TERM,
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
async fn i4_a_term_that_this_database_never_gave_out_is_surpassed_at_once() {
    let stack = Stack::start().await;
    stack.hit(&dashboard(42)).await;
    let held = stack.settled().await;
    let higher = held.to_json().replacen(
        &format!("\"term\":{}", held.term),
        &format!("\"term\":{}", held.term + 5_000),
        1,
    );
    let () = stack.redis(&["SET", "tm:tidemark", &higher]).await;
    let tidemark = stack.settled().await;
    assert_eq!(tidemark.term, held.term + 5_001, "{tidemark:?}");
    assert_ne!(tidemark.epoch, held.epoch);
    let log = fs::read_to_string(stack.origin.log()).unwrap();
    assert_eq!(log.matches("belongs to another database").count(), 1);
}

/// An origin that leads and is not the one that the edge asks; that one follows.
async fn another_leads(stack: &mut Stack) -> Server {
    let term = stack.settled().await.term;
    let second = second_origin(stack).await;
    stack.origin.process().kill();
    let tidemark = stack.settled().await;
    assert!(tidemark.term > term);
    stack.start_origin().await;
    second
}

/// How long nobody renews the tidemark when the leader is hit like this; then what the tidemark is.
async fn hand_over(stack: &Stack, hit: impl FnOnce()) -> (Duration, Tidemark) {
    let before = stack.settled().await;
    let begun = Instant::now();
    hit();
    let tidemark = wait::until(
        "another leader",
        async || stack.tidemark().await,
        |tidemark| tidemark.is_some_and(|tidemark| tidemark.term > before.term),
    )
    .await;
    (begun.elapsed(), tidemark.unwrap())
}

#[tokio::test]
async fn i4_a_killed_leader_is_replaced_within_two_seconds() {
    let mut stack = Stack::start().await;
    let mut leader = another_leads(&mut stack).await;
    let epoch = stack.settled().await.epoch;
    let (took, tidemark) = hand_over(&stack, || leader.process().kill()).await;
    println!("hand-over from a killed leader: {} ms", took.as_millis());
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(tidemark.epoch, epoch, "nothing was lost");
}

#[tokio::test]
async fn i4_a_frozen_leader_is_replaced_within_two_seconds_and_writes_no_more() {
    let mut stack = Stack::start().await;
    let before = orders(&stack.hit(&dashboard(42)).await);
    let mut leader = another_leads(&mut stack).await;
    let epoch = stack.settled().await.epoch;
    let (took, tidemark) = hand_over(&stack, || leader.process().signal(Signal::STOP)).await;
    println!("hand-over from a frozen leader: {} ms", took.as_millis());
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(tidemark.epoch, epoch, "nothing was lost");
    stack
        .sql("UPDATE orders SET status = 'cancelled' WHERE org_id = 42")
        .await;
    stack.settled().await;
    assert_eq!(orders(&stack.hit(&dashboard(42)).await), 0);
    assert!(before > 0);

    // It wakes in the belief that it leads, and tries to.
    let mut monitor = stack.redis.monitor().await.unwrap();
    leader.process().signal(Signal::CONT);
    wait::until(
        "it notices",
        async || leader.process().output().unwrap(),
        |log| log.contains("relay stopped leading"),
    )
    .await;
    stack.settled().await;
    let terms = monitor.tidemark_terms().await.unwrap();
    assert!(!terms.is_empty());
    assert!(
        terms.iter().all(|term| *term >= tidemark.term),
        "{terms:?} < {}",
        tidemark.term
    );
    assert_eq!(stack.settled().await.term, tidemark.term);
    assert_eq!(orders(&stack.hit(&dashboard(42)).await), 0);
}

#[tokio::test]
async fn i4_a_restored_database_begins_a_new_epoch() {
    let mut stack = Stack::start().await;
    let name_of = |answer: &Answer| answer.json()["organization"]["name"].clone();
    let old_name = name_of(&stack.hit(&dashboard(42)).await);
    stack.settled().await;
    let restored = stack.database.restored().await.unwrap();

    // What happens after the backup…
    stack
        .sql("UPDATE organizations SET name = 'After the backup' WHERE id = 42")
        .await;
    let before = stack.settled().await;
    assert_eq!(
        name_of(&stack.hit(&dashboard(42)).await),
        "After the backup"
    );
    stack.origin.process().kill();

    // … never happened where it has been restored. All of Tidemark's own tables are as they were.
    stack.origin_config.database_url = restored.url();
    stack.database = restored;
    stack.start_origin().await;
    let after = stack.settled().await;
    assert_ne!(after.epoch, before.epoch);
    let answer = stack.read(&dashboard(42)).await;
    assert_eq!(name_of(&answer), old_name, "{answer:?}");
    assert_eq!(name_of(&stack.hit(&dashboard(42)).await), old_name);
    let log = fs::read_to_string(stack.origin.log()).unwrap();
    assert!(
        log.contains("doubt=\"database\"") || log.contains("doubt=\"foreign\""),
        "{log}"
    );
}

/// Waits until the edge no longer believes what is cached.
async fn is_unproven(stack: &Stack) {
    read_until(stack, &dashboard(42), "no proof any more", |answer| {
        answer.cache_status().contains("detail=unproven")
    })
    .await;
}

#[tokio::test]
async fn i2_where_triggers_are_disabled_nothing_is_proven_until_they_are_back() {
    let stack = Stack::start().await;
    assert!(orders(&stack.hit(&dashboard(42)).await) > 0);
    let disabled = Instant::now();
    stack.sql("ALTER TABLE orders DISABLE TRIGGER USER").await;
    is_unproven(&stack).await;
    let took = disabled.elapsed();
    println!(
        "last hit {} ms after a trigger was disabled",
        took.as_millis()
    );
    assert!(took < Duration::from_secs(9), "{took:?}");
    let log = fs::read_to_string(stack.origin.log()).unwrap();
    assert!(log.contains("run: tidemark-origin install"), "{log}");

    // Nobody records this.
    let cancel = "UPDATE orders SET status = 'cancelled' WHERE org_id = 42";
    stack.sql(cancel).await;
    let installed = origin(&stack.origin_config, &["install"]);
    assert!(installed.success, "{installed:?}");
    assert_eq!(orders(&stack.hit(&dashboard(42)).await), 0);
    let log = fs::read_to_string(stack.origin.log()).unwrap();
    assert_eq!(
        log.matches("run: tidemark-origin install").count(),
        1,
        "said once"
    );
}

#[tokio::test]
async fn i4_triggers_that_were_enabled_by_hand_again_begin_a_new_epoch() {
    let stack = Stack::start().await;
    assert!(orders(&stack.hit(&dashboard(42)).await) > 0);
    let epoch = stack.settled().await.epoch;
    stack.sql("ALTER TABLE orders DISABLE TRIGGER USER").await;
    is_unproven(&stack).await;
    stack
        .sql("UPDATE orders SET status = 'cancelled' WHERE org_id = 42")
        .await;
    // Everything is as installed, and yet a change went by.
    stack
        .sql(
            "DO $$
             DECLARE one text;
             BEGIN
               FOR one IN SELECT tgname FROM pg_trigger
                          WHERE tgrelid = 'orders'::regclass AND NOT tgisinternal LOOP
                 EXECUTE format('ALTER TABLE orders ENABLE ALWAYS TRIGGER %I', one);
               END LOOP;
             END $$",
        )
        .await;
    assert_ne!(stack.settled().await.epoch, epoch);
    assert_eq!(orders(&stack.hit(&dashboard(42)).await), 0);
}
