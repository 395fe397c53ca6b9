//! What the operator configures: Spin variables, and the catalog that is mounted with the component.

use std::time::Duration;

use spin_sdk::variables;
use tidemark_shared::{
    catalog::{self, Catalog, CatalogError},
    key::Keyspace,
    route::Router,
};

use crate::{
    address::OriginAddress,
    cors::Cors,
    deadline::{self, Deadlines},
};

/// Where `spin.toml` mounts the catalog's folder.
const CATALOG_FOLDER: &str = "/catalog";

/// The most that an instance cache may be given, in bytes: what fits into an instance's memory.
const L1_MAX: u64 = 1 << 30;

/// Everything configured, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) catalog: Catalog,
    pub(crate) router: Router,
    pub(crate) keyspace: Keyspace,
    /// May hold credentials: never logged.
    pub(crate) redis_url: String,
    pub(crate) origin: OriginAddress,
    pub(crate) deadlines: Deadlines,
    /// How many bytes the instance cache may hold; zero for none.
    pub(crate) l1_bytes: u64,
    pub(crate) cors: Cors,
}

/// Why the component can't serve; the text is for the operator and holds no variable's value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("variable {name}: {reason}")]
    Unreadable {
        name: &'static str,
        reason: variables::Error,
    },
    #[error("variable {name}: write {expected}")]
    Invalid {
        name: &'static str,
        expected: &'static str,
    },
    #[error("can't read {path}: {reason}; mount the catalog's folder at {CATALOG_FOLDER}")]
    NoCatalog {
        path: String,
        reason: std::io::Error,
    },
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Settings {
    /// Reads and checks everything.
    pub(crate) async fn load() -> Result<Self, SettingsError> {
        let catalog = read_catalog()?;
        Ok(Self {
            router: Router::for_edge(&catalog),
            catalog,
            keyspace: Keyspace::new(variable("key_prefix").await?),
            redis_url: redis_url(variable("redis_url").await?)?,
            origin: OriginAddress::parse(&variable("origin_url").await?).ok_or(
                SettingsError::Invalid {
                    name: "origin_url",
                    expected: "http://host:port or https://host:port, without a path",
                },
            )?,
            deadlines: Deadlines {
                redis: deadline("redis_deadline_ms", &variable("redis_deadline_ms").await?)?,
                origin: deadline("origin_deadline_ms", &variable("origin_deadline_ms").await?)?,
            },
            l1_bytes: l1_bytes(&variable("l1_bytes").await?)?,
            cors: Cors::parse(&variable("cors_origins").await?).ok_or(SettingsError::Invalid {
                name: "cors_origins",
                expected: "origins such as https://app.example.com, separated by commas, or *",
            })?,
        })
    }
}

fn redis_url(url: String) -> Result<String, SettingsError> {
    let known = ["redis://", "rediss://"]
        .iter()
        .any(|scheme| url.starts_with(scheme));
    known.then_some(url).ok_or(SettingsError::Invalid {
        name: "redis_url",
        expected: "redis://[user:password@]host:port[/database]",
    })
}

fn deadline(name: &'static str, text: &str) -> Result<Duration, SettingsError> {
    text.parse()
        .map(Duration::from_millis)
        .ok()
        .filter(|deadline| !deadline.is_zero() && *deadline <= deadline::LONGEST)
        .ok_or(SettingsError::Invalid {
            name,
            expected: "a number of milliseconds from 1 to 600000",
        })
}

fn l1_bytes(text: &str) -> Result<u64, SettingsError> {
    text.parse()
        .ok()
        .filter(|bytes| *bytes <= L1_MAX)
        .ok_or(SettingsError::Invalid {
            name: "l1_bytes",
            expected: "a number of bytes from 0 to 1073741824 (1 GiB)",
        })
}

async fn variable(name: &'static str) -> Result<String, SettingsError> {
    variables::get(name)
        .await
        .map_err(|reason| SettingsError::Unreadable { name, reason })
}

fn read_catalog() -> Result<Catalog, SettingsError> {
    let path = format!("{CATALOG_FOLDER}/{}", catalog::FILE_NAME);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Catalog::parse(&path, &text)?),
        Err(reason) => Err(SettingsError::NoCatalog { path, reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_variable_is_named_without_its_value() {
        let error = redis_url("http://user:secret@host".into()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("redis_url") && !text.contains("secret"),
            "{text}"
        );
    }

    #[test]
    fn numbers_are_within_their_bounds() {
        let millis = |text| {
            deadline("redis_deadline_ms", text)
                .ok()
                .map(|it| it.as_millis())
        };
        assert_eq!(millis("1"), Some(1));
        assert_eq!(millis("600000"), Some(600_000));
        for wrong in ["", "0", "600001", "-1", "1.5", "250ms", " 250"] {
            assert_eq!(millis(wrong), None, "{wrong:?}");
        }
        let error = deadline("origin_deadline_ms", "soon").unwrap_err();
        assert_eq!(
            error.to_string(),
            "variable origin_deadline_ms: write a number of milliseconds from 1 to 600000"
        );
        assert_eq!(l1_bytes("0").ok(), Some(0));
        assert_eq!(l1_bytes("1073741824").ok(), Some(L1_MAX));
        for wrong in ["", "1073741825", "-1", "16MiB"] {
            assert!(l1_bytes(wrong).is_err(), "{wrong:?}");
        }
    }
}
