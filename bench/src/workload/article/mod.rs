//! The article's setting.
pub mod judge;
pub mod log;
pub mod possible;
pub mod setting;
pub mod trace;
