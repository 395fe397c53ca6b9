//! Passwords stay where they belong: no log and no message repeats them.

use std::fs;

use http::Method;
use tidemark_tests::{
    stack::{REDIS_PASSWORD, Stack},
    wait,
};

use crate::support::{dashboard, order, origin};

#[tokio::test]
async fn logs_hold_no_passwords() {
    let mut stack = Stack::with()
        .origin("RUST_LOG", "debug")
        .origin("TIDEMARK_INVALIDATION_WAIT_MS", 100)
        .start()
        .await;
    stack.hit(&dashboard(42)).await;
    stack
        .command(Method::POST, "/org/42/orders", &order())
        .await;
    stack.read("/nope").await;
    // Trouble makes for longer messages.
    stack.redis.process().kill();
    stack.read(&dashboard(42)).await;
    stack
        .command(Method::POST, "/org/42/orders", &order())
        .await;
    stack
        .sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE datname = current_database() AND application_name = 'tidemark-origin'",
        )
        .await;
    stack.ask(&dashboard(42)).await;
    wait::until(
        "the relay complains",
        async || fs::read_to_string(stack.origin.log()).unwrap(),
        |log| log.contains("relay stopped leading"),
    )
    .await;
    stack.origin.process().stop();
    stack.edge.process().stop();
    for log in [stack.origin.log(), stack.edge.log()] {
        let text = fs::read_to_string(log).unwrap();
        assert!(!text.is_empty(), "{}", log.display());
        for secret in [REDIS_PASSWORD, stack.database.password()] {
            assert!(
                !text.contains(secret),
                "{} shows {secret}:\n{text}",
                log.display()
            );
        }
    }
}

#[tokio::test]
async fn messages_of_a_failed_start_hold_no_passwords() {
    let stack = Stack::start().await;
    let mut config = stack.origin_config.clone();
    for (database_url, redis_url) in [
        (
            "postgres://me:hunter2@127.0.0.1:1/x",
            "redis://:hunter3@127.0.0.1:1",
        ),
        (
            "postgres://me:hunter2@127.0.0.1:notaport/x",
            "redis://:hunter3@127.0.0.1:1",
        ),
        ("hunter2", "redis://:hunter3@127.0.0.1:1"),
        (stack.origin_config.database_url.as_str(), "hunter3"),
        (
            stack.origin_config.database_url.as_str(),
            "redis://:hunter3@127.0.0.1:notaport",
        ),
    ] {
        config.database_url = database_url.to_owned();
        config.redis_url = redis_url.to_owned();
        let ran = origin(&config, &["serve"]);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!ran.success, "{said}");
        assert!(!said.contains("hunter"), "{said}");
        assert!(!said.contains(stack.database.password()), "{said}");
    }
}
