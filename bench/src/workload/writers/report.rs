//! The workload's part of the report.

use super::{Capture, Outcome, Pace, capture::Kind};
use crate::{
    report::{Goal, Page, Table, number},
    statistics::Spread,
};

/// Adds goals and tables.
///
/// # Errors
/// None; as other workloads' reports.
pub fn report(outcome: &Outcome, page: &mut Page) -> anyhow::Result<()> {
    goals(outcome, page);
    page.heading("Capture");
    page.text(format!(
        "Transactions a second of {} writers (one, where a statement changes 1 000 rows) on two databases with the \
         same data, one of them with Tidemark's triggers. Commits are durable. Nothing drains the outbox meanwhile.",
        outcome.capture.clients
    ));
    page.table(&capture_table(&outcome.capture));
    page.heading("Relay");
    page.text(
        "A `tidemark-origin relay` of its own. The tidemark's age is looked at every 3 ms; a relay at rest looks at the \
         outbox every 25 ms.",
    );
    let mut table = Table::new([
        "",
        "rows changed/s",
        "outbox rows/s",
        "CPU, cores",
        "CPU of its PostgreSQL session, cores",
        "age p50, ms",
        "age p99, ms",
        "age max, ms",
    ]);
    for relay in &outcome.relay {
        let name = match relay.pace {
            Pace::Rest => "at rest".to_owned(),
            pace => format!("5 000 rows a second tried, {}", pace.rows()),
        };
        let figures = [
            relay.changes,
            relay.recorded,
            relay.cores,
            relay.session_cores,
            relay.age.p50_ms,
            relay.age.p99_ms,
            relay.age.max_ms,
        ];
        table.row([name].into_iter().chain(figures.map(number::plain)));
    }
    page.table(&table);
    Ok(())
}

fn goals(outcome: &Outcome, page: &mut Page) {
    for (kind, what, limit) in [
        (
            "insert one order",
            "writers: single-row inserts a second with capture, orders",
            0.75,
        ),
        (
            "insert one order item",
            "writers: single-row inserts a second with capture, order items",
            0.75,
        ),
        ("insert 1 000 orders", "… 1 000-row statements", 0.95),
        (
            "update an unused column",
            "… updates of unused columns, one row",
            0.95,
        ),
        (
            "update 1 000 unused",
            "… updates of unused columns, 1 000 rows",
            0.95,
        ),
    ] {
        let kind = outcome.capture.kinds.iter().find(|it| it.name == kind);
        page.goal(Goal::at_least(
            what,
            limit,
            "× without",
            kind.and_then(Kind::ratio),
        ));
    }
    // The harder of the two ways to make 5 000 changes, if the machine can make as many that way.
    let reached = |pace| {
        let mut found = outcome.relay.iter().filter(move |it| it.pace == pace);
        found.next().filter(|it| it.changes >= ENOUGH)
    };
    let busy = reached(Pace::Rows).or_else(|| reached(Pace::Tens));
    let pace = busy.map_or(String::new(), |it| {
        format!(
            "{} changes a second, {}",
            number::plain(it.changes),
            it.pace.rows()
        )
    });
    let cores = busy.map(|it| (format!("{} cores", number::plain(it.cores)), it.cores < 0.5));
    let what = "relay at 5 000 changes a second: CPU";
    page.goal(Goal::words(what, "under half a core", cores).noted(&pace));
    let age = busy.map(|it| {
        let oldest = format!("{} ms at most", number::plain(it.age.max_ms));
        (oldest, it.age.max_ms <= 250.0)
    });
    let what = "… the tidemark's age";
    page.goal(Goal::words(what, "never older than 250 ms", age).noted(&pace));
}

/// From how many changes a second 5 000 are taken to be reached: pgbench's own rate wavers.
const ENOUGH: f64 = 4_500.0;

impl Pace {
    const fn rows(self) -> &'static str {
        match self {
            Self::Rest => "none",
            Self::Rows => "one a transaction",
            Self::Tens => "ten a transaction",
        }
    }
}

impl Kind {
    fn ratio(&self) -> Option<Spread> {
        Spread::of_ratios(&self.captured, &self.plain)
    }
}

/// Writers with and without capture.
pub fn capture_table(capture: &Capture) -> Table {
    let mut table = Table::new([
        "",
        "without, tps",
        "captured, tps",
        "ratio",
        "outbox rows in the last round",
    ]);
    for kind in &capture.kinds {
        let cell = |spread: Option<Spread>| spread.map_or(String::new(), |it| number::spread(&it));
        table.row([
            kind.name.clone(),
            cell(Spread::of(kind.plain.iter().copied())),
            cell(Spread::of(kind.captured.iter().copied())),
            cell(kind.ratio()),
            number::plain(kind.recorded as f64),
        ]);
    }
    table
}
