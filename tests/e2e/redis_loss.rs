//! Redis loses anything, or all of it, or itself: slower answers, never wrong ones.

use http::Method;
use rustix::process::Signal;
use serde_json::json;
use tidemark_tests::{stack::Stack, wait};

use crate::support::{dashboard, order, orders, read_until};

const BYPASS: &str = "tidemark; fwd=bypass; detail=redis-unavailable";

/// The only key that begins with `prefix`.
async fn key(stack: &Stack, prefix: &str) -> String {
    let keys = stack.keys().await;
    let mut found = keys.iter().filter(|key| key.starts_with(prefix));
    match (found.next(), found.next()) {
        (Some(key), None) => key.clone(),
        _ => panic!("not one {prefix} in {keys:?}"),
    }
}

async fn get(stack: &Stack, key: &str) -> Vec<u8> {
    stack.redis(&["GET", key]).await
}

async fn set(stack: &Stack, key: &str, value: &[u8]) {
    let mut connection = stack.redis_connection().await;
    let mut set = redis::cmd("SET");
    let () = set
        .arg(key)
        .arg(value)
        .query_async(&mut connection)
        .await
        .unwrap();
}

/// Changes the name of organization 42 past Tidemark.
async fn rename(stack: &Stack, name: &str) {
    stack
        .sql(&format!(
            "UPDATE organizations SET name = '{name}' WHERE id = 42"
        ))
        .await;
}

fn name(answer: &tidemark_tests::http::Answer) -> String {
    let json = answer.json();
    json["organization"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn i4_without_redis_reads_are_answered_and_commands_succeed() {
    let mut stack = Stack::with()
        .origin("TIDEMARK_INVALIDATION_WAIT_MS", 200)
        .start()
        .await;
    let before = orders(&stack.hit(&dashboard(42)).await);
    stack.redis.process().kill();

    let answer = stack.read(&dashboard(42)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.cache_status().ends_with(BYPASS), "{answer:?}");
    let created = stack
        .command(Method::POST, "/org/42/orders", &order())
        .await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.header("tidemark-invalidation"), "pending");
    let at_least = [("tidemark-at-least", created.header("tidemark-at-least"))];
    let own = stack.read_with(&dashboard(42), &at_least).await;
    assert_eq!(orders(&own), before + 1);
    read_until(&stack, &dashboard(42), "the order", |answer| {
        orders(answer) == before + 1
    })
    .await;

    stack.redis.restart().await.unwrap();
    let hit = stack.hit(&dashboard(42)).await;
    assert_eq!(orders(&hit), before + 1);
    let applied = stack
        .command(Method::POST, "/org/42/orders", &order())
        .await;
    assert_eq!(applied.status, 201);
    read_until(&stack, &dashboard(42), "the second order", |answer| {
        orders(answer) == before + 2
    })
    .await;
}

#[tokio::test]
async fn a_frozen_redis_does_not_hang_requests() {
    let mut stack = Stack::with()
        .origin("TIDEMARK_INVALIDATION_WAIT_MS", 200)
        .start()
        .await;
    stack.hit(&dashboard(42)).await;
    stack.redis.process().signal(Signal::STOP);
    let answer = stack.read(&dashboard(42)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.cache_status().ends_with(BYPASS), "{answer:?}");
    let path = "/product/7/price";
    let written = stack
        .command(Method::PUT, path, &json!({"price": 12.5}))
        .await;
    assert_eq!(
        written.header("tidemark-invalidation"),
        "pending",
        "{written:?}"
    );
    stack.redis.process().signal(Signal::CONT);
    stack.hit(&dashboard(42)).await;
    read_until(
        &stack,
        "/products?limit=1&after=6",
        "the new price",
        |answer| answer.json()[0]["price"] == json!(12.50),
    )
    .await;
}

#[tokio::test]
async fn i4_flushed_redis_fills_again_and_stays_right() {
    let stack = Stack::start().await;
    stack.hit(&dashboard(42)).await;
    let () = stack.redis(&["FLUSHALL"]).await;
    rename(&stack, "After the flush").await;
    read_until(&stack, &dashboard(42), "the change", |answer| {
        name(answer) == "After the flush"
    })
    .await;
    assert_eq!(name(&stack.hit(&dashboard(42)).await), "After the flush");
}

#[tokio::test]
async fn i4_a_restarted_redis_begins_a_new_epoch() {
    let mut stack = Stack::start().await;
    stack.hit(&dashboard(42)).await;
    let before = stack.tidemark().await.unwrap();
    stack.redis.restart().await.unwrap();
    let after = wait::until(
        "a tidemark",
        async || stack.tidemark().await,
        |tidemark| tidemark.is_some(),
    )
    .await
    .unwrap();
    assert_ne!(after.epoch, before.epoch);
    assert!(after.event > before.event);
    stack.hit(&dashboard(42)).await;
}

#[tokio::test]
async fn i4_a_failover_to_an_older_state_serves_nothing_of_it() {
    let mut stack = Stack::start().await;
    let old_name = name(&stack.hit(&dashboard(42)).await);
    let mut old_state = Vec::new();
    for key in stack.keys().await {
        if key != "tm:tidemark" {
            old_state.push((key.clone(), get(&stack, &key).await));
        }
    }
    rename(&stack, "New").await;
    read_until(&stack, &dashboard(42), "the change", |answer| {
        name(answer) == "New"
    })
    .await;

    // The server that takes over has not seen the last writes: stamps and entry fit each other, and
    // are from before the change.
    stack.redis.restart().await.unwrap();
    for (key, value) in &old_state {
        set(&stack, key, value).await;
    }
    stack.settled().await;
    // The edge's connection may be the one to the server that is gone.
    let answer = read_until(&stack, &dashboard(42), "an answer by Redis", |answer| {
        !answer.cache_status().ends_with(BYPASS)
    })
    .await;
    assert_ne!(old_name, "New");
    assert_eq!(name(&answer), "New", "{answer:?}");
    assert!(
        answer.cache_status().ends_with("detail=epoch"),
        "{answer:?}"
    );
    assert_eq!(name(&stack.hit(&dashboard(42)).await), "New");
}

/// Replaces everything in Redis in one step, as a failover behind a proxy does: no connection breaks.
const REPLACE: &str = "
redis.call('FLUSHALL')
for place = 1, #KEYS do
  redis.call('SET', KEYS[place], ARGV[place])
end";

#[tokio::test]
async fn i4_a_failover_behind_a_proxy_is_noticed_by_the_tidemark_alone() {
    let stack = Stack::start().await;
    let old_name = name(&stack.hit(&dashboard(42)).await);
    let mut old_state = Vec::new();
    for key in stack.keys().await {
        old_state.push((key.clone(), get(&stack, &key).await));
    }
    let before = stack.tidemark().await.unwrap();
    rename(&stack, "New").await;
    stack.settled().await;
    assert_eq!(name(&stack.hit(&dashboard(42)).await), "New");

    // Tidemark, stamps and entry fit each other, and are from before the change. Only the tidemark's
    // age speaks against them, and the relay must not renew it.
    let mut replace = redis::cmd("EVAL");
    replace.arg(REPLACE).arg(old_state.len());
    for (key, _) in &old_state {
        replace.arg(key);
    }
    for (_, value) in &old_state {
        replace.arg(value);
    }
    let mut connection = stack.redis_connection().await;
    let () = replace.query_async(&mut connection).await.unwrap();
    let after = stack.settled().await;
    assert_ne!(after.epoch, before.epoch);
    assert_eq!(after.term, before.term, "the leadership goes on");
    let answer = stack.read(&dashboard(42)).await;
    assert_ne!(old_name, "New");
    assert_eq!(name(&answer), "New", "{answer:?}");
    assert_eq!(name(&stack.hit(&dashboard(42)).await), "New");
}

#[tokio::test]
async fn i4_a_tidemark_of_another_type_is_overwritten() {
    let stack = Stack::start().await;
    stack.hit(&dashboard(42)).await;
    let mut connection = stack.redis_connection().await;
    let () = redis::pipe()
        .atomic()
        .del("tm:tidemark")
        .rpush("tm:tidemark", "x")
        .query_async(&mut connection)
        .await
        .unwrap();
    rename(&stack, "New").await;
    stack.settled().await;
    assert_eq!(name(&stack.hit(&dashboard(42)).await), "New");
}

#[tokio::test]
async fn i4_an_evicted_stamp_is_a_miss() {
    let stack = Stack::start().await;
    for stamp in ["tm:{org:42}", "tm:{org:*}"] {
        stack.hit(&dashboard(42)).await;
        let () = stack.redis(&["DEL", stamp]).await;
        let answer = stack.read(&dashboard(42)).await;
        assert_eq!(
            answer.cache_status(),
            "tidemark; fwd=miss; fwd-status=304; stored; detail=unstamped",
            "{stamp}"
        );
    }
    stack.hit(&dashboard(42)).await;
    // Evicted, then given anew by a filler, it is another one: the entry of before stays a miss.
    let entry = key(&stack, "tm:{org:42}:dashboard:").await;
    let old = get(&stack, &entry).await;
    let () = stack.redis(&["DEL", "tm:{org:42}"]).await;
    rename(&stack, "New").await;
    stack.hit(&dashboard(42)).await;
    set(&stack, &entry, &old).await;
    assert_next_read_is_filled_anew(&stack).await;
}

#[tokio::test]
async fn i4_an_evicted_tidemark_proves_nothing_until_the_next() {
    let stack = Stack::start().await;
    stack.hit(&dashboard(42)).await;
    for _ in 0..20 {
        let () = stack.redis(&["DEL", "tm:tidemark"]).await;
        let answer = stack.read(&dashboard(42)).await;
        assert_eq!(answer.status, 200);
        assert!(
            ["hit", "detail=unproven", "detail=epoch"]
                .iter()
                .any(|outcome| answer.cache_status().ends_with(outcome)),
            "{answer:?}"
        );
    }
    stack.hit(&dashboard(42)).await;
}

/// The old entry is seen for what it is, and the answer is the renamed organization's.
async fn assert_next_read_is_filled_anew(stack: &Stack) {
    let answer = stack.read(&dashboard(42)).await;
    assert_eq!(
        answer.cache_status(),
        "tidemark; fwd=miss; stored; detail=changed"
    );
    assert_eq!(name(&answer), "New");
}

#[tokio::test]
async fn i1_an_entry_of_before_the_change_is_never_served_again() {
    let stack = Stack::start().await;
    stack.hit(&dashboard(42)).await;
    let entry = key(&stack, "tm:{org:42}:dashboard:").await;
    let old = get(&stack, &entry).await;
    rename(&stack, "New").await;
    stack.settled().await;
    // As a filler would that has slept through the change.
    set(&stack, &entry, &old).await;
    assert_next_read_is_filled_anew(&stack).await;
}

#[tokio::test]
async fn i6_a_damaged_entry_is_a_miss() {
    let stack = Stack::start().await;
    let body = stack.hit(&dashboard(42)).await.body;
    let entry = key(&stack, "tm:{org:42}:dashboard:").await;
    let whole = get(&stack, &entry).await;
    let damaged = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let other_version = {
        let mut bytes = whole.clone();
        bytes[2] += 1;
        bytes
    };
    for bytes in [
        damaged(0),
        damaged(20),
        damaged(whole.len() - 1),
        whole[..whole.len() - 1].to_vec(),
        whole[..50].to_vec(),
        Vec::new(),
        b"{\"totals\": {}}".to_vec(),
        other_version,
    ] {
        stack.hit(&dashboard(42)).await;
        set(&stack, &entry, &bytes).await;
        let answer = stack.read(&dashboard(42)).await;
        assert_eq!(
            answer.cache_status(),
            "tidemark; fwd=miss; stored; detail=corrupt",
            "{} bytes",
            bytes.len()
        );
        assert_eq!(answer.body, body);
    }
}

#[tokio::test]
async fn i6_an_entry_of_another_key_is_a_miss() {
    let stack = Stack::start().await;
    stack.hit(&dashboard(42)).await;
    stack.hit(&dashboard(43)).await;
    let of_42 = get(&stack, &key(&stack, "tm:{org:42}:dashboard:").await).await;
    set(&stack, &key(&stack, "tm:{org:43}:dashboard:").await, &of_42).await;
    let answer = stack.read(&dashboard(43)).await;
    assert_eq!(
        answer.cache_status(),
        "tidemark; fwd=miss; stored; detail=corrupt"
    );
    assert_eq!(answer.json()["organization"]["id"], 43);
}

#[tokio::test]
async fn i6_a_stamp_s_name_that_holds_something_else_is_taken_back() {
    let stack = Stack::start().await;
    for stamp in ["tm:{org:42}", "tm:{org:*}"] {
        for foreign in [
            &["LPUSH", stamp, "x"] as &[&str],
            &["HSET", stamp, "x", "y"],
            &["SET", stamp, "garbage"],
        ] {
            stack.hit(&dashboard(42)).await;
            let () = stack.redis(&["DEL", stamp]).await;
            let () = stack.redis(foreign).await;
            let answer = stack.read(&dashboard(42)).await;
            assert_eq!(
                answer.cache_status(),
                "tidemark; fwd=miss; fwd-status=304; stored; detail=unstamped",
                "{foreign:?}"
            );
            stack.hit(&dashboard(42)).await;
        }
    }
    rename(&stack, "New").await;
    stack.settled().await;
    assert_eq!(name(&stack.read(&dashboard(42)).await), "New");
}

#[tokio::test]
async fn i4_a_tidemark_s_name_that_holds_something_else_proves_nothing() {
    let stack = Stack::start().await;
    stack.hit(&dashboard(42)).await;
    // The relay may write a tidemark between the two.
    wait::until(
        "a list in its place",
        async || {
            let () = stack.redis(&["DEL", "tm:tidemark"]).await;
            let mut connection = stack.redis_connection().await;
            let mut push = redis::cmd("LPUSH");
            let pushed: redis::RedisResult<i64> = push
                .arg("tm:tidemark")
                .arg("x")
                .query_async(&mut connection)
                .await;
            pushed.is_ok()
        },
        |pushed| *pushed,
    )
    .await;
    rename(&stack, "New").await;
    // The origin may remember what was true before; it can prove that, and no more than that.
    let visible = stack.now().await.to_string();
    let at_least = [("tidemark-at-least", visible.as_str())];
    let answer = stack.read_with(&dashboard(42), &at_least).await;
    assert_eq!(name(&answer), "New");
    let () = stack.redis(&["DEL", "tm:tidemark"]).await;
    assert_eq!(name(&stack.hit(&dashboard(42)).await), "New");
}

#[tokio::test]
async fn a_key_of_another_type_is_no_answer() {
    let stack = Stack::start().await;
    stack.hit(&dashboard(42)).await;
    let entry = key(&stack, "tm:{org:42}:dashboard:").await;
    let () = stack.redis(&["DEL", &entry]).await;
    let () = stack.redis(&["LPUSH", &entry, "x"]).await;
    let answer = stack.read(&dashboard(42)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    stack.hit(&dashboard(42)).await;
}
