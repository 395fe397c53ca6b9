//! The workload's part of the report.

use super::Start;
use crate::report::{Goal, Page, Table, number};

/// Adds goals and tables.
///
/// # Errors
/// None; as other workloads' reports.
pub fn report(start: &Start, page: &mut Page) -> anyhow::Result<()> {
    let beyond = Some(start.stored.beyond_gzip);
    page.goal(Goal::at_most(
        "Redis memory: an entry beyond its body, compressed by `gzip -9`",
        256.0,
        "bytes",
        beyond,
    ));
    let what = "cold start to first answer of the component, precompiled";
    page.goal(Goal::at_most(
        what,
        5.0,
        "ms",
        Some(start.instance_first_ms),
    ));

    page.text(
        "The component is compiled already (`--cache-dir`); every answer here is a hit in Redis. A host drops an instance \
         after a second of idleness: what comes then needs a new one.",
    );
    let mut table = Table::new(["", "median", "quartiles"]);
    for (name, spread) in [
        (
            "`tidemark-host`: start → listening, ms",
            &start.listening_ms,
        ),
        ("listening → first answer, ms", &start.host_first_ms),
        (
            "first answer of a new instance, ms",
            &start.instance_first_ms,
        ),
        ("next answers of that instance, ms", &start.instance_next_ms),
    ] {
        table.spread(name, spread, number::plain);
    }
    page.table(&table);

    let memory = &start.memory;
    let mut table = Table::new(["memory and size", ""]);
    table.row([
        "`tidemark-host` without instances".to_owned(),
        number::bytes(memory.idle as f64),
    ]);
    let held = format!("with {} instances, 16 requests in each", memory.instances);
    table.row([held, number::bytes(memory.held as f64)]);
    table.row([
        "an instance, with its requests".to_owned(),
        number::bytes(memory.each()),
    ]);
    table.row(["the component".to_owned(), number::bytes(start.wasm as f64)]);
    table.row([
        "the same by `gzip -9`".to_owned(),
        number::bytes(start.wasm_gzip as f64),
    ]);
    page.table(&table);

    let stored = &start.stored;
    page.text(format!(
        "Redis' memory for {} dashboards (`MEMORY USAGE`):",
        stored.entries
    ));
    let mut table = Table::new(["each", "median", "quartiles"]);
    for (name, spread) in [
        ("body", &stored.body),
        ("body, by `gzip -9`", &stored.gzip),
        ("the entry in Redis", &stored.usage),
        ("… beyond the compressed body", &stored.beyond_gzip),
    ] {
        table.spread(name, spread, number::bytes);
    }
    page.table(&table);
    Ok(())
}
