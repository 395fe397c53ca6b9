//! The shipped example: its sizes, and how it gets into a database.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use sqlx::{AssertSqlSafe, PgConnection};
use tidemark_shared::digest::Digest;

use crate::tools;

/// How much data the seed makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Size {
    /// As little as the tests can do with: a fraction of a second.
    Tests,
    /// Seconds.
    Demo,
    /// 400 000 orders: about half a minute.
    Full,
}

impl Size {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tests => "tests",
            Self::Demo => "demo",
            Self::Full => "full",
        }
    }

    /// The seed's settings.
    pub const fn scale(self) -> Scale {
        let [organizations, customers, products, orders] = match self {
            Self::Tests => [50, 100, 40, 500],
            Self::Demo => [200, 2_000, 500, 20_000],
            Self::Full => [200, 20_000, 5_000, 400_000],
        };
        Scale {
            organizations,
            customers,
            products,
            orders,
        }
    }
}

/// How many rows the seed makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// At least 43: the examples use 42 and 43.
    pub organizations: u32,
    /// At least one an organization.
    pub customers: u32,
    /// At least 30.
    pub products: u32,
    /// With three items and a payment each.
    pub orders: u32,
}

impl Scale {
    const fn settings(self) -> [(&'static str, u32); 4] {
        [
            ("erp.organizations", self.organizations),
            ("erp.customers", self.customers),
            ("erp.products", self.products),
            ("erp.orders", self.orders),
        ]
    }
}

/// The example's folder, which is a catalog.
pub fn catalog() -> PathBuf {
    tools::repository().join("examples/erp")
}

/// One step of loading.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Its number, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    /// What is loaded, e.g. `orders`.
    pub name: &'a str,
}

/// Everything that makes the data: schema and seed, in order, each with its name.
fn files() -> anyhow::Result<Vec<(String, String)>> {
    let folder = catalog();
    let mut paths = vec![folder.join("schema.sql")];
    let mut seed = fs::read_dir(folder.join("seed"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    seed.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    seed.sort();
    paths.extend(seed);
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("can't read {}", path.display()))?;
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let name = stem.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
            Ok((name.to_owned(), text))
        })
        .collect()
}

/// What data of this size is called: another name means other data.
///
/// # Errors
/// The example's files can't be read.
pub fn label(size: Size) -> anyhow::Result<String> {
    let files = files()?;
    let digest = Digest::of_fields(files.iter().map(|(_, text)| Some(text.as_bytes())));
    Ok(format!(
        "Tidemark's ERP example, size {}, {digest}",
        size.name()
    ))
}

/// Makes schema and data in an empty database; `progress` is told before each step.
///
/// # Errors
/// A file can't be read, or PostgreSQL refuses.
pub async fn load(
    database: &mut PgConnection,
    scale: Scale,
    mut progress: impl FnMut(Step<'_>),
) -> anyhow::Result<()> {
    for (name, value) in scale.settings() {
        sqlx::query("SELECT set_config($1, $2, false)")
            .bind(name)
            .bind(value.to_string())
            .execute(&mut *database)
            .await?;
    }
    let files = files()?;
    for (index, (name, text)) in files.iter().enumerate() {
        progress(Step {
            number: index + 1,
            of: files.len(),
            name,
        });
        // The repository's own files.
        sqlx::raw_sql(AssertSqlSafe(text.as_str()))
            .execute(&mut *database)
            .await
            .with_context(|| format!("loading {name}"))?;
    }
    Ok(())
}
