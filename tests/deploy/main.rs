//! What `ops/` ships for deployments, held against the schemas of those who read it, and against the
//! binaries that it starts: a manifest that names a wrong variable is found here, not in a cluster.
//!
//! `kubectl`, `docker compose` and `systemd-analyze` are asked as well where they are installed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends by panicking"
)]

mod compose;
mod differences;
mod kubernetes;
mod names;
mod spinkube;
mod systemd;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tidemark_tests::tools;

/// All files of a folder of the repository, and of the folders in it.
fn files(folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, found),
                false => found.push(path),
            }
        }
    }
    let mut found = Vec::new();
    walk(&tools::repository().join(folder), &mut found);
    found.sort();
    assert!(!found.is_empty(), "{folder}");
    found
}

fn read(path: impl AsRef<Path>) -> String {
    let path = tools::repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents of a YAML text, aliases and merges resolved.
fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// One of these programs, if it is installed; else says what was not checked.
fn installed(program: &str, what: &str) -> Option<Command> {
    let found = tools::program(program).ok();
    if found.is_none() {
        eprintln!("without {program}, nothing else has read {what}");
    }
    found.map(Command::new)
}
