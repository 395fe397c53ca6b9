//! One query's declarations beside what its SQL uses.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use tidemark_shared::catalog::Query;

use super::names::Names;
use crate::usage::{self, Columns, Source, Unseen, Usage, UsageError};

/// What a query uses, in the catalog's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryUse {
    /// For each table in `reads`, which columns matter.
    pub columns: BTreeMap<String, Columns>,
    /// What `reads` has to be.
    pub reads: Vec<String>,
    /// What it uses and no trigger sees.
    pub sources: BTreeSet<Source>,
}

impl QueryUse {
    /// What the SQL uses, and what is wrong with what the catalog says of that.
    pub(super) fn compare(names: &Names, query: &Query, usage: Usage) -> (Self, Vec<String>) {
        let used = Self {
            columns: columns(names, query, &usage),
            reads: reads(names, query, &usage),
            sources: usage.sources.clone(),
        };
        let mut problems = used.wrong_reads(names, query, &usage);
        problems.extend(used.wrong_acknowledgements(query));
        if usage.locks {
            problems.push(
                "it locks rows, and a query runs read-only; leave out FOR UPDATE, or FOR SHARE"
                    .to_owned(),
            );
        }
        (used, problems)
    }

    fn wrong_reads(&self, names: &Names, query: &Query, usage: &Usage) -> Vec<String> {
        let write = format!(
            "write: reads = [{}] (tidemark-origin check --fix does that)",
            self.reads
                .iter()
                .map(|table| format!("{table:?}"))
                .collect::<Vec<_>>()
                .join(", ")
        );
        let missing = self
            .reads
            .iter()
            .filter(|table| !query.reads.contains(table))
            .map(|table| {
                format!(
                    "the SQL reads {table:?}, which is missing in reads, so that its changes would go unnoticed; {write}"
                )
            });
        let unused = query.reads.iter().filter(|table| {
            names.get(table).is_some_and(|resolved| {
                resolved.is_table()
                    && !usage.touched.contains(&resolved.oid)
                    && !may_name_others(query, usage)
            })
        });
        let unused = unused
            .map(|table| format!("reads names {table:?}, which the SQL does not use; {write}"));
        missing.chain(unused).collect()
    }

    fn wrong_acknowledgements(&self, query: &Query) -> Vec<String> {
        let by_time_only = query.policy.max_staleness == query.policy.ttl;
        let needed = |source: &&Source| {
            query.policy.is_cacheable() && !(by_time_only && source.why == Unseen::Time)
        };
        let given = |source: &&Source| query.acknowledge.keys().any(|name| source.is_called(name));
        let missing = self
            .sources
            .iter()
            .filter(needed)
            .filter(|source| !given(source));
        let missing = missing.map(|Source { name, why, .. }| {
            format!(
                "it uses {name:?}, which is {why}; do without it, or say in the catalog why the answers may rely on it: [query.{}.acknowledge] {name:?} = \"…\"",
                query.name
            )
        });
        let unused = query
            .acknowledge
            .keys()
            .filter(|name| !self.sources.iter().any(|source| source.is_called(name)));
        let unused = unused.map(|name| {
            format!("acknowledge names {name:?}, which the SQL does not use, or which needs no acknowledgement; remove it")
        });
        missing.chain(unused).collect()
    }

    /// What is acknowledged, and why.
    pub fn acknowledged<'q>(
        &'q self,
        query: &'q Query,
    ) -> impl Iterator<Item = (&'q Source, &'q str)> {
        query.acknowledge.iter().filter_map(|(name, reason)| {
            let source = self.sources.iter().find(|source| source.is_called(name))?;
            Some((source, reason.as_str()))
        })
    }
}

/// Whether it uses anything that may read tables of which the SQL says nothing.
fn is_opaque(usage: &Usage) -> bool {
    usage
        .sources
        .iter()
        .any(|source| matches!(source.why, Unseen::Function | Unseen::RowSecurity))
}

/// Whether `reads` may name tables that the SQL does not: those that a function reads, or, where the
/// SQL reads none at all, any, since a list without names needs an acknowledgement.
fn may_name_others(query: &Query, usage: &Usage) -> bool {
    is_opaque(usage) || (usage.tables.is_empty() && query.acknowledge.is_empty())
}

fn columns(names: &Names, query: &Query, usage: &Usage) -> BTreeMap<String, Columns> {
    let of = |table: &String| {
        let used = names
            .oid(table)
            .and_then(|oid| usage.tables.get(&oid))
            .filter(|_| !is_opaque(usage));
        used.map_or(Columns::All, |used| used.columns.clone())
    };
    query
        .reads
        .iter()
        .map(|table| (table.clone(), of(table)))
        .collect()
}

/// What `reads` has to be: what is right of it, in its order, then what is missing.
fn reads(names: &Names, query: &Query, usage: &Usage) -> Vec<String> {
    let keep = |table: &&String| {
        names.get(table).is_some_and(|resolved| {
            resolved.is_table()
                && (usage.touched.contains(&resolved.oid) || may_name_others(query, usage))
        })
    };
    let mut reads: Vec<String> = query.reads.iter().filter(keep).cloned().collect();
    let missing = usage.tables.iter().filter(|(oid, _)| {
        !query
            .reads
            .iter()
            .any(|table| names.oid(table) == Some(**oid))
    });
    reads.extend(missing.map(|(oid, used)| {
        let known = names.name_of(*oid);
        known.map_or_else(|| used.name.clone(), str::to_owned)
    }));
    reads
}

/// What is wrong with the names in `reads` by themselves.
pub(super) async fn unwatchable(
    connection: &mut PgConnection,
    names: &Names,
    query: &Query,
) -> Result<Vec<String>, sqlx::Error> {
    let mut problems = Vec::new();
    for table in &query.reads {
        problems.push(match names.get(table) {
            Some(resolved) if resolved.is_table() => continue,
            None => format!(
                "reads names {table:?}, which is no table of this database; correct the name, or create the table"
            ),
            Some(view) if view.is_view() => {
                let tables = tables_of(connection, view.oid).await?;
                format!(
                    "reads names {table:?}, which is no table of this database but a view, which no trigger can watch; name what it shows: {tables}"
                )
            }
            Some(other) => format!(
                "reads names {table:?}, which is no table of this database but a {}, which no trigger can watch; remove it from reads, and if the answers may rely on it, say why: [query.{}.acknowledge] {table:?} = \"…\"",
                other.what(),
                query.name
            ),
        });
    }
    Ok(problems)
}

async fn tables_of(connection: &mut PgConnection, view: i64) -> Result<String, sqlx::Error> {
    let usage = match usage::of_view(connection, view).await {
        Ok(usage) => usage,
        Err(UsageError::Database(error)) => return Err(error),
        Err(error) => return Ok(error.to_string()),
    };
    let tables = usage.tables.values().map(|used| format!("{:?}", used.name));
    Ok(tables.collect::<Vec<_>>().join(", "))
}
