//! Where things are: the repository, programs on this machine, and our own binaries.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

/// The repository's root.
pub fn repository() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// One of the workspace's own binaries, built into the folder in which this program is as well.
///
/// # Errors
/// It has not been built.
pub fn own_binary(name: &str) -> anyhow::Result<PathBuf> {
    let path = own_folder()?.join(name);
    if !path.is_file() {
        bail!("{} is missing; run: make build", path.display());
    }
    Ok(path)
}

/// The folder of the workspace's binaries, e.g. `target/debug`.
///
/// # Errors
/// The operating system does not tell where this program is.
pub fn own_folder() -> anyhow::Result<PathBuf> {
    let this = env::current_exe().context("where is this program?")?;
    let mut folder = this.parent().unwrap_or(Path::new("/"));
    if folder.ends_with("deps") {
        folder = folder.parent().unwrap_or(folder);
    }
    Ok(folder.to_owned())
}

/// A program on the PATH.
///
/// # Errors
/// There is none of this name.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{name} is not on the PATH"))
}

/// What a program prints.
///
/// # Errors
/// It can't be started, or fails.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_owned();
    let output = command
        .output()
        .with_context(|| format!("can't start {}", program.display()))?;
    if !output.status.success() {
        bail!(
            "{} failed ({}):\n{}{}",
            program.display(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
