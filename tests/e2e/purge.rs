//! Purging by hand: what is named is invalidated in every region, and nothing else.

use futures_util::StreamExt as _;
use rustix::process::Signal;
use tidemark_shared::event::Event;
use tidemark_tests::{
    stack::{Database, Stack},
    wait,
};
use tokio::time;

use crate::support::{Ran, assert_still_cached, dashboard, origin, origin_on, product_page};

fn purge(stack: &Stack, arguments: &[&str]) -> Ran {
    let mut all = vec!["purge"];
    all.extend(arguments);
    origin(&stack.origin_config, &all)
}

/// What was cached under this path has been invalidated.
async fn assert_changed(stack: &Stack, path: &str, detail: &str) {
    let answer = stack.read(path).await;
    assert!(
        answer.cache_status().contains(detail),
        "{path}: {answer:?}, not {detail}"
    );
    stack.hit(path).await;
}

#[tokio::test]
async fn what_is_named_is_invalidated_and_nothing_else() {
    let stack = Stack::start().await;
    let pages = [dashboard(42), dashboard(43), product_page(6)];
    for (scope, recorded, changed) in [
        ("org:042", "org:42", [true, false, false]),
        ("org:*", "org:*", [true, true, false]),
        (
            "orders",
            "order:*, org:*, report:*, user:*",
            [true, true, false],
        ),
        (
            "products",
            "products, order:*, org:*, report:*",
            [true, true, true],
        ),
    ] {
        for page in &pages {
            stack.hit(page).await;
        }
        let ran = purge(&stack, &[scope]);
        assert!(ran.success, "{ran:?}");
        assert!(
            ran.stdout.contains(&format!("recorded {recorded}\n")),
            "{ran:?}"
        );
        assert!(ran.stdout.contains("applied in 127.0.0.1:"), "{ran:?}");
        for (page, changed) in pages.iter().zip(changed) {
            if changed {
                assert_changed(&stack, page, "detail=changed").await;
            } else {
                assert_still_cached(&stack, page).await;
            }
        }
    }
    let ran = purge(&stack, &["--all"]);
    assert!(ran.success, "{ran:?}");
    for page in &pages {
        assert_changed(&stack, page, "detail=changed").await;
    }
}

#[tokio::test]
async fn a_hard_purge_deletes_the_bytes_of_every_region_and_no_others() {
    let mut stack = Stack::start().await;
    let other = stack.another_redis("other-redis").await;
    stack.origin_config.redis_url = format!("{},{}", stack.redis.url(), other.url());
    stack.restart_origin().await;
    stack.relay_leads().await;
    let edge = stack.another_edge(&other).await;
    let pages = [dashboard(42), dashboard(43), product_page(6)];
    for page in &pages {
        stack.hit(page).await;
        stack.hit_at(&edge, page).await;
    }
    // Another deployment's, and something that only looks alike.
    for name in ["other:{org:42}:dashboard", "tm:{org:42", "tm:org:42}:x"] {
        let () = stack.redis(&["SET", name, "kept"]).await;
    }
    let before = stack.keys().await;
    let ran = purge(&stack, &["org:42", "--hard"]);
    assert!(ran.success, "{ran:?}");
    assert_eq!(
        ran.stdout.matches("deleted 1 entries in ").count(),
        2,
        "{ran:?}"
    );
    let after = stack.keys().await;
    let gone: Vec<_> = before.iter().filter(|key| !after.contains(key)).collect();
    assert!(
        matches!(&gone[..], [key] if key.starts_with("tm:{org:42}:dashboard:")),
        "{gone:?}"
    );
    let answer = stack.read_at(&edge, &pages[0], &[]).await;
    assert_eq!(answer.cache_status(), "tidemark; fwd=miss; stored");
    assert_still_cached(&stack, &pages[1]).await;

    for page in &pages {
        stack.hit(page).await;
    }
    let ran = purge(&stack, &["--all", "--hard"]);
    assert!(ran.success, "{ran:?}");
    let keys = stack.keys().await;
    assert!(
        !keys
            .iter()
            .any(|key| key.starts_with("tm:{") && key.contains("}:")),
        "{keys:?}"
    );
    assert!(
        keys.iter().any(|key| key == "other:{org:42}:dashboard"),
        "{keys:?}"
    );
}

#[tokio::test]
async fn many_entries_are_deleted_in_small_steps() {
    const COUNT: usize = 20_000;
    let stack = Stack::start().await;
    let mut connection = stack.redis_connection().await;
    for batch in 0..20 {
        let mut pipeline = redis::pipe();
        for number in 0..COUNT / 20 {
            let name = format!("tm:{{org:{number}}}:dashboard:{batch}");
            pipeline.set(name, "x").ignore();
        }
        let () = pipeline.query_async(&mut connection).await.unwrap();
    }
    let ran = purge(&stack, &["org:*", "--hard"]);
    assert!(ran.success, "{ran:?}");
    assert!(
        ran.stdout.contains(&format!("deleted {COUNT} entries")),
        "{ran:?}"
    );
}

#[tokio::test]
async fn a_purge_that_is_not_applied_in_time_says_so() {
    let mut stack = Stack::start().await;
    stack.origin.process().signal(Signal::STOP);
    let mut arguments = vec!["org:42", "--invalidation-wait-ms", "300"];
    let ran = purge(&stack, &arguments);
    assert!(!ran.success, "{ran:?}");
    assert!(ran.stderr.contains("not applied within 300ms"), "{ran:?}");
    stack.origin.process().signal(Signal::CONT);
    arguments.truncate(1);
    assert!(purge(&stack, &arguments).success);
}

#[test]
fn what_the_catalog_does_not_know_is_refused() {
    let config = origin_on_nothing();
    for (scope, expected) in [
        ("order", "there are: "),
        ("team:1", "there are: "),
        ("org:x", "whole number"),
    ] {
        let ran = origin(&config, &["purge", scope]);
        assert!(!ran.success, "{ran:?}");
        assert!(ran.stderr.contains(expected), "{ran:?}");
    }
    for arguments in [&["purge"][..], &["purge", "--all", "orders"]] {
        assert!(!origin(&config, arguments).success);
    }
}

fn origin_on_nothing() -> tidemark_tests::origin::OriginConfig {
    tidemark_tests::origin::OriginConfig {
        catalog: tidemark_tests::erp::catalog(),
        database_url: "postgres://nobody@127.0.0.1:1/nothing".to_owned(),
        redis_url: "redis://127.0.0.1:1".to_owned(),
        listen: tidemark_tests::port::local(0),
        log: "/dev/null".into(),
        lease: None,
        environment: Vec::new(),
    }
}

#[tokio::test]
async fn without_an_outbox_it_says_what_to_do() {
    let database = Database::plain_erp().await.unwrap();
    let ran = origin(&origin_on(&database), &["purge", "org:42"]);
    assert!(!ran.success);
    assert!(
        ran.stderr.contains("run: tidemark-origin install"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn i1_a_drain_of_many_scopes_is_several_events_and_only_the_last_proves_anything() {
    const COUNT: usize = 2_500;
    let stack = Stack::start().await;
    let mut messages = stack.redis.events().await.unwrap().into_on_message();
    let mut next = async || {
        let message = time::timeout(wait::LIMIT, messages.next()).await;
        let message = message.expect("events come").unwrap();
        serde_json::from_slice::<Event>(message.get_payload_bytes()).unwrap()
    };
    let mut before = next().await;
    assert!(before.scopes.is_empty(), "a heartbeat: {before:?}");
    let scopes: Vec<_> = (0..COUNT).map(|id| format!("org:{id}")).collect();
    let ran = purge(
        &stack,
        &scopes.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    assert!(ran.success, "{ran:?}");
    let mut events: Vec<Event> = Vec::new();
    while events.iter().map(|event| event.scopes.len()).sum::<usize>() < COUNT {
        let event = next().await;
        if event.scopes.is_empty() {
            before = event;
        } else {
            events.push(event);
        }
    }
    let sizes: Vec<_> = events.iter().map(|event| event.scopes.len()).collect();
    assert_eq!(sizes, [1_000, 1_000, 500]);
    assert_eq!(events[0].prev, before.prev);
    assert_eq!(events[1].prev, events[0].id);
    assert_eq!(events[2].prev, events[1].id);
    for part in &events[..2] {
        assert_eq!(part.as_of, before.as_of, "not all is applied yet");
    }
    assert!(events[2].as_of > before.as_of);
}
