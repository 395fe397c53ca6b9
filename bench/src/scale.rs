//! How thoroughly a run measures.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemark_tests::erp::Size;

/// How thoroughly a run measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Everything, for figures that count: about an hour.
    Full,
    /// The same in under five minutes: fewer and shorter rounds, and without those that differ least from others.
    Quick,
    /// As little as shows that the harness works; its figures mean nothing.
    Trial,
}

impl Scale {
    /// How much data the example has.
    pub const fn size(self) -> Size {
        match self {
            Self::Full | Self::Quick => Size::Full,
            Self::Trial => Size::Tests,
        }
    }

    /// How many rounds there are.
    pub const fn rounds(self) -> usize {
        match self {
            Self::Full => 5,
            Self::Quick => 2,
            Self::Trial => 1,
        }
    }

    /// How long each turn in a round is.
    pub const fn turn(self) -> Duration {
        match self {
            Self::Full => Duration::from_secs(2),
            Self::Quick => Duration::from_secs(1),
            Self::Trial => Duration::from_millis(300),
        }
    }

    /// One of three values, by how thorough it is.
    pub fn pick<T>(self, full: T, quick: T, trial: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
            Self::Trial => trial,
        }
    }
}
