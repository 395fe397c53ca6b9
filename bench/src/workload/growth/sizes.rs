//! Hits on answers that depend on ever more scopes, and on ever longer ones.

use tidemark_tests::http::Client;

use super::{CONNECTIONS, Step};
use crate::{
    contender::{self, Contender},
    load::Requests,
    say,
    site::catalog::{SCOPES, scopes_path},
    statistics::rotated,
    workload::{Bench, settle, turn::turn},
};

/// By both sizes.
pub(super) struct Sizes {
    pub(super) scopes: Vec<Step>,
    pub(super) body: Vec<Step>,
}

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Sizes> {
    let site = &bench.site;
    site.flush_redis().await?;
    let database = site.database("growth").await?;
    let tidemark = contender::tidemark::start(site, &database).await?;
    // All of them, or both ends.
    let stride = bench.scale.pick(1, 5, 5);
    let scopes: Vec<_> = SCOPES
        .map(|scopes| (scopes as u64, scopes_path(scopes)))
        .to_vec();
    let lengths = (0..=5).map(|power| 1024 * 4_u64.pow(power));
    let body: Vec<_> = lengths
        .map(|bytes| (bytes, format!("/bench/body/{bytes}")))
        .collect();
    Ok(Sizes {
        scopes: steps(bench, &tidemark, "scopes", &thinned(&scopes, stride)).await?,
        body: steps(bench, &tidemark, "bytes", &thinned(&body, stride)).await?,
    })
}

/// Every so many of them; the last one in any case.
fn thinned<T: Clone>(all: &[T], stride: usize) -> Vec<T> {
    let last = all.len().saturating_sub(1);
    let kept = (0..all.len()).filter(|place| (last - place).is_multiple_of(stride));
    kept.map(|place| all[place].clone()).collect()
}

/// Each size has a turn in each round.
async fn steps(
    bench: &Bench,
    tidemark: &Contender,
    what: &str,
    sizes: &[(u64, String)],
) -> anyhow::Result<Vec<Step>> {
    let client = Client::default();
    let mut steps: Vec<_> = sizes
        .iter()
        .map(|(size, _)| Step {
            size: *size,
            tidemark: Vec::new(),
        })
        .collect();
    let places: Vec<_> = (0..sizes.len()).collect();
    for round in 0..bench.scale.rounds() {
        say(format_args!(
            "growth: {what}, round {} of {}",
            round + 1,
            bench.scale.rounds()
        ));
        for &place in rotated(&places, round) {
            let path = &sizes[place].1;
            settle(
                &client,
                &tidemark.url(path),
                &[],
                200,
                Some("tidemark; hit"),
            )
            .await?;
            let requests = Requests::same(&tidemark.reads, path);
            let measured = turn(bench, tidemark, &requests, CONNECTIONS).await?;
            steps[place].tidemark.push(measured);
        }
    }
    Ok(steps)
}
