//! The workload on the real stack, in fair weather.

use tidemark_tests::{
    consistency::{
        log::Outcome,
        report::say,
        run::{Load, Run, seed},
        world::{Wiring, World},
    },
    http::Client,
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
    let refreshes = refreshes(&world).await;
    say(format_args!(
        "hot answers loaded after a change: {refreshes}"
    ));
    assert!(refreshes > 0);
}

/// How many answers the origins have loaded anew of the query that says so.
async fn refreshes(world: &World) -> u64 {
    const LINE: &str = "tidemark_refreshes_total{query=\"tree\",outcome=\"loaded\"} ";
    let mut loaded = 0;
    for origin in &world.origins {
        let url = format!("{}/metrics", origin.server.url());
        let metrics = Client::default().get(&url).await.unwrap();
        let text = String::from_utf8(metrics.body.to_vec()).unwrap();
        let found = text.lines().find_map(|line| line.strip_prefix(LINE));
        loaded += found.unwrap().trim().parse::<u64>().unwrap();
    }
    loaded
}
