//! Everything that keeps the host from starting. What goes wrong later belongs to a request or to
//! a guest, and is answered or logged there.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a [`Host`](crate::Host) could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// A file or directory that the manifest names, or the manifest itself, can't be read.
    #[error("can't read {what} {}: {source}", path.display())]
    Read {
        /// What the path is for.
        what: &'static str,
        /// The path, resolved against the manifest's directory.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The manifest is not TOML, lacks a field or has one that Spin does not know.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// The manifest.
        path: PathBuf,
        /// What the parser says, with the line.
        source: Box<toml::de::Error>,
    },
    /// The manifest is well-formed, but a value in it makes no sense.
    #[error("{place}: {problem}")]
    Manifest {
        /// Where in the manifest, as a dotted path.
        place: String,
        /// What is wrong and what to write instead.
        problem: String,
    },
    /// The manifest uses something of Spin's that this runner deliberately lacks.
    #[error(
        "{place}: {feature} not supported by tidemark-host, which runs HTTP triggers with Redis, \
         outbound HTTP, variables and files; run this application with `spin up`"
    )]
    Unsupported {
        /// Where in the manifest, as a dotted path.
        place: String,
        /// The feature, as the subject of the sentence ("key-value stores are").
        feature: String,
    },
    /// A required variable has no value.
    #[error(
        "the variable {name:?} is required and has no value: set {environment} or pass --variable {name}=…"
    )]
    MissingVariable {
        /// The variable.
        name: String,
        /// The environment variable that would give it a value.
        environment: String,
    },
    /// A value was given for a variable which the manifest does not declare.
    #[error("there is no variable {name:?} in the manifest, which declares: {declared}")]
    UnknownVariable {
        /// The name that was given.
        name: String,
        /// The names that exist.
        declared: String,
    },
    /// A template can't be filled in.
    #[error("in {template:?}: {problem}")]
    Template {
        /// The template as written.
        template: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The WebAssembly engine refuses the component.
    #[error("component {id:?}: {problem}: {source:#}")]
    Component {
        /// The component's id.
        id: String,
        /// What was being done, and what usually helps.
        problem: String,
        /// The engine's own words.
        source: wasmtime::Error,
    },
    /// The WebAssembly engine can't be set up on this machine.
    #[error("can't set up the WebAssembly engine: {0:#}")]
    Engine(wasmtime::Error),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's answer.
        source: std::io::Error,
    },
}

impl HostError {
    pub(crate) fn manifest(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Manifest {
            place: place.into(),
            problem: problem.into(),
        }
    }

    pub(crate) fn unsupported(place: impl Into<String>, feature: impl Into<String>) -> Self {
        Self::Unsupported {
            place: place.into(),
            feature: feature.into(),
        }
    }

    pub(crate) fn template(template: &str, problem: impl Into<String>) -> Self {
        Self::Template {
            template: template.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn read(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { what, path, source }
    }
}
