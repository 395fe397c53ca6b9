//! The consistency test: a load on real servers, judged. See [`tidemark_tests::consistency`].
//!
//! Each of these tests keeps the machine busy by itself, so they take turns.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends by panicking"
)]

mod chaos;
mod failover;
mod judge;
mod load;
mod skipped;

use tokio::sync::{Mutex, MutexGuard};

/// Waits until no other test of this program is at work.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}
