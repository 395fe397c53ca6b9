//! The origin: runs the catalog's SQL, captures every change, and relays invalidations to Redis.
//!
//! ```text
//! GET  ─► http::read ─► memory, else queries (flight ─► gate ─► read-only pool) ─► JSON
//! POST ─► http::write ─► command (one transaction) ─► tide (applied?) ─► JSON
//!                              │ triggers (capture)         ▲
//!                              ▼                            │
//!                 purge ─► outbox ─► relay ─► memory, then Redis: stamps, tidemark, event
//!                                               │ events
//!                                               ▼
//!                                            manager ─► another region's Redis
//! ```
//!
//! What is read most is known from the edges' [`sample`]: [`refresh`] loads it anew after a change. Like
//! [`warm`] it [fills](fill) the cache as an edge does.
//!
//! Beside that, [`audit`] holds what is cached against the database, [`metrics`] counts, and [`live`] tells
//! whoever watches what happens: the console, and in a terminal [`top`].
//!
//! [`Origin::build`] binds and connects, [`Origin::run`] serves until it is told to stop; the
//! binary is a thin `main` over both, and tests start the very same thing.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod answer;
pub mod app;
pub mod audit;
pub mod capture;
pub mod check;
pub mod cli;
mod clock;
pub mod command;
pub mod database;
pub mod descriptors;
pub mod entries;
pub mod explain;
pub mod fill;
mod flight;
pub mod gate;
pub mod http;
pub mod live;
pub mod manager;
pub mod memory;
pub mod metrics;
pub mod purge;
pub mod queries;
pub mod question;
pub mod refresh;
pub mod relay;
pub mod repository;
pub mod sample;
pub mod shutdown;
pub mod statement;
pub mod status;
pub mod telemetry;
pub mod tide;
pub mod top;
mod trace;
pub mod usage;
pub mod warm;

pub use app::{Origin, OriginConfig};
