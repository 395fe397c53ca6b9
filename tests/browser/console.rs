//! A stack with its console open in a browser.

use std::{process::Command, time::Duration};

use tidemark_tests::{stack::Stack, tools, traffic::Traffic};

use crate::chromium::Browser;

/// What the demo on the page looks at.
pub(crate) fn dashboard(org: i64) -> String {
    format!("/org/{org}/dashboard?from=2025-01-01&to=2025-03-31")
}

/// A stack whose console knows where its edge is, as in `make demo`.
pub(crate) async fn demo() -> Stack {
    let mut stack = Stack::with().edge("cors_origins", "*").start().await;
    let edge = stack.edge.url().to_owned();
    let environment = &mut stack.origin_config.environment;
    environment.push(("TIDEMARK_CONSOLE_DEMO", edge));
    stack.restart_origin().await;
    stack.relay_leads().await;
    stack
}

/// Opens the console of a stack, and waits for its first figures.
pub(crate) async fn open(stack: &Stack) -> Browser {
    open_at(stack.origin.url()).await
}

/// The same of an origin at this address.
pub(crate) async fn open_at(origin: &str) -> Browser {
    let browser = Browser::open(&format!("{origin}/console/")).await;
    browser
        .says("#verdict-words", |words| words.starts_with("Proven:"))
        .await;
    browser
}

/// Has the demo on the page look at an organization.
pub(crate) async fn show_organization(page: &Browser, org: i64) {
    let choose = "const input = document.querySelector('[name=org]'); input.value = arguments[0];
                  input.dispatchEvent(new Event('change', { bubbles: true }))";
    page.run(choose, vec![org.into()]).await;
}

/// A few clients that read dashboards.
pub(crate) fn traffic(stack: &Stack) -> Traffic {
    Traffic {
        edge: stack.edge.url().to_owned(),
        paths: (40..50).map(dashboard).collect(),
        clients: 2,
        pace: Duration::from_millis(50),
    }
}

/// Changes something as anybody with `psql` would: with `psql`.
pub(crate) fn psql(stack: &Stack, sql: &str) {
    let mut psql = Command::new(tools::program("psql").unwrap());
    psql.args([&stack.database.url(), "--no-psqlrc", "-c", sql]);
    tools::output(&mut psql).unwrap();
}

/// The figure that a text begins with; `None` where it has none.
pub(crate) fn figure(text: &str) -> Option<f64> {
    let plain: String = text
        .chars()
        .filter(|c| *c != '\u{202f}')
        .take_while(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    plain.parse().ok()
}
