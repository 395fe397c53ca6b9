//! What a query's SQL really uses, as PostgreSQL itself understands it.

use std::collections::BTreeSet;

/// Which columns of a table matter to a query, or to several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Columns {
    /// These, by name: an update of none of them changes no answer.
    Named(BTreeSet<String>),
    /// The row as a whole, or something of it that every update changes (a system column).
    All,
}

impl Columns {
    /// What matters to either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Named(mut these), Self::Named(those)) => {
                these.extend(those);
                Self::Named(these)
            }
            _ => Self::All,
        }
    }
}
