//! The catalog: the user's declaration of queries, commands and what invalidates them.
//!
//! One `tidemark.toml`, read by edge and origin alike; the SQL files beside it are the origin's
//! business. [`Catalog::parse`] accepts only what makes sense as a whole, so that nothing behind
//! it has to check again.

mod error;
mod parse;

use std::{collections::BTreeMap, fmt, time::Duration};

pub use error::CatalogError;
use http::{Method, StatusCode};

use crate::{
    param::{ParamSpecs, Params, Value},
    part::{self, FacetKind, FacetValue, Period},
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
    /// For each table that declares any, whose rows it holds and what tells them apart.
    pub tables: BTreeMap<String, Table>,
}

/// Whose rows a table holds, and what tells them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The families that its rows belong to.
    pub families: Vec<FamilySource>,
    /// By name, the facets that its rows have.
    pub facets: BTreeMap<String, ColumnPath>,
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
    /// Of which rows of the member answers are, by the facets that are narrowed: the `where` of the catalog,
    /// empty for a query without one. None where no table in `reads` tells parts of a member.
    pub parts: Option<BTreeMap<String, Narrowed>>,
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

/// By which values of a facet a query's answers are narrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Narrowed {
    /// The days from one parameter to another, both included; any day where one of them is absent.
    Days {
        /// The parameter with the first day.
        from: String,
        /// The parameter with the last day.
        to: String,
    },
    /// The value of a parameter; any where it is absent.
    Word {
        /// The parameter.
        param: String,
        /// The parameter's value that stands for any.
        unless: Option<Value>,
    },
}

/// The way from a row to a column: one of its own, or one along foreign keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ColumnPath {
    /// The tables to follow along foreign keys, from the row's own: each refers to the next, or the
    /// next refers to it. Empty for a column of the row's own.
    pub via: Vec<String>,
    /// The column, in the last of those tables.
    pub column: String,
}

/// How a table's row tells which member of a family it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilySource {
    /// The family's name.
    pub family: String,
    /// The way to the column that identifies the member.
    pub path: ColumnPath,
}

/// How a table's row tells which value it has for a facet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FacetSource {
    /// The facet's name.
    pub facet: String,
    /// What its values are.
    pub kind: FacetKind,
    /// The way to the column that has the value.
    pub path: ColumnPath,
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
    /// Of the members of a family that the row belongs to, the parts with these facets, in the order of
    /// their names.
    Parts(FamilySource, Vec<FacetSource>),
}

impl ColumnPath {
    /// The rest of it from the end of a way with which it begins; none where it does not.
    fn after(&self, way: &[String]) -> Option<Self> {
        Some(Self {
            via: self.via.strip_prefix(way)?.to_vec(),
            column: self.column.clone(),
        })
    }
}

/// As the catalog writes it: `customers.region`.
impl fmt::Display for ColumnPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in &self.via {
            write!(f, "{table}.")?;
        }
        f.write_str(&self.column)
    }
}

impl FacetSource {
    fn after(&self, way: &[String]) -> Option<Self> {
        Some(Self {
            path: self.path.after(way)?,
            ..self.clone()
        })
    }
}

impl Narrowed {
    /// The parameters that it depends on.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        let (one, other) = match self {
            Self::Days { from, to } => (from, Some(to)),
            Self::Word { param, .. } => (param, None),
        };
        std::iter::once(one).chain(other).map(String::as_str)
    }

    /// What the values are.
    pub(crate) const fn kind(&self) -> FacetKind {
        match self {
            Self::Days { .. } => FacetKind::Day,
            Self::Word { .. } => FacetKind::Word,
        }
    }

    /// How parts are named that together hold what these arguments ask for; none that is any part.
    fn texts(&self, params: &Params) -> Vec<Option<String>> {
        let periods = |from, to| {
            let day = |param| match FacetValue::day(params.get(param)?.as_str())? {
                FacetValue::Day(day) => Some(day),
                FacetValue::Word(_) => None,
            };
            Period::covering(day(from)?, day(to)?)
        };
        match self {
            Self::Days { from, to } => match periods(from, to) {
                None => vec![None],
                Some(periods) => periods.iter().map(|it| Some(it.to_string())).collect(),
            },
            Self::Word { param, unless } => {
                let word = params
                    .get(param)
                    .filter(|word| Some(*word) != unless.as_ref());
                vec![word.map(|word| Scope::escaped(word.as_str()))]
            }
        }
    }
}

impl Touches {
    /// Rows that belong to members, and where all of these facets are known to parts of them.
    fn rows_of(source: FamilySource, facets: Option<Vec<FacetSource>>) -> Self {
        match facets {
            Some(facets) if !facets.is_empty() => Self::Parts(source, facets),
            _ => Self::Family(source),
        }
    }

    /// How the row tells its member, if it touches a family.
    pub const fn source(&self) -> Option<&FamilySource> {
        match self {
            Self::Table => None,
            Self::Family(source) | Self::Parts(source, _) => Some(source),
        }
    }
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
        for query in self.cacheable() {
            for table in &query.reads {
                let own = captures.entry(table).or_default();
                let Some(source) = query.narrowing(self, table) else {
                    capture(own, Touches::Table).queries.push(&query.name);
                    continue;
                };
                let facets = self.facets(table, &source.family);
                let own = capture(own, Touches::rows_of(source.clone(), facets.clone()));
                own.queries.push(&query.name);
                for (step, table) in source.path.via.iter().enumerate() {
                    let way = &source.path.via[..=step];
                    let Some(path) = source.path.after(way) else {
                        continue;
                    };
                    let facets = match &facets {
                        // A row on the way moves others between parts if all that tells theirs hangs on it;
                        // else only the member is known.
                        Some(facets) => facets.iter().map(|facet| facet.after(way)).collect(),
                        // Rows that tell no parts are in an answer by way of rows that do.
                        None => {
                            let own = query.narrowing(self, table);
                            let is_own = own.is_some_and(|own| own.path == path);
                            let facets = is_own.then(|| self.facets(table, &source.family));
                            facets.flatten()
                        }
                    };
                    let source = FamilySource {
                        path,
                        ..source.clone()
                    };
                    let touches = Touches::rows_of(source, facets);
                    capture(captures.entry(table).or_default(), touches);
                }
                // A row that only some facet hangs on moves others to a part that it can't name.
                let hang_on = facets.iter().flatten().flat_map(|facet| &facet.path.via);
                for table in hang_on.filter(|table| !source.path.via.contains(table)) {
                    let known = self.tables.get_key_value(table);
                    if let (Some((table, _)), Some(source)) = (known, query.narrowing(self, table))
                    {
                        let touches = Touches::Family(source.clone());
                        capture(captures.entry(table).or_default(), touches);
                    }
                }
            }
        }
        captures
    }

    /// By which facets changes of a table tell parts of a family's members, in the order of their names: all
    /// those by which some query of the family that reads it is narrowed. None where there is no such query, or
    /// the table's rows lack one of them.
    pub fn facets(&self, table: &str, family: &str) -> Option<Vec<FacetSource>> {
        let told = &self.tables.get(table)?.facets;
        let readers = self.queries_of(family);
        let readers = readers.filter(|(query, _)| query.reads.iter().any(|read| read == table));
        let narrowed: BTreeMap<_, _> = readers
            .flat_map(|(query, _)| query.parts.iter().flatten())
            .collect();
        let facets: Option<Vec<_>> = narrowed
            .into_iter()
            .map(|(facet, narrowed)| {
                Some(FacetSource {
                    facet: facet.clone(),
                    kind: narrowed.kind(),
                    path: told.get(facet)?.clone(),
                })
            })
            .collect();
        facets.filter(|facets| !facets.is_empty())
    }

    /// The queries that are ever cached and whose scope is of a family, each with its member.
    pub fn queries_of<'a>(
        &'a self,
        family: &str,
    ) -> impl Iterator<Item = (&'a Query, &'a MemberScope)> {
        let with_member = |query: &'a Query| Some((query, query.member.as_ref()?));
        let queries = self.cacheable().filter_map(with_member);
        queries.filter(move |(_, member)| member.family == family)
    }

    /// The queries whose answers are ever cached.
    fn cacheable(&self) -> impl Iterator<Item = &Query> {
        let queries = self.queries.values();
        queries.filter(|query| query.policy.is_cacheable())
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
    /// member, its family, the parts that cover the answer, then the tables that nothing narrows.
    pub fn scopes(&self, params: &Params) -> Vec<Scope> {
        let mut scopes = Vec::with_capacity(self.whole_tables.len() + 3);
        if let Some(member) = self.identity(params) {
            scopes.push(member);
        }
        if let Some(MemberScope { family, param }) = &self.member {
            scopes.push(Scope::Family(family.clone()));
            if let (Some(parts), Some(id)) = (&self.parts, params.get(param)) {
                let texts = |(facet, narrowed): (&String, &Narrowed)| {
                    (facet.clone(), narrowed.texts(params))
                };
                let facets = parts.iter().map(texts);
                scopes.extend(part::parts_of(family, id.as_str(), facets));
            }
        }
        scopes.extend(self.whole_tables.iter().cloned().map(Scope::Table));
        scopes
    }

    /// Whether a change that touches this scope may touch an answer of the query.
    pub fn depends_on(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Table(table) => self.whole_tables.contains(table),
            Scope::Member { family, .. } | Scope::Family(family) => self.is_of(family),
            // At one granularity or another, whatever this one's is.
            Scope::Part { family, .. } => self.is_of(family) && self.parts.is_some(),
        }
    }

    fn is_of(&self, family: &str) -> bool {
        let member = self.member.as_ref();
        member.is_some_and(|member| member.family == family)
    }

    /// The member that these arguments identify, if the query has a scope.
    pub fn identity(&self, params: &Params) -> Option<Scope> {
        let MemberScope { family, param } = self.member.as_ref()?;
        let id = params.get(param)?;
        Some(Scope::member(family, id.as_str()))
    }

    /// How the query's family narrows a table that it reads, if it does.
    pub fn narrowing<'a>(&self, catalog: &'a Catalog, table: &str) -> Option<&'a FamilySource> {
        self.reads.iter().find(|read| *read == table)?;
        let family = &self.member.as_ref()?.family;
        let families = &catalog.tables.get(table)?.families;
        families.iter().find(|source| source.family == *family)
    }
}

#[cfg(test)]
mod tests;
