//! From a row to the members that it belongs to: by a column of its own, or along foreign keys, to
//! what a row refers to or to the rows that refer to it. And to the facets that tell which part of the
//! member it is in, by columns of its own or of what it refers to.

use std::{collections::BTreeMap, fmt::Write as _};

use sqlx::PgConnection;
use tidemark_shared::{
    catalog::{Catalog, ColumnPath, FacetSource, FamilySource, Narrowed, Query},
    param::ParamType,
    part::FacetKind,
};

use super::{
    CaptureError, PathError, Unfit,
    mark::{FOLD_AT, Mark, day_text},
    name::{dollar_quoted, literal, quoted_part},
    relation::{Column, Direction, Link, Relation, Texts},
};

/// The most rows that keys are followed to against a foreign key, at a time: past it they stand for
/// the family as a whole. It bounds what a cycle of the relay takes.
const FOLLOWED: u32 = 10_000;

/// The most keys of which a cycle of the relay tells parts apart, for each path: of more it tells members. It
/// bounds what a cycle takes under thousands of changes a second, each of which touches a part many times over.
const TOLD_APART: usize = 64;

/// The way from keys of a table to the members, or the parts of members, that its rows belong to now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// What outbox rows call it: `FAMILY:{TABLE.COLUMN} by (KEY)`, and for parts
    /// `FAMILY:{TABLE.COLUMN}?FACET={TABLE.COLUMN} by (COLUMNS)`.
    name: String,
    /// The expression that gives the members of `keys`.
    members: String,
}

/// A foreign key that a path follows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Step {
    /// The referring table, as the catalog names it.
    pub(crate) referring: String,
    /// Its referring columns.
    pub(crate) columns: Vec<String>,
    /// The table that it refers to.
    pub(crate) referred: String,
    /// Whether the path leads to the referring rows: then each look for members reads by these
    /// columns.
    pub(crate) against: bool,
    /// Whether these columns have an index.
    pub(crate) is_indexed: bool,
}

/// A family's source as the database has it.
pub(super) struct Resolved {
    pub(super) mark: Mark,
    pub(super) paths: Vec<Path>,
    pub(super) steps: Vec<Step>,
    /// The columns that decide about membership, by the table's name: an update of one of them moves
    /// rows between members or their parts.
    pub(super) deciding: Vec<(String, Vec<String>)>,
}

/// Follows a family's source through the database, step by step, and the facets that tell parts, if any.
pub(super) async fn resolve(
    connection: &mut PgConnection,
    catalog: &Catalog,
    table: &Relation,
    source: &FamilySource,
    facets: &[FacetSource],
) -> Result<Resolved, CaptureError> {
    let resolving = follow(connection, catalog, table, source, facets).await;
    // Whatever table it is that does not fit, the scope stands with this one.
    resolving.map_err(|error| match error {
        CaptureError::Table { source, .. } => CaptureError::of(&table.name, *source),
        other => other,
    })
}

async fn follow(
    connection: &mut PgConnection,
    catalog: &Catalog,
    table: &Relation,
    source: &FamilySource,
    facets: &[FacetSource],
) -> Result<Resolved, CaptureError> {
    let way = Way::of(connection, table, &source.path).await?;
    member_column(catalog, &way, source)?;
    let mut resolved = Resolved {
        mark: Mark::Member {
            family: source.family.clone(),
            column: source.path.column.clone(),
        },
        paths: Vec::new(),
        steps: steps(table, &way.links),
        deciding: way.deciding(table),
    };
    if let Some((_, first)) = way.links.first() {
        let path = Path::along(source, &way);
        resolved.mark = Mark::Key {
            family: source.family.clone(),
            path: path.name.clone(),
            columns: first.here.clone(),
        };
        resolved.paths.push(path);
    }
    if facets.is_empty() {
        return Ok(resolved);
    }
    let mut ways = Vec::with_capacity(facets.len());
    for facet in facets {
        let way = Way::of(connection, table, &facet.path).await?;
        facet_column(catalog, &way, source, facet)?;
        resolved.deciding.extend(way.deciding(table));
        ways.push((facet, way));
    }
    let (path, columns) = Path::to_parts(source, &way, &ways);
    let days = ways
        .iter()
        .filter(|(facet, way)| facet.kind == FacetKind::Day && way.links.is_empty());
    resolved.mark = Mark::Part {
        whole: Box::new(resolved.mark),
        path: path.name.clone(),
        columns,
        days: days.map(|(facet, _)| facet.path.column.clone()).collect(),
    };
    resolved.paths.push(path);
    Ok(resolved)
}

/// A way along foreign keys as the database has it.
struct Way {
    links: Vec<(Relation, Link)>,
    /// The columns of its own by which the row finds the rest, each with the type that its text is cast to:
    /// those of the first foreign key, or the one at the end.
    keys: Vec<(String, String)>,
    /// The table at its end.
    end: Relation,
    /// The column at its end.
    column: Column,
    name: String,
}

impl Way {
    async fn of(
        connection: &mut PgConnection,
        table: &Relation,
        path: &ColumnPath,
    ) -> Result<Self, CaptureError> {
        let mut end = table.clone();
        let mut links = Vec::with_capacity(path.via.len());
        let mut keys = Vec::new();
        for next in &path.via {
            let there = Relation::named(connection, next).await?;
            let link = end.link_to(connection, &there).await?;
            let types = key_columns(connection, &end, &link.here).await?;
            if links.is_empty() {
                keys = link.here.iter().cloned().zip(types).collect();
            }
            key_columns(connection, &there, &link.there).await?;
            visible(connection, &there).await?;
            end = there.clone();
            links.push((there, link));
        }
        let column = end.column(connection, &path.column).await?;
        let column = column.ok_or_else(|| no_column(&end, &path.column))?;
        if links.is_empty() {
            keys.push((path.column.clone(), column.sql_type.clone()));
        }
        Ok(Self {
            links,
            keys,
            end,
            column,
            name: path.column.clone(),
        })
    }

    /// The columns on it that decide where it leads.
    fn deciding(&self, table: &Relation) -> Vec<(String, Vec<String>)> {
        let mut here = &table.name;
        let mut deciding = Vec::new();
        for (there, link) in &self.links {
            deciding.push((here.clone(), link.here.clone()));
            deciding.push((there.name.clone(), link.there.clone()));
            here = &there.name;
        }
        deciding.push((here.clone(), vec![self.name.clone()]));
        deciding
    }
}

fn steps(table: &Relation, links: &[(Relation, Link)]) -> Vec<Step> {
    let from = std::iter::once(table).chain(links.iter().map(|(there, _)| there));
    let step = |(here, (there, link)): (&Relation, &(Relation, Link))| {
        let (referring, columns, referred) = match link.direction {
            Direction::Referred => (here, &link.here, there),
            Direction::Referring => (there, &link.there, here),
        };
        Step {
            referring: referring.name.clone(),
            columns: columns.clone(),
            referred: referred.name.clone(),
            against: link.direction == Direction::Referring,
            is_indexed: link.is_indexed,
        }
    };
    from.zip(links).map(step).collect()
}

impl Path {
    /// The path to members that begins with the keys of this way.
    fn along(source: &FamilySource, way: &Way) -> Self {
        let Way { links, keys, .. } = way;
        let types: Vec<_> = keys.iter().map(|(_, kind)| kind).collect();
        let width = types.len();
        let mut from = match width {
            1 => "unnest(keys) AS k (key)".to_owned(),
            width => format!("generate_series(1, cardinality(keys), {width}) AS k (n)"),
        };
        let key = |place: usize| match width {
            1 => format!("k.key::{}", types[0]),
            _ => format!("keys[k.n + {place}]::{}", types[place]),
        };
        for (number, (there, link)) in links.iter().enumerate() {
            let on = conjunction(link.there.iter().enumerate(), |(place, column)| {
                let before = match number.checked_sub(1) {
                    None => key(place),
                    Some(before) => format!("p{before}.{}", quoted_part(&link.here[place])),
                };
                format!("p{number}.{} = {before}", quoted_part(column))
            });
            // Writing to a string can't fail.
            let _ = write!(from, " JOIN {} AS p{number} ON {on}", there.sql_name);
        }
        let member = format!("p{}.{}", links.len() - 1, quoted_part(&way.name));
        let found =
            format!("SELECT {member}::text AS member FROM {from} WHERE {member} IS NOT NULL");
        let begins = links.first().map(|(_, link)| link);
        let begins = begins.map_or_else(String::new, |link| match link.direction {
            Direction::Referred => link.there.join(", "),
            Direction::Referring => {
                format!("{} from {}", link.there.join(", "), link.here.join(", "))
            }
        });
        Self {
            name: format!("{}:{{{}}} by ({begins})", source.family, source.path),
            members: members(links, &found),
        }
    }

    /// The path to parts of members, and the columns whose values it begins with: a member by a way of its
    /// own, and each facet by another. A facet that leads nowhere is unknown.
    fn to_parts(
        source: &FamilySource,
        way: &Way,
        facets: &[(&FacetSource, Way)],
    ) -> (Self, Vec<String>) {
        let mut columns: Vec<&(String, String)> = Vec::new();
        for key in way
            .keys
            .iter()
            .chain(facets.iter().flat_map(|(_, way)| &way.keys))
        {
            if !columns.contains(&key) {
                columns.push(key);
            }
        }
        let width = columns.len();
        let text = |name: &String| {
            let place = columns.iter().position(|(column, _)| column == name);
            format!("k.k{}", place.unwrap_or_default())
        };
        let kind = |name: &String| {
            let found = columns.iter().find(|(column, _)| column == name);
            found.map_or("", |(_, kind)| kind)
        };
        // By one pass: to look up an element of such an array walks there from its beginning.
        let of_row = (0..width).map(|place| {
            format!("max(key) FILTER (WHERE (place - 1) % {width} = {place}) AS k{place}")
        });
        let of_row: Vec<_> = of_row.collect();
        let mut from = format!(
            "(SELECT {} FROM unnest(keys) WITH ORDINALITY AS u (key, place) GROUP BY (place - 1) / {width}) AS k",
            of_row.join(", ")
        );
        // Ways that begin alike are joined once, that of the member first.
        let mut joined = BTreeMap::<Vec<String>, String>::new();
        let mut end = |from: &mut String, way: &Way, join: &str| {
            let mut before: Option<String> = None;
            for (number, (there, link)) in way.links.iter().enumerate() {
                let so_far = way.links[..=number].iter();
                let so_far: Vec<_> = so_far.map(|(there, _)| there.sql_name.clone()).collect();
                let next = format!("p{}", joined.len());
                let alias = joined.entry(so_far).or_insert_with(|| {
                    let on = conjunction(link.there.iter().zip(&link.here), |(there, here)| {
                        let here = match &before {
                            None => format!("{}::{}", text(here), kind(here)),
                            Some(before) => format!("{before}.{}", quoted_part(here)),
                        };
                        format!("{next}.{} = {here}", quoted_part(there))
                    });
                    let _ = write!(from, " {join} {} AS {next} ON {on}", there.sql_name);
                    next
                });
                before = Some(alias.clone());
            }
            before.map(|alias| format!("{alias}.{}", quoted_part(&way.name)))
        };
        let member = match end(&mut from, way, "JOIN") {
            None => text(&way.name),
            Some(column) => format!("{column}::text"),
        };
        let from_member = from.clone();
        let found = facets.iter().map(|(facet, way)| {
            let value = match (end(&mut from, way, "LEFT JOIN"), facet.kind) {
                (None, _) => text(&way.name),
                (Some(column), FacetKind::Word) => format!("{column}::text"),
                (Some(column), FacetKind::Day) => day_text(&column),
            };
            let kind = facet.kind.to_string();
            format!(
                "json_build_object('facet', {}, '{kind}', {value})",
                literal(&facet.facet)
            )
        });
        let found: Vec<_> = found.collect();
        let parts = format!(
            "SELECT json_build_object('member', {member}, 'facets', json_build_array({}))::text AS member FROM {from} WHERE {member} IS NOT NULL",
            found.join(", ")
        );
        let whole = format!(
            "SELECT json_build_object('member', {member})::text AS member FROM {from_member} WHERE {member} IS NOT NULL"
        );
        let told: Vec<_> = facets
            .iter()
            .map(|(facet, _)| format!("{}={{{}}}", facet.facet, facet.path))
            .collect();
        let columns: Vec<_> = columns
            .into_iter()
            .map(|(column, _)| column.clone())
            .collect();
        let path = Self {
            name: format!(
                "{}:{{{}}}?{} by ({})",
                source.family,
                source.path,
                told.join("&"),
                columns.join(", ")
            ),
            members: format!(
                "CASE WHEN cardinality(keys) <= {most} THEN {parts} ELSE {members} END",
                most = TOLD_APART * width,
                parts = members(&way.links, &parts),
                members = members(&way.links, &whole),
            ),
        };
        (path, columns)
    }

    /// Its name in outbox rows.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// The expression that gives all that is found, each once; NULL where that is too much to be named.
fn members(links: &[(Relation, Link)], found: &str) -> String {
    let against = |(_, link): &(Relation, Link)| link.direction == Direction::Referring;
    if links.iter().any(against) {
        format!(
            "(SELECT CASE WHEN count(*) <= {FOLLOWED} AND count(DISTINCT member) <= {FOLD_AT}
      THEN coalesce(array_agg(DISTINCT member), '{{}}') END
      FROM ({found} LIMIT {most}) AS found)",
            most = FOLLOWED + 1
        )
    } else {
        format!("ARRAY(SELECT DISTINCT member FROM ({found}) AS found)")
    }
}

/// The function that gives the members to which the rows with these keys of a path belong, in the
/// snapshot of the statement that calls it (it is STABLE). NULL stands for the family as a whole:
/// for more members than are worth naming, and for a path of an installation that is gone.
///
/// Keys are one after the other, each with all of its columns. There are few of them, whatever the
/// planner thinks, and every step has an index, or had better.
pub(super) fn members_function(paths: &BTreeMap<String, Path>) -> String {
    let mut body = "BEGIN\n".to_owned();
    for Path { name, members } in paths.values() {
        let _ = write!(
            body,
            "  IF path = {} THEN\n    RETURN {members};\n  END IF;\n",
            literal(name)
        );
    }
    body.push_str("  RETURN NULL;\nEND\n");
    format!(
        "CREATE OR REPLACE FUNCTION tidemark.members(path text, keys text[]) RETURNS text[]
LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS {};
REVOKE ALL ON FUNCTION tidemark.members(text, text[]) FROM PUBLIC;
",
        dollar_quoted(&body)
    )
}

/// Fails unless the column has the very texts of the parameters that name the family's members.
fn member_column(catalog: &Catalog, way: &Way, source: &FamilySource) -> Result<(), CaptureError> {
    for (query, member) in catalog.queries_of(&source.family) {
        comparable(way, query, &member.param, PathError::Member)?;
    }
    Ok(())
}

/// Fails unless the column has the very texts of the parameters by which queries are narrowed to the facet,
/// and a row has one of them.
fn facet_column(
    catalog: &Catalog,
    way: &Way,
    source: &FamilySource,
    facet: &FacetSource,
) -> Result<(), CaptureError> {
    let against = |(_, link): &&(Relation, Link)| link.direction == Direction::Referring;
    if let Some((there, _)) = way.links.iter().find(against) {
        return Err(CaptureError::of(
            &way.end.name,
            PathError::FacetAgainst {
                facet: facet.facet.clone(),
                there: there.name.clone(),
            },
        ));
    }
    for (query, _) in catalog.queries_of(&source.family) {
        let narrowed = query
            .parts
            .as_ref()
            .and_then(|parts| parts.get(&facet.facet));
        for param in narrowed.into_iter().flat_map(Narrowed::params) {
            comparable(way, query, param, |unfit| PathError::Facet {
                facet: facet.facet.clone(),
                unfit,
            })?;
        }
    }
    Ok(())
}

/// Fails unless texts of the way's column are equal to those of a query's parameter.
fn comparable(
    way: &Way,
    query: &Query,
    param: &str,
    error: impl FnOnce(Unfit) -> PathError,
) -> Result<(), CaptureError> {
    let Some(spec) = query.params.get(param) else {
        return Ok(());
    };
    let same = match way.column.texts {
        Texts::Integer => matches!(spec.kind, ParamType::Int),
        Texts::Uuid => matches!(spec.kind, ParamType::Uuid),
        Texts::Text => matches!(spec.kind, ParamType::Text { .. } | ParamType::Enum(_)),
        Texts::Day => matches!(spec.kind, ParamType::Date),
        Texts::Bool | Texts::Unstable => false,
    };
    if same {
        return Ok(());
    }
    Err(CaptureError::of(
        &way.end.name,
        error(Unfit {
            table: way.end.name.clone(),
            column: way.name.clone(),
            column_type: way.column.shown_type.clone(),
            query: query.name.clone(),
            param: param.to_owned(),
            param_type: spec.kind.to_string(),
        }),
    ))
}

/// The types of a foreign key's columns, as a text is cast to them; fails unless each value has
/// exactly one text.
async fn key_columns(
    connection: &mut PgConnection,
    table: &Relation,
    columns: &[String],
) -> Result<Vec<String>, CaptureError> {
    let mut types = Vec::with_capacity(columns.len());
    for name in columns {
        let column = table.column(connection, name).await?;
        let column = column.ok_or_else(|| no_column(table, name))?;
        if matches!(column.texts, Texts::Day | Texts::Unstable) {
            return Err(CaptureError::of(
                &table.name,
                PathError::Key {
                    table: table.name.clone(),
                    column: name.clone(),
                    column_type: column.shown_type,
                },
            ));
        }
        types.push(column.sql_type);
    }
    Ok(types)
}

/// Fails if a path through this table could overlook rows.
async fn visible(connection: &mut PgConnection, table: &Relation) -> Result<(), CaptureError> {
    if table.hides_rows(connection).await? {
        return Err(CaptureError::of(
            &table.name,
            PathError::RowSecurity {
                table: table.name.clone(),
            },
        ));
    }
    Ok(())
}

fn no_column(table: &Relation, column: &str) -> CaptureError {
    CaptureError::of(
        &table.name,
        PathError::NoColumn {
            table: table.name.clone(),
            column: column.to_owned(),
        },
    )
}

fn conjunction<T>(items: impl Iterator<Item = T>, condition: impl Fn(T) -> String) -> String {
    items.map(condition).collect::<Vec<_>>().join(" AND ")
}
