//! One instance at work: it begins what it is asked, as much of it as is there in each turn, and goes when it
//! has rested for a while or nobody can ask it any more.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;
use wasmtime::component::{Accessor, Func};
use wasmtime::{AsContextMut as _, Store};
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::handler::{
    InstantiationError, Prepared, Proxy, Request, Response, TrapOrPanicError,
};

use crate::guest::{Connections, Guest, GuestStore};
use crate::instances::Life;

/// How long an instance may work without a new request: on a response, or after it.
const WORK_TIMEOUT: Duration = Duration::from_secs(600);
/// How often an instance is looked at that works, where it is to go as soon as it rests.
const LEAST_PAUSE: Duration = Duration::from_millis(10);

/// A request, and where its answer goes.
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) answer: oneshot::Sender<wasmtime::Result<Response>>,
}

/// The task that has one instance.
pub(crate) struct Worker {
    pub(crate) guest: Arc<Guest>,
    pub(crate) asked: UnboundedReceiver<Asked>,
    /// How many requests it has that are not answered yet.
    pub(crate) unanswered: Arc<AtomicUsize>,
    pub(crate) _life: Life,
}

impl Worker {
    /// Makes the instance, and has it answer until it goes.
    pub(crate) async fn run(mut self, connections: Connections) {
        let ended = match instantiate(&self.guest, &connections).await {
            Ok((store, proxy, handler)) => self.serve(store, &proxy, handler).await,
            Err(error) => return self.give_back(error),
        };
        if let Err(error) = ended {
            tracing::error!(component = %self.guest.id, "the instance failed: {error:?}");
        }
        // What it had no more time to begin, another instance may.
        self.give_back(TrapOrPanicError.into());
    }

    async fn serve(
        &mut self,
        mut store: Store<GuestStore>,
        proxy: &Proxy,
        handler: Func,
    ) -> wasmtime::Result<()> {
        let pulse = Pulse::new();
        let Self {
            guest,
            asked,
            unanswered,
            ..
        } = self;
        let answering = store.run_concurrent(async |accessor| {
            answer(accessor, proxy, handler, asked, unanswered, &pulse).await
        });
        // Outside of what it works on: a guest that computes for ever keeps that from being looked at.
        let expired = pulse.expired(guest.reuse.idle);
        match select(pin!(answering), pin!(expired)).await {
            Either::Left((ended, _)) => ended.flatten(),
            Either::Right((State::Rests, _)) => Ok(()),
            Either::Right((State::Works, _)) => Err(wasmtime::format_err!("timed out")),
        }
    }

    /// Gives back what was not begun.
    fn give_back(&mut self, error: wasmtime::Error) {
        let error = Arc::new(error);
        self.asked.close();
        while let Ok(Asked { request, answer }) = self.asked.try_recv() {
            let unbegun = InstantiationError {
                request_data: (),
                request: Mutex::new(request),
                error: error.clone(),
            };
            // Nobody waits any more for what can't be given back.
            let _ = answer.send(Err(unbegun.into()));
        }
    }
}

async fn instantiate(
    guest: &Arc<Guest>,
    connections: &Connections,
) -> wasmtime::Result<(Store<GuestStore>, Proxy, Func)> {
    let data = GuestStore::new(guest.clone(), connections)?;
    let mut store = Store::new(guest.pre.engine(), data);
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    let service = guest.pre.instantiate_async(&mut store).await?;
    tracing::debug!(component = %guest.id, "a new instance");
    let handler = *service.wasi_http_handler().func_handle().func();
    Ok((store, Proxy::P3(service), handler))
}

/// Answers until nobody asks any more and all work is done.
async fn answer(
    accessor: &Accessor<GuestStore>,
    proxy: &Proxy,
    handler: Func,
    asked: &mut UnboundedReceiver<Asked>,
    unanswered: &AtomicUsize,
    pulse: &Pulse,
) -> wasmtime::Result<()> {
    let begin = |Asked { request, answer }| {
        let prepared = accessor.with(|mut store| {
            let store = store.as_context_mut();
            Prepared::new(store, proxy, request, GuestStore::http, answer)
        });
        // No deadline for a single request, as in Spin: `Pulse::expired` ends what hangs.
        async move { prepared?.run(accessor, pending()).await }
    };
    let mut begun = FuturesUnordered::new();
    let mut is_open = true;
    poll_fn(|cx| {
        loop {
            while let Poll::Ready(Some(answered)) = begun.poll_next_unpin(cx) {
                answered?;
                unanswered.fetch_sub(1, Relaxed);
                pulse.works();
            }
            let mut is_new = false;
            while is_open
                && accessor
                    .poll_ready_for_concurrent_call(handler, cx)
                    .is_ready()
            {
                match asked.poll_recv(cx) {
                    Poll::Ready(Some(asked)) => {
                        begun.push(begin(asked));
                        is_new = true;
                    }
                    Poll::Ready(None) => is_open = false,
                    Poll::Pending => break,
                }
            }
            if is_new {
                pulse.works();
                continue;
            }
            // What a guest does after its answers is work as well.
            if !begun.is_empty() || accessor.poll_no_interesting_tasks(cx).is_pending() {
                return Poll::Pending;
            }
            if !is_open {
                return Poll::Ready(Ok(()));
            }
            pulse.rests();
            return Poll::Pending;
        }
    })
    .await
}

/// What an instance does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Works,
    Rests,
}

/// What an instance does, and since when: since the last request or answer, if it works.
struct Pulse(Mutex<(State, Instant)>);

impl Pulse {
    fn new() -> Self {
        Self(Mutex::new((State::Rests, Instant::now())))
    }

    fn works(&self) {
        *self.latest() = (State::Works, Instant::now());
    }

    fn rests(&self) {
        let mut latest = self.latest();
        if latest.0 != State::Rests {
            *latest = (State::Rests, Instant::now());
        }
    }

    /// Done when an instance that may rest for so long has done so, or has worked for too long; says which.
    async fn expired(&self, idle: Duration) -> State {
        loop {
            let (state, since) = *self.latest();
            let life = match state {
                State::Works => WORK_TIMEOUT,
                State::Rests => idle,
            };
            let Some(left) = life.checked_sub(since.elapsed()) else {
                return state;
            };
            // It may rest from now on.
            sleep(left.min(idle.max(LEAST_PAUSE))).await;
        }
    }

    fn latest(&self) -> MutexGuard<'_, (State, Instant)> {
        // No step under this lock can be cut in two by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
