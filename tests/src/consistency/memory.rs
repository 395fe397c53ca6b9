//! The memory of the servers while a load lasts: whether it grows.

use std::{fmt, time::Duration};

use super::world::World;
use crate::resident::resident;

/// How often it is looked at.
pub const LOOK: Duration = Duration::from_secs(5);

/// What grows by less than this share, or by less than so many MiB, is flat.
const FLAT_SHARE: f64 = 0.10;
const FLAT_MIB: f64 = 4.0;

/// How much of the run counts as its beginning, and as its end.
const QUARTER: usize = 4;

/// What each server held, look by look, in MiB.
#[derive(Debug, Default)]
pub struct Memory {
    servers: Vec<Server>,
}

#[derive(Debug)]
struct Server {
    name: String,
    mib: Vec<f64>,
}

impl Memory {
    /// Looks once: at edges, origins, managers and what each Redis says of itself.
    ///
    /// # Errors
    /// A Redis does not answer.
    pub async fn look(&mut self, world: &mut World) -> anyhow::Result<()> {
        let mut seen = Vec::new();
        for (region, name) in world.regions.iter_mut().zip(["home", "far"]) {
            let edge = region.edge.server.process().id();
            seen.push((format!("{name} edge"), resident(edge).mib as f64));
            if let Some(manager) = &region.manager {
                let manager = manager.process.id();
                seen.push((format!("{name} manager"), resident(manager).mib as f64));
            }
            let used = region.redis.used_memory().await?;
            seen.push((format!("{name} Redis"), used as f64 / (1 << 20) as f64));
        }
        for (number, origin) in world.origins.iter_mut().enumerate() {
            let origin = origin.server.process().id();
            seen.push((format!("origin {number}"), resident(origin).mib as f64));
        }
        for (place, (name, mib)) in seen.into_iter().enumerate() {
            if self.servers.len() == place {
                let mib = Vec::new();
                self.servers.push(Server { name, mib });
            }
            self.servers[place].mib.push(mib);
        }
        Ok(())
    }

    /// What each server held at the last look.
    pub fn last(&self) -> String {
        let each = self.servers.iter().map(|server| {
            let mib = server.mib.last().copied().unwrap_or_default();
            format!("{} {mib:.1} MiB", server.name)
        });
        each.collect::<Vec<_>>().join(", ")
    }

    /// Whether no server has grown.
    pub fn is_flat(&self) -> bool {
        self.servers.iter().all(Server::is_flat)
    }
}

impl Server {
    /// The mean of the first quarter of all looks, and that of the last one.
    fn means(&self) -> (f64, f64) {
        let quarter = (self.mib.len() / QUARTER).max(1).min(self.mib.len());
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
        let (first, last) = (&self.mib[..quarter], &self.mib[self.mib.len() - quarter..]);
        (mean(first), mean(last))
    }

    fn is_flat(&self) -> bool {
        let (first, last) = self.means();
        last - first <= (first * FLAT_SHARE).max(FLAT_MIB)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  memory, first quarter and last:")?;
        for server in &self.servers {
            let (first, last) = server.means();
            let growth = (last - first) * 100.0 / first.max(1.0);
            let verdict = if server.is_flat() { "flat" } else { "grows" };
            write!(
                f,
                "\n    {:12} {first:6.1} MiB → {last:6.1} MiB, {growth:+.1} %: {verdict}",
                server.name
            )?;
        }
        Ok(())
    }
}
