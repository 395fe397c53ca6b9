//! Capture: the outbox, and the triggers that write every change's scopes to it.
//!
//! The triggers run in the writer's own transaction, whoever the writer is: `psql`, a migration,
//! another service. What they record commits or rolls back with the change itself.

mod relation;
mod trigger;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tidemark_shared::{catalog::Catalog, digest::Digest};

pub use relation::PathError;

/// The schema, outbox and bookkeeping tables; safe to run again.
const SCHEMA: &str = include_str!("schema.sql");

/// Everything that `install` would do for one catalog on one database.
#[derive(Debug)]
pub struct Installation {
    /// The tables with triggers, as the catalog names them.
    pub tables: Vec<String>,
    triggers: String,
    planned: Vec<(String, String)>,
    digest: Digest,
}

/// What `install` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// It was all there already.
    Unchanged,
    /// Made or renewed.
    Renewed,
}

/// Why capture can't be installed, or is not what the catalog needs.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A table can't be captured as declared.
    #[error("table {table:?}: {source}")]
    Table {
        /// The table, as the catalog names it.
        table: String,
        /// Why.
        source: PathError,
    },
    /// The triggers are missing, disabled or of another catalog.
    #[error(
        "the triggers in the database are not those of this catalog; run: tidemark-origin install"
    )]
    NotInstalled,
    /// PostgreSQL refused.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Installation {
    /// Works out the triggers that a catalog needs, looking up foreign keys in the database.
    ///
    /// # Errors
    /// A table or column does not exist, or there is no single foreign key along a declared path.
    pub async fn plan(
        connection: &mut PgConnection,
        catalog: &Catalog,
    ) -> Result<Self, CaptureError> {
        let mut tables = Vec::new();
        let mut triggers = String::new();
        let mut planned = Vec::new();
        for (table, capture) in catalog.captures() {
            let captured = trigger::for_table(connection, table, &capture)
                .await
                .map_err(|error| match error {
                    trigger::TriggerError::Path(source) => CaptureError::Table {
                        table: table.to_owned(),
                        source,
                    },
                    trigger::TriggerError::Database(error) => error.into(),
                })?;
            triggers.push_str(&captured.sql);
            planned.extend(captured.triggers);
            tables.push(table.to_owned());
        }
        // What changed while triggers were missing or disabled has been recorded nowhere.
        triggers.push_str(&trigger::invalidate_all(&catalog.captures()));
        let digest = Digest::of_fields([Some(SCHEMA.as_bytes()), Some(triggers.as_bytes())]);
        Ok(Self {
            tables,
            triggers,
            planned,
            digest,
        })
    }

    /// The whole SQL, as `install --dry-run` prints it.
    pub fn sql(&self) -> String {
        format!(
            "BEGIN;\n{SCHEMA}\n{}\n{}\n{}\nCOMMIT;\n",
            trigger::DROP_ALL,
            self.triggers,
            self.record()
        )
    }

    /// Installs all of it in one transaction, unless it is there already.
    ///
    /// # Errors
    /// PostgreSQL refuses; then nothing was changed.
    pub async fn install(&self, connection: &mut PgConnection) -> Result<Installed, CaptureError> {
        if self.is_in_place(connection).await? {
            return Ok(Installed::Unchanged);
        }
        let mut transaction = connection.begin().await?;
        for sql in [SCHEMA, trigger::DROP_ALL, &self.triggers, &self.record()] {
            // Made from the catalog, whose identifiers are checked and quoted.
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(Installed::Renewed)
    }

    /// Fails unless every trigger that the catalog needs is in place and fires always.
    ///
    /// # Errors
    /// [`CaptureError::NotInstalled`], or PostgreSQL can't tell.
    pub async fn verify(&self, connection: &mut PgConnection) -> Result<(), CaptureError> {
        if self.is_in_place(connection).await? {
            Ok(())
        } else {
            Err(CaptureError::NotInstalled)
        }
    }

    async fn is_in_place(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let exists: bool =
            sqlx::query_scalar("SELECT to_regclass('tidemark.installed') IS NOT NULL")
                .fetch_one(&mut *connection)
                .await?;
        if !exists {
            return Ok(false);
        }
        let digest: Option<String> = sqlx::query_scalar("SELECT digest FROM tidemark.installed")
            .fetch_optional(&mut *connection)
            .await?;
        if digest != Some(self.digest.to_string()) {
            return Ok(false);
        }
        // A table that was dropped and made again has lost its triggers; somebody may have
        // disabled one.
        let (relations, names): (Vec<_>, Vec<_>) = self.planned.iter().cloned().unzip();
        let firing: i64 = sqlx::query_scalar(trigger::COUNT_FIRING)
            .bind(relations)
            .bind(names)
            .fetch_one(connection)
            .await?;
        Ok(usize::try_from(firing) == Ok(self.planned.len()))
    }

    fn record(&self) -> String {
        format!(
            "INSERT INTO tidemark.installed (digest) VALUES ('{digest}') ON CONFLICT (only_row) DO UPDATE SET digest = '{digest}', at = now();",
            digest = self.digest
        )
    }
}

/// Removes everything that `install` made, in one transaction.
///
/// # Errors
/// PostgreSQL refuses; then nothing was changed.
pub async fn uninstall(connection: &mut PgConnection) -> Result<(), CaptureError> {
    sqlx::raw_sql("DROP SCHEMA IF EXISTS tidemark CASCADE")
        .execute(connection)
        .await?;
    Ok(())
}

/// Quotes an identifier that may be qualified by a schema.
pub(crate) fn quoted(table: &str) -> String {
    let parts: Vec<_> = table.split('.').map(quoted_part).collect();
    parts.join(".")
}

fn quoted_part(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
