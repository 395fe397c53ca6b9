//! `top`: what the console shows, in a terminal.
//!
//! ```text
//! origin's /console/stream ─► stream (connects, again and again) ─► view (what was heard) ─► screen (a frame)
//! ```
//!
//! Only [`stream`] and [`terminal`] do anything; a [`View`] is what was said so far, and [`screen::draw`] makes a
//! frame of it, whatever the terminal's size. The messages are those of [`crate::live`].

mod number;
pub mod screen;
pub mod stream;
pub mod terminal;
mod verdict;
mod view;

pub use view::View;
