//! A client's trace leads through edge and origin into the SQL, and to a collector; logs for programs.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tidemark_tests::{stack::Stack, wait};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::support::dashboard;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-00f067aa0ba902b7-{flags}")
}

async fn traced(stack: &Stack, word: &str) -> Vec<String> {
    let all = stack.statements().await.into_iter();
    all.filter(|it| it.contains(word)).collect()
}

#[tokio::test]
async fn a_recorded_trace_shows_in_the_sql_of_reads_and_commands() {
    let stack = Stack::with().log_statements().start().await;
    let (recorded, not) = (traceparent("01"), traceparent("00"));
    let fields = [("traceparent", recorded.as_str())];
    let read = stack.read_with(&dashboard(42), &fields).await;
    assert_eq!(read.status, 200, "{read:?}");
    let comment = format!("/*traceparent='{recorded}'*/");
    let seen = traced(&stack, &comment).await;
    assert!(
        matches!(&seen[..], [one] if one.contains("execute <unnamed>")),
        "{seen:?}"
    );

    let order =
        json!({"customer": 42, "date": "2025-03-31", "items": [{"product": 7, "quantity": 2}]});
    let (origin, path) = (stack.origin.url(), "/org/42/orders");
    let placed = stack
        .send(origin, http::Method::POST, path, &fields, order.to_string())
        .await;
    assert!(placed.status.is_success(), "{placed:?}");
    assert!(traced(&stack, &comment).await.len() > 1);

    let before = traced(&stack, "traceparent").await.len();
    for nonsense in [not.as_str(), "00-x", "*/ DROP TABLE orders --"] {
        let fields = [("traceparent", nonsense), ("cache-control", "no-cache")];
        let read = stack
            .send(origin, http::Method::GET, &dashboard(43), &fields, "")
            .await;
        assert_eq!(read.status, 200, "{nonsense}");
    }
    assert_eq!(traced(&stack, "traceparent").await.len(), before);
}

/// Takes what is exported to it.
struct Collector {
    url: String,
    received: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::<Mutex<Vec<u8>>>::default();
        let all = received.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(collect(stream, all.clone()));
            }
        });
        Self {
            url,
            received,
            task,
        }
    }

    fn holds(&self, bytes: &[u8]) -> bool {
        let received = self.received.lock().unwrap();
        received.windows(bytes.len()).any(|window| window == bytes)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers each request when it is whole, which is when nothing more comes of it but an answer is awaited.
async fn collect(mut stream: TcpStream, all: Arc<Mutex<Vec<u8>>>) {
    let mut request = Vec::new();
    let mut part = [0; 65_536];
    while let Ok(length @ 1..) = stream.read(&mut part).await {
        request.extend_from_slice(&part[..length]);
        if is_whole(&request) {
            all.lock().unwrap().append(&mut request);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    }
}

fn is_whole(request: &[u8]) -> bool {
    let Some(head) = request.windows(4).position(|it| it == b"\r\n\r\n") else {
        return false;
    };
    let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    request.len() >= head + 4 + length
}

#[tokio::test]
async fn spans_are_exported_to_a_collector() {
    let collector = Collector::start().await;
    let stack = Stack::with()
        .origin("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)
        .origin("OTEL_BSP_SCHEDULE_DELAY", 100)
        .log_statements()
        .start()
        .await;
    let recorded = traceparent("01");
    let fields = [("traceparent", recorded.as_str())];
    let read = stack.read_with(&dashboard(42), &fields).await;
    assert_eq!(read.status, 200, "{read:?}");
    let trace: Vec<u8> = (0..16)
        .map(|at| u8::from_str_radix(&TRACE[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let expected: [&[u8]; 5] = [
        &trace,
        b"GET dashboard",
        b"gate",
        b"sql",
        b"tidemark-origin",
    ];
    wait::until(
        "the spans",
        async || expected.map(|bytes| collector.holds(bytes)),
        |held| *held == [true; 5],
    )
    .await;
    // The SQL names the span that it runs in, and no longer the client's.
    let seen = traced(&stack, TRACE).await;
    assert!(
        matches!(&seen[..], [one] if !one.contains(&recorded)),
        "{seen:?}"
    );
}

#[tokio::test]
async fn logs_may_be_json() {
    let stack = Stack::with()
        .origin("TIDEMARK_LOG_FORMAT", "json")
        .origin("RUST_LOG", "tidemark_origin=debug")
        .start()
        .await;
    stack
        .command(http::Method::PUT, "/nowhere", &json!({}))
        .await;
    let log = fs::read_to_string(stack.origin.log()).unwrap();
    let events: Vec<Value> = log
        .lines()
        .filter(|line| !line.starts_with("listening on "))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(!events.is_empty(), "{log}");
    for event in events {
        for field in ["timestamp", "level", "message", "target"] {
            assert!(event[field].is_string(), "{field}: {event}");
        }
    }
}
