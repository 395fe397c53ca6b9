//! Building blocks that start real servers: PostgreSQL, Redis, the origin and the edge.
//!
//! Two things are made of them, so that what the tests start is what a newcomer starts:
//!
//! - [`stack`]: everything for one test, with its own database, Redis and ports;
//! - [`demo`]: everything for `make demo`, with data that stays.
//!
//! [`prometheus`] watches a stack, as users would have it watched. [`nutcracker`] stands before a stack's Redis.
//!
//! [`kept`] is what keeps data between runs: those of the demo, and those of the benchmarks (`bench/`).
//! [`consistency`] puts a load on them and judges every answer, in fair weather and in foul. [`traffic`]
//! only counts what becomes of it, and [`activity`] what it costs PostgreSQL.
//!
//! ```text
//! stack ─┐            ┌─► postgres ─┐
//!        ├─► erp ─────┤   redis     ├─► process ─► spawner (nothing outlives us)
//! demo ──┘            └─► origin    │      └─────► lease (nothing is left over)
//!                         edge ─────┘
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on ends by panicking; the demo returns its errors"
)]

pub mod activity;
pub mod balancer;
pub mod consistency;
pub mod demo;
pub mod edge;
pub mod erp;
pub mod http;
pub mod kept;
pub mod lease;
pub mod manager;
pub mod nutcracker;
pub mod origin;
pub mod port;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod redis;
pub mod resident;
pub mod server;
pub mod spawner;
pub mod stack;
pub mod tcp_relay;
pub mod terminal;
pub mod tools;
pub mod traffic;
pub mod wait;
