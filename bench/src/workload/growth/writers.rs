//! Ever more writers at a time, with and without capture, and what becomes of the tidemark meanwhile.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemark_tests::process::{Launch, Process, Signal};

use crate::{
    contender::tidemark::{origin_config, relay_leads},
    load::{Writers, Writes},
    say,
    site::age::{Age, AgeWatch},
    statistics::rotated,
    workload::Bench,
};

/// So many writers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Crowd {
    /// How many write at a time.
    pub writers: u32,
    /// Transactions a second without capture, by rounds.
    pub plain: Vec<f64>,
    /// Transactions a second with it, while the relay drains.
    pub captured: Vec<f64>,
    /// The tidemark's age while the captured ones wrote, by rounds.
    pub age: Vec<Age>,
}

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Crowd>> {
    let site = &bench.site;
    site.flush_redis().await?;
    let plain = site.plain_database("growth_plain").await?;
    let captured = site.database("growth_captured").await?;
    let mut relay = Process::start(Launch {
        name: "relay",
        command: origin_config(site, &captured, "relay").command(&["relay"])?,
        log: site.file("relay.log"),
        end: Signal::TERM,
        lease: None,
    })?;
    relay_leads(site).await?;
    let writes = Writes::of(include_str!("../../../writes/insert_order.sql"))?;
    let crowds: &[u32] = bench.scale.pick(&[1, 4, 16, 64], &[1, 64], &[1, 4]);
    let mut measured: Vec<_> = crowds.iter().map(|writers| Crowd::of(*writers)).collect();
    let rounds = bench.scale.rounds();
    for round in 0..rounds {
        say(format_args!(
            "growth: writers, round {} of {rounds}",
            round + 1
        ));
        for crowd in &mut measured {
            for captures in rotated(&[false, true], round) {
                let database = if *captures { &captured } else { &plain };
                database.run("CHECKPOINT").await?;
                let writers = Writers {
                    clients: crowd.writers,
                    time: Duration::from_secs(bench.scale.pick(2, 1, 0)),
                    rate: None,
                };
                let watch = AgeWatch::start(site).await?;
                let rate = writes.run(database, site.size().scale(), writers).await?;
                match captures {
                    false => crowd.plain.push(rate),
                    true => {
                        crowd.captured.push(rate);
                        crowd.age.push(watch.stop()?);
                    }
                }
            }
        }
    }
    relay.stop();
    Ok(measured)
}

impl Crowd {
    fn of(writers: u32) -> Self {
        Self {
            writers,
            plain: Vec::new(),
            captured: Vec::new(),
            age: Vec::new(),
        }
    }
}
