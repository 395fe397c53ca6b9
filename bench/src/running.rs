//! What `bench/freshness` and `bench/precision` measure: the demo that is running, or one of their own on fresh
//! data.

use std::{env, path::Path};

use anyhow::Context as _;
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tidemark_tests::{
    demo::{Demo, DemoConfig},
    edge::Runner,
    erp::Size,
    http::Client,
    postgres,
};

/// Addresses of everything that answers.
#[derive(Debug)]
pub struct Running {
    /// The edge.
    pub edge: String,
    /// The origin.
    pub origin: String,
    /// The database, with the password in it.
    pub database: String,
    /// For both.
    pub client: Client,
    own: Option<(Demo, TempDir)>,
}

impl Running {
    /// What `EDGE_URL`, `ORIGIN_URL` and `DATABASE_URL`, name, as a running demo's `demo.env`
    /// does; without these variables a demo of its own, which goes with it.
    ///
    /// # Errors
    /// Only some of the variables are there, or the demo does not start.
    pub async fn find_or_start() -> anyhow::Result<Self> {
        if env::var_os("EDGE_URL").is_some() {
            let variable = |name| env::var(name).with_context(|| format!("{name} is not set"));
            return Ok(Self {
                edge: variable("EDGE_URL")?,
                origin: variable("ORIGIN_URL")?,
                database: variable("DATABASE_URL")?,
                client: Client::default(),
                own: None,
            });
        }
        let folder = postgres::new_folder(Path::new("/var/tmp"), "tidemark-bench-")?;
        let demo = Demo::start(&DemoConfig {
            folder: folder.path().to_owned(),
            size: Size::Demo,
            runner: Runner::Host,
            edge_port: 0,
            origin_port: 0,
        })
        .await?;
        Ok(Self {
            edge: demo.edge().to_owned(),
            origin: demo.origin().to_owned(),
            database: demo.database(),
            client: Client::default(),
            own: Some((demo, folder)),
        })
    }

    /// A connection to the database, as any other program's.
    ///
    /// # Errors
    /// The database is not there.
    pub async fn connect(&self) -> anyhow::Result<PgConnection> {
        let connected = PgConnection::connect(&self.database).await;
        connected.context("can't connect to the database")
    }

    /// Stops what was started for it.
    pub fn stop(self) {
        if let Some((demo, folder)) = self.own {
            demo.stop();
            drop(folder);
        }
    }
}
