//! One row is written a thousand times a second, and everybody reads it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tidemark_tests::{consistency::report::say, http::Client, stack::Stack};
use tokio::{task::JoinSet, time};

use crate::costly::{self, POOL, PROMISE};

/// How long it lasts.
const STORM: Duration = Duration::from_secs(10);

/// How many changes a second are tried for.
const CHANGES: u32 = 1_000;

/// Commits, by value: after this moment the row holds at least so much.
type Commits = Arc<Mutex<Vec<Instant>>>;

/// Writes the next value each millisecond, by several connections, until the end.
async fn write(
    stack: &Stack,
    commits: &Commits,
    over: &Arc<AtomicBool>,
    writers: &mut JoinSet<()>,
) {
    const WRITERS: u32 = 4;
    for _ in 0..WRITERS {
        let mut connection = stack.database.connect().await.unwrap();
        let (commits, over) = (commits.clone(), over.clone());
        writers.spawn(async move {
            let mut pace = time::interval(Duration::from_secs(1) * WRITERS / CHANGES);
            while !over.load(Ordering::Relaxed) {
                pace.tick().await;
                let value: i64 = sqlx::query_scalar(
                    "UPDATE items SET value = value + 1 WHERE id = 1 RETURNING value",
                )
                .fetch_one(&mut connection)
                .await
                .unwrap();
                // When the answer is here, the value is committed.
                let mut commits = commits.lock().unwrap();
                let place = usize::try_from(value).unwrap();
                let now = Instant::now();
                if commits.len() <= place {
                    commits.resize(place + 1, now);
                }
                commits[place] = now;
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i2_i5_a_write_storm_keeps_the_promise_and_the_database() {
    let _turn = crate::turn().await;
    let stack = costly::setup().start().await;
    let activity = costly::activity(&stack).await;
    let executed = costly::executed(&stack).await;
    let commits = Commits::default();
    let over = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    write(&stack, &commits, &over, &mut writers).await;
    let mut readers = JoinSet::new();
    for _ in 0..8 {
        let (commits, over) = (commits.clone(), over.clone());
        let url = format!("{}/item/1", stack.edge.url());
        readers.spawn(async move {
            let client = Client::default();
            let (mut answers, mut oldest) = (0_u32, Duration::ZERO);
            while !over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let answer = client.get(&url).await.unwrap();
                if answer.status != 200 {
                    assert_eq!(answer.status, 503, "{answer:?}");
                    continue;
                }
                let value = answer.json()["value"].as_u64().unwrap();
                let next = usize::try_from(value).unwrap() + 1;
                // How long the next value had been there when this one was asked for.
                let since = commits.lock().unwrap().get(next).copied();
                let age = since.map_or(Duration::ZERO, |since| {
                    asked.saturating_duration_since(since)
                });
                oldest = oldest.max(age);
                answers += 1;
            }
            (answers, oldest)
        });
    }
    time::sleep(STORM).await;
    over.store(true, Ordering::Relaxed);
    let read = readers.join_all().await;
    writers.join_all().await;
    let answers: u32 = read.iter().map(|(answers, _)| answers).sum();
    let oldest = read.iter().map(|(_, oldest)| *oldest).max().unwrap();
    let changes = commits.lock().unwrap().len();
    let executed = costly::executed(&stack).await - executed;
    say(format_args!(
        "write storm: {changes} changes and {answers} answers in {STORM:?}; {executed} executions, at most {} \
         at a time; the oldest answer was {oldest:.1?} behind",
        activity.most()
    ));
    assert!(activity.most() <= i64::from(POOL));
    // A key has one load at a time, each of 50 ms.
    let bound = 2 * STORM.as_millis() / 50;
    assert!(
        u128::from(executed.unsigned_abs()) <= bound,
        "{executed} executions"
    );
    assert!(oldest <= PROMISE, "{oldest:?} behind");
    assert!(answers > 100, "{answers} answers");
}
