//! The load generator: wrk, in a closed loop (each connection has one request at a time).

mod result;
pub mod wrk;

pub use self::{
    result::{Load, parse},
    wrk::{Requests, Wrk},
};
