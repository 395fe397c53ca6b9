//! The workload's part of the report.

use super::{
    outcome::{Article, Series, Turn, marks_ms},
    possible::Efficiency,
};
use crate::{
    contender::{Invalidation, legend},
    report::{Chart, Goal, Line, Page, Scale, Table, number},
    statistics::Spread,
};

const TIDEMARK: &str = "Tidemark";
const UNCACHED: &str = "Origin, no cache";

/// Who takes part, and as what.
const CONTENDERS: &str = "*Tidemark*: the catalog as shipped; *refresh*: with `on_change = \"refresh\"`. *Origin, no \
    cache*: the SQL every time. *CacheInterceptor*: NestJS' own, in Redis, by time \
    alone, over a handler that answers text. *By hand*: bytes in Redis, \
    deleted by the application's own writes; *local*: in each process as well, which is told by pub/sub; *guarded*: a load \
    that an invalidation in the same process has overtaken is not stored. *nginx*: `proxy_cache` before the origin, by \
    time alone; it can't be told of a change.";

/// What they don't have in common, to be known when they are compared.
const DIFFERENCES: &str = "- A process of NestJS uses one core; its name says how many processes there were. Tidemark's edge, \
    its origin and nginx use all cores.\n\
    - Tidemark, the origin without a cache and nginx enter orders through Tidemark's origin: on a database with \
    Tidemark's triggers, and with a relay at work. NestJS enters them itself, on a database without triggers.\n\
    - nginx counts whole seconds: what is valid for 1 s may be served for nearly 2 s, and while one request renews it.\n\
    - Nothing bounds how old an answer of *by hand* may be but its time to live, should its invalidation be lost or come \
    too early: 5 min in Redis. *Local* keeps what it finds there for 5 min more.";

impl Article {
    fn find(&self, contender: &str) -> Option<&Series> {
        self.contenders.iter().find(|it| it.contender == contender)
    }
}

impl Series {
    fn figures(&self, figure: impl Fn(&Turn) -> f64) -> Vec<f64> {
        self.turns.iter().map(figure).collect()
    }

    fn spread(&self, figure: impl Fn(&Turn) -> f64) -> Option<Spread> {
        Spread::of(self.figures(figure))
    }

    fn median(&self, figure: impl Fn(&Turn) -> f64) -> String {
        let spread = self.spread(figure);
        spread.map_or("–".to_owned(), |spread| number::plain(spread.median))
    }

    fn percent(&self, figure: impl Fn(&Turn) -> f64) -> String {
        let spread = self.spread(figure);
        spread.map_or("–".to_owned(), |spread| number::percent(spread.median))
    }

    fn sum(&self, figure: impl Fn(&Turn) -> u64) -> u64 {
        self.turns.iter().map(figure).sum()
    }

    fn count(&self, figure: impl Fn(&Turn) -> u64) -> String {
        number::count(self.sum(figure))
    }

    fn most(&self, figure: impl Fn(&Turn) -> f64) -> f64 {
        self.turns.iter().map(figure).fold(0.0, f64::max)
    }
}

/// Adds goals, tables and plots.
///
/// # Errors
/// A plot can't be drawn.
pub fn report(article: &Article, page: &mut Page) -> anyhow::Result<()> {
    goals(article, page);
    page.text(setting(article));
    if !article.peers {
        page.text("NestJS and nginx did not take part in this run.");
    }
    page.text(CONTENDERS);
    if article.peers {
        page.text(DIFFERENCES);
    }
    page.table(&latencies(article));
    page.plot("article-latency", &distribution(article))?;
    page.heading("Stale answers");
    page.text(
        "A judge knows when each order was acknowledged, and tells from an answer's totals how many orders of either \
         kind it has. An answer is stale if it lacks one that had been acknowledged before the read began. *Own*: orders \
         entered through the contender. *Others'*: by plain SQL, as another service would; a cache that hears of its own \
         writes only has never promised to see these. The query promises 1 s (`max_staleness`). All turns together.",
    );
    page.table(&stale(article));
    page.heading("Hits against what was possible");
    page.text(
        "The run again, with a cache that knows the future: it runs the statement when a dashboard is first asked for, and \
         again only after an order that alters this very answer. *Saved*: reads for which PostgreSQL ran no statement, \
         counted by PostgreSQL itself (`pg_stat_statements`), less stale answers; those that shared the statement of \
         another read are saved on both sides. *Of possible*: saved ÷ what that cache would have saved. *By organization*: \
         against a cache that knows only whose order it was (`scope = \"org:{org}\"` without `where`).",
    );
    page.table(&against_possible(article));
    if let Some(text) = article.find(TIDEMARK).and_then(ceiling) {
        page.text(text);
    }
    page.text(
        "Why reads waited for PostgreSQL, where the contender says which did: nobody had asked before; the answer is \
         another one now (unavoidable); another read waited for it already; the organization has a new order, which this \
         dashboard does not show (avoidable); or none of these (expired, evicted, not stored). In % \
         of the reads. Beside that, what a hit and what such a wait took at the mean: the organizations that are read most \
         have the most orders, and the slowest statements.",
    );
    page.table(&reasons(article));
    Ok(())
}

fn setting(article: &Article) -> String {
    format!(
        "{} clients in a closed loop read dashboards: organizations ({}) by Zipf's law with exponent 1, the 20 variants of \
         each evenly (year, last quarter, quarter, month; all regions or one of four). One request in a hundred enters an \
         order, by the same law; three orders in four are of this month, so that they alter 6 of the 20 variants. One order \
         in four is plain SQL past the application. Before its turn, whoever keeps answers is asked for every dashboard once, \
         in the order in which the trace first asks for them (for {:.0} s at most). Then all follow one trace from its \
         beginning, for {:.0} s; who is faster gets further. So compare what is per read. Each turn has a fresh copy of \
         the database and an empty Redis.",
        article.clients, article.organizations, article.warm_up_seconds, article.turn_seconds
    )
}

fn goals(article: &Article, page: &mut Page) {
    let ours = article.find(TIDEMARK);
    let uncached = article.find(UNCACHED);
    let ratio = |figure: fn(&Turn) -> f64| {
        let (ours, theirs) = (ours?.figures(figure), uncached?.figures(figure));
        Some((ours, theirs))
    };
    let faster = ratio(|turn| turn.latency.mean_ms);
    let faster = faster.and_then(|(ours, theirs)| Spread::of_ratios(&theirs, &ours));
    let what = "the article's workload: mean latency";
    page.goal(Goal::at_least(what, 20.0, "× lower than uncached", faster));

    let fewer = ratio(Turn::statements_a_read).and_then(|(ours, theirs)| {
        let rounds = ours
            .iter()
            .zip(&theirs)
            .filter(|(_, theirs)| **theirs > 0.0);
        Spread::of(rounds.map(|(ours, theirs)| 100.0 * (1.0 - ours / theirs)))
    });
    let what = "… PostgreSQL queries, for each read";
    page.goal(Goal::at_least(what, 95.0, "% fewer", fewer));

    let possible = ours.and_then(|it| it.spread(|turn| turn.efficiency.ratio()));
    page.goal(Goal::at_least("… hits ÷ possible hits", 0.97, "", possible));

    let what = "… stale answers: own orders missing at all, others' for over 1 s";
    let limit = "0, where the peers with event invalidation have more than 0";
    page.goal(Goal::words(what, limit, stale_answers(article)));
}

/// Tidemark's answers that broke a promise and those of the peers that are told of their own writes, in words, and
/// whether only Tidemark has none. Without such peers nothing shows that there was anything to be missed, unless
/// Tidemark missed it.
fn stale_answers(article: &Article) -> Option<(String, bool)> {
    let ours = article.find(TIDEMARK)?;
    let peers = article.contenders.iter();
    let peers: Vec<_> = peers
        .filter(|it| it.invalidation == Invalidation::OwnWrites)
        .collect();
    let broken = broken_promises(ours);
    if broken == 0 && peers.is_empty() {
        return None;
    }
    let text = [broken.to_string()].into_iter();
    let text = text.chain(peers.iter().map(|peer| {
        let [own, others] = broken_by_way(peer).map(number::count);
        format!("{}: {own} own, {others} others'", peer.contender)
    }));
    let met = broken == 0 && peers.iter().any(|peer| broken_promises(peer) > 0);
    Some((text.collect::<Vec<_>>().join("; "), met))
}

/// Answers without an own order that had been acknowledged, and those without another's for longer than promised.
fn broken_by_way(series: &Series) -> [u64; 2] {
    [
        series.sum(|turn| turn.staleness.application.answers),
        series.sum(|turn| turn.staleness.elsewhere.beyond_promise),
    ]
}

fn broken_promises(series: &Series) -> u64 {
    broken_by_way(series).iter().sum()
}

fn latencies(article: &Article) -> Table {
    let mut table = Table::new([
        "",
        "mean, ms",
        "p50, ms",
        "p99, ms",
        "reads/s",
        "hit ratio",
        "queries/s",
        "queries a read",
        "an order, ms",
        "failed",
    ]);
    for series in &article.contenders {
        let mean = series.spread(|turn| turn.latency.mean_ms);
        table.row([
            series.contender.clone(),
            mean.map_or("–".to_owned(), |mean| number::spread(&mean)),
            series.median(|turn| turn.latency.p50_ms),
            series.median(|turn| turn.latency.p99_ms),
            series.median(Turn::rate),
            series.percent(|turn| turn.efficiency.hit_ratio()),
            series.median(Turn::statements_a_second),
            series.median(Turn::statements_a_read),
            series.median(|turn| turn.write_ms),
            series.count(|turn| turn.failed_reads + turn.failed_writes),
        ]);
    }
    table
}

fn distribution(article: &Article) -> Chart {
    let mut chart = Chart::new("The article's setting: how long reads take")
        .x("time to the answer, ms", Scale::Log)
        .y("% of reads answered within", Scale::Linear);
    let uncached = |series: &&Series| {
        // One of those who always ask PostgreSQL will do.
        series.invalidation != Invalidation::Uncached || series.contender == UNCACHED
    };
    for series in article.contenders.iter().filter(uncached) {
        let points = marks_ms().enumerate().map(|(place, mark)| {
            let share = |turn: &Turn| 100.0 * turn.latency.within.get(place).unwrap_or(&0.0);
            (mark, series.spread(share))
        });
        let points: Vec<_> = points.collect();
        chart.line(Line::through(legend(&series.contender), rising(&points)));
    }
    chart
}

/// What is drawn of a distribution: from the last point at nothing to the first one at all.
fn rising(points: &[(f64, Option<Spread>)]) -> Vec<(f64, Option<Spread>)> {
    let before = |(_, share): &(f64, Option<Spread>)| share.is_none_or(|it| it.high <= 0.0);
    let within = |(_, share): &(f64, Option<Spread>)| share.is_none_or(|it| it.low < 100.0);
    let from = points.iter().take_while(|it| before(it)).count();
    let to = points.iter().take_while(|it| within(it)).count();
    let points = points.iter().take(to + 1).skip(from.saturating_sub(1));
    points.copied().collect()
}

fn stale(article: &Article) -> Table {
    let mut table = Table::new([
        "",
        "hears of",
        "answers",
        "own missing",
        "… for over 1 s",
        "… longest, ms",
        "others' missing",
        "… for over 1 s",
        "… longest, ms",
    ]);
    for series in &article.contenders {
        let mut row = vec![
            series.contender.clone(),
            hears_of(series.invalidation).to_owned(),
            series.count(|turn| turn.staleness.judged),
        ];
        for of in [
            |turn: &Turn| turn.staleness.application,
            |turn: &Turn| turn.staleness.elsewhere,
        ] {
            row.push(series.count(|turn| of(turn).answers));
            row.push(series.count(|turn| of(turn).beyond_promise));
            row.push(number::plain(series.most(|turn| of(turn).longest_ms)));
        }
        table.row(row);
    }
    table
}

const fn hears_of(invalidation: Invalidation) -> &'static str {
    match invalidation {
        Invalidation::Uncached => "asks each time",
        Invalidation::AnyChange => "any change",
        Invalidation::OwnWrites => "its own writes",
        Invalidation::Time | Invalidation::Never => "none: time only",
    }
}

fn against_possible(article: &Article) -> Table {
    let mut table = Table::new([
        "",
        "reads",
        "statements",
        "saved",
        "possible",
        "of possible",
        "possible by organization",
        "of that",
    ]);
    for series in &article.contenders {
        let share = |part: fn(&Efficiency) -> u64| {
            series.percent(move |turn| per_read(turn, part(&turn.efficiency)))
        };
        let ratio = |ratio: fn(&Efficiency) -> f64| {
            let spread = series.spread(|turn| ratio(&turn.efficiency));
            spread.map_or("–".to_owned(), |spread| number::spread(&spread))
        };
        table.row([
            series.contender.clone(),
            series.count(|turn| turn.efficiency.reads),
            series.count(|turn| turn.efficiency.statements),
            share(Efficiency::saved),
            share(|it| it.possible.savable()),
            ratio(Efficiency::ratio),
            share(|it| it.possible_by_organization.savable()),
            ratio(Efficiency::ratio_by_organization),
        ]);
    }
    table
}

/// What limits Tidemark in this setting, in words.
fn ceiling(series: &Series) -> Option<String> {
    let share = |figure: fn(&Turn) -> f64| Some(number::percent(series.spread(figure)?.median));
    Some(format!(
        "In Tidemark's turns, a cache that knows the future would have saved {} of the reads, one that knows only whose \
         order it was {}; Tidemark saved {}. With a scope alone, each order makes all 20 dashboards of its organization be \
         asked anew, also those that don't show it; the catalog's `where` and `facets` spare these.",
        share(|turn| per_read(turn, turn.efficiency.possible.savable()))?,
        share(|turn| per_read(turn, turn.efficiency.possible_by_organization.savable()))?,
        share(|turn| per_read(turn, turn.efficiency.saved()))?,
    ))
}

fn per_read(turn: &Turn, part: u64) -> f64 {
    part as f64 / turn.efficiency.reads.max(1) as f64
}

fn reasons(article: &Article) -> Table {
    let mut table = Table::new([
        "",
        "first",
        "changed",
        "waited with another",
        "outside the period or region",
        "other",
        "a hit, ms",
        "a wait, ms",
    ]);
    for series in &article.contenders {
        let all: Option<Vec<_>> = series
            .turns
            .iter()
            .map(|turn| turn.efficiency.misses)
            .collect();
        let Some(all) = all.filter(|_| series.invalidation != Invalidation::Uncached) else {
            continue;
        };
        let reads = series.sum(|turn| turn.efficiency.reads).max(1) as f64;
        let share = |reason: fn(&super::possible::Misses) -> u64| {
            let count: u64 = all.iter().map(reason).sum();
            number::plain(100.0 * count as f64 / reads)
        };
        let mean_ms = |figure: fn(&Turn) -> Option<f64>| {
            let spread = Spread::of(series.turns.iter().filter_map(figure));
            spread.map_or("–".to_owned(), |spread| number::plain(spread.median))
        };
        table.row([
            series.contender.clone(),
            share(|it| it.first),
            share(|it| it.changed),
            share(|it| it.joined),
            share(|it| it.outside),
            share(|it| it.other),
            mean_ms(|turn| turn.hit_ms),
            mean_ms(|turn| turn.miss_ms),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::article::{
        judge::{Lacking, Staleness},
        outcome::Latency,
        possible::Possible,
    };

    fn series(
        contender: &str,
        invalidation: Invalidation,
        mean_ms: f64,
        statements: u64,
        stale: u64,
    ) -> Series {
        let lacking = Lacking {
            answers: stale,
            beyond_promise: stale,
            longest_ms: 1_500.0,
        };
        let possible = Possible {
            hits: 980,
            changed: 20,
            ..Possible::default()
        };
        Series {
            contender: contender.to_owned(),
            invalidation,
            turns: vec![Turn {
                seconds: 10.0,
                reads: 1_000,
                failed_reads: 0,
                writes: 10,
                failed_writes: 0,
                latency: Latency {
                    mean_ms,
                    p50_ms: mean_ms,
                    p99_ms: mean_ms,
                    within: marks_ms()
                        .map(|mark| f64::from(u8::from(mark > mean_ms)))
                        .collect(),
                },
                hit_ms: Some(1.0),
                miss_ms: None,
                write_ms: 5.0,
                statements,
                staleness: Staleness {
                    judged: 1_000,
                    application: lacking,
                    elsewhere: Lacking::default(),
                },
                efficiency: Efficiency {
                    reads: 1_000,
                    statements,
                    stale,
                    possible,
                    possible_by_organization: possible,
                    misses: None,
                },
            }],
        }
    }

    fn article(contenders: Vec<Series>) -> Article {
        Article {
            clients: 16,
            turn_seconds: 60.0,
            warm_up_seconds: 90.0,
            organizations: 200,
            contenders,
            peers: true,
        }
    }

    fn met(contenders: Vec<Series>) -> Vec<Option<bool>> {
        let mut page = Page::default();
        report(&article(contenders), &mut page).unwrap();
        page.goals().iter().map(Goal::is_met).collect()
    }

    #[test]
    fn a_distribution_is_drawn_where_it_rises() {
        let points = [0.0, 0.0, 40.0, 100.0, 100.0].map(|share| Spread::of([share]));
        let points: Vec<_> = [1.0, 2.0, 3.0, 4.0, 5.0].into_iter().zip(points).collect();
        assert_eq!(rising(&points), points[1..4]);
        assert_eq!(rising(&points[2..]), points[2..4]);
    }

    #[test]
    fn goals_are_met_or_not_as_it_was_measured() {
        let uncached = || series(UNCACHED, Invalidation::Uncached, 50.0, 1_000, 0);
        let peer = || series("NestJS", Invalidation::OwnWrites, 5.0, 100, 7);
        let ours = |mean_ms, statements, stale| {
            let ours = series(
                TIDEMARK,
                Invalidation::AnyChange,
                mean_ms,
                statements,
                stale,
            );
            met(vec![ours, uncached(), peer()])
        };
        assert_eq!(ours(2.0, 25, 0), [Some(true); 4]);
        assert_eq!(
            ours(3.0, 60, 0),
            [Some(false), Some(false), Some(false), Some(true)]
        );
        assert_eq!(ours(2.0, 20, 1)[3], Some(false));
        let alone = series(TIDEMARK, Invalidation::AnyChange, 2.0, 20, 0);
        assert_eq!(met(vec![alone]), [None, None, Some(true), None]);
        let alone = series(TIDEMARK, Invalidation::AnyChange, 2.0, 20, 1);
        assert_eq!(met(vec![alone])[3], Some(false));
        let fresh = || series("NestJS", Invalidation::OwnWrites, 5.0, 100, 0);
        let ours = series(TIDEMARK, Invalidation::AnyChange, 2.0, 20, 0);
        assert_eq!(met(vec![ours, fresh()])[3], Some(false));
    }
}
