//! What is wrong with a catalog, where, and what to write instead.

use std::fmt;

/// The first mistake in a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogError {
    /// The file's name, as given.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub help: String,
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            problem,
            help,
        } = self;
        write!(f, "{file}:{line}: {problem}\n  write: {help}")
    }
}

impl std::error::Error for CatalogError {}
