//! The instances of a component on one thread: how they come, how many requests each takes, when they go.
//!
//! They are reused as Spin reuses them, but longer ([`InstanceReuse`]).
//!
//! wasmtime's proxy handler starts another one for each request that is there while one computes, so with
//! many connections there is one for nearly each. To let only one request begin at a time kept them few, but
//! then each pays for a turn of the whole machinery by itself: it cost a fifth of the throughput.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;
use wasmtime::component::GuestTaskId;
use wasmtime::{Store, StoreContextMut};
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, Proxy, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};

use crate::guest::{Connections, Guest, GuestStore};

/// How long an instance may work without a new request: on a response, or after it.
const WORK_TIMEOUT: Duration = Duration::from_secs(600);
/// How often an instance is looked at that works, where it is to go as soon as it is idle.
const LEAST_PAUSE: Duration = Duration::from_millis(10);

/// How often and how long an instance of a component is used. The default is that of `spin up`, but for the
/// requests in all: Spin takes 128. To begin anew so often cost the edge a tenth of its throughput.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceReuse {
    /// How many requests it takes in all.
    pub requests: NonZeroU32,
    /// How many requests it takes at once.
    pub concurrent_requests: NonZeroU32,
    /// How long it lives without a request.
    pub idle: Duration,
}

impl Default for InstanceReuse {
    fn default() -> Self {
        Self {
            requests: NonZeroU32::MIN.saturating_add(9_999),
            concurrent_requests: NonZeroU32::MIN.saturating_add(15),
            idle: Duration::from_secs(1),
        }
    }
}

/// What the proxy handler asks for instances of one component. It lives as long as any of them.
pub(crate) struct Instances {
    pub(crate) guest: Arc<Guest>,
    pub(crate) connections: Connections,
    pub(crate) life: Life,
}

/// What a thread's instances live by.
#[derive(Clone)]
pub(crate) struct Life {
    /// Resolves once nobody will ask them anything any more.
    over: Shared<oneshot::Receiver<Infallible>>,
    _alive: mpsc::Sender<Infallible>,
}

/// The other end of a [`Life`].
pub(crate) struct End {
    life: oneshot::Sender<Infallible>,
    alive: mpsc::Receiver<Infallible>,
}

/// A life, and its end.
pub(crate) fn life() -> (Life, End) {
    let (life, over) = oneshot::channel();
    let (_alive, alive) = mpsc::channel(1);
    let over = over.shared();
    (Life { over, _alive }, End { life, alive })
}

impl End {
    /// Ends the instances that are idle, and waits for those that work: on what they left running after
    /// their responses.
    pub(crate) async fn come(mut self) {
        drop(self.life);
        let _ = self.alive.recv().await;
    }
}

impl HandlerState for Instances {
    type StoreData = GuestStore;
    type WorkerExpiration = Expiration;
    type WorkerState = Reuse;

    async fn instantiate(&self) -> wasmtime::Result<Instance<GuestStore, Expiration, Reuse>> {
        let guest = &self.guest;
        let data = GuestStore::new(guest.clone(), &self.connections)?;
        let mut store = Store::new(guest.pre.engine(), data);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let proxy = Proxy::P3(guest.pre.instantiate_async(&mut store).await?);
        tracing::debug!(component = %guest.id, "a new instance");
        Ok(Instance {
            store,
            proxy,
            view: GuestStore::http,
            expiration: Expiration {
                idle: guest.reuse.idle,
                over: self.life.over.clone(),
                sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            },
            state: Reuse(guest.clone()),
        })
    }
}

/// When an instance goes.
pub(crate) struct Expiration {
    idle: Duration,
    over: Shared<oneshot::Receiver<Infallible>>,
    sleep: Pin<Box<Sleep>>,
}

impl WorkerExpiration for Expiration {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        status: WorkerStatus,
        start: Instant,
    ) -> Poll<()> {
        let timeout = match status {
            WorkerStatus::Idle if self.over.poll_unpin(cx).is_ready() => return Poll::Ready(()),
            WorkerStatus::Idle => self.idle,
            WorkerStatus::Requests | WorkerStatus::PostReturn => WORK_TIMEOUT,
        };
        let deadline = start + timeout;
        // Not set anew with each request: it never rings later than the nearest deadline that there can be.
        while self.sleep.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if now >= deadline {
                return Poll::Ready(());
            }
            let next = deadline.min(now + self.idle.clamp(LEAST_PAUSE, WORK_TIMEOUT));
            self.sleep.as_mut().reset(next.into());
        }
        Poll::Pending
    }
}

/// How many requests an instance takes.
pub(crate) struct Reuse(Arc<Guest>);

impl WorkerState for Reuse {
    type StoreData = GuestStore;
    type RequestData = ();

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        let most = &self.0.reuse;
        if total >= most.requests.get() as usize {
            ShouldAccept::Never
        } else if concurrent >= most.concurrent_requests.get() as usize {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
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
            tracing::error!(component = %self.0.id, "the instance failed: {error:?}");
        }
    }
}
