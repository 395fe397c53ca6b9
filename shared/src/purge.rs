//! Purging: what a user names, which scopes that touches, and which entries it stands for.

use std::{collections::BTreeSet, fmt};

use crate::{
    catalog::{Capture, Catalog, Query},
    key::EntryName,
    param::ValueError,
    scope::Scope,
};

/// What is to be purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Everything that the catalog knows.
    All,
    /// Whatever depends on a table's rows.
    Table(String),
    /// All members of a family.
    Family(String),
    /// One member of a family, by the canonical text of its id.
    Member {
        /// The family's name.
        family: String,
        /// The id, as a parameter gives it.
        id: String,
    },
}

/// A change to be recorded as if a row had changed: a scope whose member is not yet escaped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Touched {
    /// A table as a whole.
    Table(String),
    /// A family as a whole.
    Family(String),
    /// One member of a family.
    Member {
        /// The family's name.
        family: String,
        /// The id as PostgreSQL shows it.
        id: String,
    },
}

/// What a user has named is not in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PurgeError {
    /// No query depends on such a table.
    #[error("no query depends on a table {name:?}; there are: {}", list(known))]
    UnknownTable {
        /// What was named.
        name: String,
        /// The tables that queries depend on.
        known: Vec<String>,
    },
    /// No query has such a scope.
    #[error(
        "no query has a scope of the family {name:?}; there are: {}",
        list(known)
    )]
    UnknownFamily {
        /// What was named.
        name: String,
        /// The families.
        known: Vec<String>,
    },
    /// No member can have such an id.
    #[error("{family}:{id}: the id {source}")]
    Id {
        /// The family's name.
        family: String,
        /// What was named.
        id: String,
        /// What is wrong with it.
        source: ValueError,
    },
}

fn list(known: &[String]) -> String {
    match known {
        [] => "none".to_owned(),
        known => known.join(", "),
    }
}

impl Target {
    /// Reads `orders`, `org:42` or `org:*`.
    ///
    /// # Errors
    /// The catalog has no such table or family, or the family no such member.
    pub fn parse(text: &str, catalog: &Catalog) -> Result<Self, PurgeError> {
        let Some((family, id)) = text.split_once(':') else {
            let tables = catalog.captures();
            if tables.contains_key(text) {
                return Ok(Self::Table(text.to_owned()));
            }
            return Err(PurgeError::UnknownTable {
                name: text.to_owned(),
                known: tables.into_keys().map(str::to_owned).collect(),
            });
        };
        let of_family = |query: &&Query| {
            let member = query.member.as_ref();
            member.is_some_and(|member| member.family == family)
        };
        let Some(query) = catalog.queries.values().find(of_family) else {
            return Err(PurgeError::UnknownFamily {
                name: family.to_owned(),
                known: families(catalog).into_iter().collect(),
            });
        };
        let family = family.to_owned();
        if id == "*" {
            return Ok(Self::Family(family));
        }
        let spec = query
            .member
            .as_ref()
            .and_then(|member| query.params.get(&member.param));
        let canonical = match spec.map(|spec| spec.kind.parse_text(id)) {
            None => id.to_owned(),
            Some(Ok(value)) => value.as_str().to_owned(),
            Some(Err(source)) => {
                let id = id.to_owned();
                return Err(PurgeError::Id { family, id, source });
            }
        };
        Ok(Self::Member {
            family,
            id: canonical,
        })
    }

    /// What has to be recorded so that everything that depends on this is invalidated.
    pub fn touched(&self, catalog: &Catalog) -> BTreeSet<Touched> {
        let captures = catalog.captures();
        match self {
            Self::All => captures
                .iter()
                .flat_map(|(table, captures)| touched_by(table, captures))
                .collect(),
            Self::Table(table) => captures
                .get(table.as_str())
                .map(|captures| touched_by(table, captures))
                .unwrap_or_default(),
            Self::Family(family) => BTreeSet::from([Touched::Family(family.clone())]),
            Self::Member { family, id } => BTreeSet::from([Touched::Member {
                family: family.clone(),
                id: id.clone(),
            }]),
        }
    }

    /// Whether an entry is among what this stands for.
    pub fn holds(&self, entry: &EntryName<'_>, catalog: &Catalog) -> bool {
        match self {
            Self::All => true,
            Self::Family(family) => entry.family() == Some(family),
            Self::Member { family, id } => entry.namespace == Scope::member(family, id).to_string(),
            // A table as a whole touches no single member.
            Self::Table(_) => catalog.queries.get(entry.view).is_some_and(|query| {
                let touched = self.touched(catalog);
                touched
                    .iter()
                    .any(|touched| query.depends_on(&touched.scope()))
            }),
        }
    }
}

impl Touched {
    /// The scope that edges know it by.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Table(table) => Scope::Table(table.clone()),
            Self::Family(family) => Scope::Family(family.clone()),
            Self::Member { family, id } => Scope::member(family, id),
        }
    }
}

impl fmt::Display for Touched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.scope().fmt(f)
    }
}

fn touched_by(table: &str, captures: &[Capture<'_>]) -> BTreeSet<Touched> {
    let touched = |capture: &Capture<'_>| match capture.touches.source() {
        None => Touched::Table(table.to_owned()),
        Some(source) => Touched::Family(source.family.clone()),
    };
    captures.iter().map(touched).collect()
}

fn families(catalog: &Catalog) -> BTreeSet<String> {
    let members = catalog.queries.values().filter_map(|q| q.member.as_ref());
    members.map(|member| member.family.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Keyspace;

    const CATALOG: &str = r#"
        [query.dashboard]
        path = "/org/{org}/dashboard"
        params = { org = "int" }
        sql = "dashboard.sql"
        reads = ["orders", "products"]
        scope = "org:{org}"

        [query.profile]
        path = "/user/{name}"
        params = { name = "text" }
        sql = "profile.sql"
        reads = ["users"]
        scope = "user:{name}"

        [query.products]
        path = "/products"
        sql = "products.sql"
        reads = ["products"]

        [query.stock]
        path = "/stock"
        sql = "stock.sql"
        reads = ["inventory"]
        max_staleness = "0s"

        [table.orders]
        scope = "org:{org_id}"

        [table.users]
        scope = "user:{name}"
    "#;

    fn catalog() -> Catalog {
        Catalog::parse("t.toml", CATALOG).unwrap()
    }

    fn parse(text: &str) -> Result<Target, PurgeError> {
        Target::parse(text, &catalog())
    }

    fn touched(text: &str) -> Vec<String> {
        let target = parse(text).unwrap();
        let touched = target.touched(&catalog());
        touched.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_target_touches_all_scopes_through_which_queries_depend_on_it() {
        assert_eq!(touched("org:042"), ["org:42"]);
        assert_eq!(touched("org:*"), ["org:*"]);
        assert_eq!(touched("orders"), ["org:*"]);
        assert_eq!(touched("products"), ["products"]);
        assert_eq!(touched("user:a b"), ["user:a%20b"]);
        let all = Target::All.touched(&catalog());
        let all: Vec<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!(all, ["products", "org:*", "user:*"]);
    }

    #[test]
    fn what_the_catalog_does_not_know_is_refused_with_what_it_knows() {
        let message = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(
            message("order"),
            r#"no query depends on a table "order"; there are: orders, products, users"#
        );
        // Never cached, so nothing depends on it.
        assert!(message("inventory").contains("no query depends"));
        assert_eq!(
            message("team:1"),
            r#"no query has a scope of the family "team"; there are: org, user"#
        );
        assert!(message("org:x").starts_with("org:x: the id must be a whole number"));
        assert!(message("org:").starts_with("org:: the id must be"));
    }

    #[test]
    fn a_target_holds_the_entries_that_depend_on_it() {
        let (catalog, keyspace) = (catalog(), Keyspace::default());
        let names = [
            "tm:{org:42}:dashboard:9f86",
            "tm:{org:43}:dashboard",
            "tm:{org:42}:dropped_from_the_catalog:1",
            "tm:{user:a%20b}:profile",
            "tm:{products}:products:77",
        ];
        let held = |target: Target| -> Vec<usize> {
            let holds = |name: &&str| target.holds(&keyspace.parse_entry(name).unwrap(), &catalog);
            let places = (0..).zip(names.iter());
            places
                .filter(|(_, name)| holds(name))
                .map(|(place, _)| place)
                .collect()
        };
        for (text, expected) in [
            ("org:42", vec![0, 2]),
            ("org:*", vec![0, 1, 2]),
            ("orders", vec![0, 1]),
            ("products", vec![0, 1, 4]),
            ("user:a b", vec![3]),
        ] {
            assert_eq!(held(parse(text).unwrap()), expected, "{text}");
        }
        assert_eq!(held(Target::All), [0, 1, 2, 3, 4]);
    }
}
