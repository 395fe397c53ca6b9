//! `allowed_outbound_hosts`: where a component may connect to. Nothing is allowed by default.
//!
//! The syntax is Spin's: `scheme://host[:port]`, where `*` stands for any scheme, host or port,
//! `*.example.com` for any subdomain, and `8000..8010` for a range of ports (without its end).

use std::net::IpAddr;
use std::ops::RangeInclusive;

use url::Host;

use crate::HostError;
use crate::template::Variables;

/// The addresses that one component may connect to.
#[derive(Debug, Clone, Default)]
pub(crate) struct AllowedHosts(Vec<AllowedHost>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct AllowedHost {
    /// `None` is any scheme.
    scheme: Option<String>,
    host: HostPattern,
    ports: RangeInclusive<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Any,
    /// A domain with its leading dot: the domain itself does not match.
    Below(String),
    Exactly(Host),
}

impl AllowedHosts {
    /// Fills in and reads the entries of the component at `place`.
    pub(crate) fn parse(
        place: &str,
        entries: &[String],
        variables: &Variables,
    ) -> Result<Self, HostError> {
        let mut allowed = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let filled = variables.fill(entry)?;
            // As in Spin: an empty variable switches an optional endpoint off.
            let optional = filled != *entry;
            if optional && matches!(filled.as_str(), "" | "http://" | "https://") {
                continue;
            }
            allowed.push(parse_entry(&filled).map_err(|problem| {
                HostError::manifest(
                    format!("{place}.allowed_outbound_hosts[{index}]"),
                    format!("{filled:?} {problem}"),
                )
            })?);
        }
        Ok(Self(allowed))
    }

    /// Whether a connection to `host` (an IPv6 address with or without brackets) is allowed.
    pub(crate) fn allow(&self, scheme: &str, host: &str, port: u16) -> bool {
        let host = match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => Host::Ipv4(address),
            Ok(IpAddr::V6(address)) => Host::Ipv6(address),
            Err(_) => match Host::parse(host) {
                Ok(host) => host,
                Err(_) => return false,
            },
        };
        self.0.iter().any(|allowed| {
            allowed.scheme.as_deref().is_none_or(|it| it == scheme)
                && allowed.ports.contains(&port)
                && allowed.host.matches(&host)
        })
    }
}

impl HostPattern {
    fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::Below(suffix), Host::Domain(domain)) => domain.ends_with(suffix),
            (Self::Below(_), _) => false,
            (Self::Exactly(expected), host) => expected == host,
        }
    }
}

/// The port that a URL of `scheme` means when it names none.
pub(crate) fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "redis" => Some(6379),
        "postgres" => Some(5432),
        "mysql" => Some(3306),
        "mqtt" => Some(1883),
        _ => None,
    }
}

fn parse_entry(entry: &str) -> Result<AllowedHost, String> {
    let Some((scheme, rest)) = entry.trim().split_once("://") else {
        return Err(
            "has no scheme: write scheme://host:port, as in \"redis://127.0.0.1:6379\"; \
                    \"*://*:*\" allows everything"
                .to_owned(),
        );
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('/') {
        return Err(
            "has a path or a network mask: write scheme://host:port and nothing after it"
                .to_owned(),
        );
    }
    let (host, port) = split_port(rest);
    Ok(AllowedHost {
        scheme: parse_scheme(scheme)?,
        host: parse_host(host)?,
        ports: parse_ports(port, scheme)?,
    })
}

/// Splits `host:port`; the colons of `[::1]` belong to the host.
fn split_port(rest: &str) -> (&str, &str) {
    match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (rest, ""),
    }
}

fn parse_scheme(scheme: &str) -> Result<Option<String>, String> {
    match scheme {
        "*" => Ok(None),
        _ if !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            Ok(Some(scheme.to_owned()))
        }
        _ => Err(format!(
            "has a scheme {scheme:?} that is not a word or \"*\""
        )),
    }
}

fn parse_host(host: &str) -> Result<HostPattern, String> {
    let host_error = |error| format!("has a host {host:?} that is none: {error}");
    match host {
        "*" => Ok(HostPattern::Any),
        "self" | "self.alt" => Err("means requests to the application itself, which \
                                    tidemark-host does not route; `spin up` does"
            .to_owned()),
        _ if host.ends_with(".spin.internal") => Err(
            "means calls between components, which tidemark-host does not route; \
                 `spin up` does"
                .to_owned(),
        ),
        _ => match host.strip_prefix("*.") {
            _ if host.trim_start_matches("*.").contains('*') => Err(
                "has a '*' inside its host: it may stand alone or as \"*.\" in front".to_owned(),
            ),
            Some(domain) => match Host::parse(domain).map_err(host_error)? {
                Host::Domain(domain) => Ok(HostPattern::Below(format!(".{domain}"))),
                _ => Err("has a '*.' in front of an IP address".to_owned()),
            },
            None => Host::parse(host)
                .map(HostPattern::Exactly)
                .map_err(host_error),
        },
    }
}

fn parse_ports(port: &str, scheme: &str) -> Result<RangeInclusive<u16>, String> {
    let number = |text: &str| {
        text.parse::<u16>()
            .map_err(|_| format!("has a port {port:?} that is not a number, a range or \"*\""))
    };
    match port {
        "*" => Ok(0..=u16::MAX),
        "" => default_port(scheme)
            .map(|port| port..=port)
            .ok_or_else(|| format!("names no port, and the scheme {scheme:?} has no usual one")),
        _ => match port.split_once("..") {
            Some((from, end)) => {
                let (from, end) = (number(from)?, number(end)?);
                match end.checked_sub(1) {
                    Some(last) if from <= last => Ok(from..=last),
                    _ => Err(format!("has an empty range of ports {port:?}")),
                }
            }
            None => number(port).map(|port| port..=port),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::manifest::Variable;

    fn allowed(entry: &str) -> Result<AllowedHosts, HostError> {
        AllowedHosts::parse("component.edge", &[entry.to_owned()], &Variables::default())
    }

    #[test]
    fn what_an_entry_allows() {
        let table: &[(&str, &str, &str, u16, bool)] = &[
            ("redis://127.0.0.1:6379", "redis", "127.0.0.1", 6379, true),
            ("redis://127.0.0.1:6379", "redis", "127.0.0.1", 6380, false),
            ("redis://127.0.0.1:6379", "redis", "127.0.0.2", 6379, false),
            ("redis://127.0.0.1:6379", "http", "127.0.0.1", 6379, false),
            ("redis://127.0.0.1", "redis", "127.0.0.1", 6379, true),
            ("http://example.com", "http", "example.com", 80, true),
            ("http://example.com/", "http", "EXAMPLE.com", 80, true),
            ("http://example.com", "https", "example.com", 443, false),
            ("http://*:*", "http", "anywhere", 1, true),
            ("http://*:*", "redis", "anywhere", 1, false),
            ("*://*:*", "redis", "10.0.0.1", 65535, true),
            ("*://localhost:3001", "http", "localhost", 3001, true),
            (
                "https://*.example.com",
                "https",
                "a.b.example.com",
                443,
                true,
            ),
            ("https://*.example.com", "https", "example.com", 443, false),
            (
                "https://*.example.com",
                "https",
                "evilexample.com",
                443,
                false,
            ),
            ("http://h:8000..8010", "http", "h", 8000, true),
            ("http://h:8000..8010", "http", "h", 8009, true),
            ("http://h:8000..8010", "http", "h", 8010, false),
            ("redis://[::1]:6379", "redis", "::1", 6379, true),
            ("redis://[::1]", "redis", "[::1]", 6379, true),
            (
                "http://127.0.0.1:80",
                "http",
                "127.0.0.1.evil.com",
                80,
                false,
            ),
            ("http://a:80", "http", "a b", 80, false),
        ];
        for (entry, scheme, host, port, expected) in table {
            let hosts = allowed(entry).unwrap();
            assert_eq!(
                hosts.allow(scheme, host, *port),
                *expected,
                "{entry} for {scheme}://{host}:{port}"
            );
        }
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        assert!(!AllowedHosts::default().allow("http", "localhost", 80));
    }

    #[test]
    fn a_wrong_entry_says_what_is_wrong() {
        let table = [
            ("localhost:6379", "no scheme"),
            ("*", "no scheme"),
            ("", "no scheme"),
            ("http://a/b", "path"),
            ("redis://10.0.0.0/8:6379", "network mask"),
            ("1http://a", "scheme"),
            ("ftp://a", "no usual one"),
            ("*://a", "no usual one"),
            ("http://a:b", "port \"b\""),
            ("http://a:9..3", "empty range"),
            ("http://a.*.b", "'*' inside"),
            ("http://*.1.2.3.4", "IP address"),
            ("http://self", "spin up"),
            ("http://x.spin.internal", "spin up"),
            ("redis://user:pass@host:6379", "host \"user:pass@host\""),
        ];
        for (entry, part) in table {
            let message = allowed(entry).unwrap_err().to_string();
            assert!(message.contains(part), "{entry}: {message}");
            assert!(
                message.contains("component.edge.allowed_outbound_hosts[0]"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_variable_gives_the_address_and_an_empty_one_switches_it_off() {
        let declared = BTreeMap::from([("url".to_owned(), Variable::with_default(""))]);
        let entries = ["{{ url }}".to_owned()];
        let parse = |url: &str| {
            let given = BTreeMap::from([("url".to_owned(), url.to_owned())]);
            let variables = Variables::resolve(&declared, &given, |_| None).unwrap();
            AllowedHosts::parse("component.edge", &entries, &variables)
        };
        assert!(parse("redis://r:1").unwrap().allow("redis", "r", 1));
        assert!(parse("").unwrap().0.is_empty());
        assert!(parse("r:1").is_err());
    }
}
