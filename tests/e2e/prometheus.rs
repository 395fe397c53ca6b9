//! What is shipped for Prometheus and Grafana, held against a real Prometheus that scrapes a running
//! stack: whatever the dashboard asks, there is an answer to.

use std::fs;

use serde_json::Value;
use tidemark_tests::{
    port::{self, local},
    prometheus::Prometheus,
    stack::Stack,
    tools, wait,
};

use crate::support::{HIT, dashboard, order};

/// What each target of each panel asks, by the panel's title.
fn questions(dashboard: &Value) -> Vec<(String, String)> {
    let mut questions = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        if panel["type"] == "row" {
            continue;
        }
        let title = panel["title"].as_str().expect("a title");
        let unexplained = panel["description"].as_str().is_none_or(str::is_empty);
        assert!(!unexplained, "{title} does not say what it shows");
        for target in panel["targets"].as_array().expect(title) {
            let expression = target["expr"].as_str().expect(title);
            // What Grafana puts in for scrapes each second.
            let expression = expression.replace("$__rate_interval", "4s");
            assert!(!expression.contains('$'), "{title}: {expression}");
            questions.push((title.to_owned(), expression));
        }
    }
    questions
}

async fn traffic(stack: &Stack) {
    for org in [41, 42, 43] {
        stack.read(&dashboard(org)).await;
    }
    stack.ask(&dashboard(42)).await;
    let ordered = stack
        .command(http::Method::POST, "/org/42/orders", &order())
        .await;
    assert!(ordered.status.is_success(), "{ordered:?}");
}

#[tokio::test]
async fn every_panel_of_the_dashboard_shows_something_and_no_alert_is_raised() {
    let stack = Stack::with()
        .origin("TIDEMARK_AUDIT_RATE", "20/s")
        .start()
        .await;
    let folder = stack.redis.config().folder.join("prometheus");
    let prometheus = Prometheus::start(&folder, &[&stack.origin]).await.unwrap();

    let shipped = tools::repository().join("ops/grafana/dashboards/tidemark.json");
    let shipped: Value = serde_json::from_slice(&fs::read(shipped).unwrap()).unwrap();
    let mut open = questions(&shipped);
    assert!(open.len() > 30, "{}", open.len());
    wait::until_within(
        3 * wait::LIMIT,
        "an answer to every panel",
        async || {
            traffic(&stack).await;
            let mut still_open = Vec::new();
            for (title, expression) in open.drain(..) {
                let answer = prometheus.query(&expression).await;
                let answer = answer.unwrap_or_else(|error| panic!("{title}: {error:#}"));
                if answer.is_empty() {
                    still_open.push((title, expression));
                }
            }
            open.clone_from(&still_open);
            still_open
        },
        Vec::is_empty,
    )
    .await;

    let rules = prometheus.rules().await.unwrap();
    assert!(rules.len() > 15, "{rules:?}");
    for rule in &rules {
        let rule_name = &rule["name"];
        assert_eq!(rule["health"], "ok", "{rule_name}: {}", rule["lastError"]);
        // On a busy machine one may well be pending: a condition that has to last.
        assert_ne!(rule["state"], "firing", "{rule_name}");
    }
}

/// The one figure that an expression gives.
async fn figure(prometheus: &Prometheus, expression: &str) -> Option<f64> {
    let answer = prometheus.query(expression).await.unwrap();
    answer.first()?["value"][1].as_str()?.parse().ok()
}

#[tokio::test]
async fn what_several_edges_count_and_several_origins_tell_adds_up() {
    const READS: f64 = 60.0;
    let stack = Stack::start().await;
    let second_edge = stack.edge_with("l1_bytes", 0).await;
    let mut second_origin = stack.origin_config.clone();
    second_origin.listen = local(port::free());
    second_origin.log = stack.redis.config().folder.join("second-origin.log");
    let second_origin = second_origin.start().await.unwrap();
    let folder = stack.redis.config().folder.join("prometheus");
    let prometheus = Prometheus::start(&folder, &[&stack.origin, &second_origin])
        .await
        .unwrap();

    let mut hits = 0.0;
    for read in 0..60 {
        let edge = [&stack.edge, &second_edge][read % 2];
        let answer = stack.read_at(edge, &dashboard(42), &[]).await;
        assert_eq!(answer.status, 200);
        if answer.cache_status() == HIT {
            hits += 1.0;
        }
    }
    let of_dashboard = |metric: &str, more: &str| {
        let series = format!("{metric}{{query=\"dashboard\"{more}}}");
        format!("sum(max by (region, query, outcome, le) ({series}))")
    };
    let answers = of_dashboard("tidemark_edge_answers_total", "");
    wait::until(
        "all reads",
        async || figure(&prometheus, &answers).await,
        |counted| *counted >= Some(READS),
    )
    .await;
    for (expression, expected) in [
        (answers, READS),
        (
            of_dashboard("tidemark_edge_answers_total", ",outcome=\"hit\""),
            hits,
        ),
        (of_dashboard("tidemark_edge_seconds_count", ""), READS),
        (
            of_dashboard("tidemark_edge_seconds_bucket", ",le=\"+Inf\""),
            READS,
        ),
        // Both origins tell it.
        (
            "count(tidemark_edge_answers_total{query=\"dashboard\",outcome=\"hit\"})".to_owned(),
            2.0,
        ),
        // One of them leads.
        ("sum(tidemark_relay_leads)".to_owned(), 1.0),
    ] {
        let counted = wait::until(
            &expression,
            async || figure(&prometheus, &expression).await,
            |counted| *counted >= Some(expected),
        )
        .await;
        assert_eq!(counted, Some(expected), "{expression}");
    }
    for expression in [
        of_dashboard("tidemark_edge_seconds_sum", ""),
        of_dashboard("tidemark_edge_stored_total", ""),
        of_dashboard("tidemark_edge_stored_bytes_total", ""),
    ] {
        let counted = figure(&prometheus, &expression).await;
        assert!(counted > Some(0.0), "{expression}: {counted:?}");
    }
}
