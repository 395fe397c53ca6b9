//! What came of a contender's turn, in figures.

use serde::{Deserialize, Serialize};

use super::{
    judge::{Impossible, Judge, Staleness},
    log::{Log, Read, Served},
    possible::Efficiency,
    setting::Way,
};
use crate::contender::Invalidation;

/// Everything that was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Article {
    /// How many clients there were.
    pub clients: usize,
    /// How long each turn was at most, in seconds.
    pub turn_seconds: f64,
    /// How long each warm-up was at most, in seconds.
    pub warm_up_seconds: f64,
    /// How many organizations there were.
    pub organizations: u16,
    /// Each contender's turns.
    pub contenders: Vec<Series>,
    /// Whether NestJS and nginx took part.
    pub peers: bool,
}

/// A contender's turns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Series {
    /// What it is called.
    pub contender: String,
    /// What makes its cached answers go.
    pub invalidation: Invalidation,
    /// Its turns, by rounds.
    pub turns: Vec<Turn>,
}

/// A contender's turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Turn {
    /// How long it was, in seconds.
    pub seconds: f64,
    /// Reads that were answered with a dashboard.
    pub reads: u64,
    /// Reads that were not.
    pub failed_reads: u64,
    /// Orders that were sent.
    pub writes: u64,
    /// Orders of which nobody knows whether they are there.
    pub failed_writes: u64,
    /// How long reads took.
    pub latency: Latency,
    /// How long reads took at the mean, in ms, that the contender says it had the answer to; `None` where there
    /// are none, or it does not say.
    pub hit_ms: Option<f64>,
    /// The same of those that waited for the database.
    pub miss_ms: Option<f64>,
    /// How long orders of the application took, in ms at the mean.
    pub write_ms: f64,
    /// How often PostgreSQL ran the dashboard's statement.
    pub statements: u64,
    /// What the judge found.
    pub staleness: Staleness,
    /// What was saved, against what was possible.
    pub efficiency: Efficiency,
}

/// How long answers took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// In ms.
    pub mean_ms: f64,
    /// Half of them took at most so long, in ms.
    pub p50_ms: f64,
    /// All but one in a hundred took at most so long, in ms.
    pub p99_ms: f64,
    /// The shares that took at most as long as each of [`marks_ms`].
    pub within: Vec<f64>,
}

/// The times at which the distribution of latencies is kept, in ms: five for each power of ten, from 100 µs to
/// 10 s.
pub fn marks_ms() -> impl Iterator<Item = f64> {
    (-5..=20).map(|fifth| 10_f64.powf(f64::from(fifth) / 5.0))
}

fn took_ms(read: &Read) -> f64 {
    read.ended.saturating_sub(read.begun) as f64 / 1e3
}

impl Latency {
    fn of<'a>(reads: impl Iterator<Item = &'a Read>) -> Self {
        let mut took: Vec<_> = reads.map(took_ms).collect();
        took.sort_unstable_by(f64::total_cmp);
        let count = took.len().max(1) as f64;
        let at = |share: f64| {
            let rank = (share * took.len() as f64).ceil() as usize;
            took.get(rank.saturating_sub(1))
                .copied()
                .unwrap_or_default()
        };
        Self {
            mean_ms: took.iter().sum::<f64>() / count,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            within: marks_ms()
                .map(|mark| took.partition_point(|it| *it <= mark) as f64 / count)
                .collect(),
        }
    }
}

impl Turn {
    /// Of what happened, and of how often PostgreSQL ran the dashboard's statement meanwhile.
    ///
    /// # Errors
    /// An answer is impossible.
    pub fn of(log: &Log, judge: &Judge, statements: u64) -> Result<Self, Impossible> {
        let commits = &log.commits;
        let unsure = commits.iter().filter(|it| it.acknowledged.is_none());
        let own = commits.iter().filter(|it| it.order.way == Way::Application);
        let took: Vec<_> = own
            .filter_map(|it| Some(it.acknowledged? - it.begun))
            .collect();
        let mean_ms = |served: Served| {
            let reads = log.measured().filter(|read| read.served == Some(served));
            let took: Vec<_> = reads.map(took_ms).collect();
            (!took.is_empty()).then(|| took.iter().sum::<f64>() / took.len() as f64)
        };
        Ok(Self {
            seconds: log.seconds(),
            reads: log.measured().count() as u64,
            failed_reads: log.failed_reads,
            writes: commits.len() as u64,
            failed_writes: unsure.count() as u64,
            latency: Latency::of(log.measured()),
            hit_ms: mean_ms(Served::Cache),
            miss_ms: mean_ms(Served::Database),
            write_ms: took.iter().sum::<u64>() as f64 / 1e3 / took.len().max(1) as f64,
            statements,
            staleness: Staleness::of(log, judge)?,
            efficiency: Efficiency::of(log, judge, statements)?,
        })
    }

    /// Reads a second.
    pub fn rate(&self) -> f64 {
        self.reads as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// The dashboard's statements that PostgreSQL ran, a second.
    pub fn statements_a_second(&self) -> f64 {
        self.statements as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// The dashboard's statements that PostgreSQL ran for each read.
    pub fn statements_a_read(&self) -> f64 {
        self.statements as f64 / self.reads.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::article::setting::{Key, Totals, Variant};

    #[test]
    fn latencies_are_of_the_reads_themselves() {
        let reads: Vec<_> = (1..=100)
            .map(|ms| Read {
                key: Key {
                    org: 1,
                    variant: Variant::numbered(0),
                },
                begun: 5,
                ended: 5 + ms * 1_000,
                served: None,
                seen: Totals::default(),
            })
            .collect();
        let latency = Latency::of(reads.iter());
        assert!((latency.mean_ms - 50.5).abs() < 1e-9);
        assert_eq!((latency.p50_ms, latency.p99_ms), (50.0, 99.0));
        let ten_ms = marks_ms().position(|mark| (mark - 10.0).abs() < 1e-6);
        assert_eq!(latency.within[ten_ms.unwrap()], 0.1);
        assert_eq!(latency.within.last(), Some(&1.0));
    }

    #[test]
    fn nothing_measured_is_nothing() {
        let latency = Latency::of([].iter());
        assert_eq!((latency.mean_ms, latency.p99_ms), (0.0, 0.0));
    }
}
