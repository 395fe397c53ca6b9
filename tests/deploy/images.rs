//! `ops/Dockerfile`: what it takes from the repository is there, in the form that it expects.

use std::collections::BTreeSet;

use crate::read;

#[test]
fn the_build_gets_the_whole_workspace() {
    let ignored = read(".dockerignore");
    let let_in: BTreeSet<_> = ignored
        .lines()
        .filter_map(|it| it.strip_prefix('!'))
        .collect();
    let workspace: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let members = members.iter().map(|it| it.as_str().unwrap());
    for needed in members.chain(["Cargo.lock", "Cargo.toml", "examples/erp", "spin.toml"]) {
        assert!(let_in.contains(needed), "{needed}");
    }
}

#[test]
fn the_manifest_has_what_the_image_replaces() {
    let manifest = read("spin.toml");
    let sources = manifest.lines().filter(|it| it.starts_with("source = "));
    assert_eq!(sources.count(), 1);
    assert_eq!(manifest.matches("\"examples/erp\"").count(), 1);
}
