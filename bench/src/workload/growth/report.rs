//! The workload's part of the report.

use super::{CONNECTIONS, Crowd, Growth, Step};
use crate::{
    report::{Chart, Goal, Line, Page, Scale, Table, number},
    statistics::Spread,
    workload::turn::{Round, ratio, spread},
};

type Figure = fn(&Round) -> f64;

const RATE: Figure = |round| round.load.rate();
const CPU: Figure = |round| round.cpu_us;
const P50: Figure = |round| round.load.p50_us / 1e3;

/// Adds goals, tables and plots.
///
/// # Errors
/// A plot can't be drawn.
pub fn report(growth: &Growth, page: &mut Page) -> anyhow::Result<()> {
    page.text(format!(
        "Hits in Redis at {CONNECTIONS} connections. CPU is that of `tidemark-host` for each request."
    ));
    keys(growth, page)?;
    page.heading("Scopes");
    page.text("Answers of the same length that depend on 1 to 32 tables, each a scope.");
    steps(page, "scopes", "scopes", &growth.scopes, number::plain)?;
    page.heading("Length of the body");
    steps(
        page,
        "body",
        "length of the body",
        &growth.body,
        number::bytes,
    )?;
    organizations(growth, page)?;
    writers(&growth.writers, page)
}

fn cell(spread: Option<Spread>) -> String {
    spread.map_or(String::new(), |spread| number::spread(&spread))
}

fn keys(growth: &Growth, page: &mut Page) -> anyhow::Result<()> {
    page.heading("Keys");
    page.text(
        "Entries of about 140 bytes, each with a stamp of its own, any of them at random. The native limit has a turn in each round: one GET of any of the same entries, without a proof.",
    );
    let mut table = Table::new([
        "keys",
        "requests/s",
        "p50, ms",
        "CPU a request, µs",
        "÷ native's rate",
        "Redis' memory a key with its stamp",
    ]);
    let mut chart = Chart::new("Hits by the number of keys")
        .x("keys in Redis", Scale::Log)
        .y("requests a second, ÷ native's", Scale::Linear)
        .marked_at_points(number::plain);
    let beside_native = |step: &super::Keys| ratio(&step.tidemark, &step.native, RATE);
    for step in &growth.keys {
        table.row([
            number::plain(step.keys as f64),
            cell(spread(&step.tidemark, RATE)),
            cell(spread(&step.tidemark, P50)),
            cell(spread(&step.tidemark, CPU)),
            cell(beside_native(step)),
            number::bytes(step.bytes_each),
        ]);
    }
    page.table(&table);
    chart.line(Line::through(
        "Tidemark, one of all keys",
        growth
            .keys
            .iter()
            .map(|step| (step.keys as f64, beside_native(step))),
    ));
    page.plot("growth-keys", &chart)?;
    let ends = growth.keys.first().zip(growth.keys.last());
    let slower = ends.and_then(|(first, last)| {
        let (few, many) = (beside_native(first)?.median, beside_native(last)?.median);
        let text = format!(
            "{} × with {} keys as with {}",
            number::plain(many / few),
            number::plain(last.keys as f64),
            number::plain(first.keys as f64)
        );
        Some((text, many / few >= 0.8))
    });
    page.goal(Goal::words(
        "hits don't grow with the number of keys: requests a second",
        "≥ 0.8 ×",
        slower,
    ));
    Ok(())
}

fn steps(
    page: &mut Page,
    name: &str,
    axis: &str,
    steps: &[Step],
    size: fn(f64) -> String,
) -> anyhow::Result<()> {
    let mut table = Table::new([
        axis,
        "requests/s",
        "p50, ms",
        "p99, ms",
        "CPU a request, µs",
    ]);
    for step in steps {
        table.row([
            size(step.size as f64),
            cell(spread(&step.tidemark, RATE)),
            cell(spread(&step.tidemark, P50)),
            cell(spread(&step.tidemark, |round| round.load.p99_us / 1e3)),
            cell(spread(&step.tidemark, CPU)),
        ]);
    }
    page.table(&table);
    let mut chart = Chart::new(&format!("Hits by {axis}"))
        .x(axis, Scale::Log)
        .y("µs", Scale::Log)
        .marked_at_points(size);
    let points = |figure: Figure| {
        steps
            .iter()
            .map(move |step| (step.size as f64, spread(&step.tidemark, figure)))
    };
    chart.line(Line::through("CPU a request", points(CPU)));
    chart.line(Line::through(
        "latency, p50",
        points(|round| round.load.p50_us),
    ));
    page.plot(&format!("growth-{name}"), &chart)
}

fn organizations(growth: &Growth, page: &mut Page) -> anyhow::Result<()> {
    page.heading("Organizations");
    page.text(
        "Each with about ten orders, and its dashboard cached. *Seen*: from the return of a plain SQL commit to the end of \
         the first answer at the edge that shows it, its query included.",
    );
    let mut table = Table::new([
        "organizations",
        "requests/s",
        "CPU a request, µs",
        "÷ native's rate",
        "a change is seen after, ms",
    ]);
    let mut chart = Chart::new("Changes and hits by the number of organizations")
        .x("organizations", Scale::Log)
        .y("ms; µs", Scale::Log)
        .marked_at_points(number::plain);
    for step in &growth.organizations {
        let ratio = ratio(&step.tidemark, &step.native, RATE);
        table.row([
            number::plain(step.organizations as f64),
            cell(spread(&step.tidemark, RATE)),
            cell(spread(&step.tidemark, CPU)),
            cell(ratio),
            number::spread(&step.seen_ms),
        ]);
    }
    page.table(&table);
    let steps = || {
        growth
            .organizations
            .iter()
            .map(|step| (step.organizations as f64, step))
    };
    chart.line(Line::through(
        "a change is seen, ms",
        steps().map(|(x, step)| (x, Some(step.seen_ms))),
    ));
    chart.line(Line::through(
        "CPU of a hit, µs",
        steps().map(|(x, step)| (x, spread(&step.tidemark, CPU))),
    ));
    page.plot("growth-organizations", &chart)
}

fn writers(crowds: &[Crowd], page: &mut Page) -> anyhow::Result<()> {
    page.heading("Writers");
    page.text(
        "Single-row inserts, as many as the writers can, without capture, and with capture and a relay at work. The \
         tidemark's age is the most that was seen in each round.",
    );
    let mut table = Table::new([
        "writers",
        "without, tps",
        "captured, tps",
        "ratio",
        "age p99, ms",
        "age max, ms",
    ]);
    let mut rates = Chart::new("Single-row inserts by the number of writers")
        .x("writers", Scale::Log)
        .y("transactions a second", Scale::Linear)
        .marked_at_points(number::plain);
    let mut ages = Chart::new("The tidemark's age by the number of writers")
        .x("writers", Scale::Log)
        .y("ms", Scale::Linear)
        .marked_at_points(number::plain);
    let of = |figures: &[f64]| Spread::of(figures.iter().copied());
    let age = |crowd: &Crowd, figure: fn(&crate::site::age::Age) -> f64| {
        Spread::of(crowd.age.iter().map(figure))
    };
    for crowd in crowds {
        table.row([
            crowd.writers.to_string(),
            cell(of(&crowd.plain)),
            cell(of(&crowd.captured)),
            cell(Spread::of_ratios(&crowd.captured, &crowd.plain)),
            cell(age(crowd, |age| age.p99_ms)),
            cell(age(crowd, |age| age.max_ms)),
        ]);
    }
    page.table(&table);
    let crowds = || crowds.iter().map(|crowd| (f64::from(crowd.writers), crowd));
    rates.line(Line::through(
        "without capture",
        crowds().map(|(x, it)| (x, of(&it.plain))),
    ));
    rates.line(Line::through(
        "captured, relay at work",
        crowds().map(|(x, it)| (x, of(&it.captured))),
    ));
    page.plot("growth-writers", &rates)?;
    ages.line(Line::through(
        "p50",
        crowds().map(|(x, it)| (x, age(it, |age| age.p50_ms))),
    ));
    ages.line(Line::through(
        "p99",
        crowds().map(|(x, it)| (x, age(it, |age| age.p99_ms))),
    ));
    ages.line(Line::through(
        "most",
        crowds().map(|(x, it)| (x, age(it, |age| age.max_ms))),
    ));
    page.plot("growth-age", &ages)
}
