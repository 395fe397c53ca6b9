//! The chaos test: the same workload, while everything fails that can.
//!
//! Requests may be refused while something fails, but never answered wrongly; and soon after the
//! last fault, everything is as before.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::ensure;
use tokio::time;

use super::{
    faults::Storm,
    random::Chance,
    report::{Report, say},
    run::{Load, Run},
    world::{Wiring, World},
};

/// How soon after the last fault everything is as before.
const RECOVERY: Duration = Duration::from_secs(5);

/// How many hits show that there are hits again.
const HITS: u64 = 50;

/// How many reads after [`RECOVERY`] show that none is refused any more.
const READS: u64 = 1_000;

/// The stream of chances of the storm; those of readers and writers begin at 0.
const STREAM: u64 = 1 << 32;

/// Whether every fault is told when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// Each as it is over.
    Each,
    /// None.
    None,
}

/// What a storm came to.
#[derive(Debug)]
pub struct Weathered {
    /// What readers got.
    pub report: Report,
    /// The storm.
    pub storm: Storm,
    /// How long after the last fault there were hits again.
    pub hits_again: Duration,
    /// How many answers were refused when everything had to be as before.
    pub refused_late: u64,
}

/// Lets a storm rage for a while over a world of its own.
///
/// # Errors
/// A server does not start or come back, or there are no hits soon after the last fault.
pub async fn weather(
    load: Load,
    duration: Duration,
    telling: Telling,
    over: impl Fn() -> bool,
) -> anyhow::Result<Weathered> {
    let mut world = World::start(Wiring::Relayed).await?;
    let run = Run::start(&world, load).await?;
    let mut storm = Storm::new(Chance::new(load.seed, STREAM));
    while run.elapsed() < duration && !over() {
        let began = run.elapsed();
        let fault = storm.strike(&mut world).await?;
        if telling == Telling::Each {
            say(format_args!(
                "  {:6.1} s  {fault}; {} reads so far",
                began.as_secs_f64(),
                run.reads()
            ));
        }
    }

    let healed = Instant::now();
    let hits = run.shared.hits.load(Ordering::Relaxed);
    while run.shared.hits.load(Ordering::Relaxed) < hits + HITS && healed.elapsed() < RECOVERY * 4 {
        time::sleep(Duration::from_millis(5)).await;
    }
    let hits_again = healed.elapsed();
    time::sleep(RECOVERY.saturating_sub(healed.elapsed())).await;
    let refused = run.refused();
    run.until_reads(run.reads() + READS).await;
    let refused_late = run.refused() - refused;
    ensure!(
        hits_again < RECOVERY * 4,
        "no hits {hits_again:?} after the last fault\n{}",
        world.origins[0].server.process().tail()
    );

    let report = run.judge(&world).await?;
    Ok(Weathered {
        report,
        storm,
        hits_again,
        refused_late,
    })
}

impl Weathered {
    /// Fails unless every promise was kept, and everything was as before soon enough.
    ///
    /// # Panics
    /// The message has the first few violations, and all faults.
    #[track_caller]
    pub fn assert_kept(&self) {
        let report = &self.report;
        let struck = &self.storm.struck;
        let kept = report.judgement.violations() == 0 && report.oddities.is_empty();
        assert!(kept, "promises were broken\n{report}\n{struck:#?}");
        let hits_again = self.hits_again;
        assert!(
            hits_again <= RECOVERY,
            "there were no hits for {hits_again:?} after the last fault"
        );
        let late = self.refused_late;
        assert_eq!(late, 0, "refused more than {RECOVERY:?} after it\n{report}");
    }
}

impl std::fmt::Display for Weathered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (faults, again) = (self.storm.struck.len(), self.hits_again.as_millis());
        writeln!(f, "{}", self.report)?;
        write!(
            f,
            "  faults: {faults}; hits again {again} ms after the last one"
        )
    }
}
