//! From TOML to a valid catalog: first the document's form, then what it means.

mod facets;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use http::{Method, StatusCode};
use serde::Deserialize;
use toml::{Spanned, Value as Toml};

use super::{
    Capacity, Catalog, CatalogError, ColumnPath, Command, FamilySource, MemberScope, Query, Shape,
    Table,
};
use crate::{
    param::{DeclarationError, Fallback, ParamSpec, ParamSpecs, ParamType},
    path,
    policy::{OnChange, Policy},
};

type Span = Range<usize>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    query: BTreeMap<Spanned<String>, QueryTable>,
    #[serde(default)]
    command: BTreeMap<Spanned<String>, CommandTable>,
    #[serde(default)]
    table: BTreeMap<Spanned<String>, TableTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryTable {
    path: Spanned<String>,
    #[serde(default)]
    params: BTreeMap<Spanned<String>, Spanned<Toml>>,
    sql: Spanned<String>,
    reads: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    acknowledge: BTreeMap<Spanned<String>, Spanned<String>>,
    scope: Option<Spanned<String>>,
    #[serde(default, rename = "where")]
    narrowed: BTreeMap<Spanned<String>, Spanned<String>>,
    ttl: Option<Spanned<String>>,
    max_staleness: Option<Spanned<String>>,
    l1: Option<Spanned<String>>,
    on_change: Option<Spanned<String>>,
    warm: Option<Spanned<String>>,
    stale_if_error: Option<Spanned<String>>,
    shape: Option<Spanned<String>>,
    weight: Option<Spanned<u32>>,
    limit: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandTable {
    method: Spanned<String>,
    path: Spanned<String>,
    #[serde(default)]
    params: BTreeMap<Spanned<String>, Spanned<Toml>>,
    sql: Spanned<String>,
    status: Option<Spanned<u16>>,
    shape: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableTable {
    scope: Spanned<Toml>,
    #[serde(default)]
    facets: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// The text being read, to turn a place in it into a line.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn error(
        &self,
        at: &Span,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) -> CatalogError {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        CatalogError {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            problem: problem.into(),
            help: help.into(),
        }
    }
}

pub(super) fn catalog(file: &str, text: &str) -> Result<Catalog, CatalogError> {
    let source = Source { file, text };
    let document: Document = toml::from_str(text).map_err(|error| {
        source.error(
            &error.span().unwrap_or(0..0),
            error.message(),
            "[query.NAME] with path, params, sql and reads; [command.NAME] with method, path, params and sql; [table.NAME] with scope",
        )
    })?;

    let mut tables = BTreeMap::new();
    for (name, table) in &document.table {
        source.table_name(name)?;
        let table = Table {
            families: source.families(&table.scope)?,
            facets: source.facets(&table.facets)?,
        };
        tables.insert(name.get_ref().clone(), table);
    }

    let mut queries = BTreeMap::new();
    let mut commands = BTreeMap::new();
    let mut paths = Vec::new();
    for (name, table) in &document.query {
        let query = source.query(name, table, &tables)?;
        paths.push((Method::GET, &table.path));
        queries.insert(query.name.clone(), query);
    }
    for (name, table) in &document.command {
        let command = source.command(name, table)?;
        paths.push((command.method.clone(), &table.path));
        commands.insert(command.name.clone(), command);
    }
    source.distinct_routes(&paths)?;
    source.tables_are_read(&document, &queries)?;
    let mut catalog = Catalog {
        queries,
        commands,
        tables,
    };
    source.join_facets(&document, &mut catalog)?;
    Ok(catalog)
}

impl Source<'_> {
    fn query(
        &self,
        name: &Spanned<String>,
        table: &QueryTable,
        tables: &BTreeMap<String, Table>,
    ) -> Result<Query, CatalogError> {
        self.name(name, "query")?;
        let params = self.params(&table.params, &table.path)?;
        if let Some((param, _)) = table
            .params
            .iter()
            .find(|(_, declared)| !declared.get_ref().is_str())
        {
            return Err(self.error(
                &param.span(),
                format!("query parameter {:?} is a list of records", param.get_ref()),
                "a type such as \"int\": only a command, which has a body, takes records",
            ));
        }
        let acknowledge = self.acknowledged(&table.acknowledge)?;
        let reads = self.reads(&table.reads)?;
        if reads.is_empty() && acknowledge.is_empty() {
            return Err(self.error(
                &table.reads.span(),
                "reads names no table, so nothing would ever invalidate the query",
                "reads = [\"orders\"], with every table that the SQL reads",
            ));
        }
        let policy = self.policy(table)?;
        let warm = match &table.warm {
            Some(warm) if !policy.is_cacheable() => {
                return Err(self.error(
                    &warm.span(),
                    "a query that is never cached can't be warmed",
                    "max_staleness = \"1s\", say, or leave it out",
                ));
            }
            Some(warm) => Some(self.sql_file(warm)?),
            None => None,
        };
        let member = match &table.scope {
            Some(scope) => Some(self.member(scope, &params, &reads, tables)?),
            None => None,
        };
        let narrowed = |read: &String| {
            let member = member.as_ref();
            member.is_some_and(|member| carries(tables, read, &member.family))
        };
        let whole_tables = reads
            .iter()
            .filter(|read| !narrowed(read))
            .cloned()
            .collect();
        Ok(Query {
            name: name.get_ref().clone(),
            path: table.path.get_ref().clone(),
            parts: Some(self.narrowed(&table.narrowed, &params)?),
            params,
            sql: self.sql_file(&table.sql)?,
            whole_tables,
            reads,
            acknowledge,
            member,
            warm,
            policy,
            shape: self.shape(table.shape.as_ref(), Shape::Rows)?,
            capacity: self.capacity(table)?,
        })
    }

    fn command(
        &self,
        name: &Spanned<String>,
        table: &CommandTable,
    ) -> Result<Command, CatalogError> {
        self.name(name, "command")?;
        let method = match table.method.get_ref().as_str() {
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            "PATCH" => Method::PATCH,
            "DELETE" => Method::DELETE,
            other => {
                return Err(self.error(
                    &table.method.span(),
                    format!("{other:?} is no method of a command"),
                    "\"POST\", \"PUT\", \"PATCH\" or \"DELETE\"",
                ));
            }
        };
        let status = match &table.status {
            None => StatusCode::OK,
            Some(status) => StatusCode::from_u16(*status.get_ref())
                .ok()
                .filter(|code| code.is_success() && *code != StatusCode::NO_CONTENT)
                .ok_or_else(|| {
                    self.error(
                        &status.span(),
                        format!("{} is no status of success with a body", status.get_ref()),
                        "200, 201 or 202",
                    )
                })?,
        };
        Ok(Command {
            name: name.get_ref().clone(),
            method,
            path: table.path.get_ref().clone(),
            params: self.params(&table.params, &table.path)?,
            sql: self.sql_file(&table.sql)?,
            status,
            shape: self.shape(table.shape.as_ref(), Shape::Row)?,
        })
    }

    /// A name of a query or command stands in keys, metrics and logs.
    fn name(&self, name: &Spanned<String>, what: &str) -> Result<(), CatalogError> {
        if is_word(name.get_ref()) {
            return Ok(());
        }
        Err(self.error(
            &name.span(),
            format!("{:?} can't name a {what}", name.get_ref()),
            "a lower-case letter, then lower-case letters, digits and _",
        ))
    }

    fn table_name(&self, name: &Spanned<String>) -> Result<(), CatalogError> {
        let is_identifier = |part: &str| {
            let first = part.chars().next();
            first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
        };
        let parts: Vec<_> = name.get_ref().split('.').collect();
        if parts.len() <= 2 && parts.into_iter().all(is_identifier) {
            return Ok(());
        }
        Err(self.error(
            &name.span(),
            format!("{:?} can't name a table", name.get_ref()),
            "\"orders\", or \"sales.orders\" with its schema",
        ))
    }

    fn params(
        &self,
        declared: &BTreeMap<Spanned<String>, Spanned<Toml>>,
        path: &Spanned<String>,
    ) -> Result<ParamSpecs, CatalogError> {
        let mut params = ParamSpecs::new();
        for (name, declaration) in declared {
            self.name(name, "parameter")?;
            let spec = self.param(name.get_ref(), declaration)?;
            params.insert(name.get_ref().clone(), spec);
        }
        let in_path = path::template_params(path.get_ref()).map_err(|problem| {
            self.error(&path.span(), problem, "\"/org/{org}/dashboard\", say")
        })?;
        for name in in_path {
            let Some(spec) = params.get(&name) else {
                return Err(self.error(
                    &path.span(),
                    format!("the path names {{{name}}}, which is not in params"),
                    format!("{name} = \"int\" in params, say"),
                ));
            };
            if spec.fallback != Fallback::Required || matches!(spec.kind, ParamType::Records(_)) {
                return Err(self.error(
                    &path.span(),
                    format!("the path parameter {name:?} is always there, and one value"),
                    format!("{name} = \"int\" in params, say, without ? or default"),
                ));
            }
        }
        Ok(params)
    }

    fn param(&self, name: &str, declared: &Spanned<Toml>) -> Result<ParamSpec, CatalogError> {
        let fail = |DeclarationError { problem, help }| {
            self.error(
                &declared.span(),
                format!("parameter {name:?}: {problem}"),
                help,
            )
        };
        match declared.get_ref() {
            Toml::String(text) => ParamSpec::parse(text).map_err(fail),
            Toml::Array(records) => {
                let [Toml::Table(fields)] = records.as_slice() else {
                    return Err(fail(records_help("a list of records declares one record")));
                };
                let mut specs = ParamSpecs::new();
                for (field, kind) in fields {
                    let Some(text) = kind.as_str().filter(|_| is_word(field)) else {
                        return Err(fail(records_help("a record's fields have simple types")));
                    };
                    specs.insert(field.clone(), ParamSpec::parse(text).map_err(fail)?);
                }
                Ok(ParamSpec {
                    kind: ParamType::Records(specs),
                    fallback: Fallback::Required,
                })
            }
            _ => Err(fail(records_help("a parameter's type is a text"))),
        }
    }

    fn reads(&self, reads: &Spanned<Vec<Spanned<String>>>) -> Result<Vec<String>, CatalogError> {
        let mut tables = Vec::new();
        for table in reads.get_ref() {
            self.table_name(table)?;
            if tables.contains(table.get_ref()) {
                return Err(self.error(
                    &table.span(),
                    format!("reads names {:?} twice", table.get_ref()),
                    "each table once",
                ));
            }
            tables.push(table.get_ref().clone());
        }
        Ok(tables)
    }

    fn acknowledged(
        &self,
        declared: &BTreeMap<Spanned<String>, Spanned<String>>,
    ) -> Result<BTreeMap<String, String>, CatalogError> {
        let mut acknowledged = BTreeMap::new();
        for (source, reason) in declared {
            if reason.get_ref().trim().is_empty() {
                return Err(self.error(
                    &reason.span(),
                    format!("{:?} is acknowledged without a reason", source.get_ref()),
                    format!(
                        "why the answers may rely on it: {:?} = \"the ttl of 1m bounds it\", say",
                        source.get_ref()
                    ),
                ));
            }
            acknowledged.insert(source.get_ref().clone(), reason.get_ref().clone());
        }
        Ok(acknowledged)
    }

    fn member(
        &self,
        scope: &Spanned<String>,
        params: &ParamSpecs,
        reads: &[String],
        tables: &BTreeMap<String, Table>,
    ) -> Result<MemberScope, CatalogError> {
        let fail = |problem: String, help: &str| self.error(&scope.span(), problem, help);
        let Some((family, param)) = family_and_placeholder(scope.get_ref()) else {
            return Err(fail(
                format!("{:?} is no scope of a query", scope.get_ref()),
                "\"org:{org}\": a family and the parameter that identifies its member",
            ));
        };
        match params.get(param) {
            None => {
                return Err(fail(
                    format!("the scope names {{{param}}}, which is not in params"),
                    "one of the query's parameters",
                ));
            }
            Some(spec) if spec.fallback == Fallback::Absent => {
                return Err(fail(
                    format!("the scope's parameter {param:?} may be absent"),
                    "a parameter without ?",
                ));
            }
            Some(spec) if !spec.kind.is_identity() => {
                return Err(fail(
                    format!("a {} can't identify a member", spec.kind),
                    "a parameter of type int, uuid, text or enum",
                ));
            }
            Some(_) => {}
        }
        if !reads.iter().any(|table| carries(tables, table, family)) {
            let first = reads.first().map_or("orders", String::as_str);
            return Err(fail(
                format!("no table in reads belongs to the family {family:?}"),
                &format!("[table.{first}] with scope = \"{family}:{{COLUMN}}\", or no scope"),
            ));
        }
        Ok(MemberScope {
            family: family.to_owned(),
            param: param.to_owned(),
        })
    }

    fn families(&self, scope: &Spanned<Toml>) -> Result<Vec<FamilySource>, CatalogError> {
        const HELP: &str = "\"org:{org_id}\" for a column of the table's own, or \"org:{orders.org_id}\" along a foreign key to orders; several in a list";
        let fail = |problem: String| self.error(&scope.span(), problem, HELP);
        let texts: Vec<&str> = match scope.get_ref() {
            Toml::String(text) => vec![text],
            Toml::Array(items) => items
                .iter()
                .map(Toml::as_str)
                .collect::<Option<_>>()
                .ok_or_else(|| fail("a table's scopes are texts".to_owned()))?,
            _ => {
                return Err(fail(
                    "a table's scope is a text or a list of texts".to_owned(),
                ));
            }
        };
        let mut sources: Vec<FamilySource> = Vec::new();
        for text in texts {
            let (family, path) = family_and_placeholder(text)
                .ok_or_else(|| fail(format!("{text:?} is no scope of a table")))?;
            let path = column_path(path)
                .ok_or_else(|| fail(format!("{text:?} is no scope of a table")))?;
            if sources.iter().any(|source| source.family == family) {
                return Err(fail(format!("the family {family:?} is named twice")));
            }
            sources.push(FamilySource {
                family: family.to_owned(),
                path,
            });
        }
        if sources.is_empty() {
            return Err(fail("the list of scopes is empty".to_owned()));
        }
        Ok(sources)
    }

    fn policy(&self, table: &QueryTable) -> Result<Policy, CatalogError> {
        let ttl = self.duration(table.ttl.as_ref(), Policy::DEFAULT_TTL)?;
        let max_staleness =
            self.duration(table.max_staleness.as_ref(), Policy::DEFAULT_MAX_STALENESS)?;
        if let Some(declared) = table.ttl.as_ref().filter(|_| ttl.is_zero()) {
            return Err(self.error(
                &declared.span(),
                "a ttl of zero keeps nothing",
                "max_staleness = \"0s\" for a query that is never cached",
            ));
        }
        if max_staleness > ttl
            && let Some(declared) = table.max_staleness.as_ref().or(table.ttl.as_ref())
        {
            return Err(self.error(
                &declared.span(),
                "max_staleness is longer than ttl",
                "at most the ttl: max_staleness = ttl is plain caching by time",
            ));
        }
        let l1 = self.duration(table.l1.as_ref(), Duration::ZERO)?;
        if let Some(declared) = table.l1.as_ref().filter(|_| l1 > max_staleness) {
            return Err(self.error(
                &declared.span(),
                "l1 is longer than max_staleness",
                "at most max_staleness: an instance can't keep an answer for longer than the promise",
            ));
        }
        let stale_if_error = self.duration(table.stale_if_error.as_ref(), Duration::ZERO)?;
        let on_change = self.on_change(table.on_change.as_ref())?;
        let of_cached = [
            (&table.stale_if_error, !stale_if_error.is_zero()),
            (&table.on_change, on_change != OnChange::Expire),
        ];
        for (declared, is_used) in of_cached {
            if let Some(declared) = declared
                .as_ref()
                .filter(|_| is_used && max_staleness.is_zero())
            {
                return Err(self.error(
                    &declared.span(),
                    "a query that is never cached has no stale answers",
                    "max_staleness = \"1s\", say, or leave it out",
                ));
            }
        }
        Ok(Policy {
            ttl,
            max_staleness,
            l1,
            on_change,
            stale_if_error,
        })
    }

    fn on_change(&self, declared: Option<&Spanned<String>>) -> Result<OnChange, CatalogError> {
        let Some(declared) = declared else {
            return Ok(OnChange::Expire);
        };
        match declared.get_ref().as_str() {
            "expire" => Ok(OnChange::Expire),
            "refresh" => Ok(OnChange::Refresh),
            "revalidate" => Ok(OnChange::Revalidate),
            other => Err(self.error(
                &declared.span(),
                format!("unknown on_change {other:?}"),
                "\"expire\" (the next read waits), \"refresh\" (what is read most is loaded at once) or \"revalidate\" (old answers within the promise, meanwhile)",
            )),
        }
    }

    fn capacity(&self, table: &QueryTable) -> Result<Capacity, CatalogError> {
        for (field, declared, help) in [
            (
                "weight",
                &table.weight,
                "1, or how many light queries it costs as much as",
            ),
            ("limit", &table.limit, "1 or more, or no limit"),
        ] {
            if let Some(zero) = declared.as_ref().filter(|number| *number.get_ref() == 0) {
                return Err(self.error(
                    &zero.span(),
                    format!("{field} = 0 would never let the query run"),
                    help,
                ));
            }
        }
        let number = |declared: &Option<Spanned<u32>>| declared.as_ref().map(|it| *it.get_ref());
        Ok(Capacity {
            weight: number(&table.weight).unwrap_or(Capacity::default().weight),
            limit: number(&table.limit),
        })
    }

    fn duration(
        &self,
        declared: Option<&Spanned<String>>,
        default: Duration,
    ) -> Result<Duration, CatalogError> {
        let Some(declared) = declared else {
            return Ok(default);
        };
        humantime::parse_duration(declared.get_ref())
            .ok()
            .filter(|duration| {
                *duration <= Policy::LONGEST && duration.subsec_nanos() % 1_000_000 == 0
            })
            .ok_or_else(|| {
                self.error(
                    &declared.span(),
                    format!(
                        "{:?} is no duration from 0s to 365 days in whole milliseconds",
                        declared.get_ref()
                    ),
                    "\"250ms\", \"1s\", \"5m\" or \"1h 30m\", say",
                )
            })
    }

    fn shape(
        &self,
        declared: Option<&Spanned<String>>,
        default: Shape,
    ) -> Result<Shape, CatalogError> {
        let Some(declared) = declared else {
            return Ok(default);
        };
        match declared.get_ref().as_str() {
            "rows" => Ok(Shape::Rows),
            "row" => Ok(Shape::Row),
            "json" => Ok(Shape::Json),
            other => Err(self.error(
                &declared.span(),
                format!("unknown shape {other:?}"),
                "\"rows\" (an array), \"row\" (one object, or 404) or \"json\" (the SQL makes the JSON)",
            )),
        }
    }

    fn sql_file(&self, sql: &Spanned<String>) -> Result<String, CatalogError> {
        let file = sql.get_ref();
        let stays_inside = !file.starts_with('/') && !file.split('/').any(|part| part == "..");
        if file.ends_with(".sql") && stays_inside {
            return Ok(file.clone());
        }
        Err(self.error(
            &sql.span(),
            format!("{file:?} is no SQL file of this catalog"),
            "a path relative to the catalog that ends in .sql, such as \"sql/dashboard.sql\"",
        ))
    }

    fn distinct_routes(&self, paths: &[(Method, &Spanned<String>)]) -> Result<(), CatalogError> {
        let mut router = path::Table::default();
        for (method, path) in paths {
            router
                .insert(method.clone(), path.get_ref(), ())
                .map_err(|problem| {
                    self.error(
                        &path.span(),
                        problem,
                        "a path of its own for each query, and for each command of one method",
                    )
                })?;
        }
        Ok(())
    }

    /// A `[table.x]` that no query reads is most likely misspelt, and would narrow nothing.
    fn tables_are_read(
        &self,
        document: &Document,
        queries: &BTreeMap<String, Query>,
    ) -> Result<(), CatalogError> {
        let read: BTreeSet<&String> = queries.values().flat_map(|query| &query.reads).collect();
        for name in document.table.keys() {
            if !read.contains(name.get_ref()) {
                return Err(self.error(
                    &name.span(),
                    format!("no query reads the table {:?}", name.get_ref()),
                    format!(
                        "one of {}, or remove it",
                        read.iter()
                            .map(|table| table.as_str())
                            .collect::<Vec<_>>()
                            .join(", ")
                    ),
                ));
            }
        }
        Ok(())
    }
}

fn records_help(problem: &str) -> DeclarationError {
    DeclarationError {
        problem: problem.to_owned(),
        help: "\"int\", or for a command's list of records [{ product = \"int\", quantity = \"int\" }]"
            .to_owned(),
    }
}

/// Whether the rows of a table belong to members of a family.
fn carries(tables: &BTreeMap<String, Table>, table: &str, family: &str) -> bool {
    let families = tables.get(table).map(|table| &table.families);
    families.is_some_and(|families| families.iter().any(|source| source.family == family))
}

/// Splits `org:{org}` into `org` and `org`.
fn family_and_placeholder(scope: &str) -> Option<(&str, &str)> {
    let (family, rest) = scope.split_once(':')?;
    Some((family, placeholder(rest)?)).filter(|(family, _)| is_word(family))
}

/// What stands in the braces of `{org}`.
fn placeholder(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('{')?.strip_suffix('}')?;
    Some(inside).filter(|inside| !inside.contains(['{', '}']))
}

/// Splits `orders.org_id` into the way and the column.
fn column_path(path: &str) -> Option<ColumnPath> {
    let mut via: Vec<String> = path.split('.').map(str::to_owned).collect();
    let column = via.pop()?;
    let path = ColumnPath { via, column };
    (!path.column.is_empty() && !path.via.iter().any(String::is_empty)).then_some(path)
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
