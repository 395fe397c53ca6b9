//! PostgreSQL: transactions, the outbox, and what the relay has recorded.

use crate::decisions::{Commits, Number, Recorded};

/// How many transactions a model has at most.
pub(crate) const WRITERS: usize = 4;

/// Transactions, as bits.
pub(crate) type Rows = u8;

/// One transaction that changes one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Writer {
    /// Has not begun.
    Idle,
    /// Has changed its thing and written its outbox row, under this id; nobody sees it.
    Open { id: u8 },
    /// Everybody sees it; `row` while its outbox row is there.
    Committed { id: u8, commit: Commits, row: bool },
    /// Nobody ever saw it.
    RolledBack,
}

/// The database. Its clock is the number of commits: two moments without a commit between them show
/// the same data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Database {
    pub(crate) writers: [Writer; WRITERS],
    pub(crate) commits: Commits,
    /// The last id that the outbox gave.
    pub(crate) last_id: u8,
    /// The last term given.
    pub(crate) term: u8,
    /// The last event whose rows have been deleted.
    pub(crate) last_change: Number,
    /// What the relay recorded when it began the current epoch.
    pub(crate) recorded: Option<Recorded>,
}

impl Database {
    pub(crate) const fn new() -> Self {
        Self {
            writers: [Writer::Idle; WRITERS],
            commits: 0,
            last_id: 0,
            term: 0,
            last_change: (0, 0),
            recorded: None,
        }
    }

    pub(crate) fn begin(&mut self, writer: usize) {
        self.last_id += 1;
        self.writers[writer] = Writer::Open { id: self.last_id };
    }

    pub(crate) fn commit(&mut self, writer: usize) {
        let Writer::Open { id } = self.writers[writer] else {
            return;
        };
        self.commits += 1;
        self.writers[writer] = Writer::Committed {
            id,
            commit: self.commits,
            row: true,
        };
    }

    /// The outbox rows that a new snapshot shows, beyond an id.
    pub(crate) fn visible(&self, beyond: u8) -> Rows {
        let rows = self.writers.iter().enumerate();
        rows.filter(
            |(_, writer)| matches!(writer, Writer::Committed { id, row: true, .. } if *id > beyond),
        )
        .fold(0, |rows, (place, _)| rows | 1 << place)
    }

    /// The highest id among these rows.
    pub(crate) fn last_id_of(&self, rows: Rows) -> u8 {
        let ids = self.writers.iter().enumerate().map(|(place, writer)| {
            match (rows >> place & 1, writer) {
                (1, Writer::Committed { id, .. }) => *id,
                _ => 0,
            }
        });
        ids.max().unwrap_or(0)
    }

    pub(crate) fn delete(&mut self, rows: Rows) {
        for (place, writer) in self.writers.iter_mut().enumerate() {
            if let (1, Writer::Committed { row, .. }) = (rows >> place & 1, writer) {
                *row = false;
            }
        }
    }
}
