//! `bench/freshness`: how soon a change is seen at the edge, and whether a command's is at once.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Parser;
use http::Method;
use serde_json::{Value, json};
use tidemark_bench::running::Running;
use tidemark_tests::http::Answer;

const HIT: &str = "tidemark; hit";

/// How long a change may take before the measurement is given up.
const LIMIT: Duration = Duration::from_secs(20);

/// Measures how soon a change in the ERP example is seen through the edge.
///
/// Against the demo of EDGE_URL, ORIGIN_URL and DATABASE_URL, whose organization 42 and prices it
/// changes, or one of its own.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many changes of each kind.
    #[arg(long, default_value_t = 300)]
    rounds: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench/freshness: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let site = Running::find_or_start().await?;
    let measured = async {
        raw_sql(&site, arguments.rounds).await?;
        commands(&site, arguments.rounds).await
    }
    .await;
    site.stop();
    measured
}

/// SQL past Tidemark, as by psql: from the commit's acknowledgement to the first answer of the edge
/// that has the change, which is read without a pause on one kept connection.
async fn raw_sql(site: &Running, rounds: u32) -> anyhow::Result<()> {
    let mut database = site.connect().await?;
    let mut delays = Vec::new();
    let (mut reads, mut stale) = (0_u32, 0_u32);
    for round in 0..rounds {
        let path = "/org/42/dashboard?from=2025-01-01&to=2025-03-31";
        until_hit(site, path).await?;
        // At any point between two looks of the relay.
        tokio::time::sleep(Duration::from_millis(u64::from(round * 7 % 50))).await;
        let name = format!("Round {round} of {}", std::process::id());
        sqlx::query("UPDATE organizations SET name = $1 WHERE id = 42")
            .bind(&name)
            .execute(&mut database)
            .await?;
        let committed = Instant::now();
        loop {
            let answer = read(site, path).await?;
            reads += 1;
            if json(&answer)?["organization"]["name"] == name.as_str() {
                break;
            }
            stale += 1;
            ensure!(committed.elapsed() < LIMIT, "not seen within {LIMIT:?}");
        }
        delays.push(committed.elapsed());
    }
    println!(
        "commit by SQL → seen at the edge, {rounds} rounds ({reads} reads, {stale} of them before the change was known)"
    );
    show(&mut delays);
    Ok(())
}

/// Commands: the read that follows the answer has to have the change.
async fn commands(site: &Running, rounds: u32) -> anyhow::Result<()> {
    let (mut latencies, mut reads) = (Vec::new(), Vec::new());
    let (mut stale, mut pending) = (0_u32, 0_u32);
    for round in 1..=rounds {
        let product = 1 + round % 40;
        let page = format!("/products?limit=1&after={}", product - 1);
        until_hit(site, &page).await?;
        let price = f64::from(round) + 0.25;
        let begun = Instant::now();
        let answer = site
            .client
            .send(
                Method::PUT,
                &format!("{}/product/{product}/price", site.origin),
                &[],
                json!({ "price": price }).to_string(),
            )
            .await?;
        latencies.push(begun.elapsed());
        ensure!(answer.status.is_success(), "{answer:?}");
        pending += u32::from(answer.header("tidemark-invalidation") != "applied");
        let begun = Instant::now();
        let answer = read(site, &page).await?;
        reads.push(begun.elapsed());
        stale += u32::from(json(&answer)?[0]["price"].as_f64() != Some(price));
    }
    println!("command → its answer (committed and applied), {rounds} rounds, {pending} pending");
    show(&mut latencies);
    println!("the next read through the edge: {stale} stale of {rounds}");
    show(&mut reads);
    ensure!(
        stale == 0 || pending > 0,
        "{stale} reads did not see the write before them"
    );
    Ok(())
}

async fn read(site: &Running, path: &str) -> anyhow::Result<Answer> {
    let answer = site.client.get(&format!("{}{path}", site.edge)).await?;
    ensure!(answer.status.is_success(), "{path}: {answer:?}");
    Ok(answer)
}

async fn until_hit(site: &Running, path: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    while read(site, path).await?.cache_status() != HIT {
        ensure!(begun.elapsed() < LIMIT, "{path} does not become a hit");
    }
    Ok(())
}

fn json(answer: &Answer) -> anyhow::Result<Value> {
    serde_json::from_slice(&answer.body).context("an answer that is no JSON")
}

fn show(durations: &mut [Duration]) {
    durations.sort_unstable();
    let at = |part: f64| {
        let last = durations.len().saturating_sub(1);
        let place = (part * last as f64).round() as usize;
        durations
            .get(place)
            .map_or(0.0, |it| it.as_secs_f64() * 1_000.0)
    };
    println!(
        "  p50 {:.1} ms   p90 {:.1} ms   p99 {:.1} ms   max {:.1} ms",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}
