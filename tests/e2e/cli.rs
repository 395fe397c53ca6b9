//! The command lines: what they offer, and how they refuse.

use std::process::Command;

use tidemark_tests::tools;

use crate::support::{Ran, run};

fn own(binary: &str, arguments: &[&str]) -> Ran {
    let mut command = Command::new(tools::own_binary(binary).unwrap());
    command.args(arguments);
    for name in [
        "DATABASE_URL",
        "REDIS_URL",
        "TIDEMARK_CATALOG",
        "TIDEMARK_LISTEN",
    ] {
        command.env_remove(name);
    }
    run(command)
}

#[test]
fn every_command_explains_itself() {
    let cases: [(&str, &[&str], &[&str]); 13] = [
        (
            "tidemark-origin",
            &["--help"],
            &[
                "serve",
                "relay",
                "manager",
                "purge",
                "install",
                "uninstall",
                "check",
                "explain",
                "audit",
                "status",
                "get",
                "keys",
                "tail",
                "completions",
            ],
        ),
        (
            "tidemark-origin",
            &["serve", "--help"],
            &[
                "--catalog",
                "TIDEMARK_CATALOG",
                "--database-url",
                "DATABASE_URL",
                "--redis",
                "REDIS_URL",
                "--listen",
                "TIDEMARK_LISTEN",
                "--query-connections",
                "--statement-timeout-ms",
            ],
        ),
        (
            "tidemark-origin",
            &["relay", "--help"],
            &[
                "--database-url",
                "--redis",
                "--poll-ms",
                "--metrics-listen",
                "TIDEMARK_METRICS_LISTEN",
            ],
        ),
        (
            "tidemark-origin",
            &["manager", "--help"],
            &[
                "--from",
                "TIDEMARK_FROM",
                "--to",
                "TIDEMARK_TO",
                "--key-prefix",
                "--metrics-listen",
            ],
        ),
        (
            "tidemark-origin",
            &["purge", "--help"],
            &["--all", "--hard", "--catalog", "--database-url", "--redis"],
        ),
        (
            "tidemark-origin",
            &["install", "--help"],
            &["--dry-run", "--database-url", "--catalog"],
        ),
        (
            "tidemark-origin",
            &["uninstall", "--help"],
            &["--database-url"],
        ),
        (
            "tidemark-origin",
            &["check", "--help"],
            &["--database-url", "--catalog", "--fix"],
        ),
        (
            "tidemark-origin",
            &["explain", "--help"],
            &["[QUERY]", "--change <SQL>", "--database-url", "--catalog"],
        ),
        (
            "tidemark-origin",
            &["audit", "--help"],
            &["--samples", "--rate", "--redis", "--database-url"],
        ),
        (
            "tidemark-origin",
            &["top", "--help"],
            &[
                "--origin",
                "TIDEMARK_ORIGIN_URL",
                "TIDEMARK_ADMIN_TOKEN",
                "--json",
            ],
        ),
        (
            "tidemark-host",
            &["--help"],
            &[
                "--from",
                "--listen",
                "TIDEMARK_LISTEN",
                "--variable",
                "SPIN_VARIABLE",
            ],
        ),
        (
            "tidemark-demo",
            &["--help"],
            &[
                "--size",
                "SIZE",
                "--edge-port",
                "EDGE_PORT",
                "--origin-port",
                "ORIGIN_PORT",
                "--runner",
            ],
        ),
    ];
    for (binary, arguments, words) in cases {
        let help = own(binary, arguments);
        assert!(help.success, "{binary} {arguments:?}: {help:?}");
        for word in words {
            assert!(
                help.stdout.contains(word),
                "no {word} in {binary} {arguments:?}:\n{}",
                help.stdout
            );
        }
    }
}

#[test]
fn help_shows_no_secrets_of_the_environment() {
    let mut command = Command::new(tools::own_binary("tidemark-origin").unwrap());
    command
        .args(["serve", "--help"])
        .env("DATABASE_URL", "postgres://me:hunter2@db/x")
        .env("REDIS_URL", "redis://:hunter3@cache");
    let help = run(command);
    assert!(help.success);
    assert!(!help.stdout.contains("hunter"), "{}", help.stdout);
}

#[test]
fn what_is_missing_or_unknown_is_named() {
    for (arguments, words) in [
        (&["serve"] as &[&str], "--database-url"),
        (&["serve", "--colour"], "--colour"),
        (&["fly"], "fly"),
        (
            &["check", "--database-url", "nonsense"],
            "write postgres://user:password@host:5432/name",
        ),
        (
            &[
                "serve",
                "--database-url",
                "postgres://x",
                "--listen",
                "here",
            ],
            "--listen",
        ),
        (
            &["serve", "--database-url", "postgres://x", "--poll-ms", "0"],
            "--poll-ms",
        ),
        (
            &[
                "serve",
                "--database-url",
                "postgres://x",
                "--audit-rate",
                "often",
            ],
            "a number a second",
        ),
        (
            &["audit", "--database-url", "postgres://x", "--rate", "0"],
            "--rate 0 would never end",
        ),
        (&["tail", "--redis", "redis:nonsense"], "write redis://"),
        (&["tail", "--redis", "rediss://cache"], "TLS to Redis"),
    ] {
        let ran = own("tidemark-origin", arguments);
        assert!(!ran.success, "{arguments:?}");
        let said = format!("{}{}", ran.stdout, ran.stderr);
        // A catalog is looked for first; where there is none, that is what is said.
        assert!(
            said.contains(words) || said.contains("tidemark.toml"),
            "no {words} for {arguments:?}: {said}"
        );
    }
}

#[test]
fn the_host_refuses_a_manifest_that_is_not_there() {
    let ran = own("tidemark-host", &["--from", "/nowhere/spin.toml"]);
    assert!(!ran.success);
    assert!(ran.stderr.contains("/nowhere/spin.toml"), "{ran:?}");
}
