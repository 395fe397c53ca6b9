//! End-to-end tests: real PostgreSQL, real Redis, the real origin, and the real component in the
//! host, spoken to from outside. A test whose name begins with `i1_` … `i6_` proves that invariant
//! of the design (section 7).
//!
//! Each test has servers of its own (see [`tidemark_tests::stack`]) and waits for conditions, never
//! for time, so that all of them run beside each other on a slow machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends by panicking"
)]

mod audit;
mod bad_requests;
mod capture;
mod captured;
mod check;
mod cli;
mod commands;
mod compression;
mod console;
mod demo;
mod explain;
mod filling;
mod foreign_keys;
mod gate;
mod hot_sample;
mod inspecting;
mod install;
mod instance_cache;
mod instances;
mod joining;
mod lease;
mod limits;
mod lost_commits;
mod manager;
mod members;
mod memory;
mod metrics;
mod origin_loss;
mod outbox;
mod partitions;
mod parts;
mod prometheus;
mod proxy;
mod purge;
mod reads;
mod redis_loss;
mod redis_states;
mod redis_users;
mod refresh;
mod regions;
mod relay;
mod round_trips;
mod secrets;
mod shutdown;
mod slow;
mod support;
mod top;
mod tracing;
mod transcript;
mod used_columns;
mod warm;
mod writers;
