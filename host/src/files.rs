//! A component's `files`: what of the host's file system the guest sees, always read-only.
//!
//! A directory is mounted where it lies, so that the guest sees it as it is now. A single file
//! can't be mounted (WASI knows directories only): it is copied into a directory of this run, which
//! becomes the guest's root. Spin copies both.

use std::fs;
use std::path::{Component, Path, PathBuf};

use tempfile::TempDir;

use crate::HostError;
use crate::manifest::FilesMount;

/// The directories that a component's guests see.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    /// Path on the host, absolute path in the guest.
    pub(crate) directories: Vec<(PathBuf, String)>,
    /// Deleted when the last instance is gone.
    copies: Option<TempDir>,
}

impl Mounts {
    /// Prepares `files`, which stand at `place` of the manifest in `directory`.
    pub(crate) fn prepare(
        place: &str,
        directory: &Path,
        files: &[FilesMount],
    ) -> Result<Self, HostError> {
        let mut mounts = Self::default();
        for mount in files {
            let (source, guest) =
                read(mount).map_err(|problem| HostError::manifest(place, problem))?;
            let source = directory.join(source);
            let metadata = fs::metadata(&source).map_err(HostError::read(&source))?;
            if metadata.is_dir() {
                let guest = guest.to_string_lossy().into_owned();
                mounts.directories.push((source, guest));
            } else {
                mounts
                    .copy(&source, &guest)
                    .map_err(HostError::read(&source))?;
            }
        }
        if let Some(copies) = &mounts.copies {
            if mounts.directories.iter().any(|(_, guest)| guest == "/") {
                return Err(HostError::manifest(
                    place,
                    "single files need the guest's root, which a directory with destination \"/\" \
                     already is: give that directory another destination",
                ));
            }
            let root = (copies.path().to_owned(), "/".to_owned());
            mounts.directories.push(root);
        }
        Ok(mounts)
    }

    fn copy(&mut self, source: &Path, guest: &Path) -> std::io::Result<()> {
        let copies = match &mut self.copies {
            Some(copies) => copies,
            none => none.insert(tempfile::Builder::new().prefix("tidemark-").tempdir()?),
        };
        let target = copies.path().join(guest.strip_prefix("/").unwrap_or(guest));
        fs::create_dir_all(target.parent().unwrap_or(copies.path()))?;
        fs::copy(source, &target).map(drop)
    }
}

/// The host's path as written and the guest's, if both make sense.
fn read(mount: &FilesMount) -> Result<(&Path, PathBuf), String> {
    let (source, guest) = match mount {
        FilesMount::Path(path) if path.starts_with('/') || path.contains(['*', '?', '[']) => {
            return Err(format!(
                "{path:?} is absolute or a pattern: name a directory, as in \
                 {{ source = \"assets\", destination = \"/assets\" }}"
            ));
        }
        FilesMount::Path(path) => (path, format!("/{path}")),
        FilesMount::Placed {
            source,
            destination,
        } => (source, destination.clone()),
    };
    // Without what says nothing, such as "./".
    let guest: PathBuf = Path::new(&guest).components().collect();
    if !guest.is_absolute() || guest.components().any(|part| part == Component::ParentDir) {
        return Err(format!(
            "{guest:?} is not an absolute path without \"..\", as a path in the guest must be"
        ));
    }
    Ok((Path::new(source), guest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepare(files: &[FilesMount]) -> Result<(TempDir, Mounts), HostError> {
        let directory = tempfile::tempdir().unwrap();
        for file in ["catalog/tidemark.toml", "static/a.txt", "one.txt"] {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        let mounts = Mounts::prepare("component.c.files", directory.path(), files)?;
        Ok((directory, mounts))
    }

    fn path(path: &str) -> FilesMount {
        FilesMount::Path(path.to_owned())
    }

    fn placed(source: &str, destination: &str) -> FilesMount {
        FilesMount::Placed {
            source: source.to_owned(),
            destination: destination.to_owned(),
        }
    }

    #[test]
    fn directories_are_mounted_where_they_lie() {
        let (directory, mounts) =
            prepare(&[placed("catalog", "/etc/c"), path("./static")]).unwrap();
        assert_eq!(
            mounts.directories,
            [
                (directory.path().join("catalog"), "/etc/c".to_owned()),
                (directory.path().join("static"), "/static".to_owned()),
            ]
        );
    }

    #[test]
    fn files_are_copied_under_the_guests_root() {
        let files = [path("static/a.txt"), placed("one.txt", "/etc/two.txt")];
        let (_directory, mounts) = prepare(&files).unwrap();
        let [(root, guest)] = mounts.directories.as_slice() else {
            panic!("{mounts:?}");
        };
        assert_eq!(guest, "/");
        for (copy, content) in [("static/a.txt", "static/a.txt"), ("etc/two.txt", "one.txt")] {
            assert_eq!(fs::read_to_string(root.join(copy)).unwrap(), content);
        }
        let root = root.clone();
        drop(mounts);
        assert!(!root.exists(), "copies are deleted");
    }

    #[test]
    fn what_can_not_be_mounted_is_refused() {
        let table: &[(&[FilesMount], &str)] = &[
            (&[path("missing.txt")], "missing.txt"),
            (&[path("../outside.txt")], "without \"..\""),
            (&[path("/etc/passwd")], "name a directory"),
            (&[path("static/*.txt")], "destination ="),
            (&[placed("missing", "/x")], "missing"),
            (&[placed("catalog", "x")], "absolute path"),
            (&[placed("catalog", "/../x")], "without \"..\""),
            (
                &[placed("catalog", "/"), path("one.txt")],
                "destination \"/\"",
            ),
        ];
        for (files, part) in table {
            let message = prepare(files).map(drop).unwrap_err().to_string();
            assert!(message.contains(part), "{files:?}: {message}");
        }
    }
}
