//! What a stored view refers to, read from its rule tree.
//!
//! `pg_depend` would be the simpler source, but it knows nothing of what can't be dropped (system
//! catalogs, built-in functions), nor of references to a row as a whole.

use std::collections::BTreeSet;

use super::tree::{self, IllegibleTree, Node, Value};

/// What a range table entry is, as PostgreSQL numbers it.
const RELATION: i64 = 0;
const JOIN: i64 = 2;

/// `tableoid`, the one system column that no update changes.
const TABLEOID: i64 = -6;

/// What `CURRENT_DATE` and its like are called, in the order in which PostgreSQL numbers them.
const VALUE_FUNCTIONS: [&str; 15] = [
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURRENT_TIMESTAMP",
    "LOCALTIME",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "LOCALTIMESTAMP",
    "CURRENT_ROLE",
    "CURRENT_USER",
    "USER",
    "SESSION_USER",
    "CURRENT_CATALOG",
    "CURRENT_SCHEMA",
];

/// Everything that a rule refers to, by OID.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct References {
    /// Tables, views and whatever else stands in a FROM.
    pub(super) relations: BTreeSet<i64>,
    /// Those of which a whole row or a system column is used.
    pub(super) whole: BTreeSet<i64>,
    /// Functions and aggregates.
    pub(super) functions: BTreeSet<i64>,
    /// Operators, those that sort and group included.
    pub(super) operators: BTreeSet<i64>,
    /// `CURRENT_DATE` and its like, as SQL writes them.
    pub(super) value_functions: BTreeSet<&'static str>,
    /// Whether there is a TABLESAMPLE.
    pub(super) samples: bool,
    /// Whether there is a FOR UPDATE or its like.
    pub(super) locks: bool,
}

/// Reads `pg_rewrite.ev_action`.
pub(super) fn references(ev_action: &str) -> Result<References, IllegibleTree> {
    let mut reader = Reader::default();
    reader.value(&tree::parse(ev_action)?)?;
    Ok(reader.found)
}

/// A range table entry: what it is, and the relation that it is, if any.
#[derive(Clone, Copy)]
struct Entry {
    kind: i64,
    relation: i64,
}

#[derive(Default)]
struct Reader {
    /// The range tables of the query being read and of those around it, the innermost last.
    range_tables: Vec<Vec<Entry>>,
    found: References,
}

impl Reader {
    fn value(&mut self, value: &Value<'_>) -> Result<(), IllegibleTree> {
        match value {
            Value::Node(node) => self.node(node),
            Value::List(values) => values.iter().try_for_each(|value| self.value(value)),
            Value::Word(_) => Ok(()),
        }
    }

    fn node(&mut self, node: &Node<'_>) -> Result<(), IllegibleTree> {
        let is_query = node.name == "QUERY";
        if is_query {
            let range_table = range_table(node)?;
            let relations = range_table.iter().filter(|entry| entry.kind == RELATION);
            self.found
                .relations
                .extend(relations.map(|entry| entry.relation));
            self.range_tables.push(range_table);
        }
        match node.name {
            "VAR" => self.variable(node)?,
            "SQLVALUEFUNCTION" => {
                let name = node
                    .number("op")
                    .and_then(|op| VALUE_FUNCTIONS.get(usize::try_from(op).ok()?));
                self.found
                    .value_functions
                    .insert(name.ok_or(IllegibleTree)?);
            }
            "TABLESAMPLECLAUSE" => self.found.samples = true,
            "ROWMARKCLAUSE" => self.found.locks = true,
            _ => {}
        }
        for (field, values) in &node.fields {
            match *field {
                "funcid" | "aggfnoid" | "winfnoid" => {
                    self.found.functions.extend(oids(values));
                }
                "opno" | "opnos" | "eqop" | "sortop" => {
                    self.found.operators.extend(oids(values));
                }
                _ => {}
            }
            values.iter().try_for_each(|value| self.value(value))?;
        }
        if is_query {
            self.range_tables.pop();
        }
        Ok(())
    }

    /// A column has its dependency in `pg_depend`; what remains are whole rows and system columns.
    fn variable(&mut self, node: &Node<'_>) -> Result<(), IllegibleTree> {
        let number = |field| node.number(field).ok_or(IllegibleTree);
        let column = number("varattno")?;
        if column > 0 || column == TABLEOID {
            return Ok(());
        }
        let place = |number: i64| usize::try_from(number).map_err(|_| IllegibleTree);
        let level = place(number("varlevelsup")?)? + 1;
        let range_table = self
            .range_tables
            .len()
            .checked_sub(level)
            .map(|at| &self.range_tables[at])
            .ok_or(IllegibleTree)?;
        let entry = range_table
            .get(place(number("varno")? - 1)?)
            .ok_or(IllegibleTree)?;
        let relations = range_table.iter().filter(|other| match entry.kind {
            RELATION => other.kind == RELATION && other.relation == entry.relation,
            // A row of a join is made of the rows of tables beside it.
            JOIN => other.kind == RELATION,
            // The columns of a subquery name what they are made of themselves.
            _ => false,
        });
        self.found
            .whole
            .extend(relations.map(|entry| entry.relation));
        Ok(())
    }
}

fn range_table(query: &Node<'_>) -> Result<Vec<Entry>, IllegibleTree> {
    let entries = match query.field("rtable") {
        Some([Value::List(entries)]) => entries.as_slice(),
        Some([Value::Word("<>")]) => &[],
        _ => return Err(IllegibleTree),
    };
    entries
        .iter()
        .map(|entry| {
            let Value::Node(entry) = entry else {
                return Err(IllegibleTree);
            };
            let kind = entry.number("rtekind").ok_or(IllegibleTree)?;
            let relation = match kind {
                RELATION => entry.number("relid").ok_or(IllegibleTree)?,
                _ => 0,
            };
            Ok(Entry { kind, relation })
        })
        .collect()
}

/// One OID, or a list of them behind the letter that says so; zero stands for none.
fn oids<'v>(values: &'v [Value<'_>]) -> impl Iterator<Item = i64> + 'v {
    let words = match values {
        [Value::List(words)] => words.as_slice(),
        words => words,
    };
    words
        .iter()
        .filter_map(|word| match word {
            Value::Word(word) => word.parse().ok(),
            _ => None,
        })
        .filter(|oid| *oid != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query with this range table, which uses these expressions.
    fn query(range_table: &str, expressions: &str) -> String {
        format!("{{QUERY :commandType 1 :rtable {range_table} :targetList ({expressions})}}")
    }

    fn relation(oid: i64) -> String {
        format!("{{RANGETBLENTRY :eref {{ALIAS :aliasname t}} :rtekind 0 :relid {oid} :relkind r}}")
    }

    fn variable(varno: usize, varattno: i64, levels_up: usize) -> String {
        format!("{{VAR :varno {varno} :varattno {varattno} :varlevelsup {levels_up}}}")
    }

    fn whole(tree: &str) -> Vec<i64> {
        let references = references(tree).unwrap();
        references.whole.into_iter().collect()
    }

    #[test]
    fn a_whole_row_or_a_system_column_is_of_its_table() {
        let tables = format!("({} {})", relation(100), relation(200));
        for (column, expected) in [(0, vec![200]), (-2, vec![200]), (-6, vec![]), (3, vec![])] {
            assert_eq!(whole(&query(&tables, &variable(2, column, 0))), expected);
        }
    }

    #[test]
    fn a_whole_row_may_be_of_a_query_around() {
        let inner = query(&format!("({})", relation(200)), &variable(1, 0, 1));
        let sublink = format!("{{SUBLINK :subselect {inner}}}");
        let tree = query(&format!("({})", relation(100)), &sublink);
        assert_eq!(whole(&tree), [100]);
        assert_eq!(
            references(&tree).unwrap().relations,
            BTreeSet::from([100, 200])
        );
    }

    #[test]
    fn a_whole_row_of_a_subquery_is_of_no_table_and_one_of_a_join_of_all() {
        let subquery = query(&format!("({})", relation(200)), &variable(1, 1, 0));
        let tables = format!(
            "({} {{RANGETBLENTRY :rtekind 1 :subquery {subquery}}} {} {{RANGETBLENTRY :rtekind 2}})",
            relation(100),
            relation(300)
        );
        assert_eq!(
            whole(&query(&tables, &variable(2, 0, 0))),
            Vec::<i64>::new()
        );
        assert_eq!(whole(&query(&tables, &variable(4, 0, 0))), [100, 300]);
    }

    #[test]
    fn functions_and_operators_are_found_wherever_they_are() {
        let tree = query(
            "<>",
            "{FUNCEXPR :funcid 7 :args ({OPEXPR :opno 8 :opfuncid 0} {AGGREF :aggfnoid 9})} \
             {ROWCOMPAREEXPR :opnos (o 10 11)} {SORTGROUPCLAUSE :eqop 12 :sortop 0} \
             {WINDOWFUNC :winfnoid 13} {SQLVALUEFUNCTION :op 3} {TABLESAMPLECLAUSE :tsmhandler 1} \
             {ROWMARKCLAUSE :rti 1}",
        );
        let references = references(&tree).unwrap();
        assert_eq!(references.functions, BTreeSet::from([7, 9, 13]));
        assert_eq!(references.operators, BTreeSet::from([8, 10, 11, 12]));
        assert_eq!(
            references.value_functions,
            BTreeSet::from(["CURRENT_TIMESTAMP"])
        );
        assert!(references.samples && references.locks);
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        for tree in [
            query("<>", &variable(1, 0, 0)),
            query("<>", &variable(1, 0, 7)),
            query("<>", "{SQLVALUEFUNCTION :op 99}"),
            query("7", ""),
        ] {
            assert_eq!(references(&tree), Err(IllegibleTree), "{tree}");
        }
    }
}
