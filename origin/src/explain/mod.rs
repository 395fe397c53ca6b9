//! What invalidates a query, for people: from the catalog, and from what the SQL really uses.

pub mod change;

use std::fmt::Write as _;

use tidemark_shared::{
    catalog::{Catalog, FamilySource, MemberScope, Query},
    key::Key,
    policy::OnChange,
    scope::Scope,
};

use crate::{check::QueryUse, usage::Columns};

/// A query's path, key, promise and scopes, and table by table what changes its answers.
#[must_use]
pub fn query(catalog: &Catalog, query: &Query, used: &QueryUse) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    let _ = writeln!(text, "{}: GET {} ({})\n", query.name, query.path, query.sql);
    let line = |name: &str, value: String| format!("{name:<15}{value}\n");
    text += &line("key", Key::pattern(query));
    let policy = &query.policy;
    text += &line(
        "max_staleness",
        match policy.is_cacheable() {
            true => format!(
                "{}: no answer lags further behind the database",
                humantime::format_duration(policy.max_staleness)
            ),
            false => "0s: never cached, so nothing needs to invalidate it".to_owned(),
        },
    );
    if policy.is_cacheable() {
        text += &line(
            "ttl",
            format!(
                "{}: no answer is kept longer",
                humantime::format_duration(policy.ttl)
            ),
        );
    }
    match policy.on_change {
        OnChange::Expire => {}
        OnChange::Refresh => {
            let meaning =
                "refresh: what is read most is loaded anew as soon as a change touches it";
            text += &line("on_change", meaning.to_owned());
        }
        OnChange::Revalidate => {
            let meaning =
                "revalidate: an old answer is served within the promise while it is loaded anew";
            text += &line("on_change", meaning.to_owned());
        }
    }
    if policy.has_l1() {
        text += &line(
            "l1",
            format!(
                "{}: for so long an edge may serve an answer again without asking Redis",
                humantime::format_duration(policy.l1)
            ),
        );
    }
    let scopes = scopes(query);
    let scopes = if scopes.is_empty() {
        "none".to_owned()
    } else {
        scopes.join(", ")
    };
    text += &line("scopes", scopes);

    text += "\nwhat changes its answers\n";
    for (table, columns) in &used.columns {
        let _ = writeln!(
            text,
            "  {table:<17}{}; {}",
            rows(catalog, query, table),
            operations(columns)
        );
    }
    if used.columns.is_empty() {
        text += "  no table\n";
    }
    let accepted: Vec<_> = used.acknowledged(query).collect();
    if !accepted.is_empty() {
        text += "\nwhat changes them unseen, as acknowledged\n";
        for (source, reason) in accepted {
            let _ = writeln!(text, "  {}: {reason}", source.name);
        }
    }
    text
}

/// The scopes of a query, with the parameter in place of its value.
fn scopes(query: &Query) -> Vec<String> {
    let mut scopes = Vec::new();
    if let Some(MemberScope { family, param }) = &query.member {
        scopes.push(format!("{family}:{{{param}}}"));
        scopes.push(Scope::Family(family.clone()).to_string());
    }
    scopes.extend(query.whole_tables.iter().cloned());
    scopes
}

/// Which rows of a table matter, and how they are told from others.
fn rows(catalog: &Catalog, query: &Query, table: &str) -> String {
    let source = query.member.as_ref().and_then(|member| {
        let sources = catalog.tables.get(table)?;
        let source = sources
            .iter()
            .find(|source| source.family == member.family)?;
        Some((member, source))
    });
    match source {
        None => "any row".to_owned(),
        Some((MemberScope { family, param }, FamilySource { via, column, .. })) => {
            let way = match via.as_slice() {
                [] => column.clone(),
                via => format!("{}.{column} along foreign keys", via.join(".")),
            };
            format!("rows of {family}:{{{param}}} by {way}")
        }
    }
}

fn operations(columns: &Columns) -> String {
    match columns {
        Columns::All => "insert, delete, any update".to_owned(),
        Columns::Named(columns) if columns.is_empty() => "insert, delete, no update".to_owned(),
        Columns::Named(columns) => {
            let columns: Vec<_> = columns.iter().map(String::as_str).collect();
            format!("insert, delete, update of {}", columns.join(", "))
        }
    }
}
