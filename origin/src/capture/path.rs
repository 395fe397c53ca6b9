//! From a row to the members that it belongs to: by a column of its own, or along foreign keys.

use std::{collections::BTreeMap, fmt::Write as _};

use sqlx::PgConnection;
use tidemark_shared::{
    catalog::{Catalog, FamilySource},
    param::ParamType,
};

use super::{
    CaptureError, PathError,
    name::{dollar_quoted, literal, quoted_part},
    relation::{Relation, Texts},
};

/// What a changed row of a table records for one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// The member in this column of its own.
    Member { family: String, column: String },
    /// The key of the row that it refers to by these columns; [`Path`] leads on from there.
    Key {
        family: String,
        path: String,
        columns: Vec<String>,
    },
}

impl Mark {
    /// The family that it is about.
    pub(super) fn family(&self) -> &str {
        match self {
            Self::Member { family, .. } | Self::Key { family, .. } => family,
        }
    }

    /// The columns that it takes its values from.
    pub(super) fn columns(&self) -> &[String] {
        match self {
            Self::Member { column, .. } => std::slice::from_ref(column),
            Self::Key { columns, .. } => columns,
        }
    }
}

/// The way from keys of a table to the members that its rows belong to now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// What outbox rows call it: `FAMILY:{TABLE.COLUMN} by KEY`.
    name: String,
    /// The query for the members of the keys in `keys`.
    members: String,
}

/// A family's source as the database has it.
pub(super) struct Resolved {
    pub(super) mark: Mark,
    pub(super) path: Option<Path>,
    /// The columns that decide about membership, by the table's oid: an update of one of them moves
    /// rows between members.
    pub(super) deciding: Vec<(i64, Vec<String>)>,
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
    let family = &source.family;
    let Some((first, rest)) = source.via.split_first() else {
        member_column(connection, catalog, table, source).await?;
        return Ok(Resolved {
            mark: Mark::Member {
                family: family.clone(),
                column: source.column.clone(),
            },
            path: None,
            deciding: vec![(table.oid, vec![source.column.clone()])],
        });
    };
    let mut here = Relation::named(connection, first).await?;
    let key = table.foreign_key_to(connection, &here).await?;
    key_columns(connection, table, &key.from).await?;
    let types = key_columns(connection, &here, &key.to).await?;
    let mut deciding = vec![(table.oid, key.from.clone()), (here.oid, key.to.clone())];

    let on = conjunction(
        key.to.iter().zip(&types).enumerate(),
        |(n, (column, kind))| format!("p0.{} = k.k{n}::{kind}", quoted_part(column)),
    );
    let width = key.to.len();
    let mut from = format!(
        "unnest({}) AS k ({}) JOIN {} AS p0 ON {on}",
        list(1..=width, |n| format!("keys[{n}:{n}]")),
        list(0..width, |n| format!("k{n}")),
        here.sql_name,
    );
    for (number, next) in rest.iter().enumerate() {
        visible(connection, &here).await?;
        let there = Relation::named(connection, next).await?;
        let step = here.foreign_key_to(connection, &there).await?;
        key_columns(connection, &here, &step.from).await?;
        key_columns(connection, &there, &step.to).await?;
        let on = conjunction(step.from.iter().zip(&step.to), |(from, to)| {
            format!(
                "p{}.{} = p{number}.{}",
                number + 1,
                quoted_part(to),
                quoted_part(from)
            )
        });
        let _ = write!(from, " JOIN {} AS p{} ON {on}", there.sql_name, number + 1);
        deciding.push((here.oid, step.from));
        deciding.push((there.oid, step.to));
        here = there;
    }
    visible(connection, &here).await?;
    member_column(connection, catalog, &here, source).await?;
    deciding.push((here.oid, vec![source.column.clone()]));

    let member = format!("p{}.{}", rest.len(), quoted_part(&source.column));
    let name = format!(
        "{family}:{{{}.{}}} by {}",
        source.via.join("."),
        source.column,
        key.to.join(", ")
    );
    Ok(Resolved {
        mark: Mark::Key {
            family: family.clone(),
            path: name.clone(),
            columns: key.from,
        },
        path: Some(Path {
            name,
            members: format!(
                "SELECT DISTINCT {member}::pg_catalog.text FROM {from} WHERE {member} IS NOT NULL"
            ),
        }),
        deciding,
    })
}

/// The function that gives the members to which the rows with these keys of a path belong, in the
/// snapshot of the statement that calls it (it is STABLE). NULL for a path of an installation that
/// is gone: whatever it was, its family changed.
///
/// Keys are an array with one row for each of the key's columns.
pub(super) fn members_function(paths: &BTreeMap<String, Path>) -> String {
    let mut body = "BEGIN\n".to_owned();
    for Path { name, members } in paths.values() {
        let _ = write!(
            body,
            "  IF path = {} THEN\n    RETURN ARRAY({members});\n  END IF;\n",
            literal(name)
        );
    }
    body.push_str("  RETURN NULL;\nEND\n");
    format!(
        "CREATE OR REPLACE FUNCTION tidemark.members(path text, keys text[]) RETURNS text[]
LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {};
REVOKE ALL ON FUNCTION tidemark.members(text, text[]) FROM PUBLIC;
",
        dollar_quoted(&body)
    )
}

impl Path {
    /// Its name in outbox rows.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
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

fn list<T>(items: impl Iterator<Item = T>, item: impl Fn(T) -> String) -> String {
    items.map(item).collect::<Vec<_>>().join(", ")
}
