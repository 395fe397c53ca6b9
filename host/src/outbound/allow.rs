//! `allowed_outbound_hosts`: where a component may connect to. Nothing is allowed by default.
//!
//! The syntax is Spin's: `scheme://host[:port]`, where `*` stands for any scheme, host or port,
//! `*.example.com` for any subdomain, and `8000..8010` for a range of ports (without its end).

use std::ops::Range;

use crate::HostError;
use crate::error::UNSUPPORTED;
use crate::template::Variables;

const SYNTAX: &str = "scheme://host:port, as in \"redis://127.0.0.1:6379\"; a '*' stands for any \
     scheme, host or port, and \"*.\" in front of a domain for its subdomains";
const ANY_PORT: Range<u32> = 0..u16::MAX as u32 + 1;

/// The addresses that one component may connect to.
#[derive(Debug)]
pub(crate) struct AllowedHosts {
    /// Where in the manifest they stand.
    place: String,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    scheme: String,
    /// A host in lower case, `*`, or `*.` and a domain.
    host: String,
    ports: Range<u32>,
}

impl AllowedHosts {
    /// Fills in and reads the entries that stand at `place`.
    pub(crate) fn parse(
        place: String,
        entries: &[String],
        variables: &Variables,
    ) -> Result<Self, HostError> {
        let mut parsed = Vec::with_capacity(entries.len());
        for entry in entries {
            let filled = variables.fill(&place, entry)?;
            // As in Spin: an empty variable switches an optional endpoint off.
            if filled != *entry && matches!(filled.as_str(), "" | "http://" | "https://") {
                continue;
            }
            if ["://self", "://self.alt", ".spin.internal"]
                .iter()
                .any(|end| filled.ends_with(end))
            {
                let problem = format!("{filled:?} is inside the application: {UNSUPPORTED}");
                return Err(HostError::manifest(place, problem));
            }
            let read = Entry::parse(&filled);
            parsed.push(read.ok_or_else(|| {
                HostError::manifest(&place, format!("{filled:?} is not {SYNTAX}"))
            })?);
        }
        Ok(Self {
            place,
            entries: parsed,
        })
    }

    /// Whether a connection to `host` (an IPv6 address with or without brackets) is allowed. What
    /// would allow it is logged if it is not.
    pub(crate) fn allow(&self, scheme: &str, host: &str, port: u16) -> bool {
        let name = normal(host);
        let allowed = self.entries.iter().any(|entry| {
            (entry.scheme == "*" || entry.scheme == scheme)
                && entry.ports.contains(&u32::from(port))
                && entry.covers(&name)
        });
        if !allowed {
            tracing::warn!(
                "outbound connection denied: to allow it, add \"{scheme}://{host}:{port}\" to {}",
                self.place
            );
        }
        allowed
    }
}

impl Entry {
    fn parse(written: &str) -> Option<Self> {
        let (scheme, rest) = written.split_once("://")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // The colons of `[::1]` belong to the host.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (rest, ""),
        };
        let name = host.strip_prefix("*.").unwrap_or(host);
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        let sound = host == "*" || (!name.is_empty() && name.bytes().all(legal));
        let word = scheme == "*" || scheme.bytes().all(|byte| byte.is_ascii_lowercase());
        (sound && word).then_some(Self {
            scheme: scheme.to_owned(),
            host: normal(host),
            ports: parse_ports(port, scheme)?,
        })
    }

    fn covers(&self, name: &str) -> bool {
        match self.host.strip_prefix('*') {
            Some(end) => name.ends_with(end),
            None => name == self.host,
        }
    }
}

/// The port that a URL of `scheme` means when it names none.
pub(crate) fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "redis" => Some(6379),
        _ => None,
    }
}

/// One spelling for each host, so that texts can be compared.
fn normal(host: &str) -> String {
    host.trim_matches(['[', ']']).to_ascii_lowercase()
}

fn parse_ports(port: &str, scheme: &str) -> Option<Range<u32>> {
    let number = |text: &str| text.parse::<u16>().ok().map(u32::from);
    let first = match (port, port.split_once("..")) {
        ("*", _) => return Some(ANY_PORT),
        (_, Some((first, end))) => return Some(number(first)?..number(end)?),
        ("", _) => default_port(scheme)?.into(),
        _ => number(port)?,
    };
    Some(first..first + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::manifest::Variable;

    fn allowed(entry: &str) -> Result<AllowedHosts, HostError> {
        AllowedHosts::parse(
            "c.hosts".to_owned(),
            &[entry.to_owned()],
            &Variables::default(),
        )
    }

    #[test]
    #[rustfmt::skip]
    fn what_an_entry_allows() {
        let table: &[(&str, &str, &str, u16, bool)] = &[
            ("redis://127.0.0.1:6379", "redis", "127.0.0.1", 6379, true),
            ("redis://127.0.0.1:6379", "redis", "127.0.0.1", 6380, false),
            ("redis://127.0.0.1:6379", "redis", "127.0.0.2", 6379, false),
            ("redis://127.0.0.1:6379", "http", "127.0.0.1", 6379, false),
            ("redis://127.0.0.1", "redis", "127.0.0.1", 6379, true),
            ("http://example.com/", "http", "EXAMPLE.com", 80, true),
            ("http://example.com", "https", "example.com", 443, false),
            ("http://*:*", "http", "anywhere", 1, true),
            ("http://*:*", "redis", "anywhere", 1, false),
            ("*://*:*", "redis", "10.0.0.1", 65535, true),
            ("*://localhost:3001", "http", "localhost", 3001, true),
            ("https://*.example.com", "https", "a.b.example.com", 443, true),
            ("https://*.example.com", "https", "example.com", 443, false),
            ("https://*.example.com", "https", "evilexample.com", 443, false),
            ("http://h:8000..8010", "http", "h", 8000, true),
            ("http://h:8000..8010", "http", "h", 8009, true),
            ("http://h:8000..8010", "http", "h", 8010, false),
            ("redis://[::1]:6379", "redis", "::1", 6379, true),
            ("redis://[::1]", "redis", "[::1]", 6379, true),
            ("http://127.0.0.1:80", "http", "127.0.0.1.evil.com", 80, false),
        ];
        for (entry, scheme, host, port, expected) in table {
            let allow = allowed(entry).unwrap().allow(scheme, host, *port);
            assert_eq!(allow, *expected, "{entry} for {scheme}://{host}:{port}");
        }
    }

    #[test]
    fn a_wrong_entry_says_what_is_wrong() {
        for entry in [
            "localhost:6379",
            "",
            "http://a/b",
            "redis://10.0.0.0/8:6379",
            "1http://a",
            "ftp://a",
            "*://a",
            "http://:80",
            "http://a:b",
            "http://a.*.b",
            "redis://user:pass@host:6379",
        ] {
            let message = allowed(entry).unwrap_err().to_string();
            let start = format!("c.hosts: {entry:?} is not scheme://host:port");
            assert!(message.starts_with(&start), "{message}");
        }
        for entry in ["http://self", "http://x.spin.internal"] {
            let message = allowed(entry).unwrap_err().to_string();
            assert!(
                message.contains(entry) && message.contains("spin up"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_variable_gives_the_address_and_an_empty_one_switches_it_off() {
        let declared = BTreeMap::from([("url".to_owned(), Variable::new(Some("")))]);
        let parse = |url: &str| {
            let given = BTreeMap::from([("url".to_owned(), url.to_owned())]);
            let variables = Variables::resolve(&declared, given, |_| None).unwrap();
            AllowedHosts::parse(String::new(), &["{{ url }}".to_owned()], &variables)
        };
        assert!(parse("redis://r:1").unwrap().allow("redis", "r", 1));
        assert!(!parse("").unwrap().allow("redis", "r", 1));
        assert!(parse("r:1").is_err());
    }
}
