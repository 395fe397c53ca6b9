//! What is suspicious about the ways from a table's rows to the members that they belong to.

use std::collections::BTreeMap;

use tidemark_shared::catalog::Catalog;

use super::{Finding, QueryUse};
use crate::{
    capture::{Installation, Step},
    usage::Columns,
};

/// A narrowed query whose SQL ignores by what it is narrowed probably reads other rows as well.
pub(super) fn unused_members(
    installation: &Installation,
    catalog: &Catalog,
    uses: &BTreeMap<String, QueryUse>,
) -> Vec<Finding> {
    let mut warnings = Vec::new();
    for (name, query) in &catalog.queries {
        let (Some(member), Some(used)) = (&query.member, uses.get(name)) else {
            continue;
        };
        for (table, columns) in &used.columns {
            let by = installation.membership(table, &member.family);
            let (Some(by), Columns::Named(columns)) = (by, columns) else {
                continue;
            };
            if by.iter().any(|column| columns.contains(column)) {
                continue;
            }
            warnings.push(Finding {
                subject: format!("query {name:?} ({})", query.sql),
                problem: format!(
                    "scope {family} narrows {table}, but the SQL does not look at {table}.{by}; make sure that it reads no rows of another {family}, or add that condition",
                    family = member.family,
                    by = by.join(", "),
                ),
            });
        }
    }
    warnings
}

/// A query whose SQL ignores by what it is narrowed within its member probably reads other rows as well.
pub(super) fn unused_facets(catalog: &Catalog, uses: &BTreeMap<String, QueryUse>) -> Vec<Finding> {
    let mut warnings = Vec::new();
    for (name, query) in &catalog.queries {
        let (Some(member), Some(parts), Some(used)) = (&query.member, &query.parts, uses.get(name))
        else {
            continue;
        };
        for table in &query.reads {
            let told = catalog.facets(table, &member.family).into_iter().flatten();
            for source in told.filter(|source| parts.contains_key(&source.facet)) {
                let end = source.path.via.last().unwrap_or(table);
                let column = &source.path.column;
                let Some(Columns::Named(columns)) = used.columns.get(end) else {
                    continue;
                };
                if columns.contains(column) {
                    continue;
                }
                warnings.push(Finding {
                    subject: format!("query {name:?} ({})", query.sql),
                    problem: format!(
                        "where narrows {table} by {facet}, but the SQL does not look at {end}.{column}; make sure that it reads no rows of another {facet}, or add that condition",
                        facet = source.facet,
                    ),
                });
            }
        }
    }
    warnings
}

/// Foreign keys whose referring columns have no index.
pub(super) fn without_index(installation: &Installation) -> Vec<Finding> {
    let slow = installation.steps().filter(|step| !step.is_indexed);
    slow.map(|step| {
        let Step {
            referring,
            columns,
            referred,
            against,
            ..
        } = step;
        let columns = columns.join(", ");
        let what = if *against { "change" } else { "deletion" };
        Finding {
            subject: format!("table {referring:?}"),
            problem: format!(
                "its foreign key to {referred:?} has no index on ({columns}), so that each {what} in {referred:?} scans all of {referring:?}; CREATE INDEX ON {referring} ({columns})"
            ),
        }
    })
    .collect()
}
