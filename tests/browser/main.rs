//! The console, in a real browser, over a real stack.
//!
//! A test program of its own, for it needs Chromium, which nothing else does. A browser keeps the machine
//! busy by itself, so the tests take turns.
//!
//! Through `fantoccini`, since WebDriver is what browsers and their drivers have agreed on, and it needs no
//! more of it than a session, clicks and keys; chromedriver tells the rest (the console's messages, colour
//! schemes) by the same protocol. `thirtyfour` brings a TLS client and downloads drivers; `chromiumoxide`
//! compiles the whole of Chromium's protocol.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends by panicking"
)]

mod accessible;
mod chromium;
mod connection;
mod console;
mod demo;
mod figures;
mod picture;

use tokio::sync::{Mutex, MutexGuard};

/// Waits until no other test of this program is at work.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}
