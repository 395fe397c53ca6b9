//! `status`, `get`, `keys` and `tail`: what an operator is told.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use serde_json::Value;
use tidemark_tests::{stack::Stack, wait};

use crate::support::{Ran, dashboard, origin, product_page, run};

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// The level of each subject, of each server.
fn levels(report: &Value) -> Vec<String> {
    let parts = report["parts"].as_array().unwrap().iter();
    let of_part = |part: &Value| {
        let name = part["name"]
            .as_str()
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .to_owned();
        let all = part["observations"].as_array().unwrap().clone();
        all.into_iter().map(move |it| {
            let (subject, level) = (it["subject"].as_str(), it["level"].as_str());
            format!("{name} {} {}", subject.unwrap(), level.unwrap())
        })
    };
    parts.flat_map(of_part).collect()
}

#[tokio::test]
async fn status_says_what_is_wrong_and_what_to_do() {
    let mut stack = Stack::start().await;
    let well = origin(&stack.origin_config, &["status"]);
    assert!(well.success, "{well:?}");
    for line in ["one leads", "all triggers are in place", "all is well"] {
        assert!(well.stdout.contains(line), "{line}: {}", well.stdout);
    }
    for (name, value) in [("maxmemory", "0"), ("maxmemory-policy", "noeviction")] {
        let () = stack.redis(&["CONFIG", "SET", name, value]).await;
    }
    let well = origin(&stack.origin_config, &["status"]);
    assert!(
        well.success && well.stdout.contains("→ set maxmemory"),
        "{well:?}"
    );
    let well = origin(&stack.origin_config, &["status", "--json"]);
    assert_eq!(
        levels(&json(&well)),
        [
            "PostgreSQL server ok",
            "PostgreSQL capture ok",
            "PostgreSQL outbox ok",
            "PostgreSQL relay ok",
            "PostgreSQL clock ok",
            "Redis server ok",
            "Redis tidemark ok",
            "Redis memory warning",
            "Redis eviction warning",
            "Redis lookups ok",
        ]
    );

    stack.origin.process().kill();
    wait::until(
        "nobody leads",
        async || origin(&stack.origin_config, &["status", "--json"]),
        |ran| levels(&json(ran)).contains(&"PostgreSQL relay problem".to_owned()),
    )
    .await;
    let () = stack.redis(&["DEL", "tm:tidemark"]).await;
    stack.sql("ALTER TABLE orders DISABLE TRIGGER USER").await;
    let ill = origin(&stack.origin_config, &["status", "--json"]);
    assert!(!ill.success, "{ill:?}");
    let seen = levels(&json(&ill));
    for expected in [
        "PostgreSQL capture problem",
        "PostgreSQL relay problem",
        "Redis tidemark problem",
    ] {
        assert!(seen.contains(&expected.to_owned()), "{expected}: {seen:?}");
    }
    let ill = origin(&stack.origin_config, &["status"]);
    assert!(
        ill.stdout.contains("run tidemark-origin install"),
        "{ill:?}"
    );
    assert!(ill.stderr.contains("3 problems"), "{ill:?}");

    stack.redis.process().kill();
    let ill = origin(&stack.origin_config, &["status", "--json"]);
    let seen = levels(&json(&ill));
    assert!(
        seen.contains(&"Redis server problem".to_owned()),
        "{seen:?}"
    );
}

#[tokio::test]
async fn get_shows_an_entry_and_whether_an_edge_would_serve_it() {
    let stack = Stack::start().await;
    let absent = origin(&stack.origin_config, &["get", &dashboard(42)]);
    assert!(!absent.success, "{absent:?}");
    assert!(absent.stderr.contains("nothing is cached"), "{absent:?}");
    let unknown = origin(&stack.origin_config, &["get", "/nowhere"]);
    assert!(
        unknown.stderr.contains("no request of this catalog"),
        "{unknown:?}"
    );

    let answer = stack.hit(&dashboard(42)).await;
    let get = |what: &str| origin(&stack.origin_config, &["get", what, "--json"]);
    let entry = json(&get(&dashboard(42)));
    assert_eq!(entry["outcome"], "hit");
    assert_eq!(entry["etag"], answer.header("etag"));
    assert_eq!(entry["body_bytes"], answer.body.len());
    assert_eq!(entry["encoding"], "identity");
    stack.hit("/products").await;
    assert_eq!(json(&get("/products"))["encoding"], "gzip");
    assert_eq!(entry["scopes"][0], "org:42");
    let name = entry["name"].as_str().unwrap();
    for same in [name, name.strip_prefix("tm:").unwrap()] {
        assert_eq!(json(&get(same))["request"], entry["request"]);
    }
    let body = origin(&stack.origin_config, &["get", name, "--body"]);
    assert_eq!(body.stdout.trim_end().as_bytes(), answer.body);

    stack
        .sql("UPDATE organizations SET name = 'New' WHERE id = 42")
        .await;
    stack.settled().await;
    let entry = json(&get(name));
    assert_eq!(entry["outcome"], "changed");
    assert!(entry["proven_at_ms"].is_null());

    let () = stack.redis(&["SETRANGE", name, "90", "x"]).await;
    let corrupt = get(name);
    assert!(
        !corrupt.success && corrupt.stderr.contains("is no entry: corrupt"),
        "{corrupt:?}"
    );
}

#[tokio::test]
async fn keys_lists_what_depends_on_a_scope() {
    let stack = Stack::start().await;
    for path in [dashboard(42), dashboard(43), product_page(6)] {
        stack.hit(&path).await;
    }
    let listed = |arguments: &[&str]| {
        let ran = origin(&stack.origin_config, &[&["keys"], arguments].concat());
        assert!(ran.success, "{ran:?}");
        ran.stdout.lines().count()
    };
    for (scope, expected) in [("org:42", 1), ("org:*", 2), ("orders", 2), ("org:7", 0)] {
        assert_eq!(listed(&[scope]), expected, "{scope}");
    }
    assert_eq!(listed(&["--all"]), 3);
    assert_eq!(listed(&["--all", "--limit", "2"]), 2);
    let ran = origin(&stack.origin_config, &["keys", "org:42", "--json"]);
    assert_eq!(json(&ran)["query"], "dashboard");
    let unknown = origin(&stack.origin_config, &["keys", "nothing"]);
    assert!(
        !unknown.success && unknown.stderr.contains("there are:"),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn programs_read_what_other_commands_say_as_well() {
    let stack = Stack::start().await;
    stack.hit(&dashboard(42)).await;
    let said = |arguments: &[&str]| {
        let ran = origin(&stack.origin_config, &[arguments, &["--json"]].concat());
        assert!(ran.success, "{ran:?}");
        json(&ran)
    };
    let checked = said(&["check"]);
    assert!(checked["queries"].as_u64().unwrap() > 3, "{checked}");
    assert_eq!(checked["findings"], Value::Array(Vec::new()));
    let audited = said(&["audit"]);
    assert_eq!(
        (&audited["samples"], &audited["equal"]),
        (&1.into(), &1.into()),
        "{audited}"
    );
    let change = "UPDATE organizations SET name = 'New' WHERE id = 42";
    let attempted = said(&["explain", "--change", change]);
    assert_eq!(attempted["statements"][0]["rows"], 1, "{attempted}");
    assert_eq!(attempted["scopes"][0]["scope"], "org:42", "{attempted}");
    assert_eq!(
        attempted["scopes"][0]["queries"][0], "dashboard of org 42",
        "{attempted}"
    );
    let purged = said(&["purge", "org:42", "--hard"]);
    assert_eq!(purged["recorded"][0], "org:42", "{purged}");
    assert!(
        purged["regions"][0]["applied_within_ms"].is_u64(),
        "{purged}"
    );
    assert_eq!(purged["regions"][0]["deleted"], 1, "{purged}");
}

/// Ends it with the test.
struct Tail(Child);

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_shows_what_changes_as_it_happens() {
    let stack = Stack::start().await;
    let mut command = stack.origin_config.command(&["tail", "--json"]).unwrap();
    let mut tail = Tail(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(tail.0.stdout.take().unwrap()).lines();
    wait::until(
        "a subscriber",
        async || {
            stack
                .redis::<(String, i64)>(&["PUBSUB", "NUMSUB", "tm:events"])
                .await
                .1
        },
        |subscribers| *subscribers == 1,
    )
    .await;
    stack
        .sql("UPDATE organizations SET name = 'New' WHERE id = 42")
        .await;
    let line = tokio::task::spawn_blocking(move || lines.next().unwrap().unwrap());
    let event: Value = serde_json::from_str(&line.await.unwrap()).unwrap();
    assert_eq!(event["scopes"][0], "org:42", "{event}");
    assert!(event["age_ms"].as_i64().unwrap() < 60_000, "{event}");
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&tail.0),
        rustix::process::Signal::INT,
    )
    .unwrap();
    assert!(tail.0.wait().unwrap().success(), "Ctrl-C is no failure");
}

#[test]
fn completions_are_printed_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let mut command = std::process::Command::new(
            tidemark_tests::tools::own_binary("tidemark-origin").unwrap(),
        );
        command.args(["completions", shell]);
        let ran = run(command);
        assert!(ran.success && ran.stdout.contains("explain"), "{shell}");
    }
}
