//! The database is lost while a command commits: nobody knows what became of it, and the client is
//! told just that.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::Method;
use serde_json::json;
use tidemark_tests::stack::Stack;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::support::{assert_problem, gate, read_until};

/// A way to PostgreSQL that breaks once, after a commit has reached it and before its answer is back.
struct BrittleWay {
    port: u16,
    breaks: Arc<AtomicBool>,
}

impl BrittleWay {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            port: listener.local_addr().unwrap().port(),
            breaks: Arc::default(),
        };
        let breaks = this.breaks.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::spawn(carry(client, server, breaks.clone()));
            }
        });
        this
    }

    /// From now on, the next commit is lost on its way back.
    fn break_at_commit(&self) {
        self.breaks.store(true, Ordering::SeqCst);
    }
}

/// Carries bytes both ways until one side closes, or the way breaks.
async fn carry(mut client: TcpStream, mut server: TcpStream, breaks: Arc<AtomicBool>) {
    let (mut asked, mut answered) = ([0; 16 * 1024], [0; 16 * 1024]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let asked = &asked[..length];
                if server.write_all(asked).await.is_err() {
                    return;
                }
                let commits = asked.windows(6).any(|word| word == b"COMMIT");
                if commits && breaks.swap(false, Ordering::SeqCst) {
                    // The commit is done when PostgreSQL says so.
                    let _ = server.read(&mut answered).await;
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_told_as_unknown() {
    let mut stack = Stack::with().catalog(gate::CATALOG).start().await;
    let url = stack.database.url();
    let (head, name) = url.rsplit_once('/').unwrap();
    let (head, port) = head.rsplit_once(':').unwrap();
    let way = BrittleWay::to(port.parse().unwrap()).await;
    stack.origin_config.database_url = format!("{head}:{}/{name}", way.port);
    stack.restart_origin().await;
    stack.relay_leads().await;
    assert_eq!(stack.hit("/quick/7").await.json()["value"], "old");

    // The relay does not say COMMIT unless it has something to settle.
    way.break_at_commit();
    let answer = stack
        .command(Method::PUT, "/item/7", &json!({"value": "new"}))
        .await;
    assert_problem(&answer, 500, "outcome-unknown");
    assert_eq!(answer.header("retry-after"), "");
    assert_eq!(answer.header("tidemark-at-least"), "");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("may have been carried out"), "{detail}");

    // And carried out it was; whoever reads sees it, as after any other change.
    let value: String = stack.value("SELECT value FROM items WHERE id = 7").await;
    assert_eq!(value, "new");
    read_until(&stack, "/quick/7", "the change", |answer| {
        answer.json()["value"] == "new"
    })
    .await;
}

#[tokio::test]
async fn a_backend_that_ends_during_the_commit_leaves_the_outcome_unknown() {
    let stack = Stack::with().catalog(gate::CATALOG).start().await;
    stack
        .sql(
            "CREATE FUNCTION fall() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER fall AFTER UPDATE ON items
                 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fall()",
        )
        .await;
    let body = json!({"value": "new"});
    let answer = stack.command(Method::PUT, "/item/7", &body).await;
    assert_problem(&answer, 500, "outcome-unknown");
    assert_eq!(answer.header("retry-after"), "");
}

#[tokio::test]
async fn what_postgresql_refuses_at_the_commit_was_certainly_not_done() {
    let stack = Stack::with().catalog(gate::CATALOG).start().await;
    stack
        .sql(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN RAISE EXCEPTION 'no'; END $$;
             CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON items
                 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await;
    let body = json!({"value": "new"});
    let answer = stack.command(Method::PUT, "/item/7", &body).await;
    assert_problem(&answer, 422, "unprocessable");
    let value: String = stack.value("SELECT value FROM items WHERE id = 7").await;
    assert_eq!(value, "old");
}
