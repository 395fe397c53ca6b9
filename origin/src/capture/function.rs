//! The trigger functions of one table: which scopes its changed rows touch, as PL/pgSQL.
//!
//! They are made to cost writers little. One row, the most frequent case, takes a path without
//! aggregates; whatever a statement touches goes into the outbox by one `INSERT`. They do no
//! `NOTIFY`: its lock at commit serialises all writers. And they set no `search_path`, which costs
//! as much as an outbox row: instead, everything in them is named with its schema, operators too.

use std::collections::BTreeSet;

use super::{
    mark::{FOLD_AT, Mark, PARTS_AT, column_of},
    name::{dollar_quoted, literal, quoted_part},
    relation::KeyColumn,
};

/// How an outbox row begins.
const INTO_OUTBOX: &str = "INSERT INTO tidemark.outbox (source, kind, name, members)";

/// What the changed rows of a table record.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// The table, as the catalog names it.
    pub(super) table: &'a str,
    /// One outbox row for each, at most.
    pub(super) records: Vec<Record>,
    /// What tells which old row became which new one. A row whose key changes counts, on both
    /// sides.
    pub(super) key: Vec<KeyColumn>,
}

/// One thing that changed rows record.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) mark: Mark,
    /// Which updates count.
    pub(super) updates: Updates,
}

/// Which updated rows count as changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Updates {
    /// None: only that rows are there matters.
    Ignored,
    /// Every one, whatever it changes.
    Each,
    /// Those where the image of one of these columns is another one. Images, since what is equal
    /// need not look the same: 1.0 and 1.00, or 'a' and 'A' under a collation that ignores case.
    Changed(BTreeSet<String>),
}

/// What a trigger is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Insert,
    Update,
    Delete,
    Truncate,
}

impl Operation {
    pub(super) const ALL: [Self; 4] = [Self::Insert, Self::Update, Self::Delete, Self::Truncate];

    /// As in `CREATE TRIGGER`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
        }
    }
}

/// A mark in one function: on the rows of which condition it stands, if not on all of them.
#[derive(Clone, Copy)]
struct Marked<'a> {
    mark: &'a Mark,
    condition: Option<usize>,
}

impl Target<'_> {
    /// Whether an operation records anything.
    pub(super) fn records_any(&self, operation: Operation) -> bool {
        let ignored = |record: &Record| record.updates == Updates::Ignored;
        operation != Operation::Update || !self.records.iter().all(ignored)
    }

    /// The whole function.
    pub(super) fn function(&self, name: &str, operation: Operation) -> String {
        // Nobody else may have it called for a table of their own, whose types they choose.
        format!(
            "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS {};
REVOKE ALL ON FUNCTION {name}() FROM PUBLIC;
",
            dollar_quoted(&self.body(operation))
        )
    }

    /// The body of the function that an operation's triggers call.
    fn body(&self, operation: Operation) -> String {
        match operation {
            Operation::Insert => self.record("new_rows"),
            Operation::Delete => self.record("old_rows"),
            Operation::Update => self.record_both_sides(),
            Operation::Truncate => {
                format!("BEGIN\n  {};\n  RETURN NULL;\nEND\n", self.everything())
            }
        }
    }

    /// Records every scope that the table could touch.
    fn everything(&self) -> String {
        let rows = self
            .records
            .iter()
            .map(|record| match record.mark.family() {
                None => self.whole_row("'{}'::pg_catalog.text[]"),
                Some(family) => self.row('f', family, "'{}'::pg_catalog.text[]"),
            });
        // Two marks may be of one family.
        let rows: BTreeSet<_> = rows.collect();
        let rows: Vec<_> = rows.into_iter().collect();
        format!("{INTO_OUTBOX} VALUES {}", rows.join(", "))
    }

    fn whole_row(&self, members: &str) -> String {
        self.row('t', self.table, members)
    }

    /// A row for the outbox.
    fn row(&self, kind: char, name: &str, members: &str) -> String {
        format!(
            "({}, '{kind}'::pg_catalog.\"char\", {}::pg_catalog.text, {members})",
            self.source(),
            literal(name)
        )
    }

    /// The table, as an outbox row tells it.
    fn source(&self) -> String {
        format!("{}::pg_catalog.text", literal(self.table))
    }

    /// For inserts and deletes, which have one transition table.
    fn record(&self, rows: &str) -> String {
        let marks: Vec<_> = self
            .records
            .iter()
            .map(|Record { mark, .. }| Marked {
                mark,
                condition: None,
            })
            .collect();
        if columns_of(&marks).is_empty() {
            return format!(
                "BEGIN\n  IF EXISTS (SELECT FROM {rows}) THEN\n    {};\n  END IF;\n  RETURN NULL;\nEND\n",
                self.everything()
            );
        }
        let many = |marks: &[Marked<'_>]| {
            let columns = columns_of(marks);
            let touched = format!(
                "NOT MATERIALIZED (SELECT {} FROM {rows} AS r)",
                side("r", &columns)
            );
            let names = names("c", columns.len());
            self.record_many(marks, &names, &columns, &touched, &self.key)
        };
        // A single row is recorded by the very statement that finds that it is the only one.
        format!(
            "BEGIN
  {one}
        AND NOT EXISTS (SELECT FROM {rows} OFFSET 1);
  IF NOT FOUND AND EXISTS (SELECT FROM {rows} OFFSET 1) THEN
    {many}
  END IF;
  RETURN NULL;
END
",
            one = self.record_one(&marks, &[], &format!("{rows} AS r"), &["r"]),
            many = told_apart(&marks, &[rows], many),
        )
    }

    /// For updates, whose transition tables have the rows before and after.
    fn record_both_sides(&self) -> String {
        // What is the same for several marks is asked once.
        let mut conditions: Vec<&BTreeSet<String>> = Vec::new();
        let mut marks = Vec::with_capacity(self.records.len());
        for Record { mark, updates } in &self.records {
            let condition = match updates {
                Updates::Ignored => continue,
                Updates::Each => None,
                Updates::Changed(used) => {
                    let known = conditions.iter().position(|known| *known == used);
                    Some(known.unwrap_or_else(|| {
                        conditions.push(used);
                        conditions.len() - 1
                    }))
                }
            };
            marks.push(Marked { mark, condition });
        }
        // By what a pair counts for any mark at all, unless every pair does.
        let conditional = marks.iter().all(|marked| marked.condition.is_some());
        let used: BTreeSet<_> = conditions.iter().copied().flatten().cloned().collect();
        let counts = |key: &[KeyColumn]| conditional.then(|| differs(key, &used));
        let paired = paired(&self.key);
        if columns_of(&marks).is_empty() {
            let touched = counts(&self.key).map_or_else(
                || "new_rows".to_owned(),
                |counts| format!("{paired} WHERE {counts}"),
            );
            return format!(
                "BEGIN\n  IF EXISTS (SELECT FROM {touched}) THEN\n    {INTO_OUTBOX} VALUES {};\n  END IF;\n  RETURN NULL;\nEND\n",
                self.whole_row("'{}'::pg_catalog.text[]")
            );
        }
        let many = |marks: &[Marked<'_>]| {
            let columns = columns_of(marks);
            let touched = if conditions.is_empty() {
                format!(
                    "NOT MATERIALIZED (SELECT {} FROM old_rows AS o UNION ALL SELECT {} FROM new_rows AS n)",
                    side("o", &columns),
                    side("n", &columns)
                )
            } else {
                let counts = counts(&self.key);
                let counts = counts.map_or_else(String::new, |it| format!("\n      WHERE {it}"));
                format!(
                    "MATERIALIZED (SELECT s.*, d.* FROM {paired}
      CROSS JOIN LATERAL (VALUES ({before}), ({after})) AS s
      CROSS JOIN LATERAL (SELECT {differ}) AS d{counts})",
                    before = side("o", &columns),
                    after = side("n", &columns),
                    differ = join(&conditions, ", ", |used| differs(&self.key, used)),
                )
            };
            let names = [names("c", columns.len()), names("d", conditions.len())].concat();
            // A row's key is on both sides.
            self.record_many(marks, &names, &columns, &touched, &[])
        };

        // Whether a single row counts is asked before anything is written, together with how many there are:
        // that is all that an update of columns that don't matter costs. One side alone may be empty, if a
        // trigger keeps a row out of the partition that it would move to.
        let counts = counts(&[]).unwrap_or_else(|| "true".to_owned());
        format!(
            "DECLARE
  pairs pg_catalog.int8;
  counts pg_catalog.bool;
BEGIN
  SELECT pg_catalog.count(*), pg_catalog.bool_or(few.counts) INTO pairs, counts
    FROM (SELECT {counts} AS counts FROM old_rows AS o CROSS JOIN new_rows AS n LIMIT 2) AS few;
  IF pairs OPERATOR(pg_catalog.=) 1 THEN
    IF counts THEN
      {one};
    END IF;
  ELSIF pairs OPERATOR(pg_catalog.>) 1 OR EXISTS (SELECT FROM old_rows) OR EXISTS (SELECT FROM new_rows) THEN
    {many}
  END IF;
  RETURN NULL;
END
",
            one = self.record_one(
                &marks,
                &conditions,
                "old_rows AS o CROSS JOIN new_rows AS n",
                &["o", "n"]
            ),
            many = told_apart(&marks, &["old_rows", "new_rows"], many),
        )
    }

    /// Records what one row touches: `sides` are its names in `from`. Whether it counts at all has been asked;
    /// where marks stand on the rows of different `conditions`, each is asked here. A further one may be added.
    fn record_one(
        &self,
        marks: &[Marked<'_>],
        conditions: &[&BTreeSet<String>],
        from: &str,
        sides: &[&str],
    ) -> String {
        let several = marks
            .iter()
            .any(|marked| marked.condition != marks[0].condition);
        let rows = join(marks, ",\n        ", |Marked { mark, condition }| {
            let there = join(sides, " OR ", |side| mark.refers(column_of(side)));
            let value = |side: &&str| {
                let column = column_of(side);
                let values = join(mark.columns(), ", ", |name| mark.text(name, &column(name)));
                match mark {
                    Mark::Key { .. } | Mark::Part { .. } => format!("ARRAY[{values}]"),
                    Mark::Member { .. } | Mark::Table => values,
                }
            };
            let counts = condition.filter(|_| several);
            let counts = counts.map(|number| differs(&[], conditions[number]));
            let members = |condition: Option<String>, members: String| match condition {
                None => members,
                Some(condition) => format!("CASE WHEN {condition} THEN {members} END"),
            };
            match mark {
                Mark::Table => {
                    self.whole_row(&members(counts, "'{}'::pg_catalog.text[]".to_owned()))
                }
                Mark::Member { family: name, .. }
                | Mark::Key { path: name, .. }
                | Mark::Part { path: name, .. } => {
                    let condition = match counts {
                        None => there,
                        Some(counts) => format!("{counts} AND ({there})"),
                    };
                    let values = format!("ARRAY[{}]", join(sides, ", ", value));
                    self.row(kind(mark), name, &members(Some(condition), values))
                }
            }
        });
        format!(
            "{INTO_OUTBOX}
      SELECT s.source, s.kind, s.name, s.members FROM {from} CROSS JOIN LATERAL (VALUES
        {rows}
      ) AS s (source, kind, name, members) WHERE s.members IS NOT NULL"
        )
    }

    /// Records what the rows in `touched` touch. They have these columns, as `c0`, `c1` …, and for
    /// each condition whether they meet it, as `d0`, `d1` … No two of them have the same `key`, if there is one.
    fn record_many(
        &self,
        marks: &[Marked<'_>],
        names: &[String],
        columns: &[&String],
        touched: &str,
        key: &[KeyColumn],
    ) -> String {
        let source = self.source();
        // In the key's own order.
        let place = |column: &String| {
            let place = columns.iter().position(|known| *known == column);
            place.map_or_else(String::new, |place| format!("c{place}"))
        };
        // What several marks take alike is listed once.
        let mut lists: Vec<String> = Vec::new();
        let parts = join(marks, "\n      UNION ALL ", |Marked { mark, condition }| {
            let counts = condition.map(|number| format!("t.d{number}"));
            let Some(family) = mark.family() else {
                let only_if = counts.map_or_else(String::new, |counts| {
                    format!(" WHERE EXISTS (SELECT FROM touched AS t WHERE {counts})")
                });
                return format!(
                    "SELECT {source}, 't'::pg_catalog.\"char\", {source}, '{{}}'::pg_catalog.text[]{only_if}",
                );
            };
            let list = list(mark, counts.as_deref(), key, place);
            let number = lists.iter().position(|known| *known == list);
            let number = number.unwrap_or_else(|| {
                lists.push(list);
                lists.len() - 1
            });
            let length = "pg_catalog.array_length(l.members, 1)";
            let folds = format!("{length} OPERATOR(pg_catalog.>) {FOLD_AT}");
            let family = format!("{}::pg_catalog.text", literal(family));
            let name = match mark {
                Mark::Key { path, .. } | Mark::Part { path, .. } => {
                    format!("CASE WHEN {folds} THEN {family} ELSE {} END", literal(path))
                }
                Mark::Member { .. } | Mark::Table => family,
            };
            format!(
                "SELECT {source}, CASE WHEN {folds} THEN 'f'::pg_catalog.\"char\" ELSE '{kind}' END,
        {name},
        CASE WHEN {folds} THEN '{{}}'::pg_catalog.text[] ELSE l.members END
        FROM list{number} AS l WHERE {length} OPERATOR(pg_catalog.>) 0",
                kind = kind(mark),
            )
        });
        let listed = lists.iter().enumerate();
        let listed = join(listed, "", |(number, list)| {
            format!(",\n    list{number} (members) AS MATERIALIZED ({list})")
        });
        format!(
            "WITH touched ({}) AS {touched}{listed}
    {INTO_OUTBOX}
      {parts}",
            names.join(", ")
        )
    }
}

/// What a mark takes from the rows in `touched`, each once: at most one more than [`FOLD_AT`], which is enough to
/// know.
fn list(
    mark: &Mark,
    counts: Option<&str>,
    key: &[KeyColumn],
    place: impl Fn(&String) -> String,
) -> String {
    let of_row = |column: &String| format!("t.{}", place(column));
    let counts = counts.map_or_else(String::new, |counts| format!("{counts} AND "));
    let columns = mark.columns();
    let is_once = !key.is_empty() && key.iter().all(|it| columns.contains(&it.name));
    let rows = format!(
        "SELECT {distinct}{values} FROM touched AS t WHERE {counts}{there} LIMIT {limit}",
        distinct = if is_once { "" } else { "DISTINCT " },
        values = join(columns, ", ", of_row),
        there = mark.refers(of_row),
        limit = FOLD_AT + 1,
    );
    match (mark, columns) {
        (Mark::Member { .. } | Mark::Key { .. }, [_]) => {
            format!("SELECT ARRAY({rows})::pg_catalog.text[]")
        }
        (_, columns) => {
            let values = join(columns, ", ", |column| {
                mark.text(column, &format!("d.{}", place(column)))
            });
            format!("SELECT pg_catalog.array_agg(ARRAY[{values}])\n      FROM ({rows}) AS d")
        }
    }
}

/// The kind of outbox row that a mark makes.
const fn kind(mark: &Mark) -> char {
    match mark {
        Mark::Table => 't',
        Mark::Member { .. } => 'm',
        Mark::Key { .. } => 'p',
        Mark::Part { .. } => 'q',
    }
}

/// What records several rows, which are in these transition tables: parts are told apart only if there are not
/// too many.
fn told_apart(
    marks: &[Marked<'_>],
    tables: &[&str],
    record: impl Fn(&[Marked<'_>]) -> String,
) -> String {
    let tells = |marked: &Marked<'_>| matches!(marked.mark, Mark::Part { .. });
    if !marks.iter().any(tells) {
        return format!("{};", record(marks));
    }
    let whole: Vec<_> = marks
        .iter()
        .map(|marked| Marked {
            mark: marked.mark.whole(),
            ..*marked
        })
        .collect();
    let too_many = join(tables, " OR ", |table| {
        format!("EXISTS (SELECT FROM {table} OFFSET {PARTS_AT})")
    });
    format!(
        "IF {too_many} THEN
    {};
    ELSE
    {};
    END IF;",
        record(&whole),
        record(marks),
    )
}

/// The columns of all marks, each once.
fn columns_of<'a>(marks: &[Marked<'a>]) -> Vec<&'a String> {
    let mut columns = Vec::new();
    for column in marks.iter().flat_map(|marked| marked.mark.columns()) {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    columns
}

/// Old and new rows, each with the one that has its key on the other side.
fn paired(key: &[KeyColumn]) -> String {
    let on = join(key, " AND ", |KeyColumn { name, equals }| {
        let name = quoted_part(name);
        format!("o.{name} {equals} n.{name}")
    });
    format!("old_rows AS o FULL JOIN new_rows AS n ON {on}")
}

/// Whether a pair is without its other side, or the sides look different.
fn differs(key: &[KeyColumn], used: &BTreeSet<String>) -> String {
    let mut alone = String::new();
    if let Some(KeyColumn { name, .. }) = key.first() {
        let name = quoted_part(name);
        alone = format!("o.{name} IS NULL OR n.{name} IS NULL OR ");
    }
    let image = |side: &str| {
        join(used, ", ", |column| {
            format!("{side}.{}", quoted_part(column))
        })
    };
    format!(
        "{alone}pg_catalog.record_image_ne(ROW({}), ROW({}))",
        image("o"),
        image("n")
    )
}

/// The columns of one side.
fn side(alias: &str, columns: &[&String]) -> String {
    join(columns, ", ", |column| {
        format!("{alias}.{}", quoted_part(column))
    })
}

/// `c0`, `c1` …
fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{prefix}{number}"))
        .collect()
}

fn join<T>(
    items: impl IntoIterator<Item = T>,
    separator: &str,
    item: impl FnMut(T) -> String,
) -> String {
    items
        .into_iter()
        .map(item)
        .collect::<Vec<_>>()
        .join(separator)
}
