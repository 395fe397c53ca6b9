//! Scopes: the units of invalidation.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::digest::Digest;

/// What stays readable in a member's id: nothing that a key or a scope uses as punctuation.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// The longest readable id, in bytes after escaping; a longer one is replaced by its digest.
const LONGEST_ID: usize = 64;

/// What a change touches and an answer depends on.
///
/// Shown as `orders` (a table), `org:42` (a member of a row family) or `org:*` (a whole family).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Every row of a table.
    Table(String),
    /// One member of a row family; `id` is escaped, as [`Scope::member`] makes it.
    Member {
        /// The family's name, e.g. `org`.
        family: String,
        /// The member's escaped id.
        id: String,
    },
    /// All members of a family at once.
    Family(String),
}

impl Scope {
    /// A member by the canonical text of its id, as PostgreSQL or a parameter gives it.
    ///
    /// Whatever the id holds, the result is short, readable where it can be, and never mistaken
    /// for another scope: punctuation is percent-encoded, and an id that would take more than
    /// 64 bytes becomes `~` and its digest.
    pub fn member(family: &str, id: &str) -> Self {
        let mut escaped = utf8_percent_encode(id, ESCAPED).to_string();
        if escaped.len() > LONGEST_ID {
            escaped = format!("~{}", Digest::of(id.as_bytes()));
        }
        Self::Member {
            family: family.to_owned(),
            id: escaped,
        }
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if !text.is_empty() => Some(Self::Table(text.to_owned())),
            Some((family, "*")) if !family.is_empty() => Some(Self::Family(family.to_owned())),
            Some((family, id)) if !family.is_empty() => Some(Self::Member {
                family: family.to_owned(),
                id: id.to_owned(),
            }),
            _ => None,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => f.write_str(table),
            Self::Member { family, id } => write!(f, "{family}:{id}"),
            Self::Family(family) => write!(f, "{family}:*"),
        }
    }
}

/// Scopes as a list of strings, the value of `Cache-Groups` (RFC 9875 §2, RFC 9651 §3.1).
pub fn list(scopes: &[Scope]) -> String {
    let texts: Vec<_> = scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_well() {
        assert_eq!(Scope::Table("orders".into()).to_string(), "orders");
        assert_eq!(Scope::member("org", "42").to_string(), "org:42");
        assert_eq!(Scope::Family("org".into()).to_string(), "org:*");
    }

    #[test]
    fn no_id_can_pose_as_a_family_or_close_the_hash_tag() {
        assert_eq!(Scope::member("user", "*").to_string(), "user:%2A");
        assert_eq!(Scope::member("user", "a}:b").to_string(), "user:a%7D%3Ab");
    }

    proptest! {
        #[test]
        fn different_ids_are_different_scopes(a in ".{0,80}", b in ".{0,80}") {
            prop_assert_eq!(a == b, Scope::member("user", &a) == Scope::member("user", &b));
        }

        #[test]
        fn parse_reads_back_what_display_writes(id in ".{0,80}") {
            let scope = Scope::member("user", &id);
            prop_assert_eq!(Scope::parse(&scope.to_string()), Some(scope));
        }
    }
}
