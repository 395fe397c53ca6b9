//! The audit at run time: cached answers held against the database.
//!
//! [`Auditor::audit`] takes one entry: it asks its question again, if an edge would serve it, and
//! compares; [`tidemark_shared::audit`] judges where the answers differ. A [`Walk`] finds the entries.
//! `serve` audits a few of them a second for as long as it runs ([`run`]), the command `audit` as many
//! as it is told to.
//!
//! What is logged of a violation is where to look: never an argument or an answer.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use redis::aio::ConnectionManager;
use tidemark_shared::{
    audit::{Difference, Explanation, Finding, explain},
    content::Encoding,
    entry::Entry,
    etag::ETag,
    fill::Answer,
    freshness::{Verdict, decide},
    key::Keyspace,
    route::Router,
    scope::Scope,
};
use tokio::time::{self, Instant, MissedTickBehavior};

use crate::{
    clock,
    entries::{Walk, get_all, look_up},
    http::Service,
    metrics,
    queries::{Outcome, Queries, QueryError},
    question::Question,
    repository::Repository,
};

/// How long the tidemark may take to cover a re-run before the sample is given up.
const COVER_WAIT: Duration = Duration::from_secs(10);

/// How often Redis is asked while that is awaited.
const COVER_POLL: Duration = Duration::from_millis(10);

/// How often to audit a sample, or to warm an answer: times a second, written `20` or `20/s`; 0 means
/// never.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(f64);

/// A rate that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a number a second from 0 to 1000, such as 20 or 0.5")]
pub struct InvalidRate;

impl Rate {
    /// The pause between two samples; `None` for never.
    pub fn pause(self) -> Option<Duration> {
        (self.0 > 0.0).then(|| Duration::from_secs_f64(1.0 / self.0))
    }
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let number = text.strip_suffix("/s").unwrap_or(text);
        let rate: f64 = number.trim().parse().map_err(|_| InvalidRate)?;
        // Less often than once a day is a mistake.
        let sensible = rate == 0.0 || (1.0 / 86_400.0..=1_000.0).contains(&rate);
        sensible.then_some(Self(rate)).ok_or(InvalidRate)
    }
}

/// Why a sample could not be judged: names for log and summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// Gone meanwhile, damaged, or of another version.
    NotAnEntry,
    /// Its request was too long to be kept with it.
    NoTarget,
    /// Its request is none of this catalog's, or leads to another key.
    OtherQuestion,
    /// The query may answer differently for a reason that the catalog acknowledges.
    Acknowledged,
    /// The relay works with another catalog.
    OtherCatalog,
    /// No edge would serve it now.
    NotFresh,
    /// The query could not run.
    NoAnswer,
    /// The tidemark did not come to cover the re-run.
    NotCovered,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAnEntry => "not an entry",
            Self::NoTarget => "request too long to be kept",
            Self::OtherQuestion => "no request of this catalog",
            Self::Acknowledged => "the catalog acknowledges other sources",
            Self::OtherCatalog => "the relay has another catalog",
            Self::NotFresh => "not fresh",
            Self::NoAnswer => "the query did not run",
            Self::NotCovered => "the tidemark stood still",
        })
    }
}

/// What came of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audited {
    /// The finding.
    pub finding: Finding,
    /// Why there is none better than [`Finding::Skipped`].
    pub skip: Option<Skip>,
}

/// What ends a sample before it is judged.
enum Stop {
    /// This sample.
    Skip(Skip),
    /// Every sample, for now.
    Redis(redis::RedisError),
}

impl From<Skip> for Stop {
    fn from(skip: Skip) -> Self {
        Self::Skip(skip)
    }
}

impl From<redis::RedisError> for Stop {
    fn from(error: redis::RedisError) -> Self {
        Self::Redis(error)
    }
}

/// What an audit needs.
#[derive(Clone)]
pub struct Auditor<'a> {
    /// The catalog with its SQL.
    pub repository: &'a Repository,
    /// The catalog's routes.
    pub routes: &'a Router,
    /// The way of its queries to the database.
    pub queries: &'a Queries,
    /// The Redis whose entries are audited.
    pub redis: ConnectionManager,
    /// The names in that Redis.
    pub keyspace: &'a Keyspace,
}

impl Auditor<'_> {
    /// Audits the entry of this name in Redis, counts and logs what is found.
    ///
    /// # Errors
    /// Redis does not answer. (That the database does not is [`Skip::NoAnswer`].)
    pub async fn audit(&self, name: &str) -> redis::RedisResult<Audited> {
        let (query, judged) = match self.find(name).await {
            Ok(question) => (question.query.name.as_str(), self.judge(&question).await),
            Err(stop) => ("", Err(stop)),
        };
        let (finding, skip) = match judged {
            Ok(finding) => (finding, None),
            Err(Stop::Skip(skip)) => {
                tracing::debug!(name, %skip, "audit sample skipped");
                (Finding::Skipped, Some(skip))
            }
            Err(Stop::Redis(error)) => return Err(error),
        };
        metrics::count_audit(query, finding);
        Ok(Audited { finding, skip })
    }

    /// The question that the entry of this name answers.
    async fn find(&self, name: &str) -> Result<Question<'_>, Stop> {
        let bytes = get_all(&self.redis, &[name.to_owned()]).await?;
        let bytes = bytes.into_iter().next().flatten().ok_or(Skip::NotAnEntry)?;
        let target = Entry::target_of(&bytes).map_err(|_| Skip::NotAnEntry)?;
        let target = std::str::from_utf8(&target).map_err(|_| Skip::NotAnEntry)?;
        if target.is_empty() {
            return Err(Skip::NoTarget.into());
        }
        let catalog = &self.repository.catalog;
        let question =
            Question::of_target(catalog, self.routes, target).map_err(|_| Skip::OtherQuestion)?;
        if !question.query.acknowledge.is_empty() {
            return Err(Skip::Acknowledged.into());
        }
        // Nobody reads an entry under a name that is not its own.
        if self.keyspace.entry(&question.key) != name {
            return Err(Skip::OtherQuestion.into());
        }
        Ok(question)
    }

    async fn judge(&self, question: &Question<'_>) -> Result<Finding, Stop> {
        let (bytes, observed) = look_up(&self.redis, self.keyspace, question).await?;
        let catalog = observed.tidemark.map(|tidemark| tidemark.catalog);
        if catalog.is_some_and(|catalog| catalog != self.repository.digest) {
            return Err(Skip::OtherCatalog.into());
        }
        let now_ms = clock::now_ms();
        let fresh = decide(&question.demand(), bytes.as_ref(), &observed, now_ms);
        let Verdict::Fresh { entry, .. } = fresh else {
            return Err(Skip::NotFresh.into());
        };
        let unanswered = |error: QueryError| {
            let query = &question.query.name;
            tracing::debug!(%error, query, "the audit's query did not run");
            Skip::NoAnswer
        };
        let answer = self.ask(question).await.map_err(unanswered)?;
        // By what the bytes say: the same body may have been compressed by another version.
        let cached = entry.content.body().map_err(|_| Skip::NotAnEntry)?;
        if (answer.status, answer.etag) == (entry.status, ETag::of(&cached)) {
            return Ok(Finding::Equal);
        }
        let difference = Difference {
            key: &question.key,
            scopes: &question.scopes,
            entry: &entry,
            seen_by_ms: self.queries.moment_after().await.map_err(unanswered)?,
        };
        match self.explain(question, &difference).await? {
            Explanation::Pending => Err(Skip::NotCovered.into()),
            Explanation::Changed => Ok(Finding::Explained),
            Explanation::None => {
                report(&difference, &answer);
                Ok(Finding::Violation)
            }
        }
    }

    /// The database's answer.
    async fn ask(&self, question: &Question<'_>) -> Outcome {
        self.queries.run(question).await
    }

    /// Looks again until the tidemark covers the re-run, or something else explains the difference.
    async fn explain(
        &self,
        question: &Question<'_>,
        difference: &Difference<'_>,
    ) -> redis::RedisResult<Explanation> {
        let deadline = Instant::now() + COVER_WAIT;
        loop {
            let (bytes, observed) = look_up(&self.redis, self.keyspace, question).await?;
            let explanation = explain(difference, bytes.as_ref(), &observed);
            if explanation != Explanation::Pending || Instant::now() >= deadline {
                return Ok(explanation);
            }
            time::sleep(COVER_POLL).await;
        }
    }
}

fn report(difference: &Difference<'_>, answer: &Answer) {
    let scopes: Vec<_> = difference.scopes.iter().map(Scope::to_string).collect();
    tracing::error!(
        key = %difference.key,
        scopes = scopes.join(" "),
        as_of = difference.entry.as_of_ms,
        cached = difference.entry.etag.header(Encoding::Identity),
        database = match answer.status {
            404 => "no row".to_owned(),
            _ => answer.etag.header(Encoding::Identity),
        },
        "audit: the cache vouches for an answer that the database does not give any more; \
         a change went past the triggers (or the query does not answer the same twice: \
         it needs a total ORDER BY, and no now() or random())"
    );
}

/// Audits one entry after another, with this pause between two, for ever. It may be dropped at any
/// moment.
pub(crate) async fn run(
    service: Arc<Service>,
    redis: ConnectionManager,
    keyspace: Keyspace,
    pause: Duration,
) {
    for query in service.repository.catalog.queries.keys() {
        metrics::expect_audit(query);
    }
    let mut auditor = Auditor {
        repository: &service.repository,
        routes: &service.routes,
        queries: &service.queries,
        redis,
        keyspace: &keyspace,
    };
    let mut ticks = time::interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut walk = Walk::from_anywhere(&keyspace);
    let mut failing = false;
    loop {
        ticks.tick().await;
        match step(&mut auditor, &mut walk).await {
            Ok(()) => failing = false,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "the audit can't ask Redis; it keeps trying");
                }
            }
        }
    }
}

async fn step(auditor: &mut Auditor<'_>, walk: &mut Walk) -> redis::RedisResult<()> {
    if walk.has_ended() {
        *walk = Walk::from_anywhere(auditor.keyspace);
    }
    if let Some(name) = walk.next(&mut auditor.redis).await? {
        auditor.audit(&name).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_as_people_write_it() {
        let pause = |text: &str| text.parse::<Rate>().map(Rate::pause);
        assert_eq!(pause("20"), Ok(Some(Duration::from_millis(50))));
        assert_eq!(pause("20/s"), Ok(Some(Duration::from_millis(50))));
        assert_eq!(pause("0.5"), Ok(Some(Duration::from_secs(2))));
        assert_eq!(pause("0"), Ok(None));
        for nonsense in ["", "-1", "often", "NaN", "inf", "1e9", "1e-9"] {
            assert_eq!(pause(nonsense), Err(InvalidRate), "{nonsense}");
        }
    }
}
