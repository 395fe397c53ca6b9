//! One component and the instances that serve its requests.
//!
//! Instances are reused as Spin 4 reuses them: at most 128 requests an instance, 16 of them at
//! once, dropped after a second of idleness.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use wasmtime::component::{Accessor, Component, GuestTaskId, HasSelf, Linker, ResourceTable};
use wasmtime::{Engine, Store, StoreContextMut};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, Proxy, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::HostError;
use crate::bindings::spin::redis::redis;
use crate::bindings::spin::variables::variables;
use crate::files::Mounts;
use crate::outbound::allow::AllowedHosts;
use crate::outbound::http::OutboundHttp;
use crate::redis::RedisLinks;
use crate::stdio::GuestOutput;

const MAX_REQUESTS: usize = 128;
pub(crate) const MAX_CONCURRENT_REQUESTS: usize = 16;
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an instance may work without a new request: on a response, or after it.
const WORK_TIMEOUT: Duration = Duration::from_secs(600);

/// A component with everything that an instance of it needs.
pub(crate) struct Guest {
    pub(crate) id: Arc<str>,
    pub(crate) pre: ServicePre<GuestStore>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) mounts: Mounts,
    pub(crate) allowed: Arc<AllowedHosts>,
    pub(crate) http: OutboundHttp,
    pub(crate) redis: RedisLinks,
    /// One permit for each instance of any component that may live.
    pub(crate) slots: Arc<Semaphore>,
}

/// The data of one instance.
pub(crate) struct GuestStore {
    pub(crate) guest: Arc<Guest>,
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

/// What the proxy handler asks for instances of one component.
pub(crate) struct Instances(pub(crate) Arc<Guest>);

impl HandlerState for Instances {
    type StoreData = GuestStore;
    type WorkerExpiration = Expiration;
    type WorkerState = Reuse;

    async fn instantiate(&self) -> wasmtime::Result<Instance<GuestStore, Expiration, Reuse>> {
        let guest = &self.0;
        let data = GuestStore {
            _slot: guest.slots.clone().try_acquire_owned()?,
            wasi: guest.wasi()?,
            http_context: WasiHttpCtx::new(),
            http: guest.http.clone(),
            table: ResourceTable::new(),
            guest: guest.clone(),
        };
        let mut store = Store::new(guest.pre.engine(), data);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let proxy = Proxy::P3(guest.pre.instantiate_async(&mut store).await?);
        Ok(Instance {
            store,
            proxy,
            view: GuestStore::http,
            expiration: Expiration(Box::pin(tokio::time::sleep(IDLE_TIMEOUT))),
            state: Reuse(guest.id.clone()),
        })
    }
}

/// When an instance goes.
pub(crate) struct Expiration(Pin<Box<Sleep>>);

impl WorkerExpiration for Expiration {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        status: WorkerStatus,
        start: Instant,
    ) -> Poll<()> {
        let timeout = match status {
            WorkerStatus::Idle => IDLE_TIMEOUT,
            WorkerStatus::Requests | WorkerStatus::PostReturn => WORK_TIMEOUT,
        };
        let deadline = (start + timeout).into();
        if self.0.deadline() != deadline {
            self.0.as_mut().reset(deadline);
        }
        self.0.as_mut().poll(cx)
    }
}

/// How many requests an instance of the component takes.
pub(crate) struct Reuse(Arc<str>);

impl WorkerState for Reuse {
    type StoreData = GuestStore;
    type RequestData = ();

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        match (total, concurrent) {
            (MAX_REQUESTS.., _) => ShouldAccept::Never,
            (_, MAX_CONCURRENT_REQUESTS..) => ShouldAccept::No,
            _ => ShouldAccept::Yes,
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, GuestStore>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        // No deadline for a single request, as in Spin: `Expiration` ends what hangs.
        Box::pin(std::future::pending())
    }

    fn drop(&self, _: Store<GuestStore>, result: wasmtime::Result<()>) {
        if let Err(error) = result {
            tracing::error!(component = %self.0, "the instance failed: {error:?}");
        }
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
