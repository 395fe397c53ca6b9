//! Everything that keeps the host from starting. What goes wrong later belongs to a request or to
//! a guest, and is answered or logged there.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What is said of a feature of Spin's that this runner deliberately lacks.
pub(crate) const UNSUPPORTED: &str = "not supported by tidemark-host, which runs HTTP triggers of \
     local components with Redis, outbound HTTP, variables and files; run this application with \
     `spin up`";

/// Why a [`Host`](crate::Host) could not be built, or not begin to serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The manifest, or a file that it names, can't be read.
    #[error("can't read {path}: {1}", path = .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// Something in the manifest (a dotted path, or its file name) or the value of a variable makes
    /// no sense, or asks for what this runner does not do.
    #[error("{0}: {1}")]
    Manifest(String, String),
    /// The WebAssembly engine refuses the component of this id, for this reason.
    #[error("component {0:?} {1}: {2:#}")]
    Component(String, String, wasmtime::Error),
    /// The WebAssembly engine can't be set up on this machine.
    #[error("can't set up the WebAssembly engine: {0:#}")]
    Engine(wasmtime::Error),
    /// The address can't be listened on.
    #[error("can't listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The threads that answer can't be started.
    #[error("can't start threads: {0}")]
    Threads(#[source] std::io::Error),
}

impl HostError {
    pub(crate) fn manifest(place: impl ToString, problem: impl ToString) -> Self {
        Self::Manifest(place.to_string(), problem.to_string())
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Read(path.to_owned(), source)
    }
}
