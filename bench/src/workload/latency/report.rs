//! The workload's part of the report.

use super::{Case, Latency, Series};
use crate::{
    report::{Chart, Goal, Line, Page, Scale, Table, number},
    statistics::Spread,
    workload::turn::{Round, figures, spread},
};

impl Case {
    /// What it is called in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uncached => "its SQL",
            Self::Shared => "shared cache",
            Self::Local => "own memory",
            Self::NotModified => "304",
        }
    }
}

impl Series {
    fn name(&self) -> String {
        format!("{}: {}", self.contender, self.case.name())
    }
}

impl Latency {
    fn find(&self, contender: &str, case: Case, connections: u32) -> Option<&Series> {
        self.series.iter().find(|it| {
            it.contender == contender && it.case == case && it.connections == connections
        })
    }

    /// Tidemark's figure divided by a peer's, round by round.
    fn ratio(
        &self,
        ours: Case,
        peer: (&str, Case),
        connections: u32,
        figure: fn(&Round) -> f64,
    ) -> Option<Spread> {
        let ours = self.find("Tidemark", ours, connections)?;
        let theirs = self.find(peer.0, peer.1, connections)?;
        let (ours, theirs) = (
            figures(&ours.rounds, figure),
            figures(&theirs.rounds, figure),
        );
        Spread::of_ratios(&ours, &theirs)
    }

    fn connections(&self) -> Vec<u32> {
        let mut all: Vec<_> = self.series.iter().map(|it| it.connections).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Contenders in their cases, each once, in the order in which they were measured first.
    fn roles(&self) -> Vec<(&str, Case)> {
        let mut roles = Vec::new();
        for series in &self.series {
            let role = (series.contender.as_str(), series.case);
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        roles
    }
}

const NATIVE_GET: (&str, Case) = ("Native, one GET", Case::Shared);
const NATIVE_MEMORY: (&str, Case) = ("Native, memory", Case::Local);

/// Adds goals, tables and plots.
///
/// # Errors
/// A plot can't be drawn.
pub fn report(latency: &Latency, page: &mut Page) -> anyhow::Result<()> {
    goals(latency, page);
    page.text(format!(
        "The dashboard of one organization, a body of {}. *Its SQL*: each request is another question, so that \
         nobody merges them. *Shared cache*: from Redis. *Own memory*: from the process, or Tidemark's instance, \
         that answers. CPU is that of the answering server alone (user and system), without Redis and PostgreSQL.",
        number::bytes(latency.body_bytes as f64)
    ));
    if !latency.peers {
        page.text("NestJS and nginx did not take part in this run.");
    }
    for connections in latency.connections() {
        page.heading(&format!(
            "{connections} connection{}",
            if connections == 1 { "" } else { "s" }
        ));
        page.table(&table(latency, connections));
    }
    plots(latency, page)?;
    page.heading("A miss");
    let miss = &latency.miss;
    page.text(format!(
        "{} pairs: a question that nobody has asked yet, through edge and origin; and the same statement, prepared, on \
         a direct connection. Times in ms.",
        miss.pairs
    ));
    let mut table = Table::new(["", "median", "quartiles"]);
    for (name, spread) in [
        ("miss through the edge", &miss.edge_ms),
        ("the SQL alone", &miss.sql_ms),
        ("beyond the SQL, pair by pair", &miss.beyond_ms),
    ] {
        let quartiles = format!(
            "{}–{}",
            number::plain(spread.low),
            number::plain(spread.high)
        );
        table.row([name.to_owned(), number::plain(spread.median), quartiles]);
    }
    page.table(&table);
    Ok(())
}

fn goals(latency: &Latency, page: &mut Page) {
    let rate: fn(&Round) -> f64 = |round| round.load.rate();
    let shared = |peer| latency.ratio(Case::Shared, peer, 32, rate);
    let what = "hit in Redis, 32 connections, requests a second";
    page.goal(Goal::at_least(
        what,
        0.5,
        "× native with one GET",
        shared(NATIVE_GET),
    ));
    let local = latency.ratio(Case::Local, NATIVE_MEMORY, 32, rate);
    let what = "hit in the instance cache, 32 connections, requests a second";
    page.goal(Goal::at_least(what, 0.5, "× native from memory", local));
    let cpu = latency.ratio(Case::Shared, NATIVE_GET, 32, |round| round.cpu_us);
    page.goal(Goal::at_most(
        "CPU a hit, 32 connections",
        3.0,
        "× native with one GET",
        cpu,
    ));
    let p99 = latency.ratio(Case::Shared, NATIVE_GET, 16, |round| round.load.p99_us);
    page.goal(Goal::at_most(
        "p99 of hits, 16 connections",
        3.0,
        "× native with one GET",
        p99,
    ));
    let miss = Some(latency.miss.beyond_ms);
    page.goal(Goal::at_most(
        "miss: time beyond the SQL's own",
        1.5,
        "ms",
        miss,
    ));
}

fn table(latency: &Latency, connections: u32) -> Table {
    let mut table = Table::new([
        "",
        "requests/s",
        "p50, ms",
        "p99, ms",
        "CPU a request, µs",
        "Tidemark's rate ÷ this",
    ]);
    for (contender, case) in latency.roles() {
        let Some(series) = latency.find(contender, case, connections) else {
            continue;
        };
        let cell = |figure: fn(&Round) -> f64| {
            spread(&series.rounds, figure).map_or(String::new(), |spread| number::spread(&spread))
        };
        // What a peer does in a case is held against what Tidemark does there.
        let ratio = latency.ratio(case, (contender, case), connections, |round| {
            round.load.rate()
        });
        let ratio = ratio.filter(|_| contender != "Tidemark");
        table.row([
            series.name(),
            cell(|round| round.load.rate()),
            cell(|round| round.load.p50_us / 1e3),
            cell(|round| round.load.p99_us / 1e3),
            cell(|round| round.cpu_us),
            ratio.map_or(String::new(), |ratio| number::spread(&ratio)),
        ]);
    }
    table
}

fn plots(latency: &Latency, page: &mut Page) -> anyhow::Result<()> {
    type Figure = fn(&Round) -> f64;
    let plots: [(&str, &str, &str, Figure); 2] = [
        (
            "throughput",
            "Requests a second",
            "requests a second",
            |round| round.load.rate(),
        ),
        ("p99", "99th percentile of latency", "p99, ms", |round| {
            round.load.p99_us / 1e3
        }),
    ];
    for (name, title, axis, figure) in plots {
        let mut chart = Chart::new(title)
            .x("connections", Scale::Log)
            .y(axis, Scale::Log)
            .marked_at_points(number::plain);
        for (contender, case) in latency.roles() {
            let points = latency.connections().into_iter().map(|connections| {
                let series = latency.find(contender, case, connections);
                (
                    f64::from(connections),
                    series.and_then(|it| spread(&it.rounds, figure)),
                )
            });
            chart.line(Line::through(
                format!("{contender}: {}", case.name()),
                points,
            ));
        }
        page.plot(&format!("latency-{name}"), &chart)?;
    }
    Ok(())
}
