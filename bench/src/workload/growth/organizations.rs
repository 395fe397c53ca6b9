//! Hits and changes where there are ever more organizations, each with dashboards of its own.

use std::{
    fmt::Display,
    fs,
    time::{Duration, Instant},
};

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use tidemark_tests::{erp::Scale, http::Client, tools};

use super::CONNECTIONS;
use crate::{
    contender::{self, Contender, tidemark::origin_config},
    load::Requests,
    say,
    site::{Database, Site},
    statistics::{Spread, rotated},
    workload::{
        Bench, settle,
        turn::{Round, turn},
    },
};

/// With so many organizations.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// How many there are; the dashboard of each is cached.
    pub organizations: u64,
    /// Turns of Tidemark, any organization at random.
    pub tidemark: Vec<Round>,
    /// Turns of the native limit in the same rounds.
    pub native: Vec<Round>,
    /// From the moment in which a plain SQL commit returns to the end of the first answer that shows it, in ms.
    pub seen_ms: Spread,
}

/// What is read of each.
const QUARTER: &str = "from=2025-01-01&to=2025-03-31";

/// So many dashboards are asked for, before it counts, to see that they are cached.
const SAMPLE: usize = 50;

/// How long a change may take to be seen before the measurement is given up.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Seen>> {
    let steps: &[u32] = bench
        .scale
        .pick(&[200, 2_000, 20_000], &[200, 2_000], &[50, 100]);
    let mut measured = Vec::new();
    for &organizations in steps {
        say(format_args!("growth: {organizations} organizations"));
        measured.push(with(bench, organizations).await?);
    }
    Ok(measured)
}

async fn with(bench: &Bench, organizations: u32) -> anyhow::Result<Seen> {
    let site = &bench.site;
    site.flush_redis().await?;
    // Ten orders each: what grows is how many there are, not what each of them has.
    let scale = Scale {
        organizations,
        customers: organizations.max(2_000),
        products: 500,
        orders: organizations * bench.scale.pick(10, 10, 2),
    };
    let database = site.scaled_database("growth_organizations", scale).await?;
    let tidemark = contender::tidemark::start(site, &database).await?;
    let (native, _memory) = contender::native::start(site, &[b'x'; 1024], "").await?;
    let organizations = u64::from(organizations);
    load(site, &database, &tidemark, organizations).await?;

    let any = Requests::any_of(&tidemark.reads, &dashboard("%d"), 1, organizations);
    let same = Requests::same(&native.reads, "/x");
    let (mut ours, mut natives) = (Vec::new(), Vec::new());
    let rounds = bench.scale.rounds();
    for round in 0..rounds {
        for tidemarks in rotated(&[true, false], round) {
            match tidemarks {
                true => ours.push(turn(bench, &tidemark, &any, CONNECTIONS).await?),
                false => natives.push(turn(bench, &native, &same, CONNECTIONS).await?),
            }
        }
    }
    Ok(Seen {
        organizations,
        tidemark: ours,
        native: natives,
        seen_ms: seen(bench, &database, &tidemark, organizations).await?,
    })
}

/// The path of an organization's dashboard.
fn dashboard(organization: impl Display) -> String {
    format!("/org/{organization}/dashboard?{QUARTER}")
}

/// Some of so many organizations, from all over them.
fn some_of(organizations: u64) -> impl Iterator<Item = u64> {
    (0..).map(move |number: u64| 1 + number * 7919 % organizations)
}

/// Has all dashboards cached.
async fn load(
    site: &Site,
    database: &Database,
    tidemark: &Contender,
    organizations: u64,
) -> anyhow::Result<()> {
    say("loading all dashboards");
    let file = site.file("dashboards.txt");
    let paths: Vec<_> = (1..=organizations).map(dashboard).collect();
    fs::write(&file, paths.join("\n"))?;
    let mut warm = origin_config(site, database, "warm").command(&["warm"])?;
    tools::output(warm.arg("--from").arg(file))?;
    let client = Client::default();
    for organization in some_of(organizations).take(SAMPLE) {
        let url = tidemark.url(&dashboard(organization));
        let answer = client.get(&url).await?;
        ensure!(
            answer.cache_status() == "tidemark; hit",
            "{url}: {answer:?}"
        );
    }
    Ok(())
}

/// How long after its commit a change is seen.
async fn seen(
    bench: &Bench,
    database: &Database,
    tidemark: &Contender,
    organizations: u64,
) -> anyhow::Result<Spread> {
    let client = Client::default();
    let mut connection = database.connect().await?;
    let mut times = Vec::new();
    for organization in some_of(organizations).take(bench.scale.pick(60, 15, 5)) {
        let url = tidemark.url(&dashboard(organization));
        settle(&client, &url, &[], 200, Some("tidemark; hit")).await?;
        let before = client.get(&url).await?;
        sqlx::query("INSERT INTO orders (org_id, customer_id, ordered_on) VALUES ($1, $1, DATE '2025-02-01')")
            .bind(i64::try_from(organization)?)
            .execute(&mut connection)
            .await?;
        let committed = Instant::now();
        loop {
            let answer = client.get(&url).await?;
            ensure!(answer.status.is_success(), "{answer:?}");
            if answer.body != before.body {
                break;
            }
            ensure!(
                committed.elapsed() < LIMIT,
                "a change is not seen after {LIMIT:?}"
            );
        }
        times.push(committed.elapsed().as_secs_f64() * 1e3);
    }
    Spread::of(times).ok_or_else(|| anyhow::anyhow!("no changes"))
}
