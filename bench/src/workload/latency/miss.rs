//! What a miss costs beyond its SQL: a question that nobody has asked yet, through edge and origin, and the
//! same statement on a connection of our own.

use std::{fs, time::Instant};

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, PgConnection, SqlSafeStr as _};
use tidemark_tests::{erp, http::Client};

use crate::{
    contender::Contender,
    say,
    site::{Database, statement::with_parameters},
    statistics::Spread,
    workload::Bench,
};

/// Misses and their SQL.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Miss {
    /// How many pairs were measured.
    pub pairs: usize,
    /// A miss through the edge, in ms.
    pub edge_ms: Spread,
    /// The statement on a direct connection, prepared, until its answer is here, in ms.
    pub sql_ms: Spread,
    /// What is between the two of a pair, in ms.
    pub beyond_ms: Spread,
}

/// One question: its period and region.
struct Question {
    from: String,
    to: String,
    region: &'static str,
}

const REGIONS: [&str; 5] = ["all", "north", "south", "east", "west"];
const ORGANIZATION: i64 = 42;

/// Different questions of about the same weight: a quarter, beginning at different days.
fn question(number: usize) -> Question {
    let (region, number) = (REGIONS[number % REGIONS.len()], number / REGIONS.len());
    let (day, months) = (1 + number % 28, number / 28);
    let (year, month) = (2024 + (months % 18) / 12, 1 + months % 18 % 12);
    let end = month + 3;
    let (end_year, end_month) = if end > 12 {
        (year + 1, end - 12)
    } else {
        (year, end)
    };
    Question {
        from: format!("{year}-{month:02}-{day:02}"),
        to: format!("{end_year}-{end_month:02}-{day:02}"),
        region,
    }
}

/// Measures pairs of both, who comes first changing. Before them the statement runs once more, on a connection
/// of its own, so that neither finds the data, or its own process in PostgreSQL, colder than the other.
pub(super) async fn measure(
    bench: &Bench,
    database: &Database,
    tidemark: &Contender,
) -> anyhow::Result<Miss> {
    let pairs = bench.scale.pick(500, 150, 20);
    say(format_args!("latency: {pairs} misses"));
    let sql = fs::read_to_string(erp::catalog().join("sql/dashboard.sql"))?;
    let sql = with_parameters(
        &sql,
        &[
            ("org", "($1::bigint)"),
            ("from", "($2::text::date)"),
            ("to", "($3::text::date)"),
            ("region", "($4::text)"),
        ],
    );
    let mut before = connect(database).await?;
    let mut connection = connect(database).await?;
    let client = Client::default();
    let (mut edge, mut direct) = (Vec::new(), Vec::new());
    // The first ones open connections and prepare statements.
    let unmeasured = 10;
    for number in 0..pairs + unmeasured {
        let question = question(number);
        run(&mut before, &sql, &question).await?;
        let mut times = [0.0; 2];
        for who in [number % 2, 1 - number % 2] {
            times[who] = match who {
                0 => ask(&client, tidemark, &question).await?,
                _ => run(&mut connection, &sql, &question).await?,
            };
        }
        if number >= unmeasured {
            edge.push(times[0]);
            direct.push(times[1]);
        }
    }
    let beyond = edge.iter().zip(&direct).map(|(edge, direct)| edge - direct);
    let spread = |figures: Option<Spread>| figures.ok_or_else(|| anyhow::anyhow!("no pairs"));
    Ok(Miss {
        pairs,
        beyond_ms: spread(Spread::of(beyond))?,
        edge_ms: spread(Spread::of(edge))?,
        sql_ms: spread(Spread::of(direct))?,
    })
}

/// A connection as the origin's are.
async fn connect(database: &Database) -> anyhow::Result<PgConnection> {
    let mut connection = database.connect().await?;
    sqlx::raw_sql("SET jit = off; SET default_transaction_read_only = on")
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

/// How long a miss takes, in ms.
async fn ask(client: &Client, tidemark: &Contender, question: &Question) -> anyhow::Result<f64> {
    let Question { from, to, region } = question;
    let path = format!("/org/{ORGANIZATION}/dashboard?from={from}&to={to}&region={region}");
    let begun = Instant::now();
    let answer = client.get(&tidemark.url(&path)).await?;
    let took = begun.elapsed();
    ensure!(answer.status.is_success(), "{path}: {answer:?}");
    ensure!(
        answer.cache_status().contains("fwd=miss"),
        "{path} is no miss: {}",
        answer.cache_status()
    );
    Ok(took.as_secs_f64() * 1e3)
}

/// How long the statement takes, in ms.
async fn run(connection: &mut PgConnection, sql: &str, question: &Question) -> anyhow::Result<f64> {
    let begun = Instant::now();
    // The repository's own SQL.
    let statement = sqlx::query(AssertSqlSafe(sql).into_sql_str())
        .bind(ORGANIZATION)
        .bind(&question.from)
        .bind(&question.to)
        .bind(question.region);
    statement.fetch_one(connection).await?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn questions_are_different() {
        let all: BTreeSet<_> = (0..1000)
            .map(question)
            .map(|it| (it.from, it.to, it.region))
            .collect();
        assert_eq!(all.len(), 1000);
        assert!(all.iter().all(|(from, to, _)| from < to));
    }
}
