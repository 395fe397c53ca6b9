//! Does the judge see it if an invalidation is skipped? A change removes its own outbox rows again.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tidemark_tests::{
    consistency::{
        judge::Promise,
        log::Outcome,
        now_us,
        report::{Report, say},
        run::{Load, Run, seed},
        workload::Question,
        world::{Wiring, World},
        writers::new_tag,
    },
    wait,
};

/// Well past the promise.
const LATER: Duration = Duration::from_millis(1_300);

/// What the register of the change is seen by.
const QUESTION: Question = Question::Register(1);

/// Changes register 1 while readers run, and then reads on until the promise has run out.
async fn run_with(after_the_change: &str) -> Report {
    let _turn = crate::turn().await;
    let world = World::start(Wiring::Direct).await.unwrap();
    let load = Load {
        readers: 4,
        sql_writers: 0,
        commanders: 0,
        ..Load::of(seed())
    };
    let run = Run::start(&world, load).await.unwrap();
    let place = run
        .shared
        .questions
        .iter()
        .position(|question| *question == QUESTION);
    let place = u16::try_from(place.unwrap()).unwrap();
    let hit_since = async |moment: i64| {
        wait::until(
            "a hit",
            async || {
                run.shared.log.with(|log| {
                    let mut reads = log.reads.iter().rev();
                    reads.any(|read| {
                        read.question == place
                            && read.outcome == Outcome::Hit
                            && read.start >= moment
                    })
                })
            },
            |seen| *seen,
        )
        .await;
    };
    hit_since(0).await;

    let tag = new_tag();
    let mut database = PgConnection::connect_with(&world.database()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!(
        "BEGIN; SELECT set_config('judge.tag', '{tag}', true);
         UPDATE registers SET grp = grp WHERE id = 1; {after_the_change}; COMMIT"
    )))
    .execute(&mut database)
    .await
    .unwrap();
    database.close().await.unwrap();

    hit_since(now_us() + i64::try_from(LATER.as_micros()).unwrap()).await;
    run.judge(&world).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_skipped_invalidation_is_seen_by_the_judge() {
    let report =
        run_with("DELETE FROM tidemark.outbox WHERE xmin = pg_current_xact_id()::xid").await;
    say(format_args!("with one invalidation skipped:\n{report}"));
    let broken = &report.judgement.broken;
    assert!(broken.contains_key(&Promise::AsOf), "{report}");
    assert!(broken.contains_key(&Promise::Bound), "{report}");
    assert!(!broken.contains_key(&Promise::Truth), "{report}");
    assert!(!broken.contains_key(&Promise::MaxStaleness), "{report}");
    let told = &report.judgement.told;
    assert!(
        told.iter().all(|told| told.contains("register 1 ")),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_change_with_its_invalidation_breaks_nothing() {
    run_with("SELECT 1").await.assert_kept();
}
