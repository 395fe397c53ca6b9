//! Who takes part, and as what.

use std::time::Duration;

use anyhow::Context as _;

use crate::{
    contender::{
        self, Contender,
        nestjs::{self, Mode, NestJs},
        nginx::{self, Valid},
    },
    scale::Scale,
    site::{Database, Site},
    workload::Bench,
};

/// A contender in one of its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Participant {
    /// Tidemark as shipped: reads by the edge, orders as commands of the origin.
    Tidemark,
    /// The same with `on_change = "refresh"`: what is read most is loaded before anybody asks again.
    Refresh,
    /// The origin asked directly, without its memory: the SQL every time.
    Uncached,
    /// The NestJS application.
    NestJs(nestjs::Setting),
    /// nginx before the origin.
    Nginx(Valid),
}

/// Those of a run.
pub(super) struct Cast {
    /// In the order of the first round.
    pub(super) participants: Vec<Participant>,
    nestjs: Option<NestJs>,
}

impl Cast {
    /// Gathers those of a run; NestJS is installed where it is not.
    ///
    /// # Errors
    /// NestJS can't be installed.
    pub(super) async fn gather(bench: &Bench) -> anyhow::Result<Self> {
        let mut participants = vec![Participant::Tidemark, Participant::Uncached];
        if !bench.peers {
            return Ok(Self {
                participants,
                nestjs: None,
            });
        }
        let nestjs = |mode| Participant::NestJs(nestjs::Setting::of(mode));
        participants.extend([
            Participant::NestJs(nestjs::Setting {
                // As long as Tidemark promises.
                ttl: Duration::from_secs(1),
                ..nestjs::Setting::of(Mode::Interceptor)
            }),
            // As tutorials teach it, and as well as it can be done by such means, which takes one process.
            nestjs(Mode::ByHand),
            Participant::NestJs(nestjs::Setting {
                guard: true,
                ..nestjs::Setting::of(Mode::ByHand)
            }),
            Participant::Nginx(Valid::OneSecond),
        ]);
        // A quick run has no time for those that differ least from others.
        if bench.scale != Scale::Quick {
            participants.extend([
                Participant::NestJs(nestjs::Setting {
                    workers: 2,
                    guard: true,
                    ..nestjs::Setting::of(Mode::ByHandLocal)
                }),
                Participant::Refresh,
                nestjs(Mode::Uncached),
                nestjs(Mode::Interceptor),
                Participant::Nginx(Valid::FiveMinutes),
            ]);
        }
        Ok(Self {
            participants,
            nestjs: Some(NestJs::install().await?),
        })
    }

    /// Starts one of them.
    ///
    /// # Errors
    /// It does not start.
    pub(super) async fn start(
        &self,
        participant: Participant,
        site: &Site,
        database: &Database,
    ) -> anyhow::Result<Contender> {
        match participant {
            Participant::Tidemark => contender::tidemark::start(site, database).await,
            Participant::Refresh => {
                let mut contender = contender::tidemark::start(site, database).await?;
                // The same dashboards under another path: see bench/catalog.
                contender.reads += "/bench/refresh";
                Ok(contender)
            }
            Participant::Uncached => contender::tidemark::uncached(site, database).await,
            Participant::NestJs(setting) => {
                let nestjs = self.nestjs.as_ref().context("NestJS is not installed")?;
                nestjs.start(site, database, &setting).await
            }
            Participant::Nginx(valid) => nginx::start(site, database, valid).await,
        }
    }
}

impl Participant {
    /// What it is called in tables.
    pub(super) fn name(self) -> String {
        match self {
            Self::Tidemark => "Tidemark".to_owned(),
            Self::Refresh => "Tidemark, refresh".to_owned(),
            Self::Uncached => "Origin, no cache".to_owned(),
            Self::NestJs(setting) => setting.contender(),
            Self::Nginx(valid) => valid.contender().to_owned(),
        }
    }

    /// Whether what it has read before its turn is of any use in it: nothing is that goes within a second.
    pub(super) fn keeps_answers(self) -> bool {
        match self {
            Self::Tidemark | Self::Refresh | Self::Nginx(Valid::FiveMinutes) => true,
            Self::Uncached | Self::Nginx(Valid::OneSecond) => false,
            Self::NestJs(setting) => {
                setting.mode != Mode::Uncached && setting.ttl > Duration::from_secs(1)
            }
        }
    }

    /// A fresh copy of the data; Tidemark's triggers are only there for those whose writes need them.
    ///
    /// # Errors
    /// PostgreSQL refuses.
    pub(super) async fn database(self, site: &Site) -> anyhow::Result<Database> {
        match self {
            Self::NestJs(_) => site.plain_database("article").await,
            // The origin enters the orders.
            Self::Tidemark | Self::Refresh | Self::Uncached | Self::Nginx(_) => {
                site.database("article").await
            }
        }
    }
}
