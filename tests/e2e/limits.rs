//! What protects PostgreSQL and the machine: bounded pools, bounded waiting, bounded memory.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;
use tidemark_tests::{
    http::{Client, raw},
    resident::resident,
    stack::Stack,
    wait,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    assert_problem,
    gate::{self, Gate},
    product_page,
};

#[tokio::test]
async fn i5_a_full_pool_sheds_with_503() {
    let stack = Stack::with()
        .catalog(gate::CATALOG)
        .origin("TIDEMARK_QUERY_CONNECTIONS", 2)
        .origin("TIDEMARK_COMMAND_CONNECTIONS", 1)
        .origin("TIDEMARK_ACQUIRE_TIMEOUT_MS", 100)
        .start()
        .await;
    let mut gate = Gate::shut(&stack).await;
    let client = Client::default();
    let url = |path: &str| format!("{}{path}", stack.origin.url());
    let waiting: Vec<_> = ["/item/1", "/item/2"]
        .map(|path| {
            let (client, url) = (client.clone(), url(path));
            tokio::spawn(async move { client.get(&url).await.unwrap() })
        })
        .into();
    gate.queue(2).await;
    for _ in 0..3 {
        let begun = Instant::now();
        let shed = stack.ask("/quick/3").await;
        assert_problem(&shed, 503, "unavailable");
        assert_eq!(shed.header("retry-after"), "1");
        assert!(begun.elapsed() < wait::LIMIT);
        let through_edge = stack.read("/quick/4").await;
        assert_problem(&through_edge, 503, "unavailable");
        assert_eq!(through_edge.header("retry-after"), "1");
    }
    // Commands have a pool of their own.
    let command = async {
        let body = json!({"value": "x"});
        stack.command(Method::PUT, "/item/5", &body).await
    };
    let open = async {
        gate.queue(3).await;
        let shed = stack
            .command(Method::PUT, "/item/6", &json!({"value": "x"}))
            .await;
        assert_problem(&shed, 503, "unavailable");
        gate.open().await;
    };
    let (written, ()) = tokio::join!(command, open);
    assert_eq!(written.status, 200, "{written:?}");
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    assert_eq!(stack.read("/quick/4").await.status, 200);
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_504_and_leaves_nothing_running() {
    let stack = Stack::with()
        .catalog(gate::CATALOG)
        .origin("TIDEMARK_STATEMENT_TIMEOUT_MS", 200)
        .start()
        .await;
    let mut gate = Gate::shut(&stack).await;
    assert_problem(&stack.ask("/item/1").await, 504, "timeout");
    assert_problem(&stack.read("/item/1").await, 504, "timeout");
    let body = json!({"value": "new"});
    let command = stack.command(Method::PUT, "/item/1", &body).await;
    assert_problem(&command, 504, "timeout");
    gate.queue(0).await;
    gate.open().await;
    let read = stack.read("/item/1").await;
    assert_eq!(read.json()["value"], "old", "the command was rolled back");
}

/// Sends the beginning of a request, then a byte now and then, until the server has enough of it;
/// gives what the server said.
async fn trickle(base: &str, beginning: &str) -> String {
    let stream = TcpStream::connect(base.trim_start_matches("http://")).await;
    let (mut reading, mut writing) = stream.unwrap().into_split();
    let beginning = beginning.to_owned();
    let writer = tokio::spawn(async move {
        writing.write_all(beginning.as_bytes()).await.unwrap();
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        loop {
            pace.tick().await;
            if writing.write_all(b"x").await.is_err() {
                break;
            }
        }
    });
    let mut said = Vec::new();
    let read = reading.read_to_end(&mut said);
    // Its last word may be that the connection is reset, since more was sent than read.
    let _ = tokio::time::timeout(wait::LIMIT, read)
        .await
        .expect("it ends");
    writer.abort();
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn a_request_that_trickles_is_cut_off() {
    let stack = Stack::with()
        .log_statements()
        .origin("TIDEMARK_REQUEST_TIMEOUT_MS", 300)
        .start()
        .await;
    let origin = stack.origin.url();
    let body = "POST /org/42/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{\"customer\": \"";
    let said = trickle(origin, body).await;
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    assert!(said.contains("connection: close"), "{said}");
    assert!(
        said.contains("urn:tidemark:problem:request-timeout"),
        "{said}"
    );
    let chunked =
        "POST /org/42/orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFFFF\r\n";
    let said = trickle(origin, chunked).await;
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    // A head that is not whole gets no answer, as there is no request.
    let said = trickle(origin, "GET /org/42/dashboard HTTP/1.1\r\nHost: ").await;
    assert_eq!(said, "");

    // Who only is slow to ask again has to connect again, and nobody else notices anything.
    assert_eq!(stack.statements().await, Vec::<String>::new());
    assert_eq!(stack.ask(&product_page(1)).await.status, 200);
    let idle = raw(origin, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(idle.unwrap().starts_with("HTTP/1.1 200 "));
}

/// Reads this many different pages through the edge, several at a time.
async fn read_pages(stack: &Stack, pages: std::ops::Range<usize>) {
    const READERS: usize = 16;
    let client = Client::default();
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let (client, base) = (client.clone(), stack.edge.url().to_owned());
            let pages = pages.clone();
            tokio::spawn(async move {
                for page in pages.skip(reader).step_by(READERS) {
                    let answer = client.get(&format!("{base}{}", product_page(page))).await;
                    assert_eq!(answer.unwrap().status, 200);
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_stays_bounded_under_ever_new_keys() {
    let mut stack = Stack::start().await;
    read_pages(&stack, 0..2_000).await;
    let (edge, origin) = (stack.edge.process().id(), stack.origin.process().id());
    let (edge_before, origin_before) = (resident(edge).mib, resident(origin).mib);
    read_pages(&stack, 2_000..20_000).await;
    let (edge_after, origin_after) = (resident(edge).mib, resident(origin).mib);
    println!("edge {edge_before} → {edge_after} MiB, origin {origin_before} → {origin_after} MiB");
    assert!(
        edge_after < edge_before + 64,
        "{edge_before} → {edge_after} MiB"
    );
    assert!(edge_after < 128, "{edge_after} MiB");
    assert!(origin_after < 128, "{origin_after} MiB");
}
