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
/// Shown as `orders` (a table), `org:42` (a member of a row family), `org:42?day=2025-12` (a
/// [part](crate::part) of a member) or `org:*` (a whole family).
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
    /// A part of a member, for changes that are known to concern no other.
    Part {
        /// The family's name.
        family: String,
        /// The member's escaped id.
        id: String,
        /// What tells it from other parts, `day=2025-12&region=north`; empty for any part.
        facets: String,
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
        Self::Member {
            family: family.to_owned(),
            id: Self::escaped(id),
        }
    }

    /// A part of the member with this id; its facets as [`part`](crate::part) names them.
    pub(crate) fn part(family: &str, id: &str, facets: String) -> Self {
        Self::Part {
            family: family.to_owned(),
            id: Self::escaped(id),
            facets,
        }
    }

    /// A text that holds no punctuation of a scope's.
    pub(crate) fn escaped(text: &str) -> String {
        let escaped = utf8_percent_encode(text, ESCAPED).to_string();
        if escaped.len() > LONGEST_ID {
            return format!("~{}", Digest::of(text.as_bytes()));
        }
        escaped
    }

    /// The member that it is about, if it is about one.
    pub fn of_member(&self) -> Option<(&str, &str)> {
        match self {
            Self::Member { family, id } | Self::Part { family, id, .. } => Some((family, id)),
            Self::Table(_) | Self::Family(_) => None,
        }
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if !text.is_empty() => Some(Self::Table(text.to_owned())),
            Some((family, "*")) if !family.is_empty() => Some(Self::Family(family.to_owned())),
            Some((family, id)) if !family.is_empty() => Some(match id.split_once('?') {
                None => Self::Member {
                    family: family.to_owned(),
                    id: id.to_owned(),
                },
                Some((id, facets)) => Self::Part {
                    family: family.to_owned(),
                    id: id.to_owned(),
                    facets: facets.to_owned(),
                },
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
            Self::Part { family, id, facets } => write!(f, "{family}:{id}?{facets}"),
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
            let part = Scope::part("user", &id, format!("a={}", Scope::escaped(&id)));
            prop_assert_eq!(Scope::parse(&part.to_string()), Some(part));
        }
    }
}
