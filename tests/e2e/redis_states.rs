//! Redis is there, in a way: frozen, full, loading, read-only, locked, or not Redis at all. Whatever it
//! is, reads are answered, rightly and soon, and hits are back when Redis is.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tidemark_tests::{
    http::Answer,
    redis::Redis,
    server::Server,
    stack::{OwnCatalog, REDIS_PASSWORD, Stack},
    wait,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};

use crate::support::{HIT, assert_problem, dashboard, read_until};

const BYPASS: &str = "tidemark; fwd=bypass; detail=redis-unavailable";

/// With a promise that lasts for the whole test, whatever becomes of the relay.
const LASTING: OwnCatalog = OwnCatalog {
    schema: "CREATE TABLE items (id bigint PRIMARY KEY, value text NOT NULL);
             INSERT INTO items SELECT n, 'item ' || n FROM generate_series(1, 100) AS n;",
    toml: r#"
        [query.item]
        path          = "/item/{id}"
        params        = { id = "int" }
        sql           = "item.sql"
        shape         = "row"
        reads         = ["items"]
        scope         = "item:{id}"
        ttl           = "1h"
        max_staleness = "1h"

        [table.items]
        scope = "item:{id}"
    "#,
    sql: &[("item.sql", "SELECT value FROM items WHERE id = :id")],
};

#[track_caller]
fn assert_item(answer: &Answer, id: usize) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["value"], format!("item {id}"), "{answer:?}");
}

#[track_caller]
fn assert_bypass(answer: &Answer, id: usize) {
    assert_item(answer, id);
    assert_eq!(answer.last_cache_status(), BYPASS, "{answer:?}");
}

/// A refusal is one matter for an instance, however many requests it concerns.
#[track_caller]
fn assert_noted(log: &str, refusal: &str, requests: usize) {
    let lines = log.lines();
    let noted = lines.filter(|line| line.contains("event=redis-refused") && line.contains(refusal));
    assert!((1..requests / 2).contains(&noted.count()), "{log}");
}

fn log_of(edge: &Server) -> String {
    fs::read_to_string(edge.log()).unwrap()
}

/// A server of the test's own making, which counts its connections.
struct Impostor {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Impostor {
    /// Says the same to whatever it hears; nothing at all if that is empty.
    async fn that_says(answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut heard = [0; 4096];
                    while stream.read(&mut heard).await.is_ok_and(|length| length > 0) {
                        if stream.write_all(answer).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self {
            address,
            connections,
            task,
        }
    }

    fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn a_frozen_redis_costs_a_few_deadlines_and_hits_are_back_with_it() {
    const DEADLINE: Duration = Duration::from_secs(1);
    const READS: u32 = 60;
    let mut stack = Stack::with()
        .catalog(LASTING)
        .edge("redis_deadline_ms", DEADLINE.as_millis())
        .start()
        .await;
    stack.hit("/item/1").await;
    for round in 1..=2 {
        stack.redis.process().signal(Signal::STOP);
        let begun = Instant::now();
        for _ in 0..READS {
            assert_bypass(&stack.read("/item/1").await, 1);
        }
        let took = begun.elapsed();
        assert!(took < READS * DEADLINE / 2, "{took:?}");
        stack.redis.process().signal(Signal::CONT);
        stack.hit("/item/1").await;
        // Once for each time, and not for each request.
        let log = log_of(&stack.edge);
        let count = |event: &str| log.matches(&format!("event={event} ")).count();
        assert!(
            (round..=round * 4).contains(&count("redis-given-up")),
            "{log}"
        );
        assert!(log.contains("event=redis-back"), "{log}");
        assert!(count("redis-failed") <= round * 10, "{log}");
    }
}

#[tokio::test]
async fn who_never_answers_is_not_asked_again_and_again() {
    let stack = Stack::with().catalog(LASTING).start().await;
    let silent = Impostor::that_says(b"").await;
    let edge = stack.edge_with("redis_url", silent.url()).await;
    const READS: usize = 100;
    for id in 1..=READS {
        assert_bypass(&stack.read_at(&edge, &format!("/item/{id}"), &[]).await, id);
    }
    let connections = silent.connections();
    assert!((1..READS / 2).contains(&connections), "{connections}");
}

#[tokio::test]
async fn of_many_at_once_only_the_first_ones_pay() {
    // Shorter than an instance outlives its last request: what it has learnt is to last.
    const DEADLINE: Duration = Duration::from_millis(200);
    const WAVES: usize = 20;
    const AT_ONCE: usize = 12;
    let stack = Stack::with()
        .catalog(LASTING)
        .edge("redis_deadline_ms", DEADLINE.as_millis())
        .start()
        .await;
    let silent = Impostor::that_says(b"").await;
    let edge = stack.edge_with("redis_url", silent.url()).await;
    for _ in 0..WAVES {
        let reads = (1..=AT_ONCE).map(|id| {
            let (stack, edge) = (&stack, &edge);
            async move {
                assert_bypass(&stack.read_at(edge, &format!("/item/{id}"), &[]).await, id);
            }
        });
        futures_util::future::join_all(reads).await;
    }
    // A few instances find out; then it is at most one request of each at a time.
    let (paid, all) = (
        log_of(&edge).matches("event=redis-failed ").count(),
        WAVES * AT_ONCE,
    );
    assert!((1..all / 2).contains(&paid), "{paid} of {all} have waited");
}

#[tokio::test]
async fn a_redis_that_is_killed_and_restarted_again_and_again() {
    let mut stack = Stack::with().catalog(LASTING).start().await;
    for _ in 0..3 {
        stack.hit("/item/1").await;
        stack.redis.process().kill();
        for id in 1..=10 {
            assert_bypass(&stack.read(&format!("/item/{id}")).await, id);
        }
        stack.redis.restart().await.unwrap();
    }
    assert_item(&stack.hit("/item/1").await, 1);
}

#[tokio::test]
async fn a_full_redis_serves_what_it_has_and_stores_nothing() {
    let stack = Stack::with()
        .catalog(LASTING)
        .edge("redis_deadline_ms", 5_000)
        .start()
        .await;
    assert_item(&stack.hit("/item/1").await, 1);
    let () = stack
        .redis(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])
        .await;
    let () = stack.redis(&["CONFIG", "SET", "maxmemory", "1"]).await;
    for id in 2..=30 {
        let kept = stack.read("/item/1").await;
        assert_item(&kept, 1);
        assert_eq!(kept.cache_status(), HIT, "{kept:?}");
        // Not even its stamps can be written.
        assert_bypass(&stack.read(&format!("/item/{id}")).await, id);
    }
    let keys = stack.keys().await;
    assert!(!keys.iter().any(|key| key.contains("item:2}")), "{keys:?}");
    let log = log_of(&stack.edge);
    assert_noted(&log, "OOM", 29);
    assert!(
        !log.contains("redis-failed") && !log.contains("redis-given-up"),
        "{log}"
    );

    let () = stack.redis(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_item(&stack.hit("/item/2").await, 2);
}

#[tokio::test]
async fn a_loading_redis_is_passed_by_until_it_has_loaded() {
    let stack = Stack::with()
        .catalog(LASTING)
        // It answers between two keys.
        .edge("redis_deadline_ms", 2_000)
        .start()
        .await;
    stack.hit("/item/1").await;
    let () = stack
        .redis(&["CONFIG", "SET", "rdbcompression", "no"])
        .await;
    let mut connection = stack.redis_connection().await;
    let mut pipe = redis::pipe();
    for key in 0..3_000 {
        pipe.set(format!("other:{key}"), vec![b'x'; 1_024]).ignore();
    }
    let () = pipe.query_async(&mut connection).await.unwrap();
    // A minute; it is told to hurry below.
    let each = Duration::from_millis(20);
    let loading = stack.loading_redis("loading", each).await;
    let edge = stack.another_edge(&loading).await;
    for id in 1..=30 {
        assert_bypass(&stack.read_at(&edge, &format!("/item/{id}"), &[]).await, id);
    }
    let log = log_of(&edge);
    assert_noted(&log, "BusyLoading", 30);
    assert!(!log.contains("redis-given-up"), "{log}");
    let () = command(&loading, &["CONFIG", "SET", "key-load-delay", "0"]).await;
    assert_item(&stack.hit_at(&edge, "/item/1").await, 1);
}

async fn command(redis: &Redis, words: &[&str]) {
    let mut connection = redis.connect().await.unwrap();
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    let done = command.query_async(&mut connection).await;
    done.unwrap_or_else(|error| panic!("{error}: {words:?}"))
}

#[tokio::test]
async fn i1_a_read_only_replica_serves_what_others_have_stored() {
    let stack = Stack::start().await;
    let replica = stack.another_redis("replica").await;
    command(&replica, &["CONFIG", "SET", "masterauth", REDIS_PASSWORD]).await;
    let port = stack.redis.config().port.to_string();
    command(&replica, &["REPLICAOF", "127.0.0.1", &port]).await;
    let edge = stack.another_edge(&replica).await;
    let read = async |org: i64| stack.read_at(&edge, &dashboard(org), &[]).await;

    stack.hit(&dashboard(42)).await;
    stack.hit_at(&edge, &dashboard(42)).await;
    // Nobody has stored this one, and the replica's edge can't.
    for _ in 0..30 {
        let answer = read(43).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["organization"]["id"], 43);
        assert_ne!(answer.last_cache_status(), HIT, "{answer:?}");
    }
    assert_noted(&log_of(&edge), "ReadOnly", 30);

    stack
        .sql("UPDATE organizations SET name = 'New' WHERE id = 42")
        .await;
    let covered = stack.settled().await.as_of.to_string();
    stack.hit(&dashboard(42)).await;
    let mut insisting = async || {
        let at_least = [("tidemark-at-least", covered.as_str())];
        let answer = stack.read_at(&edge, &dashboard(42), &at_least).await;
        assert_eq!(answer.json()["organization"]["name"], "New", "{answer:?}");
        answer
    };
    wait::until("a hit", &mut insisting, |answer| {
        answer.cache_status() == HIT
    })
    .await;
}

#[tokio::test]
async fn i6_who_is_not_redis_is_passed_by() {
    let stack = Stack::with().catalog(LASTING).start().await;
    for nonsense in [
        &b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..],
        b"\x16\x03\x01\x00\xff\xfe\x00*\r\n$-5\r\n",
        b"*99999999\r\n",
        b"$9223372036854775807\r\n",
        // In the form of a reply, to anything.
        b"+OK\r\n",
        b":1\r\n",
        b"*3\r\n$1\r\nx\r\n$1\r\ny\r\n$1\r\nz\r\n",
        b"-ERR unknown command\r\n",
    ] {
        let impostor = Impostor::that_says(nonsense).await;
        let edge = stack.edge_with("redis_url", impostor.url()).await;
        for id in 1..=10 {
            let answer = stack.read_at(&edge, &format!("/item/{id}"), &[]).await;
            assert_item(&answer, id);
            assert_ne!(answer.cache_status(), HIT, "{answer:?}");
        }
        assert!(impostor.connections() > 0);
    }
}

#[tokio::test]
async fn a_redis_that_wants_another_password_is_passed_by() {
    let stack = Stack::with().catalog(LASTING).start().await;
    let port = stack.redis.config().port;
    for login in ["", ":wrong@"] {
        let url = format!("redis://{login}127.0.0.1:{port}");
        let edge = stack.edge_with("redis_url", url).await;
        for id in 1..=10 {
            assert_bypass(&stack.read_at(&edge, &format!("/item/{id}"), &[]).await, id);
        }
        assert!(!log_of(&edge).contains("wrong"), "{}", log_of(&edge));
    }
}

#[tokio::test]
async fn i6_garbage_for_a_tidemark_proves_nothing() {
    let stack = Stack::start().await;
    for garbage in [
        "",
        "garbage",
        "{}",
        "\u{0}\u{1}",
        "{\"term\":1,\"epoch\":\"0\"}",
    ] {
        stack.hit(&dashboard(42)).await;
        let () = stack.redis(&["SET", "tm:tidemark", garbage]).await;
        let answer = stack.read(&dashboard(42)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["organization"]["id"], 42);
        stack
            .sql("UPDATE organizations SET name = name || '+' WHERE id = 42")
            .await;
        let covered = stack.settled().await.as_of.to_string();
        let expected: String = stack
            .value("SELECT name FROM organizations WHERE id = 42")
            .await;
        let after = stack
            .read_with(&dashboard(42), &[("tidemark-at-least", &covered)])
            .await;
        assert_eq!(
            after.json()["organization"]["name"],
            expected,
            "{garbage:?}"
        );
    }
}

#[tokio::test]
async fn without_redis_and_origin_it_is_503_at_once() {
    let mut stack = Stack::with().catalog(LASTING).start().await;
    stack.hit("/item/1").await;
    stack.redis.process().kill();
    stack.origin.process().kill();
    for _ in 0..10 {
        let answer = stack.read("/item/1").await;
        assert_problem(&answer, 503, "unavailable");
        assert_eq!(answer.header("retry-after"), "1", "{answer:?}");
        assert_eq!(answer.last_cache_status(), BYPASS, "{answer:?}");
    }
    stack.redis.restart().await.unwrap();
    stack.start_origin().await;
    read_until(&stack, "/item/1", "an answer again", |answer| {
        answer.status == 200
    })
    .await;
    wait::until(
        "a hit",
        async || stack.read("/item/1").await,
        |answer| answer.cache_status() == HIT,
    )
    .await;
}
