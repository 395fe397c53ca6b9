//! The harness itself, for real: every workload on as little data and in as few rounds as it takes to show that
//! it works. Its figures mean nothing, and that the report says.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't go on ends by panicking"
)]

use std::{fs, process::Command};

use tidemark_tests::tools;

#[test]
fn a_trial_measures_everything_and_reports_it() {
    // Where the account that runs PostgreSQL gets in as well, and its data is gone with the test.
    let folder = tempfile::Builder::new()
        .prefix("tidemark-bench-test-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .unwrap();
    let (dir, docs) = (folder.path().join("bench"), folder.path().join("docs"));
    let mut command = Command::new(tools::own_binary("tidemark-bench").unwrap());
    command
        .args(["run", "--trial", "--no-peers", "--dir"])
        .arg(&dir)
        .arg("--docs")
        .arg(&docs);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");

    let page = fs::read_to_string(docs.join("benchmarks.md")).unwrap();
    assert!(page.contains("its figures mean nothing"), "{page}");
    assert!(!page.contains("Not measured yet"), "{page}");
    let plots: Vec<_> = page
        .split("<img src=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(plots.len() >= 8, "{plots:?}");
    for plot in plots {
        let svg = fs::read_to_string(docs.join(plot)).unwrap();
        assert!(svg.starts_with("<svg"), "{plot}");
    }

    // The report is made of the results alone.
    let again = folder.path().join("again");
    let mut command = Command::new(tools::own_binary("tidemark-bench").unwrap());
    command
        .arg("report")
        .arg("--dir")
        .arg(&dir)
        .arg("--docs")
        .arg(&again);
    tools::output(&mut command).unwrap();
    assert_eq!(
        fs::read_to_string(again.join("benchmarks.md")).unwrap(),
        page
    );
}
