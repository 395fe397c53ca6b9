//! The chaos test: the same workload, while everything fails that can.
//!
//! Requests may be refused while something fails, but never answered wrongly; and soon after the
//! last fault, everything is as before.

use std::time::{Duration, Instant};

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

/// How many hits in a region show that there are hits again.
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
    /// How long after the last fault there were hits again in each region.
    pub hits_again: Duration,
    /// How many answers were refused when everything had to be as before.
    pub refused_late: u64,
    /// What origins and managers have logged as errors.
    pub errors: Vec<String>,
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
    let before = run.hits();
    let has_hits = || {
        let mut regions = run.hits().into_iter().zip(&before);
        regions.all(|(now, before)| now >= before + HITS)
    };
    while !has_hits() && healed.elapsed() < RECOVERY * 4 {
        time::sleep(Duration::from_millis(5)).await;
    }
    let hits_again = healed.elapsed();
    time::sleep(RECOVERY.saturating_sub(healed.elapsed())).await;
    let refused = run.refused();
    run.until_reads(run.reads() + READS).await?;
    let refused_late = run.refused() - refused;
    ensure!(
        hits_again < RECOVERY * 4,
        "no hits {hits_again:?} after the last fault: {:?} before, {:?} now, by region\n{}",
        before,
        run.hits(),
        world.origins[0].server.process().tail()
    );

    let report = run.judge(&world).await?;
    let mut errors = Vec::new();
    let origins = world.origins.iter().map(|origin| &origin.config.log);
    let managers = world.regions.iter().filter_map(|it| it.manager.as_ref());
    for log in origins.chain(managers.map(|manager| &manager.config.log)) {
        let log = std::fs::read_to_string(log)?;
        let lines = log.lines().filter(|line| line.contains("ERROR"));
        errors.extend(lines.map(str::to_owned));
    }
    Ok(Weathered {
        errors,
        report,
        storm,
        hits_again,
        refused_late,
    })
}

impl Weathered {
    /// Whether every promise was kept, and everything was as before soon enough.
    pub fn is_kept(&self) -> bool {
        self.report.is_kept() && self.hits_again <= RECOVERY && self.refused_late == 0
    }

    /// Fails unless [`Weathered::is_kept`].
    ///
    /// # Panics
    /// The message has the first few violations, and all faults.
    #[track_caller]
    pub fn assert_kept(&self) {
        let (struck, errors) = (&self.storm.struck, self.errors.join("\n"));
        assert!(
            self.is_kept(),
            "promises were broken\n{self}\nfaults:\n{struck:?}\nerrors of origins and managers:\n{errors}"
        );
    }
}

impl std::fmt::Display for Weathered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (faults, again) = (self.storm.struck.len(), self.hits_again.as_millis());
        writeln!(f, "{}", self.report)?;
        write!(
            f,
            "  faults: {faults}, of {} kinds; hits again everywhere {again} ms after the last one; refused later than {RECOVERY:?} after it: {}",
            self.storm.kinds(),
            self.refused_late
        )
    }
}
