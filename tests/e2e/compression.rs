//! Answers are compressed once, by the origin: stored so, sent so to whoever takes gzip, and decoded for
//! everybody else.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{Method, StatusCode};
use tidemark_tests::{http::Answer, stack::Stack};

use crate::support::HIT;

/// What browsers say.
const TAKES_GZIP: (&str, &str) = ("accept-encoding", "gzip, deflate, br, zstd");

/// An answer that is long enough to be compressed.
const LONG: &str = "/products";

/// What an entry and its name may have, in bytes, beyond its compressed body. (Redis' own account of a key
/// comes to that, and its allocator rounds up.)
const OVERHEAD: usize = 256;

fn decoded(answer: &Answer) -> Vec<u8> {
    assert_eq!(answer.header("content-encoding"), "gzip", "{answer:?}");
    let mut body = Vec::new();
    GzDecoder::new(&*answer.body)
        .read_to_end(&mut body)
        .unwrap();
    body
}

/// The only entry's name in Redis.
async fn entry(stack: &Stack) -> String {
    let mut names = stack.keys().await;
    names.retain(|name| name.contains("}:"));
    assert_eq!(names.len(), 1, "{names:?}");
    names.remove(0)
}

#[tokio::test]
async fn whoever_takes_gzip_gets_the_stored_bytes_and_everybody_else_the_same_answer() {
    let stack = Stack::start().await;
    let plain = stack.hit(LONG).await;
    assert_eq!(plain.header("content-encoding"), "");
    assert_eq!(plain.header("vary"), "accept-encoding");

    let stored: Vec<u8> = stack.redis(&["GET", &entry(&stack).await]).await;
    for base in [stack.edge.url(), stack.origin.url()] {
        let gzip = stack.send(base, Method::GET, LONG, &[TAKES_GZIP], "").await;
        assert_eq!(decoded(&gzip), plain.body, "{gzip:?}");
        assert!(stored.ends_with(&gzip.body), "other bytes: {gzip:?}");
        assert!(gzip.body.len() * 2 < plain.body.len(), "{gzip:?}");
        assert_eq!(gzip.header("vary"), "accept-encoding");
        assert_eq!(gzip.header("content-length"), gzip.body.len().to_string());
        assert_eq!(gzip.header("content-type"), plain.header("content-type"));
        let identity = stack.send(base, Method::GET, LONG, &[], "").await;
        assert_eq!(identity.body, plain.body, "{identity:?}");

        // Two representations, hence two strong tags; either says that the client has the answer.
        assert_ne!(gzip.header("etag"), plain.header("etag"));
        assert_eq!(identity.header("etag"), plain.header("etag"));
        for tag in [gzip.header("etag"), plain.header("etag")] {
            let known = ("if-none-match", tag);
            for (headers, own) in [(&[TAKES_GZIP, known][..], &gzip), (&[known][..], &plain)] {
                let unchanged = stack.send(base, Method::GET, LONG, headers, "").await;
                assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
                assert_eq!(unchanged.header("etag"), own.header("etag"));
                assert_eq!(unchanged.header("vary"), "accept-encoding");
                assert_eq!(unchanged.header("content-encoding"), "");
            }
        }

        let head = stack
            .send(base, Method::HEAD, LONG, &[TAKES_GZIP], "")
            .await;
        assert_eq!(head.header("content-length"), gzip.header("content-length"));
        assert_eq!(head.header("content-encoding"), "gzip");
    }
}

#[tokio::test]
async fn a_miss_gives_what_it_stores() {
    let stack = Stack::start().await;
    let miss = stack.read_with(LONG, &[TAKES_GZIP]).await;
    let hit = stack.read_with(LONG, &[TAKES_GZIP]).await;
    assert_eq!((hit.cache_status(), &hit.body), (HIT, &miss.body));
    assert_eq!(hit.header("etag"), miss.header("etag"));
    assert_eq!(decoded(&miss), stack.hit(LONG).await.body);
}

#[tokio::test]
async fn what_is_short_stays_as_it_is() {
    let stack = Stack::start().await;
    let path = "/products?category=none";
    for _ in 0..2 {
        let answer = stack.read_with(path, &[TAKES_GZIP]).await;
        assert_eq!(answer.header("content-encoding"), "", "{answer:?}");
        assert_eq!(answer.body, "[]");
    }
}

#[tokio::test]
async fn an_entry_costs_its_compressed_body_and_little_more() {
    let stack = Stack::start().await;
    let compressed = stack.read_with(LONG, &[TAKES_GZIP]).await.body.len();
    stack.hit(LONG).await;
    let name = entry(&stack).await;
    let stored: usize = stack.redis(&["STRLEN", &name]).await;
    let used: usize = stack.redis(&["MEMORY", "USAGE", &name]).await;
    println!("a compressed body of {compressed} bytes; stored: {stored}; in Redis' memory: {used}");
    assert!(
        stored + name.len() <= compressed + OVERHEAD,
        "{stored} bytes for a compressed body of {compressed}"
    );
}

#[tokio::test]
async fn i6_a_compressed_entry_that_is_damaged_is_a_miss() {
    let stack = Stack::start().await;
    let whole = stack.hit(LONG).await;
    let name = entry(&stack).await;
    let length: usize = stack.redis(&["STRLEN", &name]).await;
    for at in [length / 2, length - 1] {
        let () = stack
            .redis(&["SETRANGE", &name, &at.to_string(), "x"])
            .await;
        for headers in [&[][..], &[TAKES_GZIP]] {
            let answer = stack.read_with(LONG, headers).await;
            assert_eq!(answer.status, StatusCode::OK);
            let body = match headers {
                [] => answer.body.clone(),
                _ => Bytes::from(decoded(&answer)),
            };
            assert_eq!(body, whole.body, "{answer:?}");
        }
    }
}
