//! Everything that can go wrong with a request, and what the client may know of it.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use tidemark_shared::{
    catalog::{Command, Query},
    content::Damaged,
    param::ParamError,
    problem::{Kind, Problem},
    route::RouteError,
};

use super::respond::problem_response;
use crate::{command::CommandError, gate::Shed, queries::QueryError};

/// What a client is told for which the database has taken too long.
const TOOK_TOO_LONG: &str = "the database took too long";

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client is to blame, or is told something harmless.
    Problem(Problem),
    /// PostgreSQL or the pool; nothing was changed.
    Database(Arc<sqlx::Error>),
    /// PostgreSQL was lost during a commit.
    OutcomeUnknown(sqlx::Error),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<ParamError> for Failure {
    fn from(error: ParamError) -> Self {
        Self::Problem(error.into())
    }
}

impl From<RouteError> for Failure {
    fn from(error: RouteError) -> Self {
        Self::Problem(error.into())
    }
}

impl From<Damaged> for Failure {
    fn from(error: Damaged) -> Self {
        tracing::error!(%error, "what is remembered can't be read");
        Self::Problem(internal())
    }
}

impl Failure {
    /// Of a query.
    pub(super) fn of_query(query: &Query, error: QueryError) -> Self {
        match error {
            QueryError::Database(error) => Self::Database(error),
            QueryError::Shed(shed) => Self::Problem(shed_problem(shed)),
            QueryError::AnswerTooLong { bytes, limit } => {
                Self::Problem(too_long(&query.name, bytes, limit))
            }
            QueryError::Silent(patience) => {
                tracing::warn!(name = query.name, ?patience, "the database does not answer");
                Self::Problem(Problem::new(Kind::Timeout, TOOK_TOO_LONG))
            }
            QueryError::GivenUp => Self::Problem(internal()),
        }
    }

    /// Of a command.
    pub(super) fn of_command(command: &Command, error: CommandError) -> Self {
        match error {
            CommandError::Refused(error) => Self::Database(error.into()),
            CommandError::AnswerTooLong { bytes, limit } => {
                Self::Problem(too_long(&command.name, bytes, limit))
            }
            CommandError::OutcomeUnknown(error) => Self::OutcomeUnknown(error),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => problem_response(&problem),
            Self::OutcomeUnknown(error) => {
                tracing::error!(%error, "the database was lost during a commit");
                problem_response(&Problem::new(
                    Kind::OutcomeUnknown,
                    "the connection to the database broke during the commit: the command may have been carried out or not; read what it changes before you repeat it",
                ))
            }
            Self::Database(error) => {
                let problem = meaning(&error);
                match problem.kind {
                    Kind::Conflict | Kind::Unprocessable => tracing::debug!(%error, "refused"),
                    Kind::Internal => tracing::error!(%error, "a statement failed"),
                    _ => tracing::warn!(%error, "the database is not available"),
                }
                problem_response(&problem)
            }
        }
    }
}

/// What a client is told of a defect of the service.
pub(super) fn internal() -> Problem {
    Problem::new(Kind::Internal, "the service failed; its log says why")
}

/// What a client is told that came when too many were there.
fn shed_problem(shed: Shed) -> Problem {
    let detail = match shed {
        Shed::QueueFull => "too many queries wait already; try again",
        Shed::TooLong => "too many queries ran for too long; try again",
    };
    Problem::new(Kind::Unavailable, detail)
}

/// Logs and tells that an answer is too long.
fn too_long(name: &str, bytes: i64, limit: u32) -> Problem {
    tracing::error!(
        name,
        bytes,
        limit,
        "the answer is longer than --max-answer-bytes; let its SQL answer less"
    );
    Problem::new(
        Kind::AnswerTooLong,
        format!("the answer would have more than {limit} bytes; ask for less"),
    )
}

/// What an error of PostgreSQL means to a client; none of its text gets out.
fn meaning(error: &sqlx::Error) -> Problem {
    let code = error.as_database_error().and_then(|error| error.code());
    let (kind, detail) = match error {
        sqlx::Error::PoolTimedOut => (
            Kind::Unavailable,
            "no connection to the database became free in time; try again",
        ),
        // A violation of the protocol is what the driver calls a connection that ends before the
        // answer to its SSLRequest: before a server that is gone there may be a proxy that is not.
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolClosed => (
            Kind::Unavailable,
            "the database can't be reached; try again",
        ),
        _ => by_sqlstate(code.as_deref().unwrap_or_default()),
    };
    Problem::new(kind, detail)
}

/// PostgreSQL's error codes (manual, appendix A).
fn by_sqlstate(code: &str) -> (Kind, &'static str) {
    match code {
        "23505" | "23P01" => (Kind::Conflict, "something with these values exists already"),
        "23503" => (
            Kind::Unprocessable,
            "this refers to something that does not exist, or is itself referred to",
        ),
        "23514" | "23502" => (
            Kind::Unprocessable,
            "a value is outside of what the data permits",
        ),
        "P0001" => (Kind::Unprocessable, "a rule of the database forbids this"),
        "57014" => (Kind::Timeout, TOOK_TOO_LONG),
        "40001" | "40P01" | "55P03" => {
            (Kind::Unavailable, "other changes are in the way; try again")
        }
        "53300" => (
            Kind::Unavailable,
            "the database has no connection left; try again",
        ),
        _ if code.starts_with("22") => (Kind::Unprocessable, "a value can't be processed"),
        _ if code.starts_with("57P") || code.starts_with("08") => (
            Kind::Unavailable,
            "the database can't be reached; try again",
        ),
        _ if code.starts_with("53") => (
            Kind::Unavailable,
            "the database is out of resources; try again",
        ),
        _ => (
            Kind::Internal,
            "the statement failed; the service's log says why",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_gone_behind_a_proxy_is_unavailable() {
        let said = "unexpected response from SSLRequest: 0x00".to_owned();
        assert_eq!(
            meaning(&sqlx::Error::Protocol(said)).kind,
            Kind::Unavailable
        );
    }

    #[test]
    fn sql_errors_map_to_meaning() {
        for (code, status) in [
            ("23505", 409),
            ("23503", 422),
            ("23514", 422),
            ("22003", 422),
            ("57014", 504),
            ("40001", 503),
            ("53300", 503),
            ("57P01", 503),
            ("08006", 503),
            ("42P01", 500),
            ("25006", 500),
            ("", 500),
        ] {
            assert_eq!(by_sqlstate(code).0.status().as_u16(), status, "{code}");
        }
    }
}
