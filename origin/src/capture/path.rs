//! From a row to the members that it belongs to: by a column of its own, or along foreign keys, to
//! what a row refers to or to the rows that refer to it.

use std::{collections::BTreeMap, fmt::Write as _};

use sqlx::PgConnection;
use tidemark_shared::{
    catalog::{Catalog, FamilySource},
    param::ParamType,
};

use super::{
    CaptureError, PathError,
    mark::{FOLD_AT, Mark},
    name::{dollar_quoted, literal, quoted_part},
    relation::{Direction, Link, Relation, Texts},
};

/// The most rows that keys are followed to against a foreign key, at a time: past it they stand for
/// the family as a whole. It bounds what a cycle of the relay takes.
const FOLLOWED: u32 = 10_000;

/// The way from keys of a table to the members that its rows belong to now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// What outbox rows call it: `FAMILY:{TABLE.COLUMN} by (KEY)`.
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
    pub(super) path: Option<Path>,
    pub(super) steps: Vec<Step>,
    /// The columns that decide about membership, by the table's name: an update of one of them moves
    /// rows between members.
    pub(super) deciding: Vec<(String, Vec<String>)>,
}

/// Follows a family's source through the database, step by step.
pub(super) async fn resolve(
    connection: &mut PgConnection,
    catalog: &Catalog,
    table: &Relation,
    source: &FamilySource,
) -> Result<Resolved, CaptureError> {
    let resolving = follow(connection, catalog, table, source).await;
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
) -> Result<Resolved, CaptureError> {
    let mut here = table.clone();
    let mut links = Vec::with_capacity(source.via.len());
    let mut deciding = Vec::new();
    let mut types = Vec::new();
    for next in &source.via {
        let there = Relation::named(connection, next).await?;
        let link = here.link_to(connection, &there).await?;
        let of_key = key_columns(connection, &here, &link.here).await?;
        if links.is_empty() {
            types = of_key;
        }
        key_columns(connection, &there, &link.there).await?;
        visible(connection, &there).await?;
        deciding.push((here.name.clone(), link.here.clone()));
        deciding.push((there.name.clone(), link.there.clone()));
        here = there.clone();
        links.push((there, link));
    }
    member_column(connection, catalog, &here, source).await?;
    deciding.push((here.name.clone(), vec![source.column.clone()]));

    let family = source.family.clone();
    let Some((_, first)) = links.first() else {
        return Ok(Resolved {
            mark: Mark::Member {
                family,
                column: source.column.clone(),
            },
            path: None,
            steps: Vec::new(),
            deciding,
        });
    };
    let path = Path::along(source, &links, &types);
    Ok(Resolved {
        mark: Mark::Key {
            family,
            path: path.name.clone(),
            columns: first.here.clone(),
        },
        path: Some(path),
        steps: steps(table, &links),
        deciding,
    })
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
    /// The path that begins with keys of these types and leads over these tables.
    fn along(source: &FamilySource, links: &[(Relation, Link)], types: &[String]) -> Self {
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
        let member = format!("p{}.{}", links.len() - 1, quoted_part(&source.column));
        let found =
            format!("SELECT {member}::text AS member FROM {from} WHERE {member} IS NOT NULL");
        let against = |(_, link): &(Relation, Link)| link.direction == Direction::Referring;
        let members = if links.iter().any(against) {
            format!(
                "(SELECT CASE WHEN count(*) <= {FOLLOWED} AND count(DISTINCT member) <= {FOLD_AT}
      THEN coalesce(array_agg(DISTINCT member), '{{}}') END
      FROM ({found} LIMIT {most}) AS found)",
                most = FOLLOWED + 1
            )
        } else {
            format!("ARRAY(SELECT DISTINCT member FROM ({found}) AS found)")
        };
        let begins = links.first().map(|(_, link)| link);
        let begins = begins.map_or_else(String::new, |link| match link.direction {
            Direction::Referred => link.there.join(", "),
            Direction::Referring => {
                format!("{} from {}", link.there.join(", "), link.here.join(", "))
            }
        });
        Self {
            name: format!(
                "{}:{{{}.{}}} by ({begins})",
                source.family,
                source.via.join("."),
                source.column
            ),
            members,
        }
    }

    /// Its name in outbox rows.
    pub(super) fn name(&self) -> &str {
        &self.name
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
async fn member_column(
    connection: &mut PgConnection,
    catalog: &Catalog,
    table: &Relation,
    source: &FamilySource,
) -> Result<(), CaptureError> {
    let found = table.column(connection, &source.column).await?;
    let found = found.ok_or_else(|| no_column(table, &source.column))?;
    let queries = catalog.queries.values();
    for query in queries.filter(|query| query.policy.is_cacheable()) {
        let Some(member) = query
            .member
            .as_ref()
            .filter(|member| member.family == source.family)
        else {
            continue;
        };
        let Some(spec) = query.params.get(&member.param) else {
            continue;
        };
        let same = match found.texts {
            Texts::Integer => matches!(spec.kind, ParamType::Int),
            Texts::Uuid => matches!(spec.kind, ParamType::Uuid),
            Texts::Text => matches!(spec.kind, ParamType::Text { .. } | ParamType::Enum(_)),
            Texts::Bool | Texts::Unstable => false,
        };
        if !same {
            return Err(CaptureError::of(
                &table.name,
                PathError::Member {
                    table: table.name.clone(),
                    column: source.column.clone(),
                    column_type: found.shown_type,
                    query: query.name.clone(),
                    param: member.param.clone(),
                    param_type: spec.kind.to_string(),
                },
            ));
        }
    }
    Ok(())
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
        if column.texts == Texts::Unstable {
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
