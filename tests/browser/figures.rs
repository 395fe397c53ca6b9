//! The figures are live, and so is the feed.

use tidemark_tests::{stack::Stack, wait};

use crate::{
    console::{figure, open, psql, traffic},
    turn,
};

/// The big number under a name.
const ANSWERS: &str = "#numbers > div:nth-child(1) .value";
const HIT_RATIO: &str = "#numbers > div:nth-child(2) .value";
const EDGE_P50: &str = "#numbers > div:nth-child(3) .value";
const WITHOUT: &str = "#numbers > div:nth-child(5) .aside";
const AGE: &str = "#numbers > div:nth-child(7) .value";
const MEMORY: &str = "#numbers > div:nth-child(8) .value";

#[tokio::test]
async fn figures_move_with_traffic() {
    let _turn = turn().await;
    let stack = Stack::start().await;
    let page = open(&stack).await;
    page.says(ANSWERS, |text| figure(text) == Some(0.0)).await;

    let running = traffic(&stack).start(1);
    let busy = |text: &str| figure(text).is_some_and(|rate| rate > 5.0);
    page.says(ANSWERS, busy).await;
    page.says(WITHOUT, busy).await;
    page.says(HIT_RATIO, |text| {
        figure(text).is_some_and(|ratio| ratio > 50.0)
    })
    .await;
    page.says(EDGE_P50, |text| figure(text).is_some()).await;
    page.says(AGE, |text| figure(text).is_some()).await;
    page.says(MEMORY, |text| text.contains("MiB")).await;
    // What a chart draws, its table says.
    page.says(".chart:nth-child(1) tbody tr:first-child td", busy)
        .await;
    let drawn = "return [...document.querySelectorAll('#charts canvas')].length";
    assert_eq!(page.run(drawn, vec![]).await, 8);
    page.says("#queries tbody", |text| text.contains("dashboard"))
        .await;
    page.says("#hot tbody", |text| text.contains("/org/40/dashboard"))
        .await;
    page.says("#regions tbody", |text| text.contains("127.0.0.1:"))
        .await;

    drop(running);
    page.says(ANSWERS, |text| figure(text) == Some(0.0)).await;
    assert_eq!(page.complaints().await, [""; 0]);
}

#[tokio::test]
async fn a_change_by_psql_appears_in_the_feed() {
    let _turn = turn().await;
    let stack = Stack::start().await;
    let page = open(&stack).await;

    psql(
        &stack,
        "UPDATE organizations SET name = 'Renamed' WHERE id = 42",
    );
    let first = "#feed li:first-child";
    let line = page.says(first, |text| text.contains("org:42")).await;
    // Which queries that concerns, and how soon it was applied.
    assert!(line.contains("dashboard"), "{line}");
    assert!(line.contains("ms"), "{line}");

    // Paused, it says only how much there is.
    page.click("#feed-pause").await;
    psql(
        &stack,
        "UPDATE organizations SET name = 'Again' WHERE id = 43",
    );
    page.says("#feed-pause", |text| text.contains("1 new"))
        .await;
    assert!(!page.text("#feed").await.contains("org:43"));
    page.click("#feed-pause").await;
    page.says(first, |text| text.contains("org:43")).await;

    // A storm is folded.
    let mut storm = String::new();
    for org in 1..=40 {
        storm.push_str(&format!(
            "BEGIN; UPDATE organizations SET name = 'Storm {org}' WHERE id = {org}; COMMIT;
             SELECT pg_sleep(0.03);"
        ));
    }
    stack.sql(&storm).await;
    let lines = async || {
        let count = "return document.querySelectorAll('#feed li').length";
        page.run(count, vec![]).await.as_u64().unwrap()
    };
    page.says("#feed", |text| text.contains(" more, of ")).await;
    let seen = wait::until("the storm is over", lines, |lines| *lines > 2).await;
    assert!(seen < 40, "{seen}");
    assert_eq!(page.complaints().await, [""; 0]);
}
