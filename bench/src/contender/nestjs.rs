//! The example as a NestJS application: see `bench/peers/nestjs`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail};
use tidemark_tests::{
    process::{Launch, Signal},
    server::Server,
    tools,
};
use tokio::process::Command;

use super::{Contender, Invalidation};
use crate::{
    say,
    site::{Database, Site},
};

/// On a busy machine a Node.js process takes seconds to load its modules.
const START: Duration = Duration::from_secs(60);

/// How it caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Not at all.
    Uncached,
    /// By `CacheInterceptor`, of answers that are text.
    Interceptor,
    /// By `CacheInterceptor`, of answers that are objects, as NestJS' documentation shows it.
    Objects,
    /// By hand, one `GET` of the answer's bytes; its own writes invalidate.
    ByHand,
    /// By hand, and in each process as well, which learns of writes by pub/sub.
    ByHandLocal,
}

/// How it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// How it caches.
    pub mode: Mode,
    /// How long.
    pub ttl: Duration,
    /// Processes that share the port: one, or as many as there are cores.
    pub workers: usize,
    /// By hand: whether what an invalidation has overtaken, in the same process, is thrown away.
    pub guard: bool,
}

/// The application, compiled.
#[derive(Clone, Debug)]
pub struct NestJs {
    node: PathBuf,
    main: PathBuf,
}

impl Mode {
    const fn variable(self) -> &'static str {
        match self {
            Self::Uncached => "uncached",
            Self::Interceptor => "interceptor",
            Self::Objects => "interceptor-objects",
            Self::ByHand | Self::ByHandLocal => "manual",
        }
    }

    const fn invalidation(self) -> Invalidation {
        match self {
            Self::Uncached => Invalidation::Uncached,
            Self::Interceptor | Self::Objects => Invalidation::Time,
            Self::ByHand | Self::ByHandLocal => Invalidation::OwnWrites,
        }
    }
}

impl Setting {
    /// This mode in one process, with the `ttl` of the example's catalog.
    pub const fn of(mode: Mode) -> Self {
        Self {
            mode,
            ttl: Duration::from_secs(300),
            workers: 1,
            guard: false,
        }
    }

    /// What the contender is called in tables.
    pub fn contender(&self) -> String {
        let processes = match self.workers {
            1 => "process",
            _ => "processes",
        };
        format!("{}, {} {processes}", self.described(), self.workers)
    }

    /// Whether this is what a contender of this name is, in however many processes.
    pub fn describes(&self, contender: &str) -> bool {
        let rest = contender.strip_prefix(&self.described());
        let count = rest.and_then(|rest| rest.strip_prefix(", ")?.split_once(' '));
        count.is_some_and(|(count, unit)| {
            count.parse::<usize>().is_ok() && ["process", "processes"].contains(&unit)
        })
    }

    /// What it is called, but for its processes.
    fn described(&self) -> String {
        let mut name = match self.mode {
            Mode::Uncached => "NestJS, no cache",
            Mode::Interceptor => "NestJS CacheInterceptor, text",
            Mode::Objects => "NestJS CacheInterceptor, objects",
            Mode::ByHand => "NestJS by hand",
            Mode::ByHandLocal => "NestJS by hand, local",
        }
        .to_owned();
        if self.guard {
            name += ", guarded";
        }
        // Only then do those who look at the answers see it.
        if self.mode.invalidation() == Invalidation::Time {
            name += &match self.ttl.as_secs() {
                seconds if seconds >= 60 && seconds % 60 == 0 => format!(", {} min", seconds / 60),
                _ => format!(", {} s", self.ttl.as_secs_f64()),
            };
        }
        name
    }
}

impl NestJs {
    /// Installs what its lock file names, unless that is there, and compiles it.
    ///
    /// # Errors
    /// Node.js is not installed, or npm or the compiler fails.
    pub async fn install() -> anyhow::Result<Self> {
        let node = tools::program("node").context("for NestJS; run: ops/setup --bench")?;
        let npm = tools::program("npm").context("for NestJS; run: ops/setup --bench")?;
        let folder = tools::repository().join("bench/peers/nestjs");
        // Within what npm removes before it installs.
        let mark = folder.join("node_modules/.installed");
        let locked = fs::read_to_string(folder.join("package-lock.json"))?;
        if fs::read_to_string(&mark).ok().as_ref() != Some(&locked) {
            say("installing NestJS from npm, once; this may take a minute");
            let ci = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
            run(&folder, &npm, &ci).await?;
            fs::write(&mark, &locked)?;
        }
        say("compiling the NestJS application");
        run(&folder, &npm, &["run", "--silent", "build"]).await?;
        let main = folder.join("dist/main.js");
        Ok(Self { node, main })
    }

    /// Starts it. Reads and writes go to it.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(
        &self,
        site: &Site,
        database: &Database,
        setting: &Setting,
    ) -> anyhow::Result<Contender> {
        let switch = |on| if on { "1" } else { "0" };
        let mut command = std::process::Command::new(&self.node);
        command
            .arg(&self.main)
            .env("NODE_ENV", "production")
            .env("PORT", "0")
            .env("DATABASE_URL", database.url())
            .env("REDIS_URL", site.redis.url())
            .env("MODE", setting.mode.variable())
            .env("TTL_MS", setting.ttl.as_millis().to_string())
            .env("WORKERS", setting.workers.to_string())
            .env("LOCAL", switch(setting.mode == Mode::ByHandLocal))
            .env("GUARD", switch(setting.guard));
        let launch = Launch {
            name: "NestJS",
            command,
            log: site.file("nestjs.log"),
            end: Signal::TERM,
            lease: None,
        };
        let server = Server::start(launch, "listening on ", START).await?;
        let invalidation = setting.mode.invalidation();
        let mut contender = Contender::of(setting.contender(), invalidation, server);
        contender.writes = Some(contender.reads.clone());
        Ok(contender)
    }
}

/// Runs a program to its end. It ends with whoever waits for it.
async fn run(folder: &Path, program: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("can't start {}", program.display()))?;
    if !output.status.success() {
        bail!(
            "{} {} failed ({}):\n{}{}",
            program.display(),
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_what_makes_a_difference() {
        let mut setting = Setting::of(Mode::Interceptor);
        assert_eq!(
            setting.contender(),
            "NestJS CacheInterceptor, text, 5 min, 1 process"
        );
        setting.ttl = Duration::from_secs(1);
        setting.workers = 2;
        assert_eq!(
            setting.contender(),
            "NestJS CacheInterceptor, text, 1 s, 2 processes"
        );
        setting.mode = Mode::ByHandLocal;
        setting.guard = true;
        assert_eq!(
            setting.contender(),
            "NestJS by hand, local, guarded, 2 processes"
        );
    }

    #[test]
    fn a_setting_describes_its_contenders_and_no_others() {
        let all = [
            Mode::Uncached,
            Mode::Interceptor,
            Mode::Objects,
            Mode::ByHand,
            Mode::ByHandLocal,
        ];
        for one in all.map(Setting::of) {
            for (mode, workers) in all.into_iter().flat_map(|it| [(it, 1), (it, 12)]) {
                let other = Setting {
                    workers,
                    ..Setting::of(mode)
                };
                let same = one.mode == mode;
                assert_eq!(one.describes(&other.contender()), same, "{one:?} {other:?}");
            }
        }
    }
}
