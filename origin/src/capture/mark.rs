//! What a changed row leaves in the outbox.

use super::name::quoted_part;

/// A statement that touches more members of a family, or more keys of a path, than this records
/// the family as a whole.
pub(super) const FOLD_AT: u32 = 1_000;

/// A statement that changes more rows than this records members, and no parts of them: it has most likely
/// touched so many parts of each that telling them apart would cost the writer more than it saves readers.
pub(super) const PARTS_AT: u32 = 100;

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
    /// The same for a path that leads to parts of members.
    Part {
        /// What is recorded where parts are not told apart.
        whole: Box<Mark>,
        path: String,
        columns: Vec<String>,
        /// Those of the columns that are days.
        days: Vec<String>,
    },
}

impl Mark {
    /// The family that it is about, if it is about one.
    pub(super) fn family(&self) -> Option<&str> {
        match self {
            Self::Table => None,
            Self::Member { family, .. } | Self::Key { family, .. } => Some(family),
            Self::Part { whole, .. } => whole.family(),
        }
    }

    /// The columns that it takes its values from.
    pub(super) fn columns(&self) -> &[String] {
        match self {
            Self::Table => &[],
            Self::Member { column, .. } => std::slice::from_ref(column),
            Self::Key { columns, .. } | Self::Part { columns, .. } => columns,
        }
    }

    /// What it records where parts are not told apart.
    pub(super) fn whole(&self) -> &Self {
        match self {
            Self::Part { whole, .. } => whole,
            other => other,
        }
    }

    /// The condition under which a row, of this name, refers to any member at all: that it has all values by
    /// which the member is found.
    pub(super) fn refers(&self, column: impl Fn(&String) -> String) -> String {
        let there = self.whole().columns().iter();
        let there: Vec<_> = there
            .map(|name| format!("{} IS NOT NULL", column(name)))
            .collect();
        there.join(" AND ")
    }

    /// The text of a column's value.
    pub(super) fn text(&self, column: &str, value: &str) -> String {
        match self {
            Self::Part { days, .. } if days.iter().any(|day| day == column) => day_text(value),
            _ => format!("{value}::pg_catalog.text"),
        }
    }
}

/// The text of a day as ISO 8601 writes it, whatever `DateStyle` says; NULL for one that has no such text of
/// this form, and never an error.
pub(super) fn day_text(value: &str) -> String {
    format!(
        "CASE WHEN pg_catalog.date_ge({value}, '0001-01-01') AND pg_catalog.date_le({value}, '9999-12-31') \
         THEN pg_catalog.to_char({value}::pg_catalog.timestamp, 'YYYY-MM-DD') END"
    )
}

/// A column of a row of this name.
pub(super) fn column_of<'a>(row: &'a str) -> impl Fn(&String) -> String + 'a {
    move |column| format!("{row}.{}", quoted_part(column))
}
