//! A database with capture and without a relay: what does a write record?

use std::collections::BTreeMap;

use sqlx::PgConnection;
use tidemark_origin::{
    capture::{CaptureError, Installation, Uses},
    relay::outbox,
    usage,
};
use tidemark_shared::catalog::Catalog;
use tidemark_tests::stack::Database;

/// A database with the triggers of a catalog.
pub(crate) struct Captured {
    /// The database.
    pub(crate) database: Database,
    /// What was installed.
    pub(crate) installation: Installation,
    relay: PgConnection,
}

/// The columns that matter to every query that reads a table: `("orders", &["total"])`.
pub(crate) type Columns<'a> = &'a [(&'a str, &'a [&'a str])];

/// Works out what a catalog needs on a database.
pub(crate) async fn plan(
    database: &Database,
    toml: &str,
    columns: Columns<'_>,
) -> Result<Installation, CaptureError> {
    let catalog = Catalog::parse("tidemark.toml", toml).unwrap();
    let used: BTreeMap<_, _> = columns
        .iter()
        .map(|(table, columns)| {
            let columns = columns.iter().map(|column| (*column).to_owned()).collect();
            ((*table).to_owned(), usage::Columns::Named(columns))
        })
        .collect();
    let queries = catalog.queries.keys();
    let uses = queries.map(|query| (query.clone(), used.clone())).collect();
    plan_for(database, &catalog, &uses).await
}

async fn plan_for(
    database: &Database,
    catalog: &Catalog,
    uses: &Uses,
) -> Result<Installation, CaptureError> {
    let mut connection = database.connect().await.unwrap();
    Installation::plan(&mut connection, catalog, uses).await
}

impl Captured {
    /// Makes tables and data, installs capture, and empties the outbox.
    pub(crate) async fn new(schema: &str, toml: &str, columns: Columns<'_>) -> Self {
        let database = Database::empty().await.unwrap();
        database.run(schema).await.unwrap();
        let installation = plan(&database, toml, columns).await.unwrap();
        Self::installed(database, installation).await
    }

    /// The same where queries use different columns.
    pub(crate) async fn planned(schema: &str, toml: &str, uses: &Uses) -> Self {
        let database = Database::empty().await.unwrap();
        database.run(schema).await.unwrap();
        let catalog = Catalog::parse("tidemark.toml", toml).unwrap();
        let installation = plan_for(&database, &catalog, uses).await.unwrap();
        Self::installed(database, installation).await
    }

    async fn installed(database: Database, installation: Installation) -> Self {
        let mut relay = database.connect().await.unwrap();
        installation.install(&mut relay).await.unwrap();
        installation.verify(&mut relay).await.unwrap();
        let mut this = Self {
            database,
            installation,
            relay,
        };
        assert!(!this.take().await.is_empty(), "installing records all");
        this
    }

    /// Takes the scopes out of the outbox, as the relay does.
    pub(crate) async fn take(&mut self) -> Vec<String> {
        let rows = outbox::visible(&mut self.relay).await.unwrap();
        sqlx::query("DELETE FROM tidemark.outbox")
            .execute(&mut self.relay)
            .await
            .unwrap();
        let mut scopes: Vec<_> = rows
            .iter()
            .flat_map(|row| row.scopes.iter().map(ToString::to_string))
            .collect();
        scopes.sort();
        scopes.dedup();
        scopes
    }

    /// Runs SQL and takes what it has recorded.
    pub(crate) async fn records(&mut self, sql: &str) -> Vec<String> {
        if let Err(error) = self.database.run(sql).await {
            panic!("{error}: {sql}");
        }
        self.take().await
    }

    /// Fails unless each of these statements records just these scopes.
    pub(crate) async fn each_records(&mut self, cases: &[(&str, &[&str])]) {
        for (sql, scopes) in cases {
            assert_eq!(self.records(sql).await, *scopes, "{sql}");
        }
    }
}
