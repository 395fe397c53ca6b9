//! The clients: a closed loop, in which each of them takes the next request of the trace as soon as it has its
//! answer. They share the machine with what they measure, so they do little: of a body only the totals are
//! read, and everything is judged afterwards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use http::{Method, StatusCode};
use sqlx::PgConnection;
use tidemark_tests::http::{Answer, Client};
use tokio::{sync::Mutex, task::JoinSet};

use super::{
    database,
    log::{Commit, Log, Moment, Read, Served},
    setting::{Key, Order, Totals, Way},
    trace::{Step, Trace},
};

/// How far into a body the totals begin at most, in bytes.
const HEAD: usize = 1_024;

/// Whom the clients ask.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Where dashboards are read.
    pub(super) reads: String,
    /// Where orders are entered.
    pub(super) writes: String,
}

/// Clients of one contender.
#[derive(Debug)]
pub(super) struct Clients {
    target: Target,
    http: Client,
    count: usize,
    begun: Instant,
    /// Somebody else's connection to the database; one at a time writes there.
    elsewhere: Mutex<PgConnection>,
}

/// What one client saw.
#[derive(Debug, Default)]
struct Seen {
    reads: Vec<Read>,
    commits: Vec<Commit>,
    failed_reads: u64,
    /// Why the first of them failed.
    failure: Option<String>,
}

impl Clients {
    /// So many clients; `elsewhere` is for orders that go past the application.
    pub(super) fn new(target: Target, count: usize, elsewhere: PgConnection) -> Self {
        Self {
            target,
            http: Client::default(),
            count,
            begun: Instant::now(),
            elsewhere: Mutex::new(elsewhere),
        }
    }

    /// Now, by the log's clock.
    pub(super) fn now(&self) -> Moment {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(Moment::MAX)
    }

    /// Follows the trace from its beginning until the time is over or the trace is, adds to the log what
    /// happened, and gives the reason of the first read that failed, if one did.
    ///
    /// # Errors
    /// A client ended in the middle.
    pub(super) async fn follow(
        self: &Arc<Self>,
        trace: &Arc<Trace>,
        limit: Duration,
        log: &mut Log,
    ) -> anyhow::Result<Option<String>> {
        let deadline = Instant::now() + limit;
        let next = Arc::new(AtomicUsize::new(0));
        let clients = (0..self.count).map(|_| {
            let (this, trace, next) = (self.clone(), trace.clone(), next.clone());
            async move {
                let mut seen = Seen::default();
                while Instant::now() < deadline {
                    let Some(step) = trace.step(next.fetch_add(1, Ordering::Relaxed)) else {
                        break;
                    };
                    match step {
                        Step::Read(key) => this.read(key, &mut seen).await,
                        Step::Write(order) => this.write(order, &mut seen).await,
                    }
                }
                seen
            }
        });
        let mut clients: JoinSet<_> = clients.collect();
        let mut failure = None;
        while let Some(seen) = clients.join_next().await {
            let seen = seen.context("a client ended in the middle")?;
            log.reads.extend(seen.reads);
            log.commits.extend(seen.commits);
            log.failed_reads += seen.failed_reads;
            failure = failure.or(seen.failure);
        }
        log.ended = self.now();
        Ok(failure)
    }

    async fn read(&self, key: Key, seen: &mut Seen) {
        let url = format!("{}{}", self.target.reads, key.path());
        let begun = self.now();
        let answer = self.http.get(&url).await;
        let ended = self.now();
        let failure = match answer {
            Err(error) => format!("{error:#}"),
            Ok(answer) => match totals(&answer) {
                Some(totals) => {
                    return seen.reads.push(Read {
                        key,
                        begun,
                        ended,
                        served: served(&answer),
                        seen: totals,
                    });
                }
                None => format!("{url}: {answer:?}"),
            },
        };
        seen.failed_reads += 1;
        seen.failure.get_or_insert(failure);
    }

    async fn write(&self, order: Order, seen: &mut Seen) {
        let (begun, acknowledged) = match order.way {
            Way::Application => {
                let begun = self.now();
                (begun, self.post(&order).await)
            }
            Way::Elsewhere => {
                let mut elsewhere = self.elsewhere.lock().await;
                let begun = self.now();
                let entered = database::enter(&mut elsewhere, &order).await;
                (begun, entered.map_err(anyhow::Error::from))
            }
        };
        let ended = self.now();
        if let Err(error) = &acknowledged {
            seen.failure
                .get_or_insert(format!("an order failed: {error:#}"));
        }
        seen.commits.push(Commit {
            order,
            begun,
            acknowledged: acknowledged.is_ok().then_some(ended),
        });
    }

    async fn post(&self, order: &Order) -> anyhow::Result<()> {
        let url = format!("{}/org/{}/orders", self.target.writes, order.org);
        let body = format!(
            r#"{{"customer":{},"date":"{}","items":[{{"product":{},"quantity":{}}}]}}"#,
            order.customer,
            order.day.date(),
            order.product,
            order.way.units()
        );
        let json = [("content-type", "application/json")];
        let answer = self.http.send(Method::POST, &url, &json, body).await?;
        anyhow::ensure!(answer.status == StatusCode::CREATED, "{answer:?}");
        Ok(())
    }
}

fn totals(answer: &Answer) -> Option<Totals> {
    let head = &answer.body[..answer.body.len().min(HEAD)];
    (answer.status == StatusCode::OK)
        .then(|| Totals::scan(head))
        .flatten()
}

/// What the contender says where its answer comes from: in RFC 9211's header, or as nginx and NestJS are used
/// to tell it.
fn served(answer: &Answer) -> Option<Served> {
    let told = answer.header("cache-status");
    if !told.is_empty() {
        // The last one is that of the cache which is nearest; what an origin remembered was there already.
        let hit = told
            .split(", ")
            .any(|cache| cache.split("; ").any(|it| it == "hit"));
        return Some(if hit { Served::Cache } else { Served::Database });
    }
    match answer.header("x-cache") {
        "" => None,
        told if told.starts_with("HIT")
            || told.starts_with("STALE")
            || told.starts_with("UPDATING") =>
        {
            Some(Served::Cache)
        }
        _ => Some(Served::Database),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    fn answer(header: &'static str, value: &'static str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(header, value.parse().unwrap());
        Answer {
            status: StatusCode::OK,
            headers,
            body: Bytes::new(),
        }
    }

    #[test]
    fn where_an_answer_comes_from_is_read_as_each_says_it() {
        for (header, value, expected) in [
            ("cache-status", "tidemark; hit", Some(Served::Cache)),
            (
                "cache-status",
                "tidemark; hit; detail=l1",
                Some(Served::Cache),
            ),
            (
                "cache-status",
                "tidemark-origin; hit, tidemark; fwd=miss",
                Some(Served::Cache),
            ),
            (
                "cache-status",
                "tidemark; fwd=miss; stored",
                Some(Served::Database),
            ),
            (
                "cache-status",
                "tidemark; fwd=miss; detail=changed",
                Some(Served::Database),
            ),
            ("x-cache", "HIT", Some(Served::Cache)),
            ("x-cache", "UPDATING", Some(Served::Cache)),
            ("x-cache", "EXPIRED", Some(Served::Database)),
            ("x-powered-by", "hope", None),
        ] {
            assert_eq!(
                served(&answer(header, value)),
                expected,
                "{header}: {value}"
            );
        }
    }
}
