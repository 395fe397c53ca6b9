//! NestJS and nginx, each in the settings in which its answers come about differently.

use std::thread;

use anyhow::{Context as _, ensure};
use tidemark_tests::http::Client;

use super::{Case, PATH, Role};
use crate::{
    contender::{
        Contender,
        nestjs::{Mode, NestJs, Setting},
        nginx::{self, Valid},
    },
    scale::Scale,
    site::Database,
    workload::Bench,
};

/// The running peers, and in which cases each is measured.
pub(super) struct Peers(Vec<(Contender, &'static [Case])>);

impl Peers {
    /// Starts them; none, where they do not take part.
    ///
    /// # Errors
    /// One of them is not installed, or does not start.
    pub(super) async fn start(bench: &Bench, database: &Database) -> anyhow::Result<Self> {
        if !bench.peers {
            return Ok(Self(Vec::new()));
        }
        let nestjs = NestJs::install().await?;
        let mut contenders = Vec::new();
        for (setting, cases) in settings(bench.scale)? {
            let contender = nestjs.start(&bench.site, database, &setting).await?;
            contenders.push((contender, cases));
        }
        let nginx = nginx::start(&bench.site, database, Valid::FiveMinutes).await?;
        contenders.push((nginx, &[Case::Shared, Case::NotModified]));
        Ok(Self(contenders))
    }

    /// What they are asked for.
    ///
    /// # Errors
    /// One of them does not answer.
    pub(super) async fn roles(&self, client: &Client) -> anyhow::Result<Vec<Role<'_>>> {
        let mut roles = Vec::new();
        for (contender, cases) in &self.0 {
            for case in *cases {
                roles.push(match case {
                    Case::Uncached => Role::uncached(contender),
                    Case::Shared | Case::Decoded | Case::Local => {
                        Role::cached(contender, *case, PATH, None)
                    }
                    Case::NotModified => {
                        let answer = client.get(&contender.url(PATH)).await?;
                        let etag = answer.header("etag");
                        ensure!(!etag.is_empty(), "{} has no ETag", contender.name);
                        let mut role = Role::cached(contender, *case, PATH, None);
                        role.requests = role.requests.header("If-None-Match", etag);
                        role
                    }
                });
            }
        }
        Ok(roles)
    }
}

/// How NestJS is run: in a process for each core, as every other contender uses them all; and, where there is
/// time, in one, which is what `node` is by itself.
fn settings(scale: Scale) -> anyhow::Result<Vec<(Setting, &'static [Case])>> {
    let cores = thread::available_parallelism()
        .context("how many cores are there?")?
        .get();
    let mut settings: Vec<(Setting, &'static [Case])> = vec![
        (Setting::of(Mode::Uncached), &[Case::Uncached]),
        (Setting::of(Mode::Interceptor), &[Case::Shared]),
        (Setting::of(Mode::Objects), &[Case::Shared]),
        (
            Setting::of(Mode::ByHand),
            &[Case::Shared, Case::NotModified],
        ),
        (Setting::of(Mode::ByHandLocal), &[Case::Local]),
    ];
    for (setting, _) in &mut settings {
        setting.workers = cores;
    }
    if scale == Scale::Full && cores > 1 {
        let alone: [Mode; 4] = [
            Mode::Interceptor,
            Mode::Objects,
            Mode::ByHand,
            Mode::ByHandLocal,
        ];
        settings.extend(alone.map(|mode| {
            let cases: &'static [Case] = match mode {
                Mode::ByHandLocal => &[Case::Local],
                _ => &[Case::Shared],
            };
            (Setting::of(mode), cases)
        }));
    }
    Ok(settings)
}
