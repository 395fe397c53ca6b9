//! What a run came to, in figures and, where promises were broken, in words.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write as _},
    time::Duration,
};

use super::{
    judge::{Judgement, Share},
    log::region_name,
};

/// How many odd answers are told in words.
const TOLD: usize = 5;

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// What chance was made of.
    pub seed: u64,
    /// How long readers and writers were at work.
    pub lasted: Duration,
    /// How long the judge was.
    pub judged_in: Duration,
    /// The judgement.
    pub judgement: Judgement,
    /// How many transactions were committed.
    pub transactions: usize,
    /// How many versions of rows they made.
    pub versions: usize,
    /// How many commands were answered.
    pub commands: usize,
    /// How many of them with their invalidation applied.
    pub applied: usize,
    /// Reads that were refused, by status; 0 is a connection that broke off.
    pub refused_reads: BTreeMap<u16, u64>,
    /// Commands that were refused, likewise.
    pub refused_commands: BTreeMap<u16, u64>,
    /// Answers that no server should give.
    pub oddities: Vec<String>,
}

impl Report {
    /// How many reads and commands were refused.
    pub fn refused(&self) -> u64 {
        let (reads, commands) = (&self.refused_reads, &self.refused_commands);
        reads.values().chain(commands.values()).sum()
    }

    /// Whether every promise was kept and nothing odd was answered.
    pub fn is_kept(&self) -> bool {
        self.judgement.violations() == 0 && self.oddities.is_empty()
    }

    /// Fails unless [`Report::is_kept`].
    ///
    /// # Panics
    /// The message has the first few violations.
    #[track_caller]
    pub fn assert_kept(&self) {
        assert!(self.is_kept(), "promises were broken\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let judged = self.judgement.judged();
        let hits = self.judgement.hits();
        let share = (hits * 100).checked_div(judged).unwrap_or(0);
        let by_outcome: Vec<_> = self
            .judgement
            .reads
            .iter()
            .map(|(outcome, reads)| format!("{} {reads}", outcome.name()))
            .collect();
        writeln!(
            f,
            "  {judged} reads judged in {:.1} s, {share} % hits; seed {}",
            self.lasted.as_secs_f64(),
            self.seed
        )?;
        writeln!(f, "  outcomes: {}", by_outcome.join(", "))?;
        let regions = self.judgement.regions.iter();
        let by_region: Vec<_> = regions
            .map(|(&region, share)| {
                let (name, Share { reads, hits }) = (region_name(region), share);
                format!("{name} {reads} reads with {hits} hits")
            })
            .collect();
        writeln!(f, "  regions: {}", by_region.join(", "))?;
        writeln!(
            f,
            "  304s: {}; distinct answers: {}; refused reads: {}; refused commands: {}",
            self.judgement.revalidated,
            self.judgement.answers,
            by_status(&self.refused_reads),
            by_status(&self.refused_commands)
        )?;
        writeln!(
            f,
            "  written: {} transactions, {} versions of rows; {} commands, {} applied",
            self.transactions, self.versions, self.commands, self.applied
        )?;
        write!(
            f,
            "  violations: {} (judged within {:.1} s)",
            self.judgement.violations(),
            self.judged_in.as_secs_f64()
        )?;
        for (promise, times) in &self.judgement.broken {
            write!(f, "\n    {}: {times}", promise.name())?;
        }
        for told in &self.judgement.told {
            write!(f, "\n    - {told}")?;
        }
        if !self.oddities.is_empty() {
            write!(f, "\n  odd answers: {}", self.oddities.len())?;
        }
        for odd in self.oddities.iter().take(TOLD) {
            write!(f, "\n    - {odd}")?;
        }
        Ok(())
    }
}

fn by_status(refused: &BTreeMap<u16, u64>) -> String {
    if refused.is_empty() {
        return "none".to_owned();
    }
    let name = |status: &u16| match status {
        0 => "broke off".to_owned(),
        status => status.to_string(),
    };
    let each: Vec<_> = refused
        .iter()
        .map(|(status, times)| format!("{times} × {}", name(status)))
        .collect();
    each.join(", ")
}

/// Says something at once, also from a test whose output is kept back.
pub fn say(what: impl fmt::Display) {
    // Nobody may be listening, which is no error.
    let _ = writeln!(io::stderr(), "{what}");
}
