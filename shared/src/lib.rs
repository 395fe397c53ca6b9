//! Every decision that Tidemark's edge and origin have to agree on, and no I/O.
//!
//! A request flows one way through these modules, and each step is a pure function:
//!
//! ```text
//! request ──► route ──► param ──► key + scope ──► freshness ──► fill ──► entry
//!            (catalog)                           (stamp, tidemark)
//! ```
//!
//! - [`catalog`] is what the user declares; everything else follows from it.
//! - [`route`] and [`param`] turn a request into a query and its canonical parameters.
//! - [`key`] names the cached answer, [`scope`] what invalidates it, [`part`] how finely.
//! - [`stamp`], [`tidemark`], [`epoch`] and [`event`] are what the relay writes and publishes.
//! - [`history`] says when a new epoch begins, and who may write.
//! - [`policy`] is a query's promise; [`freshness`] decides whether a cached [`entry`] may be served;
//!   [`stale`] what it is good for if not; [`fill`] is the only way to make a new one; [`flight`] says
//!   who may share a load, [`lease`] who waits for one.
//! - [`purge`] is for users who know better: what to invalidate, and which entries that is.
//! - [`outcome`] and [`problem`] are what the client is told.
//! - [`content`] is an answer's bytes, compressed or not.
//! - [`audit`] holds cached answers against the database's.
//! - [`hot`] counts what is read most.
//! - [`figure`] names what edges count and origins show.
//! - [`breaker`] says when to stop asking a server that does not answer.
//!
//! Time is always a parameter, in milliseconds since the Unix epoch; randomness likewise.
//! The same code runs natively in the origin and as WebAssembly in the edge.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod audit;
pub mod breaker;
pub mod catalog;
pub mod content;
pub mod digest;
pub mod entry;
pub mod epoch;
pub mod etag;
pub mod event;
pub mod figure;
pub mod fill;
pub mod flight;
pub mod freshness;
pub mod header;
pub mod history;
pub mod hot;
pub mod key;
pub mod lease;
pub mod outcome;
pub mod param;
pub mod part;
mod path;
pub mod policy;
pub mod problem;
pub mod purge;
pub mod route;
pub mod scope;
pub mod stale;
pub mod stamp;
pub mod tidemark;
