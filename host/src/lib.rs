//! Runs a Spin application natively: the same, unmodified `spin.toml` that `spin up` takes, for
//! machines where no `spin` is installed.
//!
//! A connection comes in through [`server`], which gives it to the [`thread`] that has the fewest. Each
//! of its requests is a [`service`]'s, which finds the component by route and hands it to the proxy
//! handler of wasmtime; that one asks for [`instances`] of the [`guest`].
//! A guest reaches the outside through [`redis`] and [`outbound`], each of which asks the
//! component's allow-list first. Before all that, [`manifest`] refuses what this runner does not
//! do, [`template`] fills in variables, [`files`] prepares what guests may read and [`compile`]
//! turns WebAssembly into machine code, once.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the map above is for those who read the source"
)]

mod bindings;
mod compile;
mod error;
mod files;
mod guest;
mod instances;
mod manifest;
mod outbound;
mod redis;
mod routes;
mod server;
mod service;
mod stdio;
mod template;
mod thread;
mod worker;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use wasmtime::Engine;

pub use crate::error::HostError;
use crate::files::Mounts;
use crate::guest::Guest;
pub use crate::instances::InstanceReuse;
use crate::manifest::{ComponentConfig, Manifest};
use crate::outbound::allow::AllowedHosts;
use crate::routes::Routes;
use crate::server::Server;
use crate::template::Variables;

/// What to run and where.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// The manifest, usually `spin.toml`. Its relative paths start from its directory.
    pub manifest: PathBuf,
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Values of application variables. They win over the environment and the defaults.
    pub variables: BTreeMap<String, String>,
    /// Whether `SPIN_VARIABLE_…` of the process environment give variables their values.
    pub environment: bool,
    /// Where compiled components are kept between runs; `None` compiles each time. A directory
    /// that others can write to is not used.
    pub cache_dir: Option<PathBuf>,
    /// How often and how long instances of components are used.
    pub reuse: InstanceReuse,
    /// How many threads answer.
    pub threads: NonZeroUsize,
}

impl HostConfig {
    /// Runs `manifest` on 127.0.0.1:3000 by a thread for each processor, with variables from the
    /// environment and the user's own cache directory (`$XDG_CACHE_HOME/tidemark` or
    /// `~/.cache/tidemark`).
    pub fn new(manifest: impl Into<PathBuf>) -> Self {
        Self {
            manifest: manifest.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            variables: BTreeMap::new(),
            environment: true,
            cache_dir: compile::default_cache(),
            reuse: InstanceReuse::default(),
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// An application that is loaded and bound to its address.
pub struct Host {
    name: String,
    local_addr: SocketAddr,
    server: Server,
}

impl Host {
    /// Reads the manifest, compiles its components or finds them compiled, and binds the listener.
    ///
    /// # Errors
    /// Whatever would keep the application from running as its manifest says: see [`HostError`].
    pub async fn build(config: HostConfig) -> Result<Self, HostError> {
        let manifest = Manifest::load(&config.manifest)?;
        let variables = Variables::resolve(&manifest.variables, config.variables, |key| {
            std::env::var(key).ok().filter(|_| config.environment)
        })?;
        // Before the components, which take a while: a port in use is told at once.
        let listen = |source| HostError::Listen(config.listen, source);
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        let local_addr = listener.local_addr().map_err(listen)?;

        let instances = compile::max_instances(config.threads);
        let loader = Loader {
            engine: compile::engine(instances, &config.reuse)?,
            cache_dir: config.cache_dir,
            variables,
            directory: manifest.directory,
            slots: Arc::new(Semaphore::new(instances as usize)),
            reuse: config.reuse,
        };
        let mut guests = BTreeMap::new();
        for (id, component) in manifest.components {
            let guest = Arc::new(loader.load(&id, component).await?);
            guests.insert(id, guest);
        }
        let routes = manifest.routes.into_iter();
        let routes = routes.filter_map(|(route, id)| Some((route, guests.get(&id)?.clone())));
        Ok(Self {
            name: manifest.name,
            local_addr,
            server: Server {
                listener,
                routes: Routes::new(routes.collect()),
                threads: config.threads,
            },
        })
    }

    /// The application's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address that the host listens on, with the port that it got.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Each route as written, and the id of the component that answers it.
    pub fn routes(&self) -> impl Iterator<Item = (String, &str)> {
        let routes = self.server.routes.iter();
        routes.map(|(route, guest)| (route.to_string(), &*guest.id))
    }

    /// Serves until `shutdown` resolves. Then it accepts nothing more and returns when all that
    /// runs has finished (also what components left running after their responses), or after 10
    /// seconds.
    ///
    /// # Errors
    /// [`HostError::Threads`], before anything is served.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), HostError> {
        let served = self.server.run(shutdown).await;
        served.map_err(HostError::Threads)
    }
}

/// What the components of an application share.
struct Loader {
    engine: Engine,
    cache_dir: Option<PathBuf>,
    variables: Variables,
    directory: PathBuf,
    slots: Arc<Semaphore>,
    reuse: InstanceReuse,
}

impl Loader {
    async fn load(&self, id: &str, config: ComponentConfig) -> Result<Guest, HostError> {
        let place = |field: &str| format!("component.{id}.{field}");
        let allowed = Arc::new(AllowedHosts::parse(
            place("allowed_outbound_hosts"),
            &config.allowed_outbound_hosts,
            &self.variables,
        )?);
        let mut variables = BTreeMap::new();
        for (name, template) in config.variables {
            let value = self.variables.fill(&place("variables"), &template)?;
            variables.insert(name, value);
        }
        let mounts = Mounts::prepare(&place("files"), &self.directory, &config.files)?;
        let source = self.directory.join(&config.source);
        let (engine, cache, name) = (self.engine.clone(), self.cache_dir.clone(), id.to_owned());
        // Compiling takes seconds of all processors.
        let task = move || compile::load(&engine, &name, &source, cache.as_deref());
        let component = tokio::task::spawn_blocking(task)
            .await
            .map_err(|panic| HostError::Engine(panic.into()))??;
        Ok(Guest {
            id: id.into(),
            pre: guest::link(&self.engine, id, &component)?,
            environment: config.environment,
            variables,
            mounts,
            allowed,
            slots: self.slots.clone(),
            reuse: self.reuse,
        })
    }
}
