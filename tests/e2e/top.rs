//! `tidemark-origin top`: the console in a terminal, at a real one, on a running stack.

use rustix::{process::Signal, termios::LocalModes};
use tidemark_tests::{
    process::{Launch, Process},
    stack::Stack,
    terminal::Terminal,
    wait,
};

use crate::support::{assert_says, dashboard, origin, origin_on};

fn top(stack: &Stack) -> Terminal {
    let mut command = stack.origin_config.command(&["top"]).unwrap();
    command.env("TIDEMARK_ORIGIN_URL", stack.origin.url());
    Terminal::start(command).unwrap()
}

async fn shows(terminal: &Terminal, what: &str) -> String {
    let text = async || terminal.text();
    wait::until(what, text, |text| text.contains(what)).await
}

fn is_raw(terminal: &Terminal) -> bool {
    let modes = terminal.settings().unwrap().local_modes;
    !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
}

/// Fails unless the program ends well and leaves the terminal as it was before it.
async fn assert_restored(mut terminal: Terminal) {
    let status = terminal.ended(wait::LIMIT).await.unwrap();
    assert!(status.success(), "{status}\n{}", terminal.text());
    assert!(!terminal.is_taken());
    assert!(!terminal.is_cursor_hidden());
    assert!(!is_raw(&terminal));
    assert_eq!(terminal.text().trim(), "", "nothing is left behind");
}

#[tokio::test]
async fn figures_and_changes_appear_and_q_restores_the_terminal() {
    let stack = Stack::start().await;
    let terminal = top(&stack);
    shows(&terminal, "QUERY").await;
    assert!(terminal.is_taken() && terminal.is_cursor_hidden() && is_raw(&terminal));
    let region = format!("127.0.0.1:{}/0", stack.redis.config().port);
    for part in [
        "answers/s",
        "dashboard",
        &region,
        "HOTTEST",
        "its relay leads",
    ] {
        shows(&terminal, part).await;
    }

    // Hits, the request that is read most, and what PostgreSQL is spared.
    wait::until(
        "hits",
        async || {
            stack.read(&dashboard(42)).await;
            terminal.text()
        },
        |text| text.contains(" hit ") && text.contains("/org/42/dashboard?"),
    )
    .await;

    stack
        .sql("UPDATE products SET price = price + 1 WHERE id = 1")
        .await;
    shows(&terminal, " products → ").await;

    let (rows, columns) = (40.try_into().unwrap(), 140.try_into().unwrap());
    terminal.resize(rows, columns).unwrap();
    let wide = |text: &String| text.lines().any(|line| line.chars().count() > 80);
    wait::until("a wider frame", async || terminal.text(), wide).await;
    terminal.press("q").unwrap();
    assert_restored(terminal).await;
}

#[tokio::test]
async fn an_origin_that_is_gone_is_found_again() {
    let mut stack = Stack::start().await;
    let terminal = top(&stack);
    shows(&terminal, "QUERY").await;
    stack.origin.process().kill();
    shows(&terminal, "disconnected since ").await;
    stack.restart_origin().await;
    wait::until(
        "connected again",
        async || terminal.text(),
        |text| !text.contains("disconnected"),
    )
    .await;
    // Ctrl-C, as a key.
    terminal.press("\u{3}").unwrap();
    assert_restored(terminal).await;
}

#[tokio::test]
async fn a_signal_and_escape_restore_the_terminal_too() {
    let stack = Stack::start().await;
    let mut terminal = top(&stack);
    let escaped = top(&stack);
    shows(&terminal, "QUERY").await;
    shows(&escaped, "QUERY").await;
    terminal.signal(Signal::TERM);
    assert_restored(terminal).await;
    escaped.press("\u{1b}").unwrap();
    assert_restored(escaped).await;
}

#[tokio::test]
async fn programs_read_what_the_screen_shows() {
    let stack = Stack::start().await;
    let mut command = stack.origin_config.command(&["top", "--json"]).unwrap();
    command.env("TIDEMARK_ORIGIN_URL", stack.origin.url());
    let mut lines = Process::start(Launch {
        name: "top",
        command,
        log: stack.origin_config.log.with_file_name("top.log"),
        end: Signal::TERM,
        lease: None,
    })
    .unwrap();
    for event in ["hello", "figures"] {
        let line = format!("{{\"event\":\"{event}\",");
        lines.says(&line, wait::LIMIT).await.unwrap();
    }
    stack
        .sql("UPDATE products SET price = price + 1 WHERE id = 1")
        .await;
    let rest = lines.says("{\"event\":\"change\",", wait::LIMIT).await;
    let rest = rest.unwrap();
    let change: serde_json::Value = serde_json::from_str(&format!("{{{rest}")).unwrap();
    assert_eq!(change["scopes"], serde_json::json!(["products"]));
    lines.signal(Signal::TERM);
    assert!(lines.ended(wait::LIMIT).await.unwrap().success());

    // A pipe is no terminal.
    let mut settings = origin_on(&stack.database);
    let url = stack.origin.url().to_owned();
    settings.environment.push(("TIDEMARK_ORIGIN_URL", url));
    let ran = origin(&settings, &["top"]);
    assert!(!ran.success);
    assert_says(&ran, &["needs a terminal", "--json"]);
    let nobody = origin(
        &settings,
        &["top", "--json", "--origin", "http://127.0.0.1:1"],
    );
    assert!(!nobody.success);
    assert_says(&nobody, &["cannot listen to http://127.0.0.1:1"]);
}

#[tokio::test]
async fn an_origin_with_a_token_is_watched_with_it() {
    const TOKEN: &str = "top-secret-6d21f0aa";
    let stack = Stack::with()
        .origin("TIDEMARK_ADMIN_TOKEN", TOKEN)
        .start()
        .await;
    let mut settings = origin_on(&stack.database);
    let url = stack.origin.url().to_owned();
    settings.environment.push(("TIDEMARK_ORIGIN_URL", url));
    let ran = origin(&settings, &["top", "--json"]);
    assert!(!ran.success);
    assert_says(&ran, &["it wants its token", "TIDEMARK_ADMIN_TOKEN"]);

    // The stack's settings have the token.
    let terminal = top(&stack);
    shows(&terminal, "QUERY").await;
    assert!(!terminal.text().contains(TOKEN));
    terminal.press("q").unwrap();
    assert_restored(terminal).await;
}
