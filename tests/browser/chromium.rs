//! A real browser: Debian's Chromium without a window, driven by its chromedriver.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use fantoccini::{
    Client as Session, ClientBuilder, Locator,
    actions::{InputSource as _, KeyAction, KeyActions},
    key::Key,
    wd::Capabilities,
};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidemark_tests::{
    http::Client,
    port,
    process::{Launch, Process},
    tools, wait,
};

const START: Duration = Duration::from_secs(30);

/// How long a browser may go on after its driver.
const GOODBYE: Duration = Duration::from_secs(10);

/// It looks for nothing but what it is told to open, and has a profile of its own. It hears its driver
/// through a pipe, so that it ends with it.
const FLAGS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
];

/// Where a browser keeps what it has to.
struct Profile(PathBuf);

impl Profile {
    fn new() -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("tidemark-chromium-")?;
        Ok(Self(folder.keep()))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Profile {
    /// The browser ends a moment after its driver, and writes until then.
    fn drop(&mut self) {
        let deadline = Instant::now() + GOODBYE;
        while self.0.exists() && Instant::now() < deadline {
            let _ = fs::remove_dir_all(&self.0);
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// How the page is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// In CSS pixels.
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) scheme: Scheme,
}

/// The reader's colour scheme.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

/// An open browser. Dropping it ends it.
pub(crate) struct Browser {
    session: Session,
    /// The driver's address of the session, for what WebDriver has no command.
    address: String,
    driver: Client,
    _process: Process,
    _profile: Profile,
}

impl Browser {
    /// Opens an address in a new browser.
    pub(crate) async fn open(url: &str) -> Self {
        let browser = match Self::start().await {
            Ok(browser) => browser,
            Err(error) => panic!("the browser does not start: {error:#}"),
        };
        browser.session.goto(url).await.unwrap();
        browser
    }

    async fn start() -> anyhow::Result<Self> {
        let missing = "Chromium is not installed; run: ops/setup --browser";
        let chromium = tools::program("chromium").context(missing)?;
        let profile = Profile::new()?;
        let mut command = Command::new(tools::program("chromedriver").context(missing)?);
        let port = port::free();
        command.arg(format!("--port={port}"));
        // It and the browser leave things there.
        command.env("TMPDIR", profile.path());
        let mut process = Process::start(Launch {
            name: "chromedriver",
            command,
            log: profile.path().join("chromedriver.log"),
            end: Signal::TERM,
            lease: None,
        })?;
        let (url, driver) = (format!("http://127.0.0.1:{port}"), Client::default());
        let status = format!("{url}/status");
        process
            .until(START, async |_| driver.get(&status).await.ok())
            .await?;

        let mut flags: Vec<_> = FLAGS.map(str::to_owned).into();
        flags.push(format!(
            "--user-data-dir={}",
            profile.path().join("data").display()
        ));
        let mut capabilities = Capabilities::new();
        let options = json!({"binary": chromium, "args": flags});
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"}));
        let session = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&url)
            .await?;
        let id = session.session_id().await?.context("a session")?;
        Ok(Self {
            session,
            address: format!("{url}/session/{id}"),
            driver,
            _process: process,
            _profile: profile,
        })
    }

    /// The text that a reader sees in the first element of this CSS selector; empty if there is none.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let text = "return document.querySelector(arguments[0])?.innerText ?? ''";
        let text = self.run(text, vec![json!(selector)]).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until `accept` likes that text, and gives it.
    pub(crate) async fn says(&self, selector: &str, accept: impl Fn(&str) -> bool) -> String {
        let what = format!("{selector} as expected");
        wait::until(
            &what,
            async || self.text(selector).await,
            |text| accept(text),
        )
        .await
    }

    /// Clicks on the first element of this CSS selector.
    pub(crate) async fn click(&self, selector: &str) {
        let found = self.session.find(Locator::Css(selector)).await;
        let element = found.unwrap_or_else(|error| panic!("{selector}: {error}"));
        element.click().await.unwrap();
    }

    /// Presses a key, whatever has the keyboard's focus.
    pub(crate) async fn press(&self, key: Key) {
        let value = key.into();
        let press = KeyActions::new("keyboard".to_owned())
            .then(KeyAction::Down { value })
            .then(KeyAction::Up { value });
        self.session.perform_actions(press).await.unwrap();
    }

    /// What a script returns.
    pub(crate) async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.session.execute(script, arguments).await.unwrap()
    }

    /// What a script passes to the function that it finds as its last argument.
    pub(crate) async fn run_async(&self, script: &str, arguments: Vec<Value>) -> Value {
        let result = self.session.execute_async(script, arguments).await;
        result.unwrap()
    }

    /// Has the page laid out and coloured like this from now on.
    pub(crate) async fn view(&self, view: View) {
        let View { width, height, .. } = view;
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await;
        let scheme = match view.scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let media = json!({"features": features});
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// A PNG of what is seen.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        self.session.screenshot().await.unwrap()
    }

    /// What the browser has complained about since it was last asked: errors of scripts, of loading, and
    /// of the page's security policy.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.ask("se/log", json!({"type": "browser"})).await;
        let lines = log.as_array().expect("a log").iter();
        lines
            .filter(|line| line["level"] != "INFO" && line["level"] != "DEBUG")
            .map(|line| line["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        let command = json!({"cmd": command, "params": parameters});
        self.ask("goog/cdp/execute", command).await;
    }

    /// A command of chromedriver's own.
    async fn ask(&self, command: &str, parameters: Value) -> Value {
        let url = format!("{}/{command}", self.address);
        let sent = self
            .driver
            .send(Method::POST, &url, &[], parameters.to_string());
        let answer = sent.await.unwrap();
        assert!(answer.status.is_success(), "{command}: {answer:?}");
        answer.json()["value"].take()
    }
}
