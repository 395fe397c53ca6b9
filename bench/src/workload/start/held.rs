//! Memory of instances: of the host without any, and with many that are held by an origin that does not answer.

use std::time::Duration;

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use tidemark_tests::{
    http::{Answer, Client},
    process::Signal,
};
use tokio::{task::JoinSet, time::sleep};

use crate::{contender::Contender, say, usage, workload::Bench};

/// How many requests an instance takes at a time.
const REQUESTS: usize = 16;

/// Memory of `tidemark-host`, shared memory in part, in bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Memory {
    /// Instances that were held, 16 requests in each.
    pub instances: usize,
    /// Without instances.
    pub idle: u64,
    /// With those.
    pub held: u64,
}

impl Memory {
    /// What one instance takes, its 16 requests included, in bytes.
    pub fn each(&self) -> f64 {
        self.held.saturating_sub(self.idle) as f64 / self.instances as f64
    }
}

/// Stops the origin for a while, and lets as many requests wait for it as so many instances take.
pub(super) async fn measure(
    bench: &Bench,
    client: &Client,
    tidemark: &mut Contender,
) -> anyhow::Result<Memory> {
    let instances = bench.scale.pick(16, 16, 2);
    say(format_args!("start: memory of {instances} instances"));
    // All connections and pools are made once before.
    hold(client, tidemark, instances).await?;
    sleep(Duration::from_millis(1500)).await;
    let idle = usage::memory(&tidemark.answering)?;
    let held = hold(client, tidemark, instances).await?;
    Ok(Memory {
        instances,
        idle,
        held,
    })
}

/// Memory while so many instances are full of requests.
async fn hold(client: &Client, tidemark: &mut Contender, instances: usize) -> anyhow::Result<u64> {
    let origin = tidemark.servers.last_mut().map(|origin| origin.process());
    let Some(origin) = origin else {
        anyhow::bail!("there is no origin");
    };
    origin.signal(Signal::STOP);
    let mut waiting: JoinSet<anyhow::Result<Answer>> = JoinSet::new();
    for number in 0..instances * REQUESTS {
        // Never cached: each of them waits for the origin. The example has few products; each is asked often.
        let url = format!("{}/inventory/{}", tidemark.reads, 1 + number % 30);
        let client = client.clone();
        waiting.spawn(async move { client.get(&url).await });
    }
    sleep(Duration::from_millis(1500)).await;
    let held = usage::memory(&tidemark.answering);
    if let Some(origin) = tidemark.servers.last_mut() {
        origin.process().signal(Signal::CONT);
    }
    while let Some(answer) = waiting.join_next().await {
        let answer = answer??;
        // More than the origin's queue takes are refused, which is all the same here.
        ensure!([200, 503].contains(&answer.status.as_u16()), "{answer:?}");
    }
    held
}
