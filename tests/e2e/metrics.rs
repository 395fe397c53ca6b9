//! What `/metrics` tells of a running system.

use std::process::Command;

use rustix::process::Signal;
use serde_json::json;
use tidemark_origin::metrics::declared::{self, Kind, Metric};
use tidemark_tests::{
    http::{Answer, Client},
    process::Launch,
    server::Server,
    stack::{Setup, Stack},
    wait,
};

use crate::support::{assert_problem, dashboard, gate, order};

/// One scrape of an origin.
#[derive(Debug)]
struct Scrape(Vec<Sample>);

#[derive(Debug)]
struct Sample {
    name: String,
    /// As it is shown: `query="dashboard",result="equal"`.
    labels: String,
    value: f64,
}

impl Scrape {
    async fn of(stack: &Stack) -> Self {
        Self::read(&stack.ask("/metrics").await)
    }

    /// Also holds the page against the declarations.
    fn read(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").starts_with("text/plain"));
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let mut samples = Vec::new();
        let mut current: Option<&Metric> = None;
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, meaning) = help.split_once(' ').unwrap();
                let metric = declared::ALL.iter().find(|metric| metric.name == name);
                assert_eq!(metric.map(|it| it.meaning), Some(meaning), "{line}");
                current = metric;
                continue;
            }
            let metric = current.expect(line);
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let declared = format!("{} {}", metric.name, metric.kind.name());
                assert_eq!(kind, declared, "{line}");
                continue;
            }
            let sample = sample(line);
            let suffix = sample.name.strip_prefix(metric.name).expect(line);
            let suffixes: &[&str] = match metric.kind {
                Kind::Counter | Kind::Gauge => &[""],
                Kind::Histogram => &["_bucket", "_sum", "_count"],
            };
            assert!(suffixes.contains(&suffix), "{line}");
            for label in metric.labels {
                assert!(sample.labels.contains(&format!("{label}=\"")), "{line}");
            }
            samples.push(sample);
        }
        Self(samples)
    }

    /// The sum of a metric's samples with these labels; `None` where there is none.
    fn sum(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let fits =
            |it: &&Sample| it.name == name && labels.iter().all(|label| it.labels.contains(label));
        let values: Vec<_> = self.0.iter().filter(fits).map(|it| it.value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    #[track_caller]
    fn figure(&self, metric: Metric, labels: &[&str]) -> f64 {
        self.sum(metric.name, labels)
            .unwrap_or_else(|| panic!("no {} {labels:?} in {self:?}", metric.name))
    }

    fn count(&self, histogram: Metric, labels: &[&str]) -> Option<f64> {
        self.sum(&format!("{}_count", histogram.name), labels)
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect(line);
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    Sample {
        name: name.to_owned(),
        labels: labels.trim_end_matches('}').to_owned(),
        value: value.parse().expect(line),
    }
}

#[tokio::test]
async fn what_happens_is_counted_where_it_is_declared() {
    let stack = Stack::with()
        .origin("TIDEMARK_AUDIT_RATE", "200/s")
        .start()
        .await;
    // What may happen is shown before it has.
    let before = Scrape::of(&stack).await;
    for (counter, labels) in [
        (
            declared::QUERIES_SHED,
            "query=\"dashboard\",reason=\"too-long\"",
        ),
        (declared::QUERIES_COALESCED, "query=\"dashboard\""),
        (declared::MEMORY_HITS, "query=\"dashboard\""),
        (declared::EPOCHS, "reason=\"no-tidemark\""),
    ] {
        assert_eq!(before.figure(counter, &[labels]), 0.0, "{}", counter.name);
    }
    assert_eq!(before.figure(declared::RELAY_LEADS, &[]), 1.0);
    assert_eq!(before.figure(declared::EPOCHS, &["reason=\"first\""]), 1.0);
    assert_eq!(
        before.figure(declared::PROMISE_SECONDS, &["query=\"dashboard\""]),
        1.0
    );

    stack.hit(&dashboard(42)).await;
    // The origin leads, so it remembers what it has just answered.
    wait::until(
        "remembered",
        async || stack.ask(&dashboard(42)).await.cache_status().to_owned(),
        |status| status == "tidemark-origin; hit",
    )
    .await;
    let ordered = stack
        .command(http::Method::POST, "/org/42/orders", &order())
        .await;
    assert!(ordered.status.is_success(), "{ordered:?}");

    let after = Scrape::of(&stack).await;
    let of_dashboard = ["query=\"dashboard\""];
    assert!(after.count(declared::QUERY_SECONDS, &of_dashboard) >= Some(2.0));
    assert!(after.count(declared::SQL_SECONDS, &of_dashboard) >= Some(1.0));
    assert!(after.figure(declared::MEMORY_HITS, &of_dashboard) >= 1.0);
    assert!(after.figure(declared::MEMORY_ENTRIES, &[]) >= 1.0);
    assert!(after.figure(declared::MEMORY_BYTES, &[]) > 0.0);
    assert_eq!(after.count(declared::COMMAND_SECONDS, &[]), Some(1.0));
    let of_org = ["kind=\"part\",name=\"org\""];
    assert!(after.figure(declared::INVALIDATIONS, &of_org) >= 1.0);
    assert!(after.count(declared::APPLIED_SECONDS, &[]) >= Some(1.0));
    let region = format!("127.0.0.1:{}/0 tm:tidemark", stack.redis.config().port);
    let region = format!("region=\"{region}\"");
    let of_region = [region.as_str()];
    assert_eq!(after.figure(declared::REDIS_UP, &of_region), 1.0);
    assert!(after.figure(declared::AGE_SECONDS, &of_region) < 60.0);
    assert!(after.figure(declared::REDIS_USED_MEMORY, &of_region) > 0.0);
    assert_eq!(
        after.figure(declared::REDIS_MAXMEMORY, &of_region),
        256.0 * 1024.0 * 1024.0,
        "as ops/redis.conf has it"
    );
    assert!(after.figure(declared::REDIS_KEYSPACE_HITS, &of_region) > 0.0);

    // All that is declared is told in the end, but for what no query of the example asks for.
    let told = |metric: &&Metric| **metric != declared::REFRESHES;
    wait::until(
        "every metric",
        async || {
            let scrape = Scrape::of(&stack).await;
            let is_missing = |metric: &&Metric| {
                scrape.sum(metric.name, &[]).is_none() && scrape.count(**metric, &[]).is_none()
            };
            let missing = declared::ALL.iter().filter(told).filter(is_missing);
            missing.map(|metric| metric.name).collect::<Vec<_>>()
        },
        Vec::is_empty,
    )
    .await;
}

#[tokio::test]
async fn a_table_is_counted_by_its_name_where_a_query_depends_on_all_of_it() {
    let stack = Setup::default().start().await;
    stack
        .sql("UPDATE products SET price = price + 1 WHERE id = 1")
        .await;
    stack.settled().await;
    let scrape = Scrape::of(&stack).await;
    let of_products = ["kind=\"table\",name=\"products\""];
    assert!(scrape.figure(declared::INVALIDATIONS, &of_products) >= 1.0);
}

#[tokio::test]
async fn a_change_is_counted_by_the_table_that_was_changed_whatever_it_touches() {
    let stack = Setup::default().start().await;
    let changes = async |table: &str| {
        let of_table = format!("table=\"{table}\"");
        let scrape = Scrape::of(&stack).await;
        scrape.figure(declared::CHANGES, &[&of_table])
    };
    for table in ["orders", "order_items", "products"] {
        assert_eq!(changes(table).await, 0.0, "{table}");
    }
    // One row and several, members and paths to members, and the table as a whole.
    for (table, change) in [
        (
            "orders",
            "UPDATE orders SET status = 'shipped' WHERE id = 1",
        ),
        (
            "order_items",
            "UPDATE order_items SET quantity = quantity + 1 WHERE order_id IN (1, 2)",
        ),
        (
            "products",
            "UPDATE products SET price = price + 1 WHERE id = 1",
        ),
    ] {
        stack.sql(change).await;
        wait::until(table, async || changes(table).await, |count| *count >= 1.0).await;
    }
    assert_eq!(changes("payments").await, 0.0);
    // A purge is no change of a table.
    let (orders, products) = (changes("orders").await, changes("products").await);
    stack.settled().await;
    let url = format!("{}/admin/purge", stack.origin.url());
    let json = [("content-type", "application/json")];
    let client = Client::default();
    let purged = client
        .send(http::Method::POST, &url, &json, r#"{"all": true}"#)
        .await;
    assert_eq!(purged.unwrap().header("tidemark-invalidation"), "applied");
    stack.settled().await;
    assert_eq!(
        (changes("orders").await, changes("products").await),
        (orders, products)
    );
}

#[tokio::test]
async fn of_a_redis_that_does_not_answer_nothing_is_told() {
    let mut stack = Stack::with().catalog(gate::CATALOG).start().await;
    let other = stack.another_redis("other").await;
    // Two regions, of which one freezes.
    let regions = format!("{},{}", stack.redis.url(), other.url());
    stack.origin_config.environment.push(("REDIS_URL", regions));
    stack.restart_origin().await;
    stack.settled_at(&other).await;
    stack.redis.process().signal(Signal::STOP);
    let region = |port: u16| format!("region=\"127.0.0.1:{port}/0 tm:tidemark\"");
    let frozen = region(stack.redis.config().port);
    let well = region(other.config().port);
    let scrape = wait::until(
        "the frozen one is missed",
        async || Scrape::of(&stack).await,
        |scrape| scrape.figure(declared::REDIS_UP, &[&frozen]) == 0.0,
    )
    .await;
    for metric in [declared::REDIS_USED_MEMORY, declared::AGE_SECONDS] {
        assert_eq!(scrape.sum(metric.name, &[&frozen]), None, "{scrape:?}");
    }
    assert_eq!(scrape.figure(declared::REDIS_UP, &[&well]), 1.0);
    assert!(scrape.figure(declared::REDIS_USED_MEMORY, &[&well]) > 0.0);

    stack.redis.process().signal(Signal::CONT);
    wait::until(
        "it answers again",
        async || Scrape::of(&stack).await,
        |scrape| scrape.figure(declared::REDIS_UP, &[&frozen]) == 1.0,
    )
    .await;
    let changed = stack
        .command(http::Method::PUT, "/item/1", &json!({"value": "new"}))
        .await;
    assert!(changed.status.is_success(), "{changed:?}");
}

/// A relay or manager by itself, with metrics on a free port.
async fn alone(stack: &Stack, name: &'static str, mut command: Command) -> Server {
    command.env("TIDEMARK_METRICS_LISTEN", "127.0.0.1:0");
    let launch = Launch {
        name,
        command,
        log: stack
            .origin_config
            .log
            .with_file_name(format!("{name}.log")),
        end: Signal::TERM,
        lease: None,
    };
    let started = Server::start(launch, "metrics on ", wait::LIMIT).await;
    started.unwrap_or_else(|error| panic!("{error:#}"))
}

async fn get(server: &Server, path: &str) -> Answer {
    let url = format!("{}{path}", server.url());
    Client::default().get(&url).await.unwrap()
}

/// What a server that has nothing else to say answers, and that it ends when it is told to, whoever is
/// connected.
async fn assert_answers_nothing_else(mut server: Server) {
    let healthy = get(&server, "/healthz").await;
    assert_eq!(healthy.status, 200, "{healthy:?}");
    for path in ["/", "/readyz", "/products", "/console/", "/metrics/"] {
        assert_problem(&get(&server, path).await, 404, "unknown-path");
    }
    let url = format!("{}/metrics", server.url());
    let client = Client::default();
    let posted = client.send(http::Method::POST, &url, &[], "").await;
    assert_problem(&posted.unwrap(), 405, "method-not-allowed");
    server.process().signal(Signal::TERM);
    let status = server.process().ended(wait::LIMIT).await.unwrap();
    assert!(status.success(), "{status}");
    assert!(client.get(&url).await.is_err());
}

#[tokio::test]
async fn a_relay_by_itself_tells_what_it_counts() {
    let mut stack = Stack::start().await;
    stack.origin.process().kill();
    let command = stack.origin_config.command(&["relay"]).unwrap();
    let relay = alone(&stack, "relay", command).await;
    stack.relay_leads().await;
    stack
        .sql("UPDATE products SET price = price + 1 WHERE id = 1")
        .await;
    let of_products = ["kind=\"table\",name=\"products\""];
    let scrape = wait::until(
        "the change is counted",
        async || Scrape::read(&get(&relay, "/metrics").await),
        |scrape| scrape.sum(declared::INVALIDATIONS.name, &of_products) >= Some(1.0),
    )
    .await;
    assert_eq!(scrape.figure(declared::RELAY_LEADS, &[]), 1.0);
    assert!(scrape.count(declared::APPLIED_SECONDS, &[]) >= Some(1.0));
    let reason = ["reason=\"foreign\""];
    assert_eq!(scrape.figure(declared::EPOCHS, &reason), 0.0);
    assert_eq!(scrape.figure(declared::REDIS_UP, &[]), 1.0);
    assert!(scrape.figure(declared::AGE_SECONDS, &[]) < 60.0);
    assert_answers_nothing_else(relay).await;
}

#[tokio::test]
async fn a_manager_by_itself_tells_of_its_region() {
    let stack = Stack::start().await;
    let far = stack.another_redis("far-redis").await;
    let mut command = stack.origin_config.command(&["manager"]).unwrap();
    command
        .env("TIDEMARK_FROM", stack.redis.url())
        .env("TIDEMARK_TO", far.url());
    let manager = alone(&stack, "manager", command).await;
    let region = format!("region=\"127.0.0.1:{}/0 tm:tidemark\"", far.config().port);
    let of_region = [region.as_str()];
    let begun_for = |reason| format!("{region},reason=\"{reason}\"");
    // The epoch is counted after its tidemark was written, which a scrape may read before.
    let scrape = wait::until(
        "the region has a tidemark of an epoch, since there was none",
        async || Scrape::read(&get(&manager, "/metrics").await),
        |scrape| {
            scrape.sum(declared::AGE_SECONDS.name, &of_region).is_some()
                && scrape.sum(declared::EPOCHS.name, &[&begun_for("no-tidemark")]) == Some(1.0)
        },
    )
    .await;
    assert_eq!(scrape.figure(declared::REDIS_UP, &of_region), 1.0);
    assert!(scrape.figure(declared::REDIS_USED_MEMORY, &of_region) > 0.0);
    // What else may begin one is shown before it does.
    assert_eq!(
        scrape.figure(declared::EPOCHS, &[&begun_for("behind")]),
        0.0
    );
    assert_answers_nothing_else(manager).await;
}
