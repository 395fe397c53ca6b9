//! Names in Redis: keys of answers, stamps, the tidemark and the event channel.

use std::fmt;

use crate::{
    catalog::{MemberScope, Query},
    digest::Digest,
    hot::Era,
    param::{Params, Value},
    scope::Scope,
};

/// Where one answer is cached, without the deployment's prefix:
/// `{org:42}:dashboard:9f86d081…`, or `{products}:products` where no member identifies it.
///
/// The braces are a literal hash tag (Redis Cluster specification, "Hash tags"), so that all of
/// one member lands in one slot. What identifies the member is readable; every other argument is
/// only part of a digest, so that neither `MONITOR` nor a dump shows raw values and the length is
/// bounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// The key of a query's answer to these arguments.
    pub fn of(query: &Query, params: &Params) -> Self {
        let namespace = query
            .identity(params)
            .map_or_else(|| query.name.clone(), |member| member.to_string());
        let identity = query.member.as_ref().map(|member| member.param.as_str());
        let mut others = params
            .iter()
            .filter(|(name, _)| Some(*name) != identity)
            .peekable();
        if others.peek().is_none() {
            return Self(text(&namespace, &query.name, None));
        }
        let hash = Digest::of_fields(
            others
                .flat_map(|(name, value)| [Some(name), value.map(Value::as_str)])
                .map(|field| field.map(str::as_bytes)),
        );
        Self(text(&namespace, &query.name, Some(&hash.to_string())))
    }

    /// What a query's keys look like, for people: `{org:{org}}:dashboard:{digest of from, to}`.
    pub fn pattern(query: &Query) -> String {
        let (namespace, identity) = match &query.member {
            None => (query.name.clone(), None),
            Some(MemberScope { family, param }) => {
                (format!("{family}:{{{param}}}"), Some(param.as_str()))
            }
        };
        let names = query.params.keys().map(String::as_str);
        let others: Vec<_> = names.filter(|name| Some(*name) != identity).collect();
        let hash = format!("{{digest of {}}}", others.join(", "));
        text(
            &namespace,
            &query.name,
            Some(hash.as_str()).filter(|_| !others.is_empty()),
        )
    }

    /// The key's text, without the deployment's prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn text(namespace: &str, view: &str, hash: Option<&str>) -> String {
    match hash {
        None => format!("{{{namespace}}}:{view}"),
        Some(hash) => format!("{{{namespace}}}:{view}:{hash}"),
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the name of an entry tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryName<'a> {
    /// What is between the braces: the member that identifies it, or the query's name.
    pub namespace: &'a str,
    /// The query's name.
    pub view: &'a str,
}

impl<'a> EntryName<'a> {
    /// The family of the member that identifies it, if one does.
    pub fn family(&self) -> Option<&'a str> {
        Some(self.namespace.split_once(':')?.0)
    }
}

/// All names of one deployment in Redis: everything begins with its prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyspace {
    prefix: String,
}

impl Keyspace {
    /// The prefix where none is configured.
    pub const DEFAULT_PREFIX: &'static str = "tm:";

    /// A keyspace with this prefix, which is used as it is.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    /// Whether all names lie in one slot of a Redis Cluster, and at one server behind a proxy that goes by
    /// hash tags: the prefix has a whole tag of its own, as `{tm}:` does, before which no other counts.
    pub fn is_in_one_slot(&self) -> bool {
        let tag = self.prefix.split_once('{');
        let tag = tag.and_then(|(_, rest)| rest.split_once('}'));
        // With nothing in between it is none, and nor is any other in the name.
        tag.is_some_and(|(tag, _)| !tag.is_empty())
    }

    /// The name of an entry.
    pub fn entry(&self, key: &Key) -> String {
        self.named(key.as_str())
    }

    /// The name of an entry whose key is known only as text.
    pub fn named(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Reads the name of an entry; any other name is none.
    pub fn parse_entry<'a>(&self, name: &'a str) -> Option<EntryName<'a>> {
        let key = name.strip_prefix(&self.prefix)?.strip_prefix('{')?;
        let (namespace, rest) = key.split_once("}:")?;
        let view = rest.split_once(':').map_or(rest, |(view, _)| view);
        Some(EntryName { namespace, view })
    }

    /// A glob pattern, as `SCAN … MATCH` takes it, for the names of all entries.
    pub fn entries(&self) -> String {
        self.pattern("*")
    }

    /// A glob pattern for the names of one member's entries.
    pub fn entries_of_member(&self, member: &Scope) -> String {
        self.pattern(&glob_escaped(&member.to_string()))
    }

    /// A glob pattern for the names of the entries of all members of a family.
    pub fn entries_of_family(&self, family: &str) -> String {
        self.pattern(&format!("{}:*", glob_escaped(family)))
    }

    fn pattern(&self, namespace: &str) -> String {
        format!("{}{{{namespace}}}:*", glob_escaped(&self.prefix))
    }

    /// The name of a scope's stamp, e.g. `tm:{org:42}`. That of a part, `tm:{org:42}?9f86d081…`, lies in its
    /// member's slot and hides what it is narrowed by, as keys hide arguments.
    pub fn stamp(&self, scope: &Scope) -> String {
        match scope {
            Scope::Part { family, id, facets } => {
                let digest = Digest::of(facets.as_bytes());
                format!("{}{{{family}:{id}}}?{digest}", self.prefix)
            }
            scope => format!("{}{{{scope}}}", self.prefix),
        }
    }

    /// The name of the lease of a key: in the slot of its entry, and no entry's name.
    pub fn lease(&self, key: &Key) -> String {
        format!("{}lease:{key}", self.prefix)
    }

    /// The name of the tidemark.
    pub fn tidemark(&self) -> String {
        format!("{}tidemark", self.prefix)
    }

    /// The name of an era's hot sample.
    pub fn hot(&self, era: Era) -> String {
        format!("{}hot:{era}", self.prefix)
    }

    /// The name of the hash of what edges have counted: its fields are [`crate::figure`]s.
    pub fn figures(&self) -> String {
        format!("{}edge:figures", self.prefix)
    }

    /// The pub/sub channel of the relay's events.
    pub fn events(&self) -> String {
        format!("{}events", self.prefix)
    }
}

/// With a backslash before whatever a glob pattern gives a meaning.
fn glob_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '^' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

impl Default for Keyspace {
    fn default() -> Self {
        Self::new(Self::DEFAULT_PREFIX)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::catalog::Catalog;

    const CATALOG: &str = r#"
        [query.dashboard]
        path = "/org/{org}/dashboard"
        params = { org = "int", a = "int?", b = "text?", c = "text = x" }
        sql = "dashboard.sql"
        reads = ["orders", "products"]
        scope = "org:{org}"

        [query.products]
        path = "/products"
        sql = "products.sql"
        reads = ["products"]

        [table.orders]
        scope = "org:{org_id}"
    "#;

    fn key(query: &str, path_args: &[(&str, &str)], query_string: &str) -> Key {
        let catalog = Catalog::parse("t.toml", CATALOG).unwrap();
        let query = &catalog.queries[query];
        let path_args: Vec<_> = path_args
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        let params = Params::from_target(&query.params, &path_args, query_string).unwrap();
        Key::of(query, &params)
    }

    #[test]
    fn keys_are_readable_and_hide_arguments() {
        let dashboard = key("dashboard", &[("org", "042")], "b=secret");
        assert!(dashboard.as_str().starts_with("{org:42}:dashboard:"));
        assert!(!dashboard.as_str().contains("secret"));
        assert_eq!(key("products", &[], "").as_str(), "{products}:products");
        let catalog = Catalog::parse("t.toml", CATALOG).unwrap();
        let pattern = |query| Key::pattern(&catalog.queries[query]);
        assert_eq!(
            pattern("dashboard"),
            "{org:{org}}:dashboard:{digest of a, b, c}"
        );
        assert_eq!(pattern("products"), "{products}:products");
    }

    #[test]
    fn an_entry_and_a_stamp_never_share_a_name() {
        let keyspace = Keyspace::default();
        let entry = keyspace.entry(&key("products", &[], ""));
        assert_ne!(entry, keyspace.stamp(&Scope::Table("products".into())));
        assert_eq!(keyspace.stamp(&Scope::member("org", "42")), "tm:{org:42}");
        let part = keyspace.stamp(&Scope::part("org", "42", "region=north".into()));
        let digest = part.strip_prefix("tm:{org:42}?").unwrap();
        assert!(digest.len() == 32 && !part.contains("north"), "{part}");
        assert_eq!(keyspace.tidemark(), "tm:tidemark");
    }

    #[test]
    fn entries_are_told_from_other_names() {
        let keyspace = Keyspace::default();
        let name = |namespace, view| Some(EntryName { namespace, view });
        let dashboard = keyspace.entry(&key("dashboard", &[("org", "42")], ""));
        assert_eq!(
            keyspace.parse_entry(&dashboard),
            name("org:42", "dashboard")
        );
        assert_eq!(name("org:42", "dashboard").unwrap().family(), Some("org"));
        let products = keyspace.entry(&key("products", &[], ""));
        assert_eq!(
            keyspace.parse_entry(&products),
            name("products", "products")
        );
        assert_eq!(name("products", "products").unwrap().family(), None);
        let stamp = keyspace.stamp(&Scope::member("org", "42"));
        let lease = keyspace.lease(&key("products", &[], ""));
        assert_eq!(lease, "tm:lease:{products}:products");
        let hot = keyspace.hot(Era::at(1_763_863_200_123));
        assert_eq!(hot, "tm:hot:1458");
        for other in [
            &*keyspace.tidemark(),
            &hot,
            &keyspace.figures(),
            &stamp,
            &lease,
            "other:{a}:b",
            "tm:a:b",
            "",
        ] {
            assert_eq!(keyspace.parse_entry(other), None, "{other}");
        }
    }

    #[test]
    fn patterns_take_names_as_they_are() {
        let keyspace = Keyspace::new("[a]*?\\:");
        assert_eq!(
            keyspace.entries_of_member(&Scope::member("org", "42")),
            r"\[a\]\*\?\\:{org:42}:*"
        );
        let keyspace = Keyspace::default();
        assert_eq!(keyspace.entries(), "tm:{*}:*");
        assert_eq!(keyspace.entries_of_family("org"), "tm:{org:*}:*");
        assert_eq!(
            keyspace.entries_of_member(&Scope::member("user", "*")),
            "tm:{user:%2A}:*"
        );
    }

    /// What decides a name's slot, as the Redis Cluster specification has it.
    fn hashed(name: &str) -> &str {
        let Some(open) = name.find('{') else {
            return name;
        };
        match name[open + 1..].find('}') {
            None | Some(0) => name,
            Some(length) => &name[open + 1..][..length],
        }
    }

    fn query_string(args: &BTreeMap<&str, Option<String>>) -> String {
        let pairs: Vec<_> = args
            .iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?)))
            .map(|(name, value)| {
                use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
                format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
            })
            .collect();
        pairs.join("&")
    }

    fn arguments() -> impl Strategy<Value = (i8, Option<i8>, Option<String>, String)> {
        (
            any::<i8>(),
            prop::option::of(any::<i8>()),
            prop::option::of("[ab:{}*%]{0,3}"),
            "[ax:{}]{0,2}",
        )
    }

    proptest! {
        #[test]
        fn names_lie_in_one_slot_exactly_by_a_hash_tag_of_their_prefix(prefix in "[a:{}]{0,6}") {
            let keyspace = Keyspace::new(prefix);
            let key = key("products", &[], "");
            let names = [
                keyspace.tidemark(),
                keyspace.entry(&key),
                keyspace.lease(&key),
                keyspace.stamp(&Scope::member("org", "42")),
                keyspace.stamp(&Scope::Family("org".into())),
                keyspace.stamp(&Scope::part("org", "42", "day=2025-12".into())),
                keyspace.figures(),
                keyspace.hot(Era::at(0)),
            ];
            let is_one = names.iter().all(|name| hashed(name) == hashed(&names[0]));
            prop_assert_eq!(keyspace.is_in_one_slot(), is_one, "{:?}", names);
        }

        #[test]
        fn keys_are_equal_exactly_when_the_arguments_are(one in arguments(), other in arguments()) {
            let of = |(org, a, b, c): &(i8, Option<i8>, Option<String>, String)| {
                let args = BTreeMap::from([
                    ("a", a.map(|a| a.to_string())),
                    ("b", b.clone()),
                    ("c", Some(c.clone())),
                ]);
                key("dashboard", &[("org", &org.to_string())], &query_string(&args))
            };
            prop_assert_eq!(one == other, of(&one) == of(&other));
        }
    }
}
