//! What Redis takes for an entry, beside what its body takes compressed.

use std::{fs, io::Write as _};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use tidemark_shared::{key::Keyspace, scope::Scope};
use tidemark_tests::http::Client;

use super::gzipped;
use crate::{
    contender::Contender,
    say,
    statistics::Spread,
    workload::{Bench, settle},
};

/// Redis' memory for dashboards, in bytes each.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// How many entries were looked at.
    pub entries: usize,
    /// The bodies as they are.
    pub body: Spread,
    /// The bodies, each compressed by `gzip -9`.
    pub gzip: Spread,
    /// What `MEMORY USAGE` tells of the entry.
    pub usage: Spread,
    /// That, beyond the compressed body.
    pub beyond_gzip: Spread,
}

pub(super) async fn measure(
    bench: &Bench,
    client: &Client,
    tidemark: &Contender,
) -> anyhow::Result<Stored> {
    let entries = bench.scale.pick(40, 40, 10);
    say(format_args!("start: memory of {entries} entries"));
    bench.site.flush_redis().await?;
    let keyspace = Keyspace::default();
    let mut redis = bench.site.redis().await?;
    let (mut bodies, mut gzips, mut usages) = (Vec::new(), Vec::new(), Vec::new());
    for organization in 1..=entries {
        let path = format!("/org/{organization}/dashboard?from=2025-01-01&to=2025-03-31");
        let answer = settle(
            client,
            &tidemark.url(&path),
            &[],
            200,
            Some("tidemark; hit"),
        )
        .await?;
        let pattern = keyspace.entries_of_member(&Scope::member("org", &organization.to_string()));
        let names: Vec<String> = redis::cmd("KEYS")
            .arg(pattern)
            .query_async(&mut redis)
            .await?;
        let name = names
            .first()
            .with_context(|| format!("{path} is not stored"))?;
        let usage: u64 = redis::cmd("MEMORY")
            .arg(&["USAGE", name, "SAMPLES", "0"])
            .query_async(&mut redis)
            .await?;
        let mut file = NamedTempFile::new()?;
        file.write_all(&answer.body)?;
        bodies.push(fs::metadata(file.path())?.len() as f64);
        gzips.push(gzipped(file.path())? as f64);
        usages.push(usage as f64);
    }
    let beyond = usages.iter().zip(&gzips).map(|(usage, gzip)| usage - gzip);
    let spread = |figures: Option<Spread>| figures.context("no entries");
    Ok(Stored {
        entries: bodies.len(),
        beyond_gzip: spread(Spread::of(beyond))?,
        body: spread(Spread::of(bodies))?,
        gzip: spread(Spread::of(gzips))?,
        usage: spread(Spread::of(usages))?,
    })
}
