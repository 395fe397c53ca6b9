//! What a query may use that no trigger sees: its answers change without any row of a table in
//! `reads` having changed.

use std::fmt;

/// The first OID that PostgreSQL gives to what users make (`FirstNormalObjectId`).
pub(super) const FIRST_OF_USERS: i64 = 16_384;

/// One thing that a query uses and no trigger sees.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// What it is called in `acknowledge`, e.g. `now()` or `public.price_of(bigint)`.
    pub name: String,
    /// Why its changes go unseen.
    pub why: Unseen,
    /// Other names by which it may be acknowledged.
    pub(super) aliases: Vec<String>,
}

impl Source {
    /// Whether an entry of `acknowledge` means this.
    pub fn is_called(&self, entry: &str) -> bool {
        let normal = |name: &str| name.replace(' ', "").to_lowercase();
        std::iter::once(&self.name)
            .chain(&self.aliases)
            .any(|name| normal(name) == normal(entry))
    }
}

/// Why changes of a source go unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unseen {
    /// A materialized view.
    MaterializedView,
    /// A foreign table, or a partition that is one.
    ForeignTable,
    /// A system catalog, or a function that reads one.
    SystemCatalog,
    /// A sequence, as something to select from.
    Sequence,
    /// Row-level security that applies to the role which asks.
    RowSecurity,
    /// A function of the users' that is not IMMUTABLE.
    Function,
    /// A built-in function that is VOLATILE.
    Volatile,
    /// The current time.
    Time,
    /// The session, the role or the settings.
    Session,
    /// TABLESAMPLE.
    Sample,
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MaterializedView => "a materialized view, whose refresh fires no trigger",
            Self::ForeignTable => "a foreign table, which others change without firing a trigger",
            Self::SystemCatalog => "of the system catalogs, which have no triggers",
            Self::Sequence => "a sequence, which has no triggers",
            Self::RowSecurity => {
                "under row-level security for this role, whose policies may read what no trigger sees"
            }
            Self::Function => {
                "a function that is not IMMUTABLE, and may read tables that are not in reads"
            }
            Self::Volatile => "volatile: it answers differently each time, and fires no trigger",
            Self::Time => "different as time passes, which fires no trigger",
            Self::Session => "a matter of the origin's session and role, not of the one who asks",
            Self::Sample => "another choice of rows each time",
        })
    }
}

/// A function or aggregate, as `pg_proc` has it.
pub(super) struct Function {
    pub(super) oid: i64,
    pub(super) schema: String,
    pub(super) name: String,
    /// The types of its arguments, e.g. `bigint, text`.
    pub(super) arguments: String,
    /// `i`, `s` or `v`.
    pub(super) volatility: String,
}

impl Function {
    /// What is unseen of it, if anything.
    pub(super) fn source(&self) -> Option<Source> {
        let why = self.why()?;
        let plain = format!("{}({})", self.name, self.arguments);
        let qualified = format!("{}.{plain}", self.schema);
        let (name, alias) = match self.is_built_in() {
            true => (plain, qualified),
            false => (qualified, plain),
        };
        Some(Source {
            name,
            why,
            aliases: vec![alias],
        })
    }

    fn is_built_in(&self) -> bool {
        self.oid < FIRST_OF_USERS && self.schema == "pg_catalog"
    }

    fn why(&self) -> Option<Unseen> {
        if self.volatility == "i" {
            return None;
        }
        if !self.is_built_in() {
            return Some(Unseen::Function);
        }
        let listed = |list: &[(&str, Option<&str>)]| {
            list.iter().any(|(name, arguments)| {
                *name == self.name && arguments.is_none_or(|arguments| arguments == self.arguments)
            })
        };
        if listed(OF_TIME) {
            Some(Unseen::Time)
        } else if self.volatility == "v" {
            Some(Unseen::Volatile)
        } else if listed(OF_SESSION) {
            Some(Unseen::Session)
        } else if self.reads_catalogs() {
            Some(Unseen::SystemCatalog)
        } else {
            None
        }
    }

    /// By the names that PostgreSQL gives to such functions.
    fn reads_catalogs(&self) -> bool {
        let name = self.name.as_str();
        (name.starts_with("pg_") && !OF_ARGUMENTS_ONLY.contains(&name))
            || (name.starts_with("has_") && name.ends_with("_privilege"))
            || name.ends_with("_description")
            || ["table_to_xml", "schema_to_xml", "database_to_xml"]
                .iter()
                .any(|reader| name.starts_with(reader))
    }
}

// Which built-in functions that are not IMMUTABLE change an answer while no row changes. VOLATILE
// ones all do. Most STABLE ones (to_char, json_build_object, comparisons of date and timestamptz …)
// are not IMMUTABLE only because a setting such as TimeZone plays a part, and the origin's settings
// stay as they are; those that depend on more are listed here.

/// Functions of the current time, and their arguments where others have the same name.
const OF_TIME: &[(&str, Option<&str>)] = &[
    ("now", None),
    ("transaction_timestamp", None),
    ("statement_timestamp", None),
    ("clock_timestamp", None),
    ("timeofday", None),
    // Reckons from CURRENT_DATE.
    ("age", Some("timestamp without time zone")),
    ("age", Some("timestamp with time zone")),
    // The offset of today.
    ("timetz", Some("time without time zone")),
    ("timezone", Some("text, time with time zone")),
];

/// Functions of the session, its role or its transaction.
const OF_SESSION: &[(&str, Option<&str>)] = &[
    ("age", Some("xid")),
    ("mxid_age", None),
    ("current_database", None),
    ("current_schema", None),
    ("current_schemas", None),
    ("current_setting", None),
    ("current_user", None),
    ("get_current_ts_config", None),
    ("getpgusername", None),
    ("inet_client_addr", None),
    ("inet_client_port", None),
    ("inet_server_addr", None),
    ("inet_server_port", None),
    ("pg_backend_pid", None),
    ("pg_client_encoding", None),
    ("pg_current_snapshot", None),
    ("pg_current_xact_id", None),
    ("pg_current_xact_id_if_assigned", None),
    ("pg_listening_channels", None),
    ("pg_my_temp_schema", None),
    ("pg_trigger_depth", None),
    ("row_security_active", None),
    ("session_user", None),
    ("txid_current", None),
    ("txid_current_if_assigned", None),
    ("txid_current_snapshot", None),
];

/// Functions whose names begin with `pg_` and that look at their arguments only.
const OF_ARGUMENTS_ONLY: &[&str] = &[
    "pg_char_to_encoding",
    "pg_collation_for",
    "pg_column_compression",
    "pg_column_size",
    "pg_encoding_to_char",
    "pg_typeof",
];

/// `CURRENT_DATE` and its like, which are no functions to PostgreSQL.
pub(super) fn value_function(name: &str) -> Source {
    let of_session = ["CURRENT_ROLE", "CURRENT_USER", "USER", "SESSION_USER"].contains(&name)
        || ["CURRENT_CATALOG", "CURRENT_SCHEMA"].contains(&name);
    Source {
        name: name.to_owned(),
        why: if of_session {
            Unseen::Session
        } else {
            Unseen::Time
        },
        aliases: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(
        oid: i64,
        schema: &str,
        name: &str,
        arguments: &str,
        volatility: &str,
    ) -> Option<Unseen> {
        let function = Function {
            oid,
            schema: schema.to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
            volatility: volatility.to_owned(),
        };
        function.source().map(|source| source.why)
    }

    #[test]
    fn built_in_functions_are_told_apart() {
        let built_in =
            |name, arguments, volatility| why(1, "pg_catalog", name, arguments, volatility);
        assert_eq!(built_in("lower", "text", "i"), None);
        assert_eq!(
            built_in("to_char", "timestamp with time zone, text", "s"),
            None
        );
        assert_eq!(built_in("pg_typeof", "\"any\"", "s"), None);
        assert_eq!(built_in("now", "", "s"), Some(Unseen::Time));
        assert_eq!(built_in("clock_timestamp", "", "v"), Some(Unseen::Time));
        let timestamps = "timestamp with time zone, timestamp with time zone";
        assert_eq!(built_in("age", timestamps, "i"), None);
        assert_eq!(
            built_in("age", "timestamp with time zone", "s"),
            Some(Unseen::Time)
        );
        assert_eq!(built_in("random", "", "v"), Some(Unseen::Volatile));
        assert_eq!(
            built_in("current_setting", "text", "s"),
            Some(Unseen::Session)
        );
        assert_eq!(
            built_in("has_table_privilege", "text, text", "s"),
            Some(Unseen::SystemCatalog)
        );
    }

    #[test]
    fn a_function_of_the_users_is_trusted_only_if_it_is_immutable() {
        assert_eq!(why(20_000, "public", "price_of", "bigint", "i"), None);
        for volatility in ["s", "v"] {
            assert_eq!(
                why(20_000, "public", "now", "", volatility),
                Some(Unseen::Function)
            );
        }
    }

    #[test]
    fn a_source_has_its_name_with_or_without_the_schema() {
        let function = Function {
            oid: 20_000,
            schema: "sales".to_owned(),
            name: "price_of".to_owned(),
            arguments: "bigint, text".to_owned(),
            volatility: "s".to_owned(),
        };
        let source = function.source().unwrap();
        assert_eq!(source.name, "sales.price_of(bigint, text)");
        assert!(source.is_called("price_of(bigint,text)"));
        assert!(!source.is_called("price_of(bigint)"));
        assert!(value_function("CURRENT_DATE").is_called("current_date"));
    }
}
