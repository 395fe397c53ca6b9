//! The catalog's names of tables, and what PostgreSQL takes them for.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use tidemark_shared::catalog::{Catalog, Table};

use crate::capture;

/// What one name stands for.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub(super) oid: i64,
    /// `pg_class.relkind`.
    kind: String,
}

impl Resolved {
    /// Whether triggers can watch it.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.kind.as_str(), "r" | "p")
    }

    pub(super) fn is_view(&self) -> bool {
        self.kind == "v"
    }

    /// What it is, for messages.
    pub(super) fn what(&self) -> &'static str {
        match self.kind.as_str() {
            "r" | "p" => "table",
            "v" => "view",
            "m" => "materialized view",
            "f" => "foreign table",
            "S" => "sequence",
            _ => "relation",
        }
    }
}

/// All names of tables in a catalog; those that stand for nothing are left out.
pub(super) struct Names(BTreeMap<String, Resolved>);

impl Names {
    pub(super) async fn resolve(
        connection: &mut PgConnection,
        catalog: &Catalog,
    ) -> Result<Self, sqlx::Error> {
        let names: BTreeSet<&String> = catalog
            .queries
            .values()
            .flat_map(|query| &query.reads)
            .chain(catalog.tables.keys())
            .chain(catalog.tables.values().flat_map(on_the_way))
            .collect();
        let names: Vec<String> = names.into_iter().cloned().collect();
        let quoted: Vec<String> = names.iter().map(|name| capture::quoted(name)).collect();
        let found: Vec<(String, i64, String)> = sqlx::query_as(
            "SELECT given.name, c.oid::bigint, c.relkind::text
             FROM unnest($1::text[], $2::text[]) AS given (name, quoted)
             JOIN pg_catalog.pg_class c ON c.oid = to_regclass(given.quoted)",
        )
        .bind(names)
        .bind(quoted)
        .fetch_all(connection)
        .await?;
        Ok(Self(
            found
                .into_iter()
                .map(|(name, oid, kind)| (name, Resolved { oid, kind }))
                .collect(),
        ))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Resolved> {
        self.0.get(name)
    }

    pub(super) fn oid(&self, name: &str) -> Option<i64> {
        self.get(name).map(|resolved| resolved.oid)
    }

    /// What the catalog calls a table, if it does.
    pub(super) fn name_of(&self, oid: i64) -> Option<&str> {
        let (name, _) = self.0.iter().find(|(_, resolved)| resolved.oid == oid)?;
        Some(name)
    }
}

/// The tables through which the paths of a table lead.
fn on_the_way(table: &Table) -> impl Iterator<Item = &String> {
    let members = table.families.iter().map(|source| &source.path);
    members
        .chain(table.facets.values())
        .flat_map(|path| &path.via)
}
