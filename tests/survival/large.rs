//! Long answers: one that passes through everything, and one that passes through nothing.

use http::{Method, StatusCode};
use tidemark_tests::{
    consistency::report::say,
    http::{Answer, Client},
    resident::{Resident, forget_peak, resident},
    stack::Stack,
};
use tokio::task::JoinSet;

use crate::sized::{self, MIB};

/// How many ask at the same time.
const READERS: usize = 8;

/// So long PostgreSQL may take on a busy machine, to make what nobody gets.
const PATIENCE_MS: u32 = 25_000;

/// What edge and origin hold.
struct Held {
    edge: Resident,
    origin: Resident,
}

impl Held {
    /// At this moment; the most is counted anew from here on.
    fn by(stack: &mut Stack) -> Self {
        let [edge, origin] = [stack.edge.process().id(), stack.origin.process().id()];
        let held = Self {
            edge: resident(edge),
            origin: resident(origin),
        };
        forget_peak(edge);
        forget_peak(origin);
        held
    }
}

/// Everybody asks for one path of their own, through the edge.
async fn all_ask(stack: &Stack, readers: usize, bytes: usize) -> Vec<Answer> {
    let mut asking = JoinSet::new();
    for reader in 1..=readers {
        let url = format!("{}{}", stack.edge.url(), sized::path(bytes, reader));
        asking.spawn(async move { Client::default().get(&url).await.unwrap() });
    }
    asking.join_all().await
}

fn tell(what: &str, before: &Held, after: &Held) {
    say(format_args!(
        "{what}: edge {} → {} MiB, at most {}; origin {} → {} MiB, at most {}",
        before.edge.mib,
        after.edge.mib,
        after.edge.peak_mib,
        before.origin.mib,
        after.origin.mib,
        after.origin.peak_mib,
    ));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_8_mib_passes_through_edge_redis_and_origin() {
    let _turn = crate::turn().await;
    let mut stack = sized::setup().start().await;
    let path = sized::path(8 * MIB, 1);
    stack.hit(&sized::path(10, 1)).await;
    let before = Held::by(&mut stack);
    let loaded = stack.read(&path).await;
    assert_eq!(loaded.status, StatusCode::OK);
    assert!(loaded.body.len() > 8 * MIB, "{}", loaded.body.len());
    let hit = stack.hit(&path).await;
    assert!(hit.body == loaded.body, "another answer from the cache");
    let known = [("if-none-match", hit.header("etag"))];
    let unchanged = stack.edge(Method::GET, &path, &known).await;
    assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
    assert!(unchanged.body.is_empty());
    for _ in 0..3 {
        for answer in all_ask(&stack, READERS, 8 * MIB).await {
            assert_eq!(answer.status, StatusCode::OK);
        }
    }
    let after = Held::by(&mut stack);
    tell(
        &format!("8 MiB, then {READERS} × 8 MiB at a time"),
        &before,
        &after,
    );
    let bound = |copies: usize| (copies * READERS * 8) as u64;
    assert!(after.edge.peak_mib < before.edge.mib + bound(6));
    assert!(after.origin.peak_mib < before.origin.mib + bound(6));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_100_mib_is_refused_and_goes_nowhere() {
    let _turn = crate::turn().await;
    let mut stack = sized::setup()
        .origin("TIDEMARK_STATEMENT_TIMEOUT_MS", PATIENCE_MS)
        .start()
        .await;
    stack.hit(&sized::path(10, 1)).await;
    let before = Held::by(&mut stack);
    for answer in all_ask(&stack, READERS / 2, 100 * MIB).await {
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.problem(), "answer-too-long", "{answer:?}");
    }
    let after = Held::by(&mut stack);
    tell(
        &format!("{} × 100 MiB refused", READERS / 2),
        &before,
        &after,
    );
    assert!(after.edge.peak_mib < before.edge.mib + 64);
    assert!(after.origin.peak_mib < before.origin.mib + 64);
}
