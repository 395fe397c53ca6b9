//! What a run came to, in figures and, where promises were broken, in words.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write as _},
    time::Duration,
};

use super::judge::Judgement;

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
    /// Answers that say nothing, by status; 0 is a connection that broke off.
    pub refusals: BTreeMap<u16, u64>,
    /// Answers that no server should give.
    pub oddities: Vec<String>,
}

impl Report {
    /// How many answers said nothing.
    pub fn refused(&self) -> u64 {
        self.refusals.values().sum()
    }

    /// Fails unless every promise was kept and nothing odd was answered.
    ///
    /// # Panics
    /// The message has the first few violations.
    #[track_caller]
    pub fn assert_kept(&self) {
        let kept = self.judgement.violations() == 0 && self.oddities.is_empty();
        assert!(kept, "promises were broken\n{self}");
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
        let refused: Vec<_> = self
            .refusals
            .iter()
            .map(|(status, times)| format!("{status}: {times}"))
            .collect();
        writeln!(
            f,
            "  {judged} reads judged in {:.1} s, {share} % hits; seed {}",
            self.lasted.as_secs_f64(),
            self.seed
        )?;
        writeln!(f, "  outcomes: {}", by_outcome.join(", "))?;
        writeln!(
            f,
            "  304s: {}; distinct answers: {}; no answer: {}",
            self.judgement.revalidated,
            self.judgement.answers,
            if refused.is_empty() {
                "none".to_owned()
            } else {
                refused.join(", ")
            }
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

/// Says something at once, also from a test whose output is kept back.
pub fn say(what: impl fmt::Display) {
    // Nobody may be listening, which is no error.
    let _ = writeln!(io::stderr(), "{what}");
}
