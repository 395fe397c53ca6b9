//! Clients that take and give nothing: idle ones, slow ones, and those that vanish.

use std::{process::Command, time::Duration};

use rustix::process::Signal;
use tidemark_tests::{
    consistency::report::say,
    http::Client,
    process::Launch,
    resident::{forget_peak, open_files, resident},
    server::Server,
    stack::Stack,
    wait,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::Instant,
};

use crate::sized::{self, MIB};

/// What somebody else waits meanwhile at most, on a busy machine.
const BOUND: Duration = Duration::from_secs(5);

/// How long edge and origin bear a client by default, with time for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request that is not followed by reading.
async fn ask(base: &str, path: &str) -> TcpStream {
    let address = base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Connections that have been used once and are kept.
async fn idle(base: &str, path: &str, connections: usize) -> Vec<TcpStream> {
    const AT_A_TIME: usize = 100;
    let mut all = Vec::with_capacity(connections);
    while all.len() < connections {
        let mut opening = JoinSet::new();
        for _ in 0..AT_A_TIME.min(connections - all.len()) {
            let (base, path) = (base.to_owned(), path.to_owned());
            opening.spawn(async move {
                let mut stream = ask(&base, &path).await;
                let read = stream.read(&mut [0; 4_096]).await.unwrap();
                assert!(read > 0, "it was closed");
                stream
            });
        }
        all.extend(opening.join_all().await);
    }
    all
}

/// A number that the origin shows at `/metrics`.
async fn metric(base: &str, name: &str) -> f64 {
    let answer = Client::default().get(&format!("{base}/metrics")).await;
    let text = String::from_utf8(answer.unwrap().body.to_vec()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{text}"))
        .trim()
        .parse()
        .unwrap()
}

/// How long somebody else waits for an answer.
async fn wait_of_another(base: &str, path: &str) -> Duration {
    let begun = Instant::now();
    let answer = Client::default().get(&format!("{base}{path}")).await;
    assert_eq!(answer.unwrap().status, 200);
    begun.elapsed()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_are_in_nobodys_way() {
    let _turn = crate::turn().await;
    let mut stack = sized::setup().start().await;
    let path = sized::path(10, 1);
    stack.hit(&path).await;
    // As many as this process itself may have.
    let limit = tidemark_origin::descriptors::raise().map_or(usize::MAX, |limit| limit as usize);
    let connections = 10_000.min(limit.saturating_sub(200));
    let servers = [
        ("edge", &mut stack.edge, path.as_str()),
        ("origin", &mut stack.origin, "/healthz"),
    ];
    for (name, server, asked) in servers {
        let (base, process) = (server.url().to_owned(), server.process().id());
        let before = resident(process).mib;
        let begun = Instant::now();
        let idle = idle(&base, asked, connections).await;
        let (opened, after) = (begun.elapsed(), resident(process).mib);
        let waited = wait_of_another(&base, &path).await;
        say(format_args!(
            "{connections} idle connections at the {name}, opened in {opened:.1?}: {before} → {after} MiB; \
             somebody else waited {waited:.1?}"
        ));
        assert!(waited < BOUND, "{waited:?}");
        // What a connection takes is kept small by closing it: 30 s by default.
        let bound = before + connections as u64 * 32 / 1_024;
        assert!(after < bound, "{before} → {after} MiB");
        drop(idle);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_nothing_is_given_up() {
    const CLIENTS: usize = 16;
    let _turn = crate::turn().await;
    let mut stack = sized::setup()
        .origin("TIDEMARK_REQUEST_TIMEOUT_MS", 2_000)
        .origin("TIDEMARK_MEMORY_BYTES", 0)
        .start()
        .await;
    let small = sized::path(10, 1);
    stack.hit(&small).await;
    let mut most = Vec::new();
    // The patience of the first is 30 s, that of the others this test's own.
    for name in ["edge", "origin", "origin", "origin"] {
        let server = match name {
            "edge" => &mut stack.edge,
            _ => &mut stack.origin,
        };
        let (base, process) = (server.url().to_owned(), server.process().id());
        let (before, files) = (resident(process).mib, open_files(process));
        forget_peak(process);
        let begun = Instant::now();
        let mut stuck = Vec::new();
        for id in 1..=CLIENTS {
            stuck.push(ask(&base, &sized::path(8 * MIB, id)).await);
        }
        let waited = wait_of_another(&base, &small).await;
        let open = async || open_files(process);
        let half = files + CLIENTS / 2;
        wait::until_within(PATIENCE, "clients given up", open, |now| *now < half).await;
        let ended = begun.elapsed();
        let held = resident(process);
        say(format_args!(
            "{CLIENTS} clients that do not read 8 MiB each of the {name}: given up after {ended:.1?}; \
             {before} → {} MiB, at most {}; somebody else waited {waited:.1?}",
            held.mib, held.peak_mib
        ));
        assert!(waited < BOUND, "{waited:?}");
        most.push(held.peak_mib);
    }
    // What the first ones took, the next ones take again.
    assert!(most[3] < most[1] + most[1] / 2, "{most:?} MiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_vanish_leave_nothing_running() {
    const CLIENTS: usize = 200;
    let _turn = crate::turn().await;
    let stack = sized::setup()
        .origin("TIDEMARK_ACQUIRE_TIMEOUT_MS", 60_000)
        .origin("TIDEMARK_STATEMENT_TIMEOUT_MS", 600_000)
        // Nobody tells a component that its client is gone: it goes on to its deadline.
        .edge("origin_deadline_ms", 3_000)
        .start()
        .await;
    stack.hit(&sized::path(10, 1)).await;
    let origin = stack.origin.url();
    let load = async || {
        let running = metric(origin, "tidemark_queries_running ").await;
        running + metric(origin, "tidemark_queries_waiting ").await
    };
    for (name, base) in [("edge", stack.edge.url()), ("origin", origin)] {
        let mut clients = Vec::new();
        for id in 1..=CLIENTS {
            clients.push(ask(base, &format!("/slow/{id}")).await);
        }
        // 10 run, and 100 wait.
        wait::until("a full line", load, |load| *load >= 100.0).await;
        let begun = Instant::now();
        drop(clients);
        wait::until("nothing running", load, |load| *load == 0.0).await;
        let ended = begun.elapsed();
        let waited = wait_of_another(origin, &sized::path(11, 1)).await;
        say(format_args!(
            "{CLIENTS} clients of the {name} vanish: their queries have ended after {ended:.1?}; somebody else \
             waited {waited:.1?}"
        ));
        assert!(waited < BOUND, "{waited:?}");
    }
}

/// One more origin, which may have so many files open.
async fn limited_origin(stack: &Stack, files: usize) -> Server {
    let mut config = stack.origin_config.clone();
    config.listen.set_port(0);
    let origin = config.command(&["serve"]).unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n $1; exec \"$0\" serve"])
        .arg(origin.get_program())
        .arg(files.to_string());
    for (name, value) in origin.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let launch = Launch {
        name: "origin",
        command,
        log: config.log.with_file_name("limited-origin.log"),
        end: Signal::TERM,
        lease: None,
    };
    let started = Server::start(launch, "listening on ", wait::LIMIT).await;
    started.unwrap_or_else(|error| panic!("{error:#}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_clients_than_files_wait_and_leave_the_database_reachable() {
    let _turn = crate::turn().await;
    let stack = sized::setup()
        .origin("TIDEMARK_REQUEST_TIMEOUT_MS", 3_000)
        .start()
        .await;
    let origin = limited_origin(&stack, 128).await;
    // 128 less 64 for itself and 20 for its pools.
    let connections = 44;
    let mut first = ask(origin.url(), "/healthz").await;
    assert!(first.read(&mut [0; 4_096]).await.unwrap() > 0);
    let address = origin.url().trim_start_matches("http://");
    let mut others = Vec::new();
    for _ in 0..100 {
        others.push(TcpStream::connect(address).await.unwrap());
    }
    // Whoever is in gets answers of the database; whoever comes waits until idle ones are closed.
    let path = sized::path(10, 2);
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    first.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 4_096];
    let length = first.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200 "));
    let waited = wait_of_another(origin.url(), &path).await;
    say(format_args!(
        "101 clients of an origin with room for {connections}: somebody else waited {waited:.1?}"
    ));
    assert!(waited < 3 * wait::LIMIT / 2, "{waited:?}");
    let log = std::fs::read_to_string(origin.log()).unwrap();
    assert_eq!(log.matches("others wait").count(), 1, "{log}");
}
