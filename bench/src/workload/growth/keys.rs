//! Hits among ever more keys.

use tidemark_tests::http::Client;

use crate::{
    contender,
    load::Requests,
    say,
    site::entries::Entries,
    statistics::rotated,
    workload::{Bench, settle, turn::turn},
};

use super::{CONNECTIONS, Keys};

/// Measures with ever more keys in one Redis. The native limit takes a turn in each round, so that what else
/// changes on the machine can be told from what the keys do.
pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Keys>> {
    let site = &bench.site;
    site.flush_redis().await?;
    let database = site.database("growth_keys").await?;
    let tidemark = contender::tidemark::start(site, &database).await?;
    // It reads the very entries, and proves nothing.
    let native = contender::native::of_many(site, "tm:{bench_item:*}:bench_item").await?;
    let entries = Entries::of(site).await?;
    let client = Client::default();
    let empty = site.redis.used_memory().await?;
    let steps: &[u64] = bench.scale.pick(
        &[1_000, 10_000, 100_000, 1_000_000],
        &[1_000, 100_000],
        &[1_000, 3_000],
    );
    let mut measured = Vec::new();
    let mut filled = 0;
    for &keys in steps {
        say(format_args!("growth: {keys} keys"));
        entries.fill("/bench/item/", filled + 1..=keys).await?;
        filled = keys;
        let last = tidemark.url(&format!("/bench/item/{keys}"));
        settle(&client, &last, &[], 200, Some("tidemark; hit")).await?;
        let used = site.redis.used_memory().await?.saturating_sub(empty);
        let items = Requests::any_of(&tidemark.reads, "/bench/item/%d", 1, keys);
        let natives = Requests::any_of(&native.reads, "/bench/item/%d", 1, keys);
        let mut step = Keys {
            keys,
            bytes_each: used as f64 / keys as f64,
            tidemark: Vec::new(),
            native: Vec::new(),
        };
        bench
            .wrk
            .run(&items, CONNECTIONS, bench.scale.turn())
            .await?;
        for round in 0..bench.scale.rounds() {
            for ours in rotated(&[true, false], round) {
                match ours {
                    true => step
                        .tidemark
                        .push(turn(bench, &tidemark, &items, CONNECTIONS).await?),
                    false => step
                        .native
                        .push(turn(bench, &native, &natives, CONNECTIONS).await?),
                }
            }
        }
        measured.push(step);
    }
    Ok(measured)
}
