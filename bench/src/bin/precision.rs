//! `bench/precision`: does a change invalidate what it touches, and only that?
//!
//! A working set of the example's answers is cached. Then come typical changes, one after another.
//! After each, every answer is read through the edge (is it still a hit?) and from the origin (did its
//! body really change?).

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Parser;
use http::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use tidemark_bench::running::Running;
use tidemark_tests::http::{Answer, Client};

const HIT: &str = "tidemark; hit";

/// Requests at a time.
const CLIENTS: usize = 8;

/// How often an answer is read until it is a hit.
const PATIENCE: usize = 200;

/// Measures how precisely changes in the ERP example invalidate.
///
/// Against the demo of EDGE_URL, ORIGIN_URL and DATABASE_URL, which it changes, or one of its own.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often each kind of change is made, each time to something else.
    #[arg(long, default_value_t = 3)]
    repeat: i64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench/precision: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let site = Running::find_or_start().await?;
    let measured = measure(&site, arguments.repeat).await;
    site.stop();
    measured
}

async fn measure(site: &Running, repeat: i64) -> anyhow::Result<()> {
    let mut database = site.connect().await?;
    let paths = working_set(&mut database).await?;
    println!(
        "{} cached answers; each kind of change {repeat} times\n",
        paths.len()
    );
    println!(
        "{:<28} {:>8} {:>12} {:>9} {:>9} {:>20} {:>16}",
        "change",
        "touched",
        "invalidated",
        "needless",
        "stale",
        "untouched stay hits",
        "needless/inval."
    );
    let mut total = Tally::default();
    for change in changes() {
        let mut tally = Tally::default();
        for number in 0..repeat {
            tally.add(&observe(site, &mut database, &paths, &change, number).await?);
        }
        tally.show(change.name);
        total.add(&tally);
    }
    total.show("all");
    ensure!(
        total.stale == 0,
        "{} hits were not what the origin says",
        total.stale
    );
    Ok(())
}

/// What the example's users ask for: each organization's dashboard for several periods, one of them
/// by region, some orders, the price list by page and category, profiles and saved reports.
async fn working_set(database: &mut PgConnection) -> anyhow::Result<Vec<String>> {
    let mut paths = Vec::new();
    for org in ids(database, "SELECT id FROM organizations ORDER BY id").await? {
        for period in [
            "from=2025-01-01&to=2025-03-31",
            "from=2025-03-01&to=2025-03-31",
            "from=2024-01-01&to=2024-12-31",
            "from=2025-01-01&to=2025-03-31&region=north",
        ] {
            paths.push(format!("/org/{org}/dashboard?{period}"));
        }
    }
    let orders = "SELECT id FROM orders WHERE id % 20 IN (1, 2) ORDER BY id DESC LIMIT 800";
    for order in ids(database, orders).await? {
        paths.push(format!("/order/{order}"));
    }
    for user in ids(
        database,
        "SELECT id FROM users WHERE id % 2 = 0 ORDER BY id LIMIT 400",
    )
    .await?
    {
        paths.push(format!("/user/{user}/profile"));
    }
    for report in ids(database, "SELECT id FROM reports ORDER BY id LIMIT 200").await? {
        paths.push(format!("/report/{report}/data"));
    }
    let categories: Vec<String> = sqlx::query_scalar("SELECT DISTINCT category FROM products")
        .fetch_all(&mut *database)
        .await?;
    paths.extend(
        categories
            .iter()
            .map(|it| format!("/products?category={it}")),
    );
    paths.extend((0..5).map(|page| format!("/products?after={}", page * 100)));
    Ok(paths)
}

async fn ids(database: &mut PgConnection, sql: &'static str) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(sql).fetch_all(database).await
}

/// A kind of change.
struct Change {
    name: &'static str,
    make: Make,
}

/// How it is made, the first time, the second time and so on.
enum Make {
    /// A command: method, path and body.
    Command(fn(i64) -> (Method, String, Value)),
    /// Plain SQL, past Tidemark.
    Sql(fn(i64) -> String),
}

/// What an ERP's users do all day, and what its administrators do now and then.
fn changes() -> Vec<Change> {
    let command = |name, make| Change {
        name,
        make: Make::Command(make),
    };
    let sql = |name, make| Change {
        name,
        make: Make::Sql(make),
    };
    vec![
        command("new order", |n| {
            let org = 42 + n;
            let order = json!({"customer": org, "date": "2025-03-31", "items": [{"product": 7 + n, "quantity": 1}]});
            (Method::POST, format!("/org/{org}/orders"), order)
        }),
        command("order status", |n| {
            let status = json!({"status": "cancelled"});
            (Method::PATCH, format!("/order/{}", 19_941 + 20 * n), status)
        }),
        command("payment", |n| {
            let payment = json!({"amount": 1, "method": "card"});
            (
                Method::POST,
                format!("/order/{}/payments", 19_821 + 20 * n),
                payment,
            )
        }),
        command("price", |n| {
            let price = json!({"price": 900 + n});
            (Method::PUT, format!("/product/{}/price", 17 + n), price)
        }),
        command("user's name", |n| {
            let name = json!({"name": format!("Ada {n}")});
            (Method::PATCH, format!("/user/{}/profile", 84 + 2 * n), name)
        }),
        sql("customer's name", |n| {
            format!(
                "UPDATE customers SET name = name || ' & Co' WHERE id = {}",
                50 + n
            )
        }),
        sql("customer's address", |n| {
            format!(
                "UPDATE customers SET email = 'new.' || email WHERE id = {}",
                60 + n
            )
        }),
        sql("new customer", |n| {
            format!(
                "INSERT INTO customers (org_id, name, email, region) VALUES ({}, 'New', 'new@example.com', 'north')",
                70 + n
            )
        }),
        sql("stock", |n| {
            format!(
                "UPDATE inventory SET on_hand = on_hand + 1 WHERE product_id = {}",
                7 + n
            )
        }),
        sql("new product", |n| {
            format!(
                "INSERT INTO products (sku, name, category, price) VALUES ('NEW-{n}', 'New', 'tools', 1)"
            )
        }),
        sql("product's name", |n| {
            format!(
                "UPDATE products SET name = name || ' II' WHERE id = {}",
                27 + n
            )
        }),
        sql("organization's name", |n| {
            format!(
                "UPDATE organizations SET name = name || ' Group' WHERE id = {}",
                80 + n
            )
        }),
        sql("report's title", |n| {
            format!(
                "UPDATE reports SET title = title || '!' WHERE id = {}",
                90 + n
            )
        }),
        sql("order's item", |n| {
            format!(
                "UPDATE order_items SET quantity = quantity + 1 WHERE order_id = {}",
                19_701 + 20 * n
            )
        }),
    ]
}

/// What became of the working set by one change, or by several.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Answers whose body changed.
    touched: usize,
    /// Answers that were no hits any more.
    invalidated: usize,
    /// Those of them whose body had not changed.
    needless: usize,
    /// Answers whose body had not changed.
    untouched: usize,
    /// Hits whose body had changed: never.
    stale: usize,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.touched += other.touched;
        self.invalidated += other.invalidated;
        self.needless += other.needless;
        self.untouched += other.untouched;
        self.stale += other.stale;
    }

    fn show(&self, name: &str) {
        let percent = |part: usize, whole: usize| match whole {
            0 => "–".to_owned(),
            whole => format!("{:.1} %", 100.0 * part as f64 / whole as f64),
        };
        println!(
            "{name:<28} {:>8} {:>12} {:>9} {:>9} {:>20} {:>16}",
            self.touched,
            self.invalidated,
            self.needless,
            self.stale,
            percent(self.untouched - self.needless, self.untouched),
            percent(self.needless, self.invalidated),
        );
    }
}

async fn observe(
    site: &Running,
    database: &mut PgConnection,
    paths: &[String],
    change: &Change,
    number: i64,
) -> anyhow::Result<Tally> {
    let before = read_all(&site.client, &site.edge, paths, Until::Hit).await?;
    let at_least = make(site, database, change, number).await?;
    // A read that insists on the change waits for no relay: it may be filled anew although nothing
    // touched it. So wait until a tidemark covers the change.
    settle(site, "/user/1/profile", at_least).await?;
    let edge = read_all(&site.client, &site.edge, paths, Until::Proven).await?;
    let origin = read_all(&site.client, &site.origin, paths, Until::Once).await?;

    let mut tally = Tally::default();
    for path in paths {
        let tag = |answers: &BTreeMap<String, Answer>| {
            answers
                .get(path)
                .map(|answer| answer.header("etag").to_owned())
        };
        let touched = tag(&before) != tag(&origin);
        let hit = edge
            .get(path)
            .is_some_and(|answer| answer.cache_status() == HIT);
        tally.touched += usize::from(touched);
        tally.untouched += usize::from(!touched);
        tally.invalidated += usize::from(!hit);
        tally.needless += usize::from(!hit && !touched);
        tally.stale += usize::from(tag(&edge) != tag(&origin));
    }
    Ok(tally)
}

/// Makes the change, and gives a moment after it by the database's clock.
async fn make(
    site: &Running,
    database: &mut PgConnection,
    change: &Change,
    number: i64,
) -> anyhow::Result<i64> {
    match &change.make {
        Make::Command(request) => {
            let (method, path, body) = request(number);
            let url = format!("{}{path}", site.origin);
            let answer = site
                .client
                .send(method, &url, &[], body.to_string())
                .await?;
            ensure!(answer.status.is_success(), "{}: {answer:?}", change.name);
        }
        Make::Sql(sql) => {
            let done = sqlx::raw_sql(AssertSqlSafe(sql(number)))
                .execute(&mut *database)
                .await
                .with_context(|| change.name)?;
            ensure!(done.rows_affected() > 0, "{} changes nothing", change.name);
        }
    }
    let now = "SELECT ceil(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    Ok(sqlx::query_scalar(now).fetch_one(database).await?)
}

/// Waits until hits are proven at a moment or later, as one of an answer outside of the working set is.
async fn settle(site: &Running, path: &str, at_least: i64) -> anyhow::Result<()> {
    for _ in 0..PATIENCE {
        let answer = site.client.get(&format!("{}{path}", site.edge)).await?;
        let proven: i64 = answer.header("tidemark-as-of").parse().unwrap_or_default();
        if answer.cache_status() == HIT && proven >= at_least {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    anyhow::bail!("the change is not applied; does the relay run?")
}

/// How long an answer is asked for.
#[derive(Clone, Copy, PartialEq)]
enum Until {
    /// Once.
    Once,
    /// Until the cache can tell whether it is good: while the relay stands still it can't.
    Proven,
    /// Until it comes from the cache.
    Hit,
}

impl Until {
    fn accepts(self, answer: &Answer) -> bool {
        match self {
            Self::Once => true,
            Self::Proven => !answer.cache_status().contains("detail=unproven"),
            Self::Hit => answer.cache_status() == HIT,
        }
    }
}

/// Reads every path, several at a time.
async fn read_all(
    client: &Client,
    base: &str,
    paths: &[String],
    until: Until,
) -> anyhow::Result<BTreeMap<String, Answer>> {
    let readers: Vec<_> = (0..CLIENTS)
        .map(|reader| {
            let client = client.clone();
            let base = base.to_owned();
            let paths: Vec<_> = paths
                .iter()
                .skip(reader)
                .step_by(CLIENTS)
                .cloned()
                .collect();
            tokio::spawn(async move {
                let mut answers = Vec::with_capacity(paths.len());
                for path in paths {
                    let answer = read(&client, &format!("{base}{path}"), until).await?;
                    answers.push((path, answer));
                }
                anyhow::Ok(answers)
            })
        })
        .collect();
    let mut all = BTreeMap::new();
    for reader in readers {
        all.extend(reader.await??);
    }
    Ok(all)
}

async fn read(client: &Client, url: &str, until: Until) -> anyhow::Result<Answer> {
    for _ in 0..PATIENCE {
        let answer = client.get(url).await?;
        ensure!(answer.status.is_success(), "{url}: {answer:?}");
        if until.accepts(&answer) {
            return Ok(answer);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    anyhow::bail!("{url} does not become a hit")
}
