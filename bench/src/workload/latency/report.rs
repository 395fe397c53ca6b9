//! The workload's part of the report.

use super::{Case, DAYS, Latency, Series};
use crate::{
    contender::{
        legend,
        nestjs::{Mode, Setting},
    },
    report::{Chart, Goal, Line, Page, Scale, Table, number},
    statistics::Spread,
    workload::turn::{self, Round, spread},
};

impl Case {
    /// What it is called in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uncached => "its SQL",
            Self::Shared => "shared cache",
            Self::Decoded => "shared cache, decoded",
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
        turn::ratio(&ours.rounds, &theirs.rounds, figure)
    }

    /// Of those NestJS applications that cache in this way, in one process and in several, the one that answers
    /// most.
    fn fastest(&self, mode: Mode, case: Case, connections: u32) -> Option<&str> {
        let setting = Setting::of(mode);
        let those = self.series.iter().filter(|it| {
            setting.describes(&it.contender) && it.case == case && it.connections == connections
        });
        let rated = those.filter_map(|it| Some((spread(&it.rounds, RATE)?.median, it)));
        let fastest = rated.max_by(|(one, _), (other, _)| one.total_cmp(other));
        fastest.map(|(_, series)| series.contender.as_str())
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

    /// Those of them that are drawn: of NestJS in one process and in several only the latter.
    fn drawn(&self) -> Vec<(&str, Case)> {
        let mut roles = self.roles();
        if roles.iter().any(|(name, _)| name.ends_with(" processes")) {
            roles.retain(|(name, _)| !name.ends_with(" 1 process"));
        }
        roles
    }
}

const RATE: fn(&Round) -> f64 = |round| round.load.rate();

const NATIVE_GET: (&str, Case) = ("Native, one GET", Case::Shared);
const NATIVE_MEMORY: (&str, Case) = ("Native, memory", Case::Local);

/// Adds goals, tables and plots.
///
/// # Errors
/// A plot can't be drawn.
pub fn report(latency: &Latency, page: &mut Page) -> anyhow::Result<()> {
    goals(latency, page);
    page.text(format!(
        "The dashboard of one organization, a body of {}. Clients take gzip, as nearly all do: Tidemark \
         sends them the {} that it has stored, and the native limit sends the same bytes; NestJS does not compress. \
         *Decoded*: to clients that don't take gzip. *Its SQL*: each request is any of {} questions, so that few are \
         asked at the same time; the origin may run the SQL once for those that are. *Shared cache*: from Redis, nginx' \
         from its files. *Own memory*: from the process, or Tidemark's instance, that answers. A turn from a cache is \
         repeated if the SQL ran for more than 1 % of it. CPU is that of the answering server alone (user and system), \
         without Redis and PostgreSQL.",
        number::bytes(latency.body_bytes as f64),
        number::bytes(latency.sent_bytes as f64),
        DAYS * DAYS
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
    beside_nestjs(latency, page);
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
        table.spread(name, spread, number::plain);
    }
    page.table(&table);
    Ok(())
}

fn goals(latency: &Latency, page: &mut Page) {
    // Nest's documentation shows handlers that answer objects, so it is these that the interceptor keeps.
    let nestjs = |ours, limit, unit, mode| {
        let peer = latency.fastest(mode, Case::Shared, 32);
        let ratio = peer.and_then(|peer| latency.ratio(ours, (peer, Case::Shared), 32, RATE));
        Goal::at_least(rate_of(ours), limit, unit, ratio).noted(peer.unwrap_or_default())
    };
    let native = |ours, unit, peer| {
        Goal::at_least(
            rate_of(ours),
            0.5,
            unit,
            latency.ratio(ours, peer, 32, RATE),
        )
    };
    let interceptor = "× NestJS `CacheInterceptor`";
    page.goal(nestjs(Case::Shared, 8.0, interceptor, Mode::Objects));
    let by_hand = "× the best hand-tuned NestJS (raw text from Redis)";
    page.goal(nestjs(Case::Shared, 3.0, by_hand, Mode::ByHand));
    page.goal(native(Case::Shared, "× native with one GET", NATIVE_GET));
    page.goal(nestjs(Case::Local, 15.0, interceptor, Mode::Objects));
    page.goal(native(Case::Local, "× native from memory", NATIVE_MEMORY));
    let cpu = latency.ratio(Case::Shared, NATIVE_GET, 32, |round| round.cpu_us);
    page.goal(Goal::at_most(
        "CPU per hit (user + system of the edge's host), 32 connections",
        3.0,
        "× native with one GET",
        cpu,
    ));
    let p99 = latency.ratio(Case::Shared, NATIVE_GET, 16, |round| round.load.p99_us);
    page.goal(Goal::at_most(
        "p99 of hits at 16 connections",
        3.0,
        "× native with one GET",
        p99,
    ));
    let miss = Some(latency.miss.beyond_ms);
    page.goal(Goal::at_most(
        "miss: time beyond the SQL's own",
        1.5,
        "ms at the median",
        miss,
    ));
}

const fn rate_of(case: Case) -> &'static str {
    match case {
        Case::Local => "hit in the instance cache, 32 connections, requests a second",
        _ => "hit in Redis, 32 connections, requests a second",
    }
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
        let ratio = latency.ratio(case, (contender, case), connections, RATE);
        let ratio = ratio.filter(|_| contender != "Tidemark");
        table.row([
            series.name(),
            cell(RATE),
            cell(|round| round.load.p50_us / 1e3),
            cell(|round| round.load.p99_us / 1e3),
            cell(|round| round.cpu_us),
            ratio.map_or(String::new(), |ratio| number::spread(&ratio)),
        ]);
    }
    table
}

/// Each of NestJS' caches against both of Tidemark's.
fn beside_nestjs(latency: &Latency, page: &mut Page) {
    if !latency.peers {
        return;
    }
    page.heading("Tidemark ÷ NestJS");
    page.text(
        "Requests a second at 32 connections. The goals count `CacheInterceptor` over handlers that answer *objects*, as \
         Nest's documentation shows it, and of one process and several whichever answers more; over handlers that answer \
         *text* it parses less.",
    );
    let mut table = Table::new(["", "shared cache ÷ this", "own memory ÷ this"]);
    let roles = latency.roles().into_iter();
    let cached = [Case::Shared, Case::Local];
    for peer in roles.filter(|(name, case)| name.starts_with("NestJS") && cached.contains(case)) {
        let cell = |ours| {
            let ratio = latency.ratio(ours, peer, 32, RATE);
            ratio.map_or(String::new(), |ratio| number::spread(&ratio))
        };
        let name = format!("{}: {}", peer.0, peer.1.name());
        table.row([name, cell(Case::Shared), cell(Case::Local)]);
    }
    page.table(&table);
}

fn plots(latency: &Latency, page: &mut Page) -> anyhow::Result<()> {
    type Figure = fn(&Round) -> f64;
    let plots: [(&str, &str, &str, Figure); 2] = [
        ("throughput", "Requests a second", "requests a second", RATE),
        ("p99", "99th percentile of latency", "p99, ms", |round| {
            round.load.p99_us / 1e3
        }),
    ];
    for (name, title, axis, figure) in plots {
        let mut chart = Chart::new(title)
            .x("connections", Scale::Log)
            .y(axis, Scale::Log)
            .marked_at_points(number::plain);
        for (contender, case) in latency.drawn() {
            let points = latency.connections().into_iter().map(|connections| {
                let series = latency.find(contender, case, connections);
                (
                    f64::from(connections),
                    series.and_then(|it| spread(&it.rounds, figure)),
                )
            });
            chart.line(Line::through(
                format!(
                    "{}: {}",
                    legend(contender),
                    case.name().trim_end_matches(" cache")
                ),
                points,
            ));
        }
        page.plot(&format!("latency-{name}"), &chart)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{load::Load, workload::latency::Miss};

    /// One that answers so many requests in a second.
    fn series(contender: &str, case: Case, requests: u64) -> Series {
        let load = Load {
            requests,
            duration_us: 1_000_000,
            p50_us: 1.0,
            p99_us: 1.0,
            mean_us: 1.0,
            failed: 0,
        };
        Series {
            contender: contender.to_owned(),
            case,
            connections: 32,
            rounds: vec![Round { load, cpu_us: 1.0 }],
        }
    }

    fn goals_of(peers: Vec<Series>) -> Vec<(Option<bool>, String)> {
        let nothing = Spread {
            low: 1.0,
            median: 1.0,
            high: 1.0,
        };
        let mut all = vec![
            series("Tidemark", Case::Shared, 9_000),
            series("Tidemark", Case::Local, 18_000),
        ];
        let peers_take_part = !peers.is_empty();
        all.extend(peers);
        let latency = Latency {
            body_bytes: 10_000,
            sent_bytes: 10_000,
            series: all,
            miss: Miss {
                pairs: 1,
                edge_ms: nothing,
                sql_ms: nothing,
                beyond_ms: nothing,
            },
            peers: peers_take_part,
        };
        let mut page = Page::default();
        report(&latency, &mut page).unwrap();
        let goals = page.goals().iter();
        let goals = goals.map(|goal| (goal.is_met(), goal.row()[2].clone()));
        goals.collect()
    }

    #[test]
    fn nestjs_is_counted_in_as_many_processes_as_answer_most() {
        let named = |mode, workers| {
            Setting {
                workers,
                ..Setting::of(mode)
            }
            .contender()
        };
        let of = |mode, workers, requests| series(&named(mode, workers), Case::Shared, requests);
        let goals = goals_of(vec![
            of(Mode::Objects, 2, 1_000),
            of(Mode::Objects, 1, 1_200),
            // Not what its documentation shows.
            of(Mode::Interceptor, 2, 9_000),
            of(Mode::ByHand, 2, 2_900),
            of(Mode::ByHand, 1, 1_000),
            series(&named(Mode::ByHandLocal, 2), Case::Local, 9_000),
        ]);
        let [interceptor, by_hand, _, instance, ..] = &goals[..] else {
            panic!("{goals:?}");
        };
        assert_eq!(interceptor.0, Some(false), "{interceptor:?}");
        assert!(interceptor.1.starts_with("7.50"), "{interceptor:?}");
        assert!(interceptor.1.ends_with(&named(Mode::Objects, 1)));
        assert_eq!(by_hand.0, Some(true), "{by_hand:?}");
        assert!(by_hand.1.ends_with(&named(Mode::ByHand, 2)));
        assert_eq!(instance.0, Some(true), "{instance:?}");
    }

    #[test]
    fn without_nestjs_no_goal_against_it_is_met() {
        let goals = goals_of(Vec::new());
        for place in [0, 1, 3] {
            assert_eq!(goals[place], (None, "not measured in this run".to_owned()));
        }
    }
}
