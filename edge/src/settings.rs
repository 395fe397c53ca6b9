//! What the operator configures: Spin variables, and the catalog that is mounted with the component.

use spin_sdk::variables;
use tidemark_shared::{
    catalog::{self, Catalog, CatalogError},
    key::Keyspace,
    route::Router,
};

use crate::{address::OriginAddress, cors::Cors};

/// Where `spin.toml` mounts the catalog's folder.
const CATALOG_FOLDER: &str = "/catalog";

/// Everything configured, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) catalog: Catalog,
    pub(crate) router: Router,
    pub(crate) keyspace: Keyspace,
    /// May hold credentials: never logged.
    pub(crate) redis_url: String,
    pub(crate) origin: OriginAddress,
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
}
