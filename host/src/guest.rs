//! One component, and what an instance of it has for itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Engine;
use wasmtime::component::{Accessor, Component, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::HostError;
use crate::bindings::spin::redis::redis;
use crate::bindings::spin::variables::variables;
use crate::files::Mounts;
use crate::instances::InstanceReuse;
use crate::outbound::allow::AllowedHosts;
use crate::outbound::http::{Client, OutboundHttp, client};
use crate::redis::RedisLinks;
use crate::stdio::GuestOutput;

/// A component with everything that an instance of it needs.
pub(crate) struct Guest {
    pub(crate) id: Arc<str>,
    pub(crate) pre: ServicePre<GuestStore>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) mounts: Mounts,
    pub(crate) allowed: Arc<AllowedHosts>,
    /// One permit for each instance of any component that may live.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) reuse: InstanceReuse,
}

/// The connections that the instances of one thread share.
#[derive(Clone)]
pub(crate) struct Connections {
    http: Client,
    redis: RedisLinks,
}

impl Connections {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            http: client(),
            redis: RedisLinks::default(),
        }
    }
}

/// The data of one instance.
pub(crate) struct GuestStore {
    pub(crate) guest: Arc<Guest>,
    pub(crate) redis: RedisLinks,
    wasi: WasiCtx,
    http_context: WasiHttpCtx,
    http: OutboundHttp,
    pub(crate) table: ResourceTable,
    _slot: OwnedSemaphorePermit,
}

/// Checks that this host provides what `component` imports, and that it answers HTTP.
pub(crate) fn link(
    engine: &Engine,
    id: &str,
    component: &Component,
) -> Result<ServicePre<GuestStore>, HostError> {
    let failed = |problem: &'static str| {
        move |source| HostError::Component(id.to_owned(), problem.to_owned(), source)
    };
    let mut linker = Linker::new(engine);
    add_to_linker(&mut linker).map_err(HostError::Engine)?;
    let pre = linker.instantiate_pre(component).map_err(failed(
        "imports what tidemark-host does not provide (`spin up` may)",
    ))?;
    ServicePre::new(pre).map_err(failed(
        "does not export wasi:http/handler of WASI 0.3 (build it with spin-sdk 7)",
    ))
}

fn add_to_linker(linker: &mut Linker<GuestStore>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi::p3::add_to_linker(linker)?;
    wasmtime_wasi_http::p3::add_to_linker(linker)?;
    redis::add_to_linker::<_, HasSelf<GuestStore>>(linker, |store| store)?;
    variables::add_to_linker::<_, HasSelf<GuestStore>>(linker, |store| store)
}

impl Guest {
    /// A WASI context with what the manifest grants: no inherited environment, no sockets.
    fn wasi(&self) -> wasmtime::Result<WasiCtx> {
        let mut wasi = WasiCtx::builder();
        wasi.stdout(GuestOutput::new(self.id.clone(), "stdout"))
            .stderr(GuestOutput::new(self.id.clone(), "stderr"))
            .allow_tcp(false)
            .allow_udp(false)
            // Files are few, local and read once by each instance: a hop to another thread for
            // every call would cost more than the calls.
            .allow_blocking_current_thread(true);
        for (name, value) in &self.environment {
            wasi.env(name, value);
        }
        for (host, guest) in &self.mounts.directories {
            wasi.preopened_dir(host, guest, FsPerms::ReadOnly)?;
        }
        Ok(wasi.build())
    }
}

impl GuestStore {
    /// What a new instance begins with.
    ///
    /// # Errors
    /// `TryAcquireError`: as many instances live as may. Or a mounted directory is gone.
    pub(crate) fn new(guest: Arc<Guest>, connections: &Connections) -> wasmtime::Result<Self> {
        Ok(Self {
            _slot: guest.slots.clone().try_acquire_owned()?,
            wasi: guest.wasi()?,
            http_context: WasiHttpCtx::new(),
            http: OutboundHttp {
                client: connections.http.clone(),
                allowed: guest.allowed.clone(),
            },
            redis: connections.redis.clone(),
            table: ResourceTable::new(),
            guest,
        })
    }
}

impl WasiView for GuestStore {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for GuestStore {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http_context,
            table: &mut self.table,
            hooks: &mut self.http,
        }
    }
}

impl variables::Host for GuestStore {}

impl<T: Send> variables::HostWithStore<T> for HasSelf<GuestStore> {
    async fn get(accessor: &Accessor<T, Self>, name: String) -> Result<String, variables::Error> {
        let value = accessor.with(|mut store| store.get().guest.variables.get(&name).cloned());
        value.ok_or_else(|| variables::Error::Undefined(format!("{name:?} is not in the manifest")))
    }
}
