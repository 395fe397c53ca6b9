//! The users that `ops/redis.conf` defines: they may do all that Tidemark does, and nothing else.

use tidemark_tests::{manager::ManagerConfig, stack::Stack, wait};
use tokio::task::spawn_blocking;

use crate::support::{Ran, dashboard, order, orders, origin, read_until};

/// What Redis has refused to somebody, as it logs it; newest first.
async fn refused(stack: &Stack) -> Vec<String> {
    let log: Vec<Vec<redis::Value>> = stack.redis(&["ACL", "LOG"]).await;
    log.iter().map(|entry| format!("{entry:?}")).collect()
}

async fn run(stack: &Stack, arguments: &[&str]) -> Ran {
    let config = stack.origin_config.clone();
    let arguments: Vec<_> = arguments.iter().map(|&it| it.to_owned()).collect();
    let running = move || {
        origin(
            &config,
            &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    };
    spawn_blocking(running).await.unwrap()
}

#[tokio::test]
async fn everything_works_with_the_rights_that_the_shipped_file_gives() {
    let stack = Stack::with()
        .own_redis_users()
        .origin("TIDEMARK_AUDIT_RATE", "200/s")
        .start()
        .await;
    let path = dashboard(42);
    let before = orders(&stack.hit(&path).await);
    let ordered = stack
        .command(http::Method::POST, "/org/42/orders", &order())
        .await;
    assert_eq!(ordered.header("tidemark-invalidation"), "applied");
    read_until(&stack, &path, "the order", |answer| {
        orders(answer) == before + 1
    })
    .await;
    stack.hit(&path).await;
    wait::until(
        "the edge has counted",
        async || stack.redis::<u64>(&["HLEN", "tm:edge:figures"]).await,
        |fields| *fields > 0,
    )
    .await;
    let metrics = stack.ask("/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(
        metrics.contains("tidemark_redis_used_memory_bytes{"),
        "{metrics}"
    );

    for command in [
        &["purge", "--hard", "org:42"][..],
        &["warm"],
        &["warm", "--query", "dashboard"],
        &["audit", "--rate", "1000"],
        &["status"],
        &["keys", "--all"],
        &["get", &path],
    ] {
        let ran = run(&stack, command).await;
        assert!(ran.success, "{command:?}: {ran:?}");
    }

    // A manager in between, with the same rights at both ends.
    let other = stack.another_redis("other").await;
    let manager = ManagerConfig {
        from: stack.origin_config.redis_url.clone(),
        to: other.url_of_user("tidemark-origin").await.unwrap(),
        log: other.config().folder.join("manager.log"),
    };
    let _manager = manager.start().await.unwrap();
    stack.settled_at(&other).await;

    assert_eq!(refused(&stack).await, Vec::<String>::new());
}

#[tokio::test]
async fn the_users_may_do_nothing_else() {
    let stack = Stack::with().own_redis_users().start().await;
    for url in [
        stack.redis.url_of_user("tidemark-edge").await.unwrap(),
        stack.redis.url_of_user("tidemark-origin").await.unwrap(),
    ] {
        let client = redis::Client::open(url.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        for words in [
            &["GET", "others"][..],
            &["SET", "others", "1"],
            &["FLUSHALL"],
            &["KEYS", "*"],
            &["CONFIG", "GET", "maxmemory"],
            &["PUBLISH", "others", "1"],
            &["EVAL", "return redis.call('GET', 'others')", "0"],
            &["ACL", "LIST"],
        ] {
            let mut command = redis::Cmd::new();
            command.arg(words);
            let said: redis::RedisResult<redis::Value> = command.query_async(&mut connection).await;
            let error = said.expect_err(&words.join(" ")).to_string().to_lowercase();
            // A script is refused as it runs, in other words.
            let refused = error.contains("perm") || error.contains("can't access");
            assert!(refused, "{words:?}: {error}");
        }
    }
}
