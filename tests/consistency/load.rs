//! The workload on the real stack, in fair weather.

use tidemark_tests::consistency::{
    log::Outcome,
    report::say,
    run::{Load, Run, seed},
    world::{Wiring, World},
};

/// How many reads are judged.
const READS: u64 = 25_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_i2_i3_every_answer_keeps_the_promises() {
    let _turn = crate::turn().await;
    let world = World::start(Wiring::Direct).await.unwrap();
    let run = Run::start(&world, Load::of(seed())).await.unwrap();
    run.until_reads(READS).await.unwrap();
    let report = run.judge(&world).await.unwrap();
    say(format_args!("consistency:\n{report}"));
    report.assert_kept();
    assert!(report.judgement.judged() >= READS);
    assert!(report.applied > 0);
    let regions = &report.judgement.regions;
    assert_eq!(regions.len(), 2, "{report}");
    assert!(
        report.judgement.reads.contains_key(&Outcome::L1),
        "{report}"
    );
    assert!(regions.values().all(|share| share.hits > 0), "{report}");
    assert_eq!(report.refused(), 0, "{report}");
}
