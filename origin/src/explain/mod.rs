//! What invalidates a query: from the catalog, and from what the SQL really uses.

pub mod change;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use serde::Serialize;
use tidemark_shared::{
    catalog::{Catalog, ColumnPath, MemberScope, Narrowed, Query},
    key::Key,
    policy::OnChange,
    scope::Scope,
};

use crate::{check::QueryUse, usage::Columns};

/// A query's path, key, promise and scopes, and table by table what changes its answers.
///
/// Shown, it is for people; as JSON its names are an interface (`docs/interface.md`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    query: String,
    path: String,
    sql: String,
    key: String,
    /// 0 where it is never cached.
    max_staleness_ms: i64,
    /// None where it is never cached.
    ttl_ms: Option<i64>,
    on_change: OnChange,
    /// 0 where it is off.
    l1_ms: i64,
    scopes: Vec<String>,
    tables: Vec<TableUse>,
    acknowledged: Vec<Acknowledged>,
}

/// What of a table changes a query's answers. Any insertion and deletion of these rows does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct TableUse {
    table: String,
    /// Only the rows of the query's member; else any.
    rows_of: Option<MemberRows>,
    /// The columns whose update does; None where any update does.
    update_of: Option<BTreeSet<String>>,
}

/// The rows of a table that belong to a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct MemberRows {
    /// With the parameter in place of its value, as in `org:{org}`.
    member: String,
    /// The column with the member's id: of this table, or of the last one on the way.
    column: String,
    /// The tables that foreign keys lead along to it.
    along: Vec<String>,
    /// Where changes tell parts of the member: for each facet the way to its column, as in `customers.region`.
    parts: BTreeMap<String, String>,
}

/// Something that no trigger sees, and that the catalog accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Acknowledged {
    source: String,
    reason: String,
}

impl Explanation {
    /// Explains a query of the catalog, of which PostgreSQL has told what it uses.
    #[must_use]
    pub fn of(catalog: &Catalog, query: &Query, used: &QueryUse) -> Self {
        let policy = &query.policy;
        let tables = used.columns.iter().map(|(table, columns)| TableUse {
            table: table.clone(),
            rows_of: rows(catalog, query, table),
            update_of: match columns {
                Columns::All => None,
                Columns::Named(columns) => Some(columns.clone()),
            },
        });
        let acknowledged = used.acknowledged(query);
        let acknowledged = acknowledged.map(|(source, reason)| Acknowledged {
            source: source.name.clone(),
            reason: reason.to_owned(),
        });
        Self {
            query: query.name.clone(),
            path: query.path.clone(),
            sql: query.sql.clone(),
            key: Key::pattern(query),
            max_staleness_ms: policy.max_staleness_ms(),
            ttl_ms: policy.is_cacheable().then(|| policy.ttl_ms()),
            on_change: policy.on_change,
            l1_ms: policy.l1_ms(),
            scopes: scopes(query),
            tables: tables.collect(),
            acknowledged: acknowledged.collect(),
        }
    }
}

/// The scopes of a query, with the parameter in place of its value.
fn scopes(query: &Query) -> Vec<String> {
    let mut scopes = Vec::new();
    if let Some(member) = &query.member {
        scopes.push(member_pattern(member));
        scopes.push(Scope::Family(member.family.clone()).to_string());
        if let Some(parts) = &query.parts {
            let shown = |(facet, by): (&String, &Narrowed)| match by {
                Narrowed::Days { from, to } => format!("{facet}={{{from}}}..{{{to}}}"),
                Narrowed::Word { param, .. } => format!("{facet}={{{param}}}"),
            };
            let parts: Vec<_> = parts.iter().map(shown).collect();
            scopes.push(format!("{}?{}", member_pattern(member), parts.join("&")));
        }
    }
    scopes.extend(query.whole_tables.iter().cloned());
    scopes
}

fn member_pattern(MemberScope { family, param }: &MemberScope) -> String {
    format!("{family}:{{{param}}}")
}

/// Which rows of a table matter, and how they are told from others; None where any row does.
fn rows(catalog: &Catalog, query: &Query, table: &str) -> Option<MemberRows> {
    let member = query.member.as_ref()?;
    let ColumnPath { via, column } = &query.narrowing(catalog, table)?.path;
    let facets = catalog.facets(table, &member.family).into_iter().flatten();
    let parts = facets.map(|source| (source.facet, source.path.to_string()));
    Some(MemberRows {
        member: member_pattern(member),
        column: column.clone(),
        along: via.clone(),
        parts: parts.collect(),
    })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            query, path, sql, ..
        } = self;
        writeln!(f, "{query}: GET {path} ({sql})\n")?;
        let mut line = |name: &str, value: &str| writeln!(f, "{name:<15}{value}");
        line("key", &self.key)?;
        match self.max_staleness_ms {
            0 => line(
                "max_staleness",
                "0s: never cached, so nothing needs to invalidate it",
            )?,
            ms => {
                let promise = format!(
                    "{}: no answer lags further behind the database",
                    duration(ms)
                );
                line("max_staleness", &promise)?;
            }
        }
        if let Some(ttl_ms) = self.ttl_ms {
            let ttl = format!("{}: no answer is kept longer", duration(ttl_ms));
            line("ttl", &ttl)?;
        }
        match self.on_change {
            OnChange::Expire => {}
            OnChange::Refresh => line(
                "on_change",
                "refresh: what is read most is loaded anew as soon as a change touches it",
            )?,
            OnChange::Revalidate => line(
                "on_change",
                "revalidate: an old answer is served within the promise while it is loaded anew",
            )?,
        }
        if self.l1_ms > 0 {
            let l1 = format!(
                "{}: for so long an edge may serve an answer again without asking Redis",
                duration(self.l1_ms)
            );
            line("l1", &l1)?;
        }
        match self.scopes.as_slice() {
            [] => line("scopes", "none")?,
            scopes => line("scopes", &scopes.join(", "))?,
        }

        f.write_str("\nwhat changes its answers\n")?;
        for table in &self.tables {
            writeln!(f, "  {table}")?;
        }
        if self.tables.is_empty() {
            f.write_str("  no table\n")?;
        }
        if !self.acknowledged.is_empty() {
            f.write_str("\nwhat changes them unseen, as acknowledged\n")?;
        }
        for Acknowledged { source, reason } in &self.acknowledged {
            writeln!(f, "  {source}: {reason}")?;
        }
        Ok(())
    }
}

impl fmt::Display for TableUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<17}", self.table)?;
        match &self.rows_of {
            None => f.write_str("any row")?,
            Some(rows) => write!(f, "{rows}")?,
        }
        f.write_str("; insert, delete, ")?;
        match &self.update_of {
            None => f.write_str("any update"),
            Some(columns) if columns.is_empty() => f.write_str("no update"),
            Some(columns) => {
                let columns: Vec<_> = columns.iter().map(String::as_str).collect();
                write!(f, "update of {}", columns.join(", "))
            }
        }
    }
}

impl fmt::Display for MemberRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            member,
            column,
            along,
            parts,
        } = self;
        match along.as_slice() {
            [] => write!(f, "rows of {member} by {column}"),
            along => write!(
                f,
                "rows of {member} by {}.{column} along foreign keys",
                along.join(".")
            ),
        }?;
        for (facet, by) in parts {
            write!(f, ", {facet} by {by}")?;
        }
        Ok(())
    }
}

fn duration(ms: i64) -> impl fmt::Display {
    humantime::format_duration(Duration::from_millis(ms.unsigned_abs()))
}
