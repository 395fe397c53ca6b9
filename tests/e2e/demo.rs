//! The demo: what `make demo` starts, and that nothing of it is left behind.

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;
use tidemark_tests::{
    http::Client,
    postgres,
    process::{Launch, Process},
    tools, wait,
};

use crate::support::{MISS, Ran, dashboard, run};

const LIMIT: Duration = Duration::from_secs(90);

/// A folder for a demo, into which PostgreSQL's account gets.
fn folder() -> TempDir {
    postgres::new_folder(&env::temp_dir(), "tidemark-demo-").unwrap()
}

fn command(folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark-demo"));
    command
        .arg("--dir")
        .arg(folder)
        .args(["--size", "tests", "--edge-port", "0", "--origin-port", "0"])
        .args(more);
    command
}

struct Demo {
    process: Process,
    folder: PathBuf,
}

impl Demo {
    /// Starts it and waits until it says that it is up.
    async fn start(folder: &Path) -> Self {
        let process = Process::start(Launch {
            name: "demo",
            command: command(folder, &[]),
            log: folder.join("demo.log"),
            end: Signal::INT,
            lease: None,
        });
        let mut this = Self {
            process: process.unwrap(),
            folder: folder.to_owned(),
        };
        let up = this.process.says("Tidemark is up", LIMIT).await;
        up.unwrap_or_else(|error| panic!("{error:#}"));
        this
    }

    fn env_file(&self) -> PathBuf {
        self.folder.join("demo.env")
    }

    /// The variables of `demo.env`, as a shell reads them.
    fn env(&self) -> BTreeMap<String, String> {
        let script = format!(
            "set -eu; . '{}'; for name in EDGE_URL ORIGIN_URL DATABASE_URL REDIS_URL; do eval \"echo $name=\\$$name\"; done",
            self.env_file().display()
        );
        let printed = tools::output(Command::new("sh").args(["-c", &script])).unwrap();
        printed
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// The ids of its servers, from their leases.
    fn servers(&self) -> Vec<Pid> {
        ["postgres", "redis", "origin", "edge"]
            .iter()
            .map(|name| self.folder.join(format!("{name}.pid")))
            .map(|lease| fs::read_to_string(lease).unwrap())
            .map(|id| Pid::from_raw(id.trim().parse().unwrap()).unwrap())
            .collect()
    }
}

async fn all_have_ended(servers: &[Pid]) {
    wait::until(
        "the servers have ended",
        async || {
            servers
                .iter()
                .filter(|id| test_kill_process(**id).is_ok())
                .count()
        },
        |running| *running == 0,
    )
    .await;
}

#[tokio::test]
async fn the_demo_starts_stops_and_starts_again() {
    let folder = folder();
    let mut demo = Demo::start(folder.path()).await;
    let env = demo.env();
    let client = Client::default();
    let edge = client
        .get(&format!("{}{}", env["EDGE_URL"], dashboard(42)))
        .await
        .unwrap();
    // The very first answer that a newcomer sees.
    assert_eq!(edge.cache_status(), MISS, "{edge:?}");
    let origin = client
        .get(&format!("{}/readyz", env["ORIGIN_URL"]))
        .await
        .unwrap();
    assert_eq!(origin.status, 200);
    let orders = "UPDATE orders SET status = 'cancelled' WHERE org_id = 42 RETURNING 'cancelled'";
    let psql = Command::new("psql")
        .args([&env["DATABASE_URL"], "-Atc", orders])
        .output();
    assert!(String::from_utf8_lossy(&psql.unwrap().stdout).contains("cancelled"));
    let keys = Command::new("redis-cli")
        .args(["-u", &env["REDIS_URL"], "KEYS", "tm:*"])
        .output();
    assert!(String::from_utf8_lossy(&keys.unwrap().stdout).contains("tm:{org:42}:dashboard:"));
    let mode = fs::metadata(demo.env_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds a password");

    // A second one in the same folder has no chance.
    let Ran {
        success, stderr, ..
    } = run(command(folder.path(), &[]));
    assert!(
        !success && stderr.contains("a demo is running in"),
        "{stderr}"
    );
    assert!(demo.env_file().exists());

    let servers = demo.servers();
    demo.process.signal(Signal::INT);
    let status = demo.process.ended(LIMIT).await.unwrap();
    assert!(status.success(), "{status}\n{}", demo.process.tail());
    assert!(!demo.env_file().exists());
    all_have_ended(&servers).await;

    // The data has stayed.
    let mut demo = Demo::start(folder.path()).await;
    assert!(
        demo.process
            .output()
            .unwrap()
            .contains("the data is there (size tests)")
    );
    let url = format!("{}{}", demo.env()["EDGE_URL"], dashboard(42));
    assert_eq!(
        client.get(&url).await.unwrap().json()["totals"]["orders"],
        0
    );
    demo.process.signal(Signal::TERM);
    let status = demo.process.ended(LIMIT).await.unwrap();
    assert!(status.success(), "{status}\n{}", demo.process.tail());
}

/// What the newcomer is told to type, typed.
#[tokio::test]
async fn the_five_commands_work_as_printed() {
    let folder = folder();
    let demo = Demo::start(folder.path()).await;
    let welcome = demo.process.output().unwrap();
    let commands = welcome.lines().filter(|line| {
        ["  curl ", "  psql ", "  redis-cli "]
            .iter()
            .any(|program| line.starts_with(program))
    });
    let expected = [
        "fwd=miss; stored",
        "HTTP/1.1 201 Created",
        "UPDATE 1",
        "tm:{org:42}:dashboard:",
        "detail=uncacheable",
    ];
    let mut tried = 0;
    for (command, expected) in commands.zip(expected) {
        let printed = tools::output(Command::new("sh").args(["-c", command])).unwrap();
        assert!(printed.contains(expected), "{command}\n{printed}");
        tried += 1;
    }
    assert_eq!(tried, expected.len(), "{welcome}");
}

#[tokio::test]
async fn a_killed_demo_leaves_nothing_in_the_way() {
    let folder = folder();
    let mut demo = Demo::start(folder.path()).await;
    let servers = demo.servers();
    demo.process.kill();
    if cfg!(target_os = "linux") {
        all_have_ended(&servers).await;
    }
    assert!(demo.env_file().exists(), "nobody was left to remove it");
    let demo = Demo::start(folder.path()).await;
    let url = format!("{}/inventory/7", demo.env()["EDGE_URL"]);
    assert_eq!(Client::default().get(&url).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_server_that_dies_ends_the_demo_with_its_last_words() {
    let folder = folder();
    let mut demo = Demo::start(folder.path()).await;
    let servers = demo.servers();
    kill_process(servers[1], Signal::KILL).unwrap();
    let status = demo.process.ended(LIMIT).await.unwrap();
    assert!(!status.success());
    let said = demo.process.output().unwrap();
    assert!(
        said.contains("Redis has ended") && said.contains("redis.log"),
        "{said}"
    );
    assert!(!demo.env_file().exists());
    all_have_ended(&servers).await;
}

#[tokio::test]
async fn a_demo_is_stopped_while_it_starts() {
    let folder = folder();
    let mut process = Process::start(Launch {
        name: "demo",
        command: command(folder.path(), &[]),
        log: folder.path().join("demo.log"),
        end: Signal::INT,
        lease: None,
    })
    .unwrap();
    process.says("demo: loading", LIMIT).await.unwrap();
    process.signal(Signal::INT);
    let status = process.ended(LIMIT).await.unwrap();
    assert!(status.success(), "{status}\n{}", process.tail());
    assert!(!folder.path().join("demo.env").exists());
    // Half of the data is none: the next start makes it anew.
    let demo = Demo::start(folder.path()).await;
    assert!(demo.process.output().unwrap().contains("demo: loaded in"));
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_variable_that_changes_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (flag, variable) in [
        ("--edge-port", "EDGE_PORT="),
        ("--origin-port", "ORIGIN_PORT="),
    ] {
        let folder = folder();
        let mut demo = Command::new(env!("CARGO_BIN_EXE_tidemark-demo"));
        demo.arg("--dir")
            .arg(folder.path())
            .args(["--size", "tests", flag, &port]);
        // The other one may be taken on this machine, too.
        let other = if flag == "--edge-port" {
            "--origin-port"
        } else {
            "--edge-port"
        };
        demo.args([other, "0"]);
        let Ran {
            success, stderr, ..
        } = run(demo);
        assert!(!success);
        assert!(
            stderr.contains(&format!("port {port} is taken")),
            "{stderr}"
        );
        assert!(stderr.contains(variable), "{stderr}");
    }
}

#[tokio::test]
async fn without_spin_its_runner_is_refused() {
    let folder = folder();
    let mut demo = command(folder.path(), &["--runner", "spin"]);
    demo.env("PATH", folder.path());
    let Ran {
        success, stderr, ..
    } = run(demo);
    assert!(!success);
    assert!(stderr.contains("RUNNER=spin needs Spin"), "{stderr}");
}
