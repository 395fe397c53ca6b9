//! The catalog: the user's declaration of queries, commands and what invalidates them.
//!
//! One `tidemark.toml`, read by edge and origin alike; the SQL files beside it are the origin's
//! business. [`Catalog::parse`] accepts only what makes sense as a whole, so that nothing behind
//! it has to check again.

mod error;
mod parse;

use std::{collections::BTreeMap, time::Duration};

pub use error::CatalogError;
use http::{Method, StatusCode};

use crate::{
    param::{ParamSpecs, Params},
    policy::Policy,
    scope::Scope,
};

/// The file name that a catalog has in its folder.
pub const FILE_NAME: &str = "tidemark.toml";

/// A whole, valid catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// The named reads.
    pub queries: BTreeMap<String, Query>,
    /// The named writes.
    pub commands: BTreeMap<String, Command>,
    /// For each table that declares any, the families its rows belong to.
    pub tables: BTreeMap<String, Vec<FamilySource>>,
}

/// A named read: path, typed parameters, SQL, freshness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Its name; the view in keys.
    pub name: String,
    /// Its path template, e.g. `/org/{org}/dashboard`.
    pub path: String,
    /// Its parameters; those that the path names come from there, the others from the query string.
    pub params: ParamSpecs,
    /// Its SQL file, relative to the catalog.
    pub sql: String,
    /// Every table that the SQL reads; empty only where `acknowledge` names what it uses instead.
    pub reads: Vec<String>,
    /// What the SQL uses that no trigger can see (a function, a materialized view), and for each
    /// the reason why that is acceptable; `tidemark-origin check` knows what there is.
    pub acknowledge: BTreeMap<String, String>,
    /// The member that narrows some of the tables, if any.
    pub member: Option<MemberScope>,
    /// The tables among `reads` that nothing narrows.
    pub whole_tables: Vec<String>,
    /// The SQL file, relative to the catalog, that enumerates the arguments worth warming: a column for
    /// each parameter, by its name.
    pub warm: Option<String>,
    /// How long an answer may be kept, and how stale it may be.
    pub policy: Policy,
    /// What the rows become.
    pub shape: Shape,
    /// How much of the origin it may take.
    pub capacity: Capacity,
}

/// How much of what the origin can run at a time a query takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// How many of the origin's slots it takes while it runs; at least 1.
    pub weight: u32,
    /// The most of this query that run at a time; at least 1, `None` for as many as there are slots.
    pub limit: Option<u32>,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            weight: 1,
            limit: None,
        }
    }
}

/// A named write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its name.
    pub name: String,
    /// Its HTTP method.
    pub method: Method,
    /// Its path template.
    pub path: String,
    /// Its parameters; those that the path names come from there, the others from the JSON body.
    pub params: ParamSpecs,
    /// Its SQL file, relative to the catalog.
    pub sql: String,
    /// The status of its success.
    pub status: StatusCode,
    /// What the last statement's rows become.
    pub shape: Shape,
}

/// What becomes of the rows of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An array of objects, one for each row.
    Rows,
    /// The one row as an object; 404 where there is none.
    Row,
    /// The single value of the single row, which is JSON already; 404 where there is no row.
    Json,
}

/// The family member that a query's answers belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberScope {
    /// The family's name.
    pub family: String,
    /// The parameter that identifies the member.
    pub param: String,
}

/// How a table's row tells which member of a family it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilySource {
    /// The family's name.
    pub family: String,
    /// The tables to follow along foreign keys, from the row's own: each refers to the next, or the
    /// next refers to it. Empty for a column of the row's own.
    pub via: Vec<String>,
    /// The column, in the last of those tables, that identifies the member.
    pub column: String,
}

/// One thing that a change of a table has to record, since some query depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture<'a> {
    /// What a changed row touches.
    pub touches: Touches,
    /// The queries whose answers show what the row holds. None where the table is only on the way
    /// to a family: then only where it leads to matters.
    pub queries: Vec<&'a str>,
}

/// What a changed row of a table touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touches {
    /// The table as a whole.
    Table,
    /// The members of a family that the row belongs to.
    Family(FamilySource),
}

impl Catalog {
    /// Reads a catalog; `file` is its name for messages.
    ///
    /// # Errors
    /// The first mistake, with its line and what to write instead.
    pub fn parse(file: &str, text: &str) -> Result<Self, CatalogError> {
        parse::catalog(file, text)
    }

    /// What each table has to record when it changes: those that queries read, and those that a
    /// path to a family leads through, since a change there moves rows between members. Queries
    /// that are never cached depend on nothing.
    pub fn captures(&self) -> BTreeMap<&str, Vec<Capture<'_>>> {
        let mut captures: BTreeMap<&str, Vec<Capture<'_>>> = BTreeMap::new();
        let cacheable = |query: &&Query| query.policy.is_cacheable();
        for query in self.queries.values().filter(cacheable) {
            for table in &query.reads {
                let own = captures.entry(table).or_default();
                let Some(source) = query.narrowing(self, table) else {
                    capture(own, Touches::Table).queries.push(&query.name);
                    continue;
                };
                let own = capture(own, Touches::Family(source.clone()));
                own.queries.push(&query.name);
                for (step, table) in source.via.iter().enumerate() {
                    let rest = FamilySource {
                        via: source.via[step + 1..].to_vec(),
                        ..source.clone()
                    };
                    capture(captures.entry(table).or_default(), Touches::Family(rest));
                }
            }
        }
        captures
    }

    /// How long a stamp lives: twice as long as any entry, so that no entry outlives its stamps.
    pub fn stamp_ttl(&self) -> Duration {
        let lives = self.queries.values().map(|query| query.policy.entry_life());
        2 * lives.max().unwrap_or(Policy::DEFAULT_TTL)
    }
}

/// The capture of this, which is added if it is not there.
fn capture<'c, 'a>(captures: &'c mut Vec<Capture<'a>>, touches: Touches) -> &'c mut Capture<'a> {
    let place = captures.iter().position(|known| known.touches == touches);
    let place = place.unwrap_or_else(|| {
        captures.push(Capture {
            touches,
            queries: Vec::new(),
        });
        captures.len() - 1
    });
    &mut captures[place]
}

impl Query {
    /// Every scope that an answer to these arguments depends on, always in the same order: the
    /// member, its family, then the tables that neither narrows.
    pub fn scopes(&self, params: &Params) -> Vec<Scope> {
        let mut scopes = Vec::with_capacity(self.whole_tables.len() + 2);
        if let Some(member) = self.identity(params) {
            scopes.push(member);
        }
        if let Some(MemberScope { family, .. }) = &self.member {
            scopes.push(Scope::Family(family.clone()));
        }
        scopes.extend(self.whole_tables.iter().cloned().map(Scope::Table));
        scopes
    }

    /// Whether a change of this scope touches an answer of the query.
    pub fn depends_on(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Table(table) => self.whole_tables.contains(table),
            Scope::Member { family, .. } | Scope::Family(family) => {
                let member = self.member.as_ref();
                member.is_some_and(|member| member.family == *family)
            }
        }
    }

    /// The member that these arguments identify, if the query has a scope.
    pub fn identity(&self, params: &Params) -> Option<Scope> {
        let MemberScope { family, param } = self.member.as_ref()?;
        let id = params.get(param)?;
        Some(Scope::member(family, id.as_str()))
    }

    /// How the query's family narrows a table, if it does.
    fn narrowing<'a>(&self, catalog: &'a Catalog, table: &str) -> Option<&'a FamilySource> {
        let family = &self.member.as_ref()?.family;
        let sources = catalog.tables.get(table)?;
        sources.iter().find(|source| source.family == *family)
    }
}

#[cfg(test)]
mod tests;
