//! Running a command: all its statements in one transaction, then the proof that it is applied.

use std::time::Duration;

use bytes::Bytes;
use rand::RngExt as _;
use sqlx::{
    Connection as _, PgConnection, PgPool,
    postgres::{PgDatabaseError, PgSeverity},
};
use tidemark_shared::param::Params;

use crate::{
    answer::{self, AnswerError},
    clock,
    statement::Statement,
    trace::TraceParent,
};

/// How often a transaction is begun again after a serialization failure or deadlock.
const ATTEMPTS: u32 = 4;

/// A committed command.
#[derive(Debug)]
pub struct Committed {
    /// The last statement's answer.
    pub body: Bytes,
    /// A moment after the commit, in ms since the Unix epoch by the database's clock, rounded up:
    /// what is proven at this moment includes the command's changes. `None` if the database could
    /// not be asked any more: that does not undo the commit.
    pub at_least_ms: Option<i64>,
}

/// Why there is no committed command.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// PostgreSQL or the pool refused: nothing was changed.
    #[error(transparent)]
    Refused(#[from] sqlx::Error),
    /// The answer is longer than permitted: nothing was changed.
    #[error("the answer has {bytes} bytes, more than {limit}")]
    AnswerTooLong {
        /// How long it would be, in bytes.
        bytes: i64,
        /// How long it may be, in bytes.
        limit: u32,
    },
    /// The connection broke during the commit itself: the changes may be there, or not.
    #[error("the connection broke during the commit: {0}")]
    OutcomeUnknown(#[source] sqlx::Error),
}

impl From<AnswerError> for CommandError {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Database(error) => Self::Refused(error),
            AnswerError::TooLong { bytes, limit } => Self::AnswerTooLong { bytes, limit },
        }
    }
}

/// Runs a command, whose answer may have `limit` bytes; `None` where the last statement found no row, and then nothing was changed.
///
/// # Errors
/// Whatever PostgreSQL or the pool reports, and whether something may have been changed.
pub(crate) async fn run(
    pool: &PgPool,
    statements: &[Statement],
    params: &Params,
    limit: u32,
    trace: Option<TraceParent>,
) -> Result<Option<Committed>, CommandError> {
    let mut connection = pool.acquire().await?;
    let mut attempt = 1;
    loop {
        match attempt_once(&mut connection, statements, params, limit, trace).await {
            Err(CommandError::Refused(error)) if attempt < ATTEMPTS && is_transient(&error) => {
                tracing::debug!(attempt, %error, "transaction begins again");
                tokio::time::sleep(back_off(attempt)).await;
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

async fn attempt_once(
    connection: &mut PgConnection,
    statements: &[Statement],
    params: &Params,
    limit: u32,
    trace: Option<TraceParent>,
) -> Result<Option<Committed>, CommandError> {
    let mut transaction = connection.begin().await?;
    let mut body = None;
    for (index, statement) in statements.iter().enumerate() {
        if index + 1 == statements.len() {
            body = answer::command(&mut transaction, statement, params, limit, trace).await?;
        } else {
            answer::bound(statement, params, trace)
                .execute(&mut *transaction)
                .await?;
        }
    }
    let Some(body) = body else {
        transaction.rollback().await?;
        return Ok(None);
    };
    transaction.commit().await.map_err(judge_commit)?;
    Ok(Some(Committed {
        body,
        at_least_ms: clock::moment_after(connection).await.ok(),
    }))
}

/// What a failed commit means. Only PostgreSQL's own word, spoken on a connection that goes on, says
/// that the transaction was rolled back. A connection that ends may do so between the commit and the
/// word of it, also where PostgreSQL still says why it ends (`FATAL`).
fn judge_commit(error: sqlx::Error) -> CommandError {
    let severity = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
        .map(PgDatabaseError::severity);
    match severity {
        None | Some(PgSeverity::Fatal | PgSeverity::Panic) => CommandError::OutcomeUnknown(error),
        Some(_) => CommandError::Refused(error),
    }
}

/// Whether the same transaction may well succeed when begun again: 40001 and 40P01.
pub(crate) fn is_transient(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("40001" | "40P01"))
}

/// Grows with the attempts, with jitter so that the rivals do not meet again.
fn back_off(attempt: u32) -> Duration {
    let longest = 10 * 2_u64.pow(attempt);
    Duration::from_millis(rand::rng().random_range(1..=longest))
}
