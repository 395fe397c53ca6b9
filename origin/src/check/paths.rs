//! The ways from a table's rows to the members they belong to: the columns on them, and what is
//! suspicious about them.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use tidemark_shared::catalog::{Catalog, FamilySource};

use super::{Finding, QueryUse, names::Names};
use crate::usage::Columns;

/// The foreign keys along all paths that the catalog declares, by the names of both tables.
pub(super) struct Paths(BTreeMap<(String, String), ForeignKey>);

struct ForeignKey {
    /// The referring columns.
    columns: Vec<String>,
    is_indexed: bool,
}

impl Paths {
    /// Looks them up; where there is not exactly one, capture finds fault with it.
    pub(super) async fn resolve(
        connection: &mut PgConnection,
        names: &Names,
        catalog: &Catalog,
    ) -> Result<Self, sqlx::Error> {
        let mut steps = BTreeSet::new();
        for (table, sources) in &catalog.tables {
            for source in sources {
                let mut from = table;
                for to in &source.via {
                    steps.insert((from.clone(), to.clone()));
                    from = to;
                }
            }
        }
        let mut found = BTreeMap::new();
        for (from, to) in steps {
            let (Some(child), Some(parent)) = (names.oid(&from), names.oid(&to)) else {
                continue;
            };
            if let Some(key) = foreign_key(connection, child, parent).await? {
                found.insert((from, to), key);
            }
        }
        Ok(Self(found))
    }

    /// The columns of a table by which its rows belong to a member; none if they are not known.
    fn first_columns(&self, table: &str, source: &FamilySource) -> BTreeSet<String> {
        match source.via.first() {
            None => BTreeSet::from([source.column.clone()]),
            Some(to) => self
                .0
                .get(&(table.to_owned(), to.clone()))
                .map(|key| key.columns.iter().cloned().collect())
                .unwrap_or_default(),
        }
    }

    /// For each table that is captured, the columns that matter to any query that is cached, and
    /// those by which a row belongs to a member.
    pub(super) fn columns(
        &self,
        names: &Names,
        catalog: &Catalog,
        uses: &BTreeMap<String, QueryUse>,
    ) -> BTreeMap<String, Columns> {
        let cached = catalog
            .queries
            .iter()
            .filter(|(_, query)| query.policy.is_cacheable())
            .filter_map(|(name, _)| uses.get(name));
        // Two names may stand for one table.
        let mut by_oid: BTreeMap<i64, Columns> = BTreeMap::new();
        for (table, columns) in cached.flat_map(|used| &used.columns) {
            if let Some(oid) = names.oid(table) {
                let all = by_oid.remove(&oid).unwrap_or_else(Columns::none);
                by_oid.insert(oid, all.union(columns.clone()));
            }
        }
        catalog
            .captures()
            .into_iter()
            .map(|(table, capture)| {
                let used = names.oid(table).and_then(|oid| by_oid.get(&oid));
                // Only on the way to a member, if no query uses it.
                let used = used.cloned().unwrap_or_else(Columns::none);
                let members = capture
                    .families
                    .iter()
                    .flat_map(|source| self.first_columns(table, source))
                    .collect();
                (table.to_owned(), used.union(Columns::Named(members)))
            })
            .collect()
    }

    /// A narrowed query whose SQL ignores by what it is narrowed probably reads other rows as well.
    pub(super) fn unused_members(
        &self,
        catalog: &Catalog,
        uses: &BTreeMap<String, QueryUse>,
    ) -> Vec<Finding> {
        let mut warnings = Vec::new();
        for (name, query) in &catalog.queries {
            let (Some(member), Some(used)) = (&query.member, uses.get(name)) else {
                continue;
            };
            for (table, columns) in &used.columns {
                let source = catalog.tables.get(table).and_then(|sources| {
                    sources.iter().find(|source| source.family == member.family)
                });
                let (Some(source), Columns::Named(columns)) = (source, columns) else {
                    continue;
                };
                let first = self.first_columns(table, source);
                if !first.is_empty() && first.is_disjoint(columns) {
                    let first: Vec<_> = first.into_iter().collect();
                    warnings.push(Finding {
                        subject: format!("query {name:?} ({})", query.sql),
                        problem: format!(
                            "scope {family} narrows {table}, but the SQL does not look at {table}.{first}; make sure that it reads no rows of another {family}, or add that condition",
                            family = member.family,
                            first = first.join(", "),
                        ),
                    });
                }
            }
        }
        warnings
    }

    /// Foreign keys whose referring columns have no index.
    pub(super) fn without_index(&self) -> Vec<Finding> {
        let slow = self.0.iter().filter(|(_, key)| !key.is_indexed);
        slow.map(|((from, to), key)| {
            let columns = key.columns.join(", ");
            Finding {
                subject: format!("table {from:?}"),
                problem: format!(
                    "its foreign key to {to:?} has no index on ({columns}), so that each deletion in {to:?} scans all of {from:?}; CREATE INDEX ON {from} ({columns})"
                ),
            }
        })
        .collect()
    }
}

/// The foreign key from one table to another, if there is exactly one.
async fn foreign_key(
    connection: &mut PgConnection,
    child: i64,
    parent: i64,
) -> Result<Option<ForeignKey>, sqlx::Error> {
    let keys: Vec<(Vec<String>, bool)> = sqlx::query_as(
        "SELECT ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, n)
                      JOIN pg_catalog.pg_attribute a
                        ON a.attrelid = c.conrelid AND a.attnum = k.attnum ORDER BY k.n),
                EXISTS (SELECT FROM pg_catalog.pg_index i
                        WHERE i.indrelid = c.conrelid AND i.indisvalid AND i.indpred IS NULL
                          AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey)
         FROM pg_catalog.pg_constraint c
         WHERE c.contype = 'f' AND c.conrelid = $1::bigint::oid AND c.confrelid = $2::bigint::oid
           AND c.conparentid = 0",
    )
    .bind(child)
    .bind(parent)
    .fetch_all(connection)
    .await?;
    Ok(match <[_; 1]>::try_from(keys) {
        Ok([(columns, is_indexed)]) => Some(ForeignKey {
            columns,
            is_indexed,
        }),
        Err(_) => None,
    })
}
