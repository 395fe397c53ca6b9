//! Traffic: many clients that keep asking an edge, and what became of each request.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use http::StatusCode;
use tokio::{
    task::JoinSet,
    time::{self, MissedTickBehavior},
};

use crate::{
    consistency::random::{Chance, Zipf},
    http::Client,
};

/// What to ask for, and how often.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// The edge's address.
    pub edge: String,
    /// What is asked for, the most wanted first: Zipf's law holds.
    pub paths: Vec<String>,
    /// How many clients there are, each with connections of its own.
    pub clients: usize,
    /// How much time a client leaves between the beginnings of two requests; it never has two at
    /// once.
    pub pace: Duration,
}

/// Traffic under way. It ends with its drop.
#[derive(Debug)]
pub struct Running {
    begun: Instant,
    samples: Arc<Mutex<Vec<Sample>>>,
    _clients: JoinSet<()>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it began, since the traffic began.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// Which of the paths it asked for: 0 is the most wanted.
    pub rank: usize,
    /// What came of it.
    pub became: Became,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// An answer from a cache: at the edge, or the origin's.
    Hit,
    /// An answer of the database.
    Loaded,
    /// A problem, with its status.
    Refused(StatusCode),
    /// No HTTP answer at all.
    Broken(String),
}

impl Traffic {
    /// Sets it going.
    pub fn start(self, seed: u64) -> Running {
        let begun = Instant::now();
        let samples = Arc::new(Mutex::new(Vec::new()));
        let popularity = Zipf::over(self.paths.len());
        let traffic = Arc::new(self);
        let clients = (0..traffic.clients).map(|number| {
            let (traffic, samples) = (traffic.clone(), samples.clone());
            let popularity = popularity.clone();
            let mut chance = Chance::new(seed, number as u64);
            async move {
                let client = Client::default();
                let mut pace = time::interval(traffic.pace);
                pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    pace.tick().await;
                    let rank = popularity.pick(&mut chance);
                    let url = format!("{}{}", traffic.edge, traffic.paths[rank]);
                    let at = begun.elapsed();
                    let became = ask(&client, &url).await;
                    let took = begun.elapsed().saturating_sub(at);
                    lock(&samples).push(Sample {
                        at,
                        took,
                        rank,
                        became,
                    });
                }
            }
        });
        Running {
            begun,
            _clients: clients.collect(),
            samples,
        }
    }
}

async fn ask(client: &Client, url: &str) -> Became {
    match client.get(url).await {
        Err(error) => Became::Broken(format!("{error:#}")),
        Ok(answer) if !answer.status.is_success() => Became::Refused(answer.status),
        Ok(answer) => match answer.cache_status().contains("; hit") {
            true => Became::Hit,
            false => Became::Loaded,
        },
    }
}

impl Running {
    /// This moment, as samples count it.
    pub fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What became of the requests that began between two moments and have ended.
    pub fn between(&self, from: Duration, to: Duration) -> Figures {
        let samples = lock(&self.samples);
        let within = |sample: &&Sample| from <= sample.at && sample.at < to;
        Figures(samples.iter().filter(within).cloned().collect())
    }

    /// The last so much time.
    pub fn last(&self, time: Duration) -> Figures {
        let now = self.now();
        self.between(now.saturating_sub(time), now)
    }
}

fn lock(samples: &Mutex<Vec<Sample>>) -> MutexGuard<'_, Vec<Sample>> {
    samples.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Requests, to be counted.
#[derive(Clone, Debug)]
pub struct Figures(pub Vec<Sample>);

impl Figures {
    /// How many there are.
    pub fn requests(&self) -> usize {
        self.0.len()
    }

    /// How many became this.
    pub fn count(&self, became: impl Fn(&Became) -> bool) -> usize {
        let samples = self.0.iter();
        samples.filter(|sample| became(&sample.became)).count()
    }

    /// How many were answered.
    pub fn answered(&self) -> usize {
        self.count(|became| matches!(became, Became::Hit | Became::Loaded))
    }

    /// Hits among all requests.
    pub fn hit_ratio(&self) -> f64 {
        ratio(self.count(|became| *became == Became::Hit), self.requests())
    }

    /// Answers among all requests.
    pub fn answered_ratio(&self) -> f64 {
        ratio(self.answered(), self.requests())
    }

    /// Those that had ended by a moment.
    #[must_use]
    pub fn ended_by(&self, moment: Duration) -> Self {
        let samples = self.0.iter();
        let in_time = samples.filter(|it| it.at + it.took <= moment);
        Self(in_time.cloned().collect())
    }

    /// Those that asked for one of the most wanted paths.
    #[must_use]
    pub fn hottest(&self, paths: usize) -> Self {
        let samples = self.0.iter();
        Self(samples.filter(|it| it.rank < paths).cloned().collect())
    }

    /// The first of what should not be: no HTTP answer, or a status other than these.
    pub fn unexpected(&self, statuses: &[StatusCode]) -> Option<&Sample> {
        self.0.iter().find(|sample| match &sample.became {
            Became::Broken(_) => true,
            Became::Refused(status) => !statuses.contains(status),
            Became::Hit | Became::Loaded => false,
        })
    }

    /// How long the slowest request took, whatever became of it.
    pub fn slowest(&self) -> Duration {
        let took = self.0.iter().map(|sample| sample.took);
        took.max().unwrap_or_default()
    }

    /// How long this share of the answered requests took at most.
    pub fn percentile(&self, share: f64) -> Duration {
        let answered = self
            .0
            .iter()
            .filter(|sample| matches!(sample.became, Became::Hit | Became::Loaded));
        let mut took: Vec<_> = answered.map(|sample| sample.took).collect();
        took.sort_unstable();
        let place = (took.len() as f64 * share) as usize;
        let last = took.len().saturating_sub(1);
        took.get(place.min(last)).copied().unwrap_or_default()
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = self.count(|became| matches!(became, Became::Refused(_)));
        let broken = self.count(|became| matches!(became, Became::Broken(_)));
        write!(
            f,
            "{} requests: {:.1} % hits, {:.1} % answered, {refused} refused, {broken} broken; p50 {:.1?}, p99 {:.1?}",
            self.requests(),
            100.0 * self.hit_ratio(),
            100.0 * self.answered_ratio(),
            self.percentile(0.5),
            self.percentile(0.99),
        )
    }
}
