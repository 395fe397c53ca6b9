//! `manager`: the cache manager, until it is told to stop.

use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use super::arguments::{KeyspaceArgs, MetricsArgs, client};
use crate::{
    manager::{Manager, ManagerConfig},
    relay::region::Target,
    shutdown::{self, Shutdown},
};

#[derive(Debug, Args)]
pub(super) struct ManagerArgs {
    /// The Redis to which a relay writes, as redis://user:password@host:6379/0.
    #[arg(
        long,
        env = "TIDEMARK_FROM",
        value_name = "URL",
        hide_env_values = true
    )]
    from: String,
    /// The Redis of this region, to which its events are applied.
    #[arg(long, env = "TIDEMARK_TO", value_name = "URL", hide_env_values = true)]
    to: String,
    #[command(flatten)]
    keyspace: KeyspaceArgs,
    #[command(flatten)]
    metrics: MetricsArgs,
}

pub(super) async fn manager(args: ManagerArgs) -> anyhow::Result<()> {
    let shutdown = Shutdown::when(shutdown::signal().context("cannot listen for signals")?);
    let config = ManagerConfig {
        from: client(&args.from)?,
        to: client(&args.to)?,
        keyspace: args.keyspace.parse(),
    };
    let region = Arc::new(Target::new(config.to.clone(), config.keyspace.clone()));
    // Without a catalog it knows no queries, and so nothing of the edges.
    let metrics = args
        .metrics
        .serve(&[region], &config.keyspace, Vec::new(), &shutdown)
        .await?;
    let work = async {
        let manager = Manager::connect(config).await?;
        // For people and scripts alike: from here on events are not missed without a new epoch.
        println!("applying {}", manager.route());
        manager.run().await;
        Ok(())
    };
    tokio::select! {
        worked = work => return worked,
        () = shutdown.requested() => {}
    }
    metrics.finish().await;
    Ok(())
}
