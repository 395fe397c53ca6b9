//! The catalog with its SQL, as read from disk: what the origin works from.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use tidemark_shared::{
    catalog::{self, Catalog, CatalogError},
    digest::Digest,
    param::ParamSpecs,
};

use crate::statement::{self, Statement, StatementError};

/// A catalog and its SQL, ready to be prepared.
#[derive(Debug)]
pub struct Repository {
    /// The declarations.
    pub catalog: Catalog,
    /// Each query's statement, by the query's name.
    pub queries: BTreeMap<String, Statement>,
    /// Each command's statements in order, by the command's name; the last one answers.
    pub commands: BTreeMap<String, Vec<Statement>>,
    /// Each query's statement that enumerates what to warm, by the query's name; where it has one.
    pub warm: BTreeMap<String, Statement>,
    /// Names this very catalog: every declaration and every line of SQL that makes an answer.
    pub digest: Digest,
}

/// Why a catalog can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// A file can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The catalog is wrong.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A SQL file is wrong.
    #[error("{}: {source}", path.display())]
    Statement {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: StatementError,
    },
}

impl Repository {
    /// The catalog's own file: `path`, or the `tidemark.toml` in that folder.
    #[must_use]
    pub fn file(path: &Path) -> PathBuf {
        if path.is_dir() {
            path.join(catalog::FILE_NAME)
        } else {
            path.to_owned()
        }
    }

    /// Reads `path`, a catalog or the folder that holds a `tidemark.toml`, and all its SQL.
    ///
    /// # Errors
    /// The first file that can't be read or makes no sense.
    pub fn load(path: &Path) -> Result<Self, RepositoryError> {
        let file = Self::file(path);
        let text = read(&file)?;
        let catalog = Catalog::parse(&file.display().to_string(), &text)?;
        let folder = file.parent().unwrap_or(Path::new("."));

        let mut texts = vec![text];
        let mut load = |sql: &str, params: &ParamSpecs| {
            let path = folder.join(sql);
            let text = read(&path)?;
            let statements = statement::parse(&text, params)
                .map_err(|source| RepositoryError::Statement { path, source })?;
            texts.push(text);
            Ok::<_, RepositoryError>(statements)
        };

        let only = |sql: &str, statements: Vec<Statement>| {
            <[Statement; 1]>::try_from(statements).map_err(|statements| {
                RepositoryError::Statement {
                    path: folder.join(sql),
                    source: StatementError::Count {
                        count: statements.len(),
                    },
                }
            })
        };
        let mut queries = BTreeMap::new();
        for (name, query) in &catalog.queries {
            let statements = load(&query.sql, &query.params)?;
            let [statement] = only(&query.sql, statements)?;
            queries.insert(name.clone(), statement.answering(query.shape));
        }
        let mut commands = BTreeMap::new();
        for (name, command) in &catalog.commands {
            let mut statements = load(&command.sql, &command.params)?;
            if let Some(last) = statements.pop() {
                statements.push(last.answering(command.shape));
            }
            commands.insert(name.clone(), statements);
        }

        // What is worth warming changes no answer, and so no digest.
        let mut warm = BTreeMap::new();
        for (name, query) in &catalog.queries {
            let Some(sql) = &query.warm else { continue };
            let path = folder.join(sql);
            let statements = statement::parse(&read(&path)?, &ParamSpecs::new())
                .map_err(|source| RepositoryError::Statement { path, source })?;
            let [statement] = only(sql, statements)?;
            warm.insert(name.clone(), statement);
        }

        let digest = Digest::of_fields(texts.iter().map(|text| Some(text.as_bytes())));
        Ok(Self {
            catalog,
            queries,
            commands,
            warm,
            digest,
        })
    }
}

fn read(path: &Path) -> Result<String, RepositoryError> {
    fs::read_to_string(path).map_err(|source| RepositoryError::Read {
        path: path.to_owned(),
        source,
    })
}
