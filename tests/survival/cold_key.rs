//! Everybody asks for the same thing at once, and nobody has it.

use std::time::Instant;

use tidemark_tests::{consistency::report::say, http::Client, stack::OwnCatalog};
use tokio::task::JoinSet;

use crate::costly;

const SLOW: OwnCatalog = OwnCatalog {
    sql: &[
        (
            "item.sql",
            "SELECT id, value, pg_sleep(0.3)::text AS slept FROM items WHERE id = :id",
        ),
        costly::LIVE,
    ],
    ..costly::CATALOG
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_500_requests_for_one_cold_key_run_its_query_at_most_twice() {
    let _turn = crate::turn().await;
    let stack = costly::setup().catalog(SLOW).start().await;
    let before = costly::executed(&stack).await;
    let begun = Instant::now();
    let mut asking = JoinSet::new();
    for _ in 0..500 {
        let url = format!("{}/item/7", stack.edge.url());
        asking.spawn(async move { Client::default().get(&url).await });
    }
    let answers = asking.join_all().await;
    let took = begun.elapsed();
    let executions = costly::executed(&stack).await - before;
    let mut refused = answers.iter().filter(|answer| {
        let answer = answer.as_ref();
        !answer.is_ok_and(|answer| answer.status == 200 && answer.json()["id"] == 7)
    });
    let first = refused.next();
    say(format_args!(
        "cold key: 500 requests answered in {took:.1?} by {executions} executions"
    ));
    assert!(first.is_none(), "{first:?}");
    assert!(executions <= 2, "{executions} executions");
}
