//! The trigger functions of one table: which scopes its changed rows touch, as PL/pgSQL.
//!
//! They are made to cost writers little. One row, the most frequent case, takes a path without
//! aggregates; whatever a statement touches goes into the outbox by one `INSERT`. They do no
//! `NOTIFY`: its lock at commit serialises all writers. And they set no `search_path`, which costs
//! as much as an outbox row: instead, everything in them is named with its schema, operators too.

use super::{
    name::{dollar_quoted, literal, quoted_part},
    path::Mark,
    relation::KeyColumn,
};

/// A statement that touches more members of a family, or more keys of a path, than this records
/// the family as a whole.
const FOLD_AT: u32 = 1_000;

/// How an outbox row begins.
const INTO_OUTBOX: &str = "INSERT INTO tidemark.outbox (kind, name, members)";

/// What the changed rows of a table record.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// The table, as the catalog names it.
    pub(super) table: &'a str,
    /// Whether a query depends on the table as a whole.
    pub(super) whole_table: bool,
    /// What else it records, one for each family.
    pub(super) marks: Vec<Mark>,
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
    Changed {
        /// What tells which old row became which new one. A row whose key changes counts, on both
        /// sides.
        key: Vec<KeyColumn>,
        columns: Vec<String>,
    },
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

impl Target<'_> {
    /// The body of the function that an operation's triggers call.
    pub(super) fn body(&self, operation: Operation) -> String {
        let record = match (operation, &self.updates) {
            (Operation::Truncate, _) | (Operation::Update, Updates::Ignored) => {
                return format!("BEGIN\n  {};\n  RETURN NULL;\nEND\n", self.everything());
            }
            (Operation::Insert, _) => self.record("new_rows"),
            (Operation::Delete, _) => self.record("old_rows"),
            (Operation::Update, Updates::Each) => self.record_both_sides(None),
            (Operation::Update, Updates::Changed { key, columns }) => {
                self.record_both_sides(Some((key, columns)))
            }
        };
        let variables = if self.marks.is_empty() {
            ""
        } else {
            "DECLARE\n  rows_before pg_catalog.int8;\n  rows_after pg_catalog.int8;\n  differs pg_catalog.bool;\n"
        };
        format!("{variables}BEGIN\n{record}  RETURN NULL;\nEND\n")
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

    /// Records every scope that the table could touch.
    fn everything(&self) -> String {
        let whole = self.whole_table.then(|| self.whole_row());
        let families = self.marks.iter().map(|mark| {
            format!(
                "('f'::pg_catalog.\"char\", {}, '{{}}'::pg_catalog.text[])",
                literal(mark.family())
            )
        });
        let rows: Vec<_> = whole.into_iter().chain(families).collect();
        format!("{INTO_OUTBOX} VALUES {}", rows.join(", "))
    }

    fn whole_row(&self) -> String {
        format!(
            "('t'::pg_catalog.\"char\", {}::pg_catalog.text, '{{}}'::pg_catalog.text[])",
            literal(self.table)
        )
    }

    /// For inserts and deletes, which have one transition table.
    fn record(&self, rows: &str) -> String {
        if self.marks.is_empty() {
            return format!(
                "  IF EXISTS (SELECT FROM {rows}) THEN\n    {};\n  END IF;\n",
                self.everything()
            );
        }
        let columns = self.mark_columns();
        let touched = format!(
            "NOT MATERIALIZED (SELECT {} FROM {rows} AS r)",
            side("r", &columns)
        );
        format!(
            "  SELECT pg_catalog.count(*) INTO rows_after FROM (SELECT FROM {rows} LIMIT 2) AS few;
  IF rows_after OPERATOR(pg_catalog.=) 1 THEN
    {one};
  ELSIF rows_after OPERATOR(pg_catalog.>) 1 THEN
    {many};
  END IF;
",
            one = self.record_one(&format!("{rows} AS r"), &["r"]),
            many = self.record_many(&columns, &touched, false),
        )
    }

    /// For updates, whose transition tables have the rows before and after.
    fn record_both_sides(&self, changed: Option<(&Vec<KeyColumn>, &Vec<String>)>) -> String {
        let pairs =
            changed.map(|(key, used)| (paired(key), differs(key, used), differs(&[], used)));
        if self.marks.is_empty() {
            let touched = match &pairs {
                None => "new_rows".to_owned(),
                Some((paired, differs, _)) => format!("{paired} WHERE {differs}"),
            };
            return format!(
                "  IF EXISTS (SELECT FROM {touched}) THEN\n    {};\n  END IF;\n",
                self.everything()
            );
        }
        let columns = self.mark_columns();
        let touched = match &pairs {
            None => format!(
                "NOT MATERIALIZED (SELECT {} FROM old_rows AS o UNION ALL SELECT {} FROM new_rows AS n)",
                side("o", &columns),
                side("n", &columns)
            ),
            Some((paired, differs, _)) => format!(
                "MATERIALIZED (SELECT s.* FROM {paired}
      CROSS JOIN LATERAL (VALUES ({}), ({})) AS s WHERE {differs})",
                side("o", &columns),
                side("n", &columns)
            ),
        };
        // Whether a single row differs is asked before anything is written: that is all that an
        // update of columns that don't matter costs.
        let differs = pairs.as_ref().map_or("true".to_owned(), |(.., differs)| {
            format!(
                "(SELECT {differs} FROM (SELECT * FROM old_rows LIMIT 1) AS o
            CROSS JOIN (SELECT * FROM new_rows LIMIT 1) AS n)"
            )
        });
        format!(
            "  SELECT (SELECT pg_catalog.count(*) FROM (SELECT FROM old_rows LIMIT 2) AS few),
         (SELECT pg_catalog.count(*) FROM (SELECT FROM new_rows LIMIT 2) AS few),
         {differs}
    INTO rows_before, rows_after, differs;
  IF rows_before OPERATOR(pg_catalog.=) 1 AND rows_after OPERATOR(pg_catalog.=) 1 THEN
    IF differs THEN
      {one};
    END IF;
  ELSIF rows_before OPERATOR(pg_catalog.>) 0 OR rows_after OPERATOR(pg_catalog.>) 0 THEN
    {many};
  END IF;
",
            one = self.record_one("old_rows AS o CROSS JOIN new_rows AS n", &["o", "n"]),
            many = self.record_many(&columns, &touched, pairs.is_some()),
        )
    }

    /// Records what one row touches: `sides` are its names in `from`.
    fn record_one(&self, from: &str, sides: &[&str]) -> String {
        let mut rows: Vec<_> = self
            .whole_table
            .then(|| self.whole_row())
            .into_iter()
            .collect();
        for mark in &self.marks {
            // All columns of a key are there, or it refers to nothing.
            let there = join(sides, " OR ", |side| {
                join(mark.columns(), " AND ", |column| {
                    format!("{side}.{} IS NOT NULL", quoted_part(column))
                })
            });
            let values = |column: &String| {
                let values = join(sides, ", ", |side| {
                    format!("{side}.{}::pg_catalog.text", quoted_part(column))
                });
                format!("ARRAY[{values}]")
            };
            let (kind, name, values) = match mark {
                Mark::Member { family, column } => ("m", family, values(column)),
                Mark::Key { path, columns, .. } => {
                    ("p", path, format!("ARRAY[{}]", join(columns, ", ", values)))
                }
            };
            rows.push(format!(
                "('{kind}'::pg_catalog.\"char\", {}, CASE WHEN {there} THEN {values} END)",
                literal(name)
            ));
        }
        format!(
            "{INTO_OUTBOX}
      SELECT s.kind, s.name, s.members FROM {from} CROSS JOIN LATERAL (VALUES
        {}
      ) AS s (kind, name, members) WHERE s.members IS NOT NULL",
            rows.join(",\n        ")
        )
    }

    /// Records what the rows in `touched` touch; they have these columns, as `c0`, `c1` …
    fn record_many(&self, columns: &[&String], touched: &str, may_be_none: bool) -> String {
        let mut parts = Vec::new();
        if self.whole_table {
            let only_if = if may_be_none {
                " WHERE EXISTS (SELECT FROM touched)"
            } else {
                ""
            };
            parts.push(format!(
                "SELECT 't'::pg_catalog.\"char\", {}::pg_catalog.text, '{{}}'::pg_catalog.text[]{only_if}",
                literal(self.table)
            ));
        }
        for mark in &self.marks {
            let names: Vec<_> = (0..columns.len())
                .filter(|index| mark.columns().contains(columns[*index]))
                .collect();
            // In the key's own order.
            let place = |column: &String| {
                let place = names.iter().find(|index| columns[**index] == column);
                place.map_or_else(String::new, |index| format!("c{index}"))
            };
            let values = join(mark.columns(), ", ", |column| {
                format!("t.{}", place(column))
            });
            let there = join(mark.columns(), " AND ", |column| {
                format!("t.{} IS NOT NULL", place(column))
            });
            let gathered = |column: &String| {
                format!("pg_catalog.array_agg(d.{}::pg_catalog.text)", place(column))
            };
            let folds = format!("pg_catalog.count(*) OPERATOR(pg_catalog.>) {FOLD_AT}");
            let family = format!("{}::pg_catalog.text", literal(mark.family()));
            let (kind, name, gathered) = match mark {
                Mark::Member { column, .. } => ("m", family, gathered(column)),
                Mark::Key { path, columns, .. } => (
                    "p",
                    format!("CASE WHEN {folds} THEN {family} ELSE {} END", literal(path)),
                    format!("ARRAY[{}]", join(columns, ", ", gathered)),
                ),
            };
            // LIMIT bounds the result: one more than FOLD_AT is enough to know.
            parts.push(format!(
                "SELECT CASE WHEN {folds} THEN 'f'::pg_catalog.\"char\" ELSE '{kind}' END,
        {name},
        CASE WHEN {folds} THEN '{{}}'::pg_catalog.text[] ELSE {gathered} END
        FROM (SELECT DISTINCT {values} FROM touched AS t WHERE {there} LIMIT {limit}) AS d
        HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0",
                limit = FOLD_AT + 1,
            ));
        }
        let names: Vec<_> = (0..columns.len())
            .map(|index| format!("c{index}"))
            .collect();
        format!(
            "WITH touched ({}) AS {touched}
    {INTO_OUTBOX}
      {}",
            names.join(", "),
            parts.join("\n      UNION ALL ")
        )
    }

    /// The columns of all marks, each once.
    fn mark_columns(&self) -> Vec<&String> {
        let mut columns = Vec::new();
        for column in self.marks.iter().flat_map(Mark::columns) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }
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
fn differs(key: &[KeyColumn], used: &[String]) -> String {
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

fn join<T>(items: &[T], separator: &str, item: impl Fn(&T) -> String) -> String {
    items.iter().map(item).collect::<Vec<_>>().join(separator)
}
