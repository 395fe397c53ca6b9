//! What a changed row leaves in the outbox.

/// A statement that touches more members of a family, or more keys of a path, than this records
/// the family as a whole.
pub(super) const FOLD_AT: u32 = 1_000;

/// What a changed row of a table records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// The table as a whole.
    Table,
    /// The member in this column of its own.
    Member { family: String, column: String },
    /// Its values in these columns, from which a [path](super::path) leads on.
    Key {
        family: String,
        path: String,
        columns: Vec<String>,
    },
}

impl Mark {
    /// The family that it is about, if it is about one.
    pub(super) fn family(&self) -> Option<&str> {
        match self {
            Self::Table => None,
            Self::Member { family, .. } | Self::Key { family, .. } => Some(family),
        }
    }

    /// The columns that it takes its values from.
    pub(super) fn columns(&self) -> &[String] {
        match self {
            Self::Table => &[],
            Self::Member { column, .. } => std::slice::from_ref(column),
            Self::Key { columns, .. } => columns,
        }
    }
}
