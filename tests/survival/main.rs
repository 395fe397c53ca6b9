//! Survival: whatever fails, the database is protected and the cache answers what it may.
//!
//! Each of these tests keeps the machine busy by itself, so they take turns; each prints its figures.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends by panicking"
)]

mod clients;
mod cold_key;
mod costly;
mod full_redis;
mod large;
mod origin_gone;
mod outage;
mod postgres_frozen;
mod redis_gone;
mod rolling_restart;
mod sized;
mod write_storm;

use tokio::sync::{Mutex, MutexGuard};

/// Waits until no other test of this program is at work.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}
