//! The load generators: wrk for reads, in a closed loop (each connection has one request at a time), and pgbench
//! for writes.

pub mod pgbench;
mod result;
pub mod wrk;

pub use self::{
    pgbench::{Writers, Writes},
    result::{Load, parse},
    wrk::{Requests, Wrk},
};
