//! The triggers of one table, and of the tables that share rows with it.
//!
//! Statement-level triggers with transition tables: their cost is a statement's, not a row's. Such
//! a trigger serves one operation only, so there is one for each, with a function of its own.

use std::fmt::Write as _;

use super::{
    function::{Operation, Target},
    name::{bounded, quoted_part},
    relation::{Relation, Relative},
};

/// Drops the functions of an earlier installation, and with them their triggers.
pub(super) const DROP_ALL: &str = r"DO $$
DECLARE
    capture regprocedure;
BEGIN
    FOR capture IN
        SELECT oid FROM pg_catalog.pg_proc
        WHERE pronamespace = 'tidemark'::regnamespace AND proname LIKE 'capture %'
    LOOP
        EXECUTE 'DROP FUNCTION ' || capture || ' CASCADE';
    END LOOP;
END $$;
";

/// A table's capture.
pub(super) struct TableCapture {
    /// The SQL that makes its functions and triggers.
    pub(super) sql: String,
    /// The relation and name of each trigger.
    pub(super) triggers: Vec<(String, String)>,
}

/// The capture of one table, and of those that share rows with it: who writes to one of those by
/// its own name fires no trigger of the table, and yet changes what it shows.
pub(super) fn of_table(
    relation: &Relation,
    relatives: &[Relative],
    target: &Target<'_>,
) -> TableCapture {
    let table = target.table;
    let mut capture = TableCapture {
        sql: String::new(),
        triggers: Vec::new(),
    };
    let operations: Vec<_> = Operation::ALL
        .into_iter()
        .filter(|operation| target.records_any(*operation))
        .collect();
    for operation in &operations {
        let function = function_name(*operation, table);
        capture
            .sql
            .push_str(&target.function(&function, *operation));
    }
    for operation in operations {
        capture.add(&relation.sql_name, table, operation, Calls::Own);
        for relative in relatives {
            let calls = if relative.same_columns {
                Calls::Own
            } else {
                Calls::Truncate
            };
            capture.add(&relative.sql_name, table, operation, calls);
        }
    }
    capture
}

/// The function that a trigger calls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Calls {
    /// The operation's own, which looks at the rows.
    Own,
    /// The one that looks at no rows and records every scope: rows of this relation lack columns.
    Truncate,
}

impl TableCapture {
    /// A trigger of one relation. Its name holds the table's, since a partition may be captured for
    /// its own sake as well.
    fn add(&mut self, relation: &str, table: &str, operation: Operation, calls: Calls) {
        let referencing = match (operation, calls) {
            (Operation::Insert, Calls::Own) => " REFERENCING NEW TABLE AS new_rows",
            (Operation::Update, Calls::Own) => {
                " REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"
            }
            (Operation::Delete, Calls::Own) => " REFERENCING OLD TABLE AS old_rows",
            _ => "",
        };
        let called = match calls {
            Calls::Own => operation,
            Calls::Truncate => Operation::Truncate,
        };
        let name = bounded(&format!("tidemark {} {table}", operation.name()));
        let quoted = quoted_part(&name);
        // Writing to a string can't fail.
        let _ = write!(
            self.sql,
            "CREATE TRIGGER {quoted} AFTER {operation} ON {relation}{referencing}\n  \
             FOR EACH STATEMENT EXECUTE FUNCTION {function}();\n\
             ALTER TABLE {relation} ENABLE ALWAYS TRIGGER {quoted};\n",
            operation = operation.name(),
            function = function_name(called, table),
        );
        self.triggers.push((relation.to_owned(), name));
    }
}

fn function_name(operation: Operation, table: &str) -> String {
    let name = bounded(&format!("capture {} {table}", operation.name()));
    format!("tidemark.{}", quoted_part(&name))
}
