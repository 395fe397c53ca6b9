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
            Pace::Rest => "at rest",
            Pace::Rows => "5 000 rows a second tried, one a transaction",
            Pace::Tens => "5 000 rows a second tried, ten a transaction",
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
        table.row(
            [name.to_owned()]
                .into_iter()
                .chain(figures.map(number::plain)),
        );
    }
    page.table(&table);
    Ok(())
}

fn goals(outcome: &Outcome, page: &mut Page) {
    for (kind, what, limit) in [
        (
            "insert one order",
            "writers: single-row inserts with capture",
            0.75,
        ),
        (
            "insert 1 000 orders",
            "writers: 1 000-row inserts with capture",
            0.95,
        ),
        (
            "update an unused column",
            "writers: updates of an unused column",
            0.95,
        ),
        (
            "update 1 000 unused",
            "writers: 1 000-row updates of an unused column",
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
        found.next().filter(|it| it.changes >= 4_500.0)
    };
    let busy = reached(Pace::Rows).or_else(|| reached(Pace::Tens));
    let changes = busy.map_or("5 000".to_owned(), |it| number::plain(it.changes));
    let cores = busy.map(|it| (format!("{} cores", number::plain(it.cores)), it.cores < 0.5));
    page.goal(Goal::words(
        &format!("relay at {changes} changes a second: CPU"),
        "< 0.5 cores",
        cores,
    ));
    let age = busy.map(|it| {
        (
            format!("{} ms at most", number::plain(it.age.max_ms)),
            it.age.max_ms <= 250.0,
        )
    });
    page.goal(Goal::words(
        &format!("relay at {changes} changes a second: tidemark's age"),
        "never > 250 ms",
        age,
    ));
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
