//! A component's `files`: what of the host's file system the guest sees, always read-only.
//!
//! A directory is mounted where it lies, so that the guest sees it as it is now. Single files and
//! globs can't be mounted (WASI knows directories only): they are copied into a directory of this
//! run, which becomes the guest's root. Spin copies both.

use std::path::{Component, Path, PathBuf};

use tempfile::TempDir;

use crate::HostError;
use crate::manifest::{FilesMount, Placement};

/// The directories that a component's guests see.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    /// Path on the host, absolute path in the guest.
    pub(crate) directories: Vec<(PathBuf, String)>,
    /// Deleted when the last instance is gone.
    copies: Option<TempDir>,
}

impl Mounts {
    /// Prepares the `files` of the component at `place`, relative to the manifest's `directory`.
    pub(crate) fn prepare(
        place: &str,
        directory: &Path,
        files: &[FilesMount],
    ) -> Result<Self, HostError> {
        let mut mounts = Self::default();
        for (index, mount) in files.iter().enumerate() {
            let place = format!("{place}.files[{index}]");
            match mount {
                FilesMount::Placed(placement) => mounts.place(&place, directory, placement)?,
                FilesMount::Pattern(pattern) => mounts.pattern(&place, directory, pattern)?,
            }
        }
        if let Some(copies) = &mounts.copies {
            if mounts.directories.iter().any(|(_, guest)| guest == "/") {
                return Err(HostError::manifest(
                    format!("{place}.files"),
                    "single files need the guest's root, which a directory with \
                     destination \"/\" already is: give that directory another destination",
                ));
            }
            mounts
                .directories
                .push((copies.path().to_owned(), "/".to_owned()));
        }
        Ok(mounts)
    }

    fn place(
        &mut self,
        place: &str,
        directory: &Path,
        placement: &Placement,
    ) -> Result<(), HostError> {
        let guest = Path::new(&placement.destination);
        if !guest.is_absolute() || guest.components().any(|part| part == Component::ParentDir) {
            return Err(HostError::manifest(
                format!("{place}.destination"),
                format!(
                    "{:?} is not an absolute path without \"..\"",
                    placement.destination
                ),
            ));
        }
        let source = directory.join(&placement.source);
        if metadata(&source)?.is_dir() {
            self.directories
                .push((source, placement.destination.clone()));
            return Ok(());
        }
        self.copy(&source, guest.strip_prefix("/").unwrap_or(guest))
    }

    fn pattern(&mut self, place: &str, directory: &Path, pattern: &str) -> Result<(), HostError> {
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !Path::new(pattern).components().all(inside) {
            return Err(HostError::manifest(
                place,
                format!(
                    "{pattern:?} leaves the manifest's directory: write \
                     {{ source = {pattern:?}, destination = \"/…\" }}"
                ),
            ));
        }
        let exact = directory.join(pattern);
        if exact.is_dir() {
            self.directories.push((exact, format!("/{pattern}")));
            return Ok(());
        }
        if glob::Pattern::escape(pattern) == pattern {
            return self.copy(&exact, Path::new(pattern));
        }
        // Only the manifest's part is a pattern; its directory may contain any character.
        let whole = Path::new(&glob::Pattern::escape(&directory.to_string_lossy())).join(pattern);
        let paths = glob::glob(&whole.to_string_lossy()).map_err(|error| {
            HostError::manifest(place, format!("{pattern:?} is not a glob pattern: {error}"))
        })?;
        let mut found = false;
        for path in paths {
            let path = path.map_err(|error| {
                let at = error.path().to_owned();
                HostError::read("a file of `files`", at)(error.into())
            })?;
            if path.is_file() {
                found = true;
                self.copy(&path, path.strip_prefix(directory).unwrap_or(&path))?;
            }
        }
        if !found {
            tracing::warn!(%place, pattern, "no file matches");
        }
        Ok(())
    }

    fn copy(&mut self, source: &Path, guest: &Path) -> Result<(), HostError> {
        metadata(source)?;
        let copies = match &mut self.copies {
            Some(copies) => copies,
            none => none.insert(
                tempfile::Builder::new()
                    .prefix("tidemark-files-")
                    .tempdir()
                    .map_err(HostError::read(
                        "the temporary directory",
                        std::env::temp_dir(),
                    ))?,
            ),
        };
        let target = copies.path().join(guest);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).map_err(HostError::read("a directory", parent))?;
        }
        std::fs::copy(source, &target).map_err(HostError::read("a file of `files`", source))?;
        Ok(())
    }
}

fn metadata(path: &Path) -> Result<std::fs::Metadata, HostError> {
    std::fs::metadata(path).map_err(HostError::read("a file of `files`", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application() -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in [
            "catalog/tidemark.toml",
            "static/a.txt",
            "static/deep/b.txt",
            "one.txt",
        ] {
            let path = directory.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        directory
    }

    fn prepare(files: &[FilesMount]) -> Result<(TempDir, Mounts), HostError> {
        let directory = application();
        let mounts = Mounts::prepare("component.c", directory.path(), files)?;
        Ok((directory, mounts))
    }

    fn pattern(pattern: &str) -> FilesMount {
        FilesMount::Pattern(pattern.to_owned())
    }

    fn placed(source: &str, destination: &str) -> FilesMount {
        FilesMount::Placed(Placement {
            source: source.to_owned(),
            destination: destination.to_owned(),
        })
    }

    #[test]
    fn directories_are_mounted_where_they_lie() {
        let (directory, mounts) =
            prepare(&[placed("catalog", "/etc/catalog"), pattern("static")]).unwrap();
        assert_eq!(
            mounts.directories,
            [
                (directory.path().join("catalog"), "/etc/catalog".to_owned()),
                (directory.path().join("static"), "/static".to_owned()),
            ]
        );
    }

    #[test]
    fn files_and_globs_are_copied_under_the_guests_root() {
        let (_directory, mounts) = prepare(&[
            pattern("static/**/*.txt"),
            placed("one.txt", "/etc/two.txt"),
        ])
        .unwrap();
        let [(root, guest)] = mounts.directories.as_slice() else {
            panic!("{mounts:?}");
        };
        assert_eq!(guest, "/");
        for (copy, content) in [
            ("static/a.txt", "static/a.txt"),
            ("static/deep/b.txt", "static/deep/b.txt"),
            ("etc/two.txt", "one.txt"),
        ] {
            assert_eq!(std::fs::read_to_string(root.join(copy)).unwrap(), content);
        }
        let root = root.clone();
        drop(mounts);
        assert!(!root.exists(), "copies are deleted");
    }

    #[test]
    fn what_can_not_be_mounted_is_refused() {
        let table: &[(&[FilesMount], &str)] = &[
            (&[pattern("missing.txt")], "missing.txt"),
            (
                &[pattern("../outside.txt")],
                "leaves the manifest's directory",
            ),
            (&[pattern("/etc/passwd")], "leaves the manifest's directory"),
            (&[pattern("a/**b")], "not a glob pattern"),
            (&[placed("missing", "/x")], "missing"),
            (&[placed("catalog", "x")], "absolute path"),
            (&[placed("catalog", "/../x")], "absolute path"),
            (
                &[placed("catalog", "/"), pattern("one.txt")],
                "destination \"/\"",
            ),
        ];
        for (files, part) in table {
            let message = prepare(files).map(drop).unwrap_err().to_string();
            assert!(message.contains(part), "{files:?}: {message}");
        }
    }
}
