//! First answers: of a host that has just been started, and of a new instance in one that runs.

use std::time::{Duration, Instant};

use anyhow::ensure;
use tidemark_tests::{
    http::{Answer, Client},
    port,
    server::Server,
};
use tokio::{net::TcpStream, time::sleep};

use crate::{
    contender::{Contender, tidemark::edge_config},
    say,
    statistics::Spread,
    workload::{Bench, settle},
};

const PATH: &str = "/org/42/dashboard?from=2025-01-01&to=2025-03-31";
const HIT: &str = "tidemark; hit";

/// Longer than the second of idleness after which a host drops an instance.
const IDLE: Duration = Duration::from_millis(1300);

/// How often in all what was no hit may be measured again: on a machine that others keep busy, the tidemark may be
/// too old for a moment.
const REPEATS: usize = 20;

/// How many answers of an instance that runs are taken beside its first.
const NEXT: usize = 10;

/// From start to listening, and from there to the first answer, in ms. The component is compiled already.
pub(super) async fn of_hosts(
    bench: &Bench,
    client: &Client,
    tidemark: &Contender,
) -> anyhow::Result<(Spread, Spread)> {
    let origin = tidemark.writes.as_deref().unwrap_or_default();
    settle(client, &tidemark.url(PATH), &[], 200, Some(HIT)).await?;
    let (mut listening, mut first) = (Vec::new(), Vec::new());
    let starts = bench.scale.pick(20, 7, 2);
    say(format_args!("start: {starts} hosts"));
    let mut misses = 0;
    while first.len() < starts {
        let mut config = edge_config(&bench.site, origin)?;
        config.listen = port::local(port::free());
        config.log = bench.site.file("edge-started.log");
        let begun = Instant::now();
        let accepts = async {
            // By the connection itself: the harness reads its log only now and then.
            while TcpStream::connect(config.listen).await.is_err() {
                sleep(Duration::from_micros(200)).await;
            }
            let listens = begun.elapsed();
            let url = format!("http://{}{PATH}", config.listen);
            let answer = Client::default().get(&url).await?;
            anyhow::Ok((listens, begun.elapsed(), answer))
        };
        let (server, times): (anyhow::Result<Server>, _) = tokio::join!(config.start(), accepts);
        let (listens, answers, answer) = times?;
        // What it would still wait for is nothing to be measured: its instance, which is idle for a second.
        server?.process().kill();
        if !is_hit(&answer, &mut misses)? {
            continue;
        }
        listening.push(listens.as_secs_f64() * 1e3);
        first.push((answers - listens).as_secs_f64() * 1e3);
    }
    Ok((spread(listening)?, spread(first)?))
}

/// The first answer of a new instance, and the next ones of it, in ms; on one connection, which stays open.
pub(super) async fn of_instances(
    bench: &Bench,
    client: &Client,
    tidemark: &Contender,
) -> anyhow::Result<(Spread, Spread)> {
    let (mut first, mut next) = (Vec::new(), Vec::new());
    let instances = bench.scale.pick(40, 5, 2);
    say(format_args!(
        "start: {instances} instances, each after {IDLE:?} of idleness"
    ));
    let url = tidemark.url(PATH);
    let mut misses = 0;
    while first.len() < instances {
        settle(client, &url, &[], 200, Some(HIT)).await?;
        sleep(IDLE).await;
        for number in 0..=NEXT {
            let begun = Instant::now();
            let answer = client.get(&url).await?;
            let took = begun.elapsed().as_secs_f64() * 1e3;
            if !is_hit(&answer, &mut misses)? {
                break;
            }
            if number == 0 { &mut first } else { &mut next }.push(took);
        }
    }
    Ok((spread(first)?, spread(next)?))
}

/// Whether an answer was a hit; what was not is measured again, if that does not happen too often.
fn is_hit(answer: &Answer, misses: &mut usize) -> anyhow::Result<bool> {
    if answer.cache_status() == HIT {
        return Ok(true);
    }
    *misses += 1;
    let status = answer.cache_status();
    ensure!(
        *misses <= REPEATS,
        "{misses} answers were no hits; the last one: {status}"
    );
    Ok(false)
}

fn spread(figures: Vec<f64>) -> anyhow::Result<Spread> {
    Spread::of(figures).ok_or_else(|| anyhow::anyhow!("nothing was measured"))
}
