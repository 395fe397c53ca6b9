//! `ops/compose.yaml`.

use std::{fs, process::Command};

use serde_json::Value;
use tidemark_tests::tools;

use crate::{documents, installed, read};

fn services() -> serde_json::Map<String, Value> {
    let file = &documents(&read("ops/compose.yaml"))[0];
    file["services"].as_object().unwrap().clone()
}

/// What it starts of ours.
pub(crate) fn commands() -> Vec<String> {
    let services = services();
    let ours = services
        .values()
        .filter(|it| it["image"] == "tidemark-origin");
    let commands = ours.filter_map(|it| it["command"].as_array());
    commands
        .map(|words| {
            let words = words.iter().map(|it| it.as_str().unwrap());
            words.fold("tidemark-origin".to_owned(), |all, it| all + " " + it)
        })
        .collect()
}

#[test]
fn every_service_is_confined() {
    for (name, service) in services() {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"][0], "ALL", "{name}");
        assert_eq!(
            service["security_opt"][0], "no-new-privileges:true",
            "{name}"
        );
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(
                port.as_str().unwrap().starts_with("127.0.0.1:"),
                "{name}: {port}"
            );
        }
    }
}

/// `docker compose`, or the program that came before it.
fn compose() -> Option<Command> {
    if let Ok(docker) = tools::program("docker") {
        let mut command = Command::new(docker);
        let version = command.args(["compose", "version"]).output();
        if version.is_ok_and(|it| it.status.success()) {
            let mut command = Command::new(command.get_program());
            command.arg("compose");
            return Some(command);
        }
    }
    installed("docker-compose", "ops/compose.yaml")
}

#[test]
fn compose_reads_it_and_its_env_file_names_every_password() {
    let Some(mut compose) = compose() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let filled = folder.path().join("env");
    fs::write(
        &filled,
        read("ops/compose.env.example").replace("=\n", "=5ec2e7\n"),
    )
    .unwrap();
    let file = tools::repository().join("ops/compose.yaml");
    compose
        .arg("--file")
        .arg(file)
        .arg("--env-file")
        .arg(filled);
    tools::output(compose.args(["--profile", "observe", "config", "--quiet"])).unwrap();
}
