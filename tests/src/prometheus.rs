//! A private Prometheus with the configuration, rules and alerts of `ops/prometheus`, in a hurry.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, ensure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    http::Client,
    port::{self, local},
    process::{Launch, Process},
    server::Server,
    tools,
};

const START: Duration = Duration::from_secs(30);

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Prometheus {
    url: String,
    client: Client,
    _process: Process,
}

impl Prometheus {
    /// Starts it in an empty folder, to scrape the origins at these addresses each second.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub async fn start(folder: &Path, origins: &[&Server]) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let shipped = tools::repository().join("ops/prometheus");
        for rules in ["rules.yml", "alerts.yml"] {
            fs::copy(shipped.join(rules), folder.join(rules))?;
        }
        let mut config = fs::read_to_string(shipped.join("prometheus.yml"))?;
        let targets = origins.iter().map(|origin| origin.url());
        let targets: Vec<_> = targets
            .map(|url| format!("{:?}", url.trim_start_matches("http://")))
            .collect();
        for (from, to) in [
            (": 15s", ": 1s"),
            ("\"127.0.0.1:3001\"", &targets.join(", ")),
        ] {
            ensure!(config.contains(from), "prometheus.yml has no {from}");
            config = config.replace(from, to);
        }
        let path = folder.join("prometheus.yml");
        fs::write(&path, config)?;

        let address = local(port::free());
        let program =
            tools::program("prometheus").context("Prometheus is not installed; run: ops/setup")?;
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", path.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn");
        let mut process = Process::start(Launch {
            name: "Prometheus",
            command,
            log: folder.join("prometheus.log"),
            end: Signal::TERM,
            lease: None,
        })?;
        let (url, client) = (format!("http://{address}"), Client::default());
        let ready = format!("{url}/-/ready");
        process
            .until(START, async |_| {
                let answer = client.get(&ready).await.ok()?;
                answer.status.is_success().then_some(())
            })
            .await?;
        Ok(Self {
            url,
            client,
            _process: process,
        })
    }

    /// What an expression gives now: a sample for each series.
    ///
    /// # Errors
    /// It is none, or the server is gone.
    pub async fn query(&self, expression: &str) -> anyhow::Result<Vec<Value>> {
        let expression = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let data = self.ask(&format!("query?query={expression}")).await?;
        let result = data["result"].as_array();
        Ok(result.context("no vector")?.clone())
    }

    /// All recording and alerting rules, with their state.
    ///
    /// # Errors
    /// The server is gone.
    pub async fn rules(&self) -> anyhow::Result<Vec<Value>> {
        let data = self.ask("rules").await?;
        let groups = data["groups"].as_array().context("no groups")?;
        let rules = groups.iter().filter_map(|group| group["rules"].as_array());
        Ok(rules.flatten().cloned().collect())
    }

    async fn ask(&self, what: &str) -> anyhow::Result<Value> {
        let answer = self
            .client
            .get(&format!("{}/api/v1/{what}", self.url))
            .await?;
        let mut said: Value = serde_json::from_slice(&answer.body)?;
        ensure!(answer.status.is_success(), "{what}: {said}");
        Ok(said["data"].take())
    }
}
