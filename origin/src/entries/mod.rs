//! What is cached: finding entries in Redis, and what each of them is.
//!
//! An entry holds no scopes and no arguments, but the request that it answers; with the catalog that is
//! its [question](crate::question) again.

mod inspection;
mod look;
mod walk;

pub use inspection::{InspectError, Inspection, Inspector};
pub(crate) use look::{get_all, look_up};
pub use walk::Walk;
