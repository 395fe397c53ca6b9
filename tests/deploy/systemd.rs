//! `ops/systemd`.

use std::fs;

use tidemark_tests::tools;

use crate::{files, installed, read};

/// What the units start.
pub(crate) fn commands() -> Vec<String> {
    let units = files("ops/systemd");
    let starts = |text: String| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart=/usr/bin/"));
        line.unwrap().to_owned()
    };
    units.iter().map(|path| starts(read(path))).collect()
}

#[test]
fn systemd_finds_nothing_wrong() {
    let Some(mut analyze) = installed("systemd-analyze", "ops/systemd") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    analyze.arg("verify");
    for path in files("ops/systemd") {
        // Where the binaries are while they are not installed.
        let ours = format!("ExecStart={}/", tools::own_folder().unwrap().display());
        let unit = folder.path().join(path.file_name().unwrap());
        fs::write(&unit, read(&path).replace("ExecStart=/usr/bin/", &ours)).unwrap();
        analyze.arg(unit);
    }
    let output = analyze.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
