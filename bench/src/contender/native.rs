//! The native limit: the least that a server in front of Redis has to do. See `src/bin/native.rs`.

use std::{process::Command, time::Duration};

use tidemark_tests::{
    process::{Launch, Signal},
    server::Server,
    tools,
};

use super::{Contender, Invalidation};
use crate::site::Site;

/// The name in Redis of what it answers.
const NAME: &str = "bench:native";

/// Starts it twice: answering these bytes by one `GET` from Redis, and from its own memory. `coding` is their
/// `Content-Encoding`; empty where they have none.
///
/// # Errors
/// It is not built, or does not start.
pub async fn start(
    site: &Site,
    body: &[u8],
    coding: &str,
) -> anyhow::Result<(Contender, Contender)> {
    let mut redis = site.redis().await?;
    let () = redis::cmd("SET")
        .arg(NAME)
        .arg(body)
        .query_async(&mut redis)
        .await?;
    let by_get = serve(site, "Native, one GET", "redis", NAME, coding).await?;
    let from_memory = serve(site, "Native, memory", "memory", NAME, coding).await?;
    Ok((by_get, from_memory))
}

/// Starts it to answer what Redis has under any of many names; a `*` in the name stands for the last segment of
/// the path that is asked for.
///
/// # Errors
/// It is not built, or does not start.
pub async fn of_many(site: &Site, names: &str) -> anyhow::Result<Contender> {
    serve(site, "Native, one GET", "redis", names, "").await
}

async fn serve(
    site: &Site,
    name: &str,
    from: &str,
    names: &str,
    coding: &str,
) -> anyhow::Result<Contender> {
    let mut command = Command::new(tools::own_binary("tidemark-bench-native")?);
    command
        .args(["--from", from, "--name", names, "--coding", coding])
        .env("REDIS_URL", site.redis.url());
    let launch = Launch {
        name: "native limit",
        command,
        log: site.file(&format!("native-{from}.log")),
        end: Signal::TERM,
        lease: None,
    };
    let server = Server::start(launch, "listening on ", Duration::from_secs(10)).await?;
    Ok(Contender::of(name, Invalidation::Never, server))
}
