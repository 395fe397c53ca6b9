//! Workload 1: one answer, the dashboard of one organization, by everybody who can give it and in every way:
//! made by its SQL, from the cache that all share, from the cache of the instance, and as 304.

mod miss;
mod peers;
mod report;

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use http::Method;
use serde::{Deserialize, Serialize};
use tidemark_tests::http::Client;
use tokio::time::sleep;

use self::peers::Peers;
pub use self::{miss::Miss, report::report};
use super::{
    Bench, settle,
    turn::{Round, turn},
};
use crate::{
    contender::{self, Contender, Invalidation},
    load::Requests,
    say,
    scale::Scale,
    site::Database,
    statistics::rotated,
};

/// What is asked for where one answer will do.
const PATH: &str = "/org/42/dashboard?from=2025-01-01&to=2025-03-31";

/// What is asked for where each request is to be another question, so that few of them are asked at the same time:
/// periods that begin and end on different days.
const PATH_OF_MANY: &str = "/org/42/dashboard?from=2025-01-%02d&to=2025-03-%02d";
const DAYS: u64 = 28;

/// How an answer comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// Its SQL runs.
    Uncached,
    /// From a cache that all processes share.
    Shared,
    /// The same, to clients that don't take it compressed as it is there.
    Decoded,
    /// From the memory of the process, or the instance, that answers.
    Local,
    /// The client has it already, and is told so: 304.
    NotModified,
}

/// One contender in one case at one number of connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Series {
    /// The contender.
    pub contender: String,
    /// How its answers came about.
    pub case: Case,
    /// Connections, each with one request at a time.
    pub connections: u32,
    /// What came of it, by rounds.
    pub rounds: Vec<Round>,
}

/// The result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// The length of the answer's body, in bytes.
    pub body_bytes: usize,
    /// Its length as Tidemark sends it to clients that take gzip, in bytes.
    pub sent_bytes: usize,
    /// All turns.
    pub series: Vec<Series>,
    /// What a miss costs beyond its SQL.
    pub miss: Miss,
    /// Whether NestJS and nginx took part.
    pub peers: bool,
}

/// A contender in a case.
struct Role<'a> {
    contender: &'a Contender,
    case: Case,
    requests: Requests,
    /// What the contender's `Cache-Status` has to be, where it has one.
    cache_status: Option<&'static str>,
}

/// Measures.
///
/// # Errors
/// Something does not start, or does not answer as it should.
pub async fn run(bench: &Bench) -> anyhow::Result<Latency> {
    let site = &bench.site;
    site.flush_redis().await?;
    let database = site.database("latency").await?;
    let tidemark = contender::tidemark::start(site, &database).await?;
    let uncached = contender::tidemark::uncached(site, &database).await?;
    let client = Client::default();
    let answer = client.get(&uncached.url(PATH)).await?;
    ensure!(answer.status.is_success(), "{answer:?}");
    let etag = answer.header("etag").to_owned();
    let sent = client
        .send(
            Method::GET,
            &uncached.url(PATH),
            &[("accept-encoding", "gzip")],
            "",
        )
        .await?;
    let (by_get, from_memory) =
        contender::native::start(site, &sent.body, sent.header("content-encoding")).await?;

    let miss = miss::measure(bench, &database, &tidemark).await?;
    let mut roles = vec![
        Role::uncached(&uncached),
        Role::cached(&tidemark, Case::Shared, PATH, Some("tidemark; hit")),
        Role::cached(
            &tidemark,
            Case::Local,
            &format!("/bench/l1{PATH}"),
            Some("tidemark; hit; detail=l1"),
        ),
        Role::cached(&by_get, Case::Shared, PATH, None),
        Role::cached(&from_memory, Case::Local, PATH, None),
    ];
    let mut not_modified = Role::cached(&tidemark, Case::NotModified, PATH, Some("tidemark; hit"));
    not_modified.requests = not_modified.requests.header("If-None-Match", &etag);
    roles.push(not_modified);
    let mut decoded = Role::cached(&tidemark, Case::Decoded, PATH, Some("tidemark; hit"));
    decoded.requests = decoded.requests.without_gzip();
    roles.push(decoded);
    let peers = Peers::start(bench, &database).await?;
    roles.extend(peers.roles(&client).await?);

    let series = measure(bench, &database, &client, &roles).await?;
    Ok(Latency {
        body_bytes: answer.body.len(),
        sent_bytes: sent.body.len(),
        series,
        miss,
        peers: bench.peers,
    })
}

impl<'a> Role<'a> {
    fn uncached(contender: &'a Contender) -> Self {
        Self {
            contender,
            case: Case::Uncached,
            requests: Requests::any_of(&contender.reads, PATH_OF_MANY, 1, DAYS),
            cache_status: None,
        }
    }

    fn cached(
        contender: &'a Contender,
        case: Case,
        path: &str,
        cache_status: Option<&'static str>,
    ) -> Self {
        Self {
            contender,
            case,
            requests: Requests::same(&contender.reads, path),
            cache_status,
        }
    }

    /// Whether it is measured at so many connections. At 16 a quick run only has time for what is compared there.
    fn takes_part(&self, scale: Scale, connections: u32) -> bool {
        let goals = [Invalidation::AnyChange, Invalidation::Never];
        let compared = self.case == Case::Shared && goals.contains(&self.contender.invalidation);
        scale != Scale::Quick || connections != 16 || compared
    }

    /// Asks until the answer comes about as it should.
    async fn settle(&self, client: &Client) -> anyhow::Result<()> {
        let Requests { server, path, .. } = &self.requests;
        let url = format!("{server}{}", path.replace("%02d", "01"));
        let headers = self.requests.headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let expected = match self.case {
            Case::NotModified => 304,
            _ => 200,
        };
        settle(client, &url, &headers, expected, self.cache_status).await?;
        Ok(())
    }
}

async fn measure(
    bench: &Bench,
    database: &Database,
    client: &Client,
    roles: &[Role<'_>],
) -> anyhow::Result<Vec<Series>> {
    let connections: &[u32] = bench.scale.pick(&[1, 16, 32, 64], &[16, 32], &[1, 32]);
    say("warming up");
    for role in roles {
        role.settle(client).await?;
        bench
            .wrk
            .run(&role.requests, 16, bench.scale.turn())
            .await?;
    }
    let mut series: Vec<Series> = Vec::new();
    for round in 0..bench.scale.rounds() {
        for connections in connections {
            say(format_args!(
                "latency: round {} of {}, {connections} connections",
                round + 1,
                bench.scale.rounds()
            ));
            let taking_part = |role: &&Role| role.takes_part(bench.scale, *connections);
            for role in rotated(roles, round).filter(taking_part) {
                let measured = checked_turn(bench, database, client, role, *connections).await?;
                let name = &role.contender.name;
                let found = series.iter_mut().find(|it| {
                    it.contender == *name && it.case == role.case && it.connections == *connections
                });
                match found {
                    Some(found) => found.rounds.push(measured),
                    None => series.push(Series {
                        contender: name.clone(),
                        case: role.case,
                        connections: *connections,
                        rounds: vec![measured],
                    }),
                }
            }
        }
    }
    Ok(series)
}

/// One turn of one contender, whose answers come about as they should. From a cache, the SQL must not have run more
/// than now and then. Without one, each answer is that of a statement: of its own, or of one that it shared with
/// others who asked the same meanwhile, as the contender itself counts. (There may be more: those of requests that
/// nobody waited for in the end.)
async fn checked_turn(
    bench: &Bench,
    database: &Database,
    client: &Client,
    role: &Role<'_>,
    connections: u32,
) -> anyhow::Result<Round> {
    let (contender, name) = (role.contender, &role.contender.name);
    for _ in 0..=REPEATS {
        role.settle(client).await?;
        let before = Statements::of(database, contender, client).await?;
        let round = turn(bench, contender, &role.requests, connections).await?;
        let since = async || {
            anyhow::Ok(
                Statements::of(database, contender, client)
                    .await?
                    .since(before),
            )
        };
        let all = round.load.requests;
        let mut made = since().await?;
        if role.case == Case::Uncached {
            // PostgreSQL counts a statement when it has ended, a moment after its rows are sent.
            let deadline = Instant::now() + COUNTED;
            while made.executed + made.shared < all {
                ensure!(
                    Instant::now() < deadline,
                    "{name} gave {all} answers by {made:?}"
                );
                sleep(Duration::from_millis(20)).await;
                made = since().await?;
            }
            return Ok(round);
        }
        if made.executed <= all / 100 + 3 {
            return Ok(round);
        }
        say(format_args!(
            "{name}: {} of {all} were no hits; once more",
            made.executed
        ));
    }
    bail!("{name} gives no hits")
}

/// How often a turn is repeated in which not all were hits: on a machine that others keep busy, the tidemark may be
/// too old for a moment.
const REPEATS: usize = 10;

/// How long PostgreSQL may take to count what has been answered.
const COUNTED: Duration = Duration::from_secs(2);

/// Where answers come from that no cache gives.
#[derive(Clone, Copy, Debug)]
struct Statements {
    /// Statements that PostgreSQL has run.
    executed: u64,
    /// Requests that shared the statement of another one.
    shared: u64,
}

impl Statements {
    async fn of(
        database: &Database,
        contender: &Contender,
        client: &Client,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            executed: u64::try_from(database.executions("invoiced AS (").await?)?,
            shared: contender.coalesced(client).await?,
        })
    }

    fn since(self, before: Self) -> Self {
        Self {
            executed: self.executed.saturating_sub(before.executed),
            shared: self.shared.saturating_sub(before.shared),
        }
    }
}
