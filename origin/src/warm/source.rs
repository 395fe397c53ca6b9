//! Where the questions come from that are to be warmed.

use std::vec;

use tidemark_shared::{
    catalog::Catalog,
    route::{RouteError, Router},
};

use super::{Enumeration, EnumerationError};
use crate::question::Question;

/// Questions, one after the other.
pub enum Source<'a> {
    /// Those of requests. One that is not, or no more, of this catalog is passed over: the hot sample may
    /// be older.
    Targets {
        /// The catalog.
        catalog: &'a Catalog,
        /// Its routes.
        routes: &'a Router,
        /// The requests' targets.
        targets: vec::IntoIter<String>,
    },
    /// All that a query's SQL enumerates.
    Query(Enumeration<'a>),
}

/// Why a request can't be warmed; the text is fit for whoever wrote it down.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It is none of this catalog's.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// It is of a query that is never cached.
    #[error("{query} is never cached (max_staleness = \"0s\")")]
    NeverCached {
        /// The query's name.
        query: String,
    },
}

/// Whether a line of a list holds a request: it is neither blank nor a comment.
pub fn is_line(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

/// The question of a request that can be warmed.
///
/// # Errors
/// It can't be.
pub fn question_of<'a>(
    catalog: &'a Catalog,
    routes: &Router,
    target: &str,
) -> Result<Question<'a>, LineError> {
    let question = Question::of_target(catalog, routes, target)?;
    if !question.query.policy.is_cacheable() {
        let query = question.query.name.clone();
        return Err(LineError::NeverCached { query });
    }
    Ok(question)
}

impl<'a> Source<'a> {
    /// The next question, if there is one.
    ///
    /// # Errors
    /// The database does not say, or says nonsense.
    pub(super) async fn next(&mut self) -> Result<Option<Question<'a>>, EnumerationError> {
        match self {
            Self::Targets {
                catalog,
                routes,
                targets,
            } => Ok(targets.find_map(|target| question_of(catalog, routes, &target).ok())),
            Self::Query(enumeration) => enumeration.next().await,
        }
    }
}
