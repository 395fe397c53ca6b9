//! Variables, flags and commands that the files name are those that the binaries have.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;
use tidemark_tests::tools;

use crate::{
    compose, files,
    kubernetes::{pods, resources},
    read, systemd,
};

/// The environment variables that our binaries and the manifest take.
fn variables() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for (binary, arguments) in [
        ("tidemark-origin", ["serve", "--help"].as_slice()),
        ("tidemark-origin", &["manager", "--help"]),
        ("tidemark-host", &["--help"]),
    ] {
        let mut command = Command::new(tools::own_binary(binary).unwrap());
        let help = tools::output(command.args(arguments)).unwrap();
        for after in help.split("[env: ").skip(1) {
            known.insert(after.chars().take_while(is_of_name).collect());
        }
    }
    known.extend(
        spin_variables()
            .iter()
            .map(|name| format!("SPIN_VARIABLE_{}", name.to_uppercase())),
    );
    assert!(
        known.contains("REDIS_URL") && known.contains("TIDEMARK_LISTEN"),
        "{known:?}"
    );
    known
}

fn spin_variables() -> BTreeSet<String> {
    let manifest: toml::Table = toml::from_str(&read("spin.toml")).unwrap();
    manifest["variables"]
        .as_table()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}

fn is_of_name(letter: &char) -> bool {
    letter.is_ascii_uppercase() || letter.is_ascii_digit() || *letter == '_'
}

#[test]
fn every_variable_of_ours_exists() {
    let known = variables();
    let mut paths = files("ops/kubernetes");
    paths.extend(files("ops/systemd"));
    paths.extend(["ops/compose.yaml", "ops/Dockerfile", "docs/deploy.md"].map(Into::into));
    let mut named = 0;
    for path in paths {
        for word in read(&path).split(|letter| !is_of_name(&letter)) {
            let is_ours = ["TIDEMARK_", "SPIN_VARIABLE_"]
                .iter()
                .any(|it| word.len() > it.len() && word.starts_with(it));
            if is_ours {
                named += 1;
                assert!(known.contains(word), "{}: {word}", path.display());
            }
        }
    }
    assert!(named > 20, "{named}");
}

#[test]
fn every_variable_in_a_secret_or_a_container_exists() {
    let known = variables();
    let spin = spin_variables();
    let name = |variable: &Value| variable["name"].as_str().unwrap().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for (file, resource) in resources() {
        for key in resource["stringData"]
            .as_object()
            .iter()
            .flat_map(|it| it.keys())
        {
            assert!(known.contains(key), "{file}: {key}");
        }
        for container in pods(&resource).map_or(&[][..], |it| it.1) {
            for variable in list(&container["env"]) {
                assert!(known.contains(&name(&variable)), "{file}: {variable}");
            }
        }
        // A SpinApp's.
        for variable in list(&resource["spec"]["variables"]) {
            assert!(spin.contains(&name(&variable)), "{file}: {variable}");
        }
    }
}

/// The commands in the code of `docs/deploy.md`, those of several lines as one.
fn documented() -> Vec<String> {
    let text = read("docs/deploy.md").replace("\\\n", " ");
    let lines = text.lines().map(str::trim);
    let ours = lines.filter(|line| line.starts_with("tidemark-"));
    ours.map(str::to_owned).collect()
}

#[test]
fn every_command_is_one_that_the_binary_takes() {
    let mut commands = documented();
    commands.extend(systemd::commands());
    commands.extend(compose::commands());
    for (_, resource) in resources() {
        for container in pods(&resource).map_or(&[][..], |it| it.1) {
            if let Some(arguments) = container["args"].as_array() {
                assert_eq!(container["image"], "tidemark-origin");
                let words = arguments.iter().map(|it| it.as_str().unwrap());
                commands.push(words.fold("tidemark-origin".to_owned(), |all, it| all + " " + it));
            }
        }
    }
    assert!(commands.len() > 8, "{commands:#?}");
    for command in commands {
        let mut words = command.split_whitespace();
        let binary = tools::own_binary(words.next().unwrap()).unwrap();
        // Everything before --help is read first, and refused if it is wrong.
        let ran = tools::output(Command::new(binary).args(words).arg("--help"));
        assert!(ran.is_ok(), "{command}: {ran:?}");
    }
}
