//! The instances of a component on one thread: who is asked, how they come, how many requests each takes.
//!
//! They are reused as Spin reuses them, but longer ([`InstanceReuse`]), and each is given as many requests as
//! it may have before there is another one. wasmtime's own proxy handler lets an instance begin one request at
//! a time, and starts another instance for each that is there meanwhile: with 32 connections that cost an
//! eighth more CPU time a request, which pays for a turn of the whole machinery by itself, and cold caches.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_channel::oneshot;
use tokio::sync::mpsc;
use wasmtime_wasi_http::handler::{Request, Response, TrapOrPanicError};

use crate::guest::{Connections, Guest};
use crate::worker::{Asked, Worker};

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

/// The instances of one component. Those that rest go with it; those that work finish what they have.
pub(crate) struct Instances {
    pub(crate) guest: Arc<Guest>,
    connections: Connections,
    life: Life,
    /// Those that may be asked. All but the last few are busy, as the first one with room is asked.
    open: Mutex<Vec<Entrance>>,
}

/// What every instance of a thread holds as long as it lives.
pub(crate) type Life = mpsc::Sender<Infallible>;

/// The way into an instance.
struct Entrance {
    requests: mpsc::UnboundedSender<Asked>,
    /// How many it has been given.
    given: usize,
    /// How many of them are not answered yet.
    unanswered: Arc<AtomicUsize>,
}

impl Instances {
    pub(crate) fn new(guest: Arc<Guest>, connections: Connections, life: Life) -> Self {
        Self {
            guest,
            connections,
            life,
            open: Mutex::default(),
        }
    }

    /// The component's answer.
    ///
    /// # Errors
    /// `InstantiationError`, which has the request: it was not begun, since there is no instance
    /// (`TryAcquireError`: as many live as may) or it has failed meanwhile (`TrapOrPanicError`). Else what the
    /// component failed by.
    pub(crate) async fn ask(&self, request: Request) -> wasmtime::Result<Response> {
        let (answer, answered) = oneshot::channel();
        self.give(Asked { request, answer });
        answered.await.map_err(|_| TrapOrPanicError)?
    }

    fn give(&self, asked: Asked) {
        // No step under this lock can be cut in two by a panic.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let reuse = &self.guest.reuse;
        open.retain(|entrance| !entrance.requests.is_closed());
        let free = open.iter().position(|entrance| entrance.has_room(reuse));
        let place = free.unwrap_or_else(|| {
            open.push(self.start());
            open.len() - 1
        });
        let entrance = &mut open[place];
        entrance.given += 1;
        entrance.unanswered.fetch_add(1, Relaxed);
        // It is open: instances and those who ask are all on this thread.
        let _ = entrance.requests.send(asked);
        if entrance.given >= reuse.requests.get() as usize {
            open.remove(place);
        }
    }

    fn start(&self) -> Entrance {
        let (requests, asked) = mpsc::unbounded_channel();
        let unanswered = Arc::new(AtomicUsize::new(0));
        let worker = Worker {
            guest: self.guest.clone(),
            asked,
            unanswered: unanswered.clone(),
            _life: self.life.clone(),
        };
        tokio::spawn(worker.run(self.connections.clone()));
        Entrance {
            requests,
            given: 0,
            unanswered,
        }
    }
}

impl Entrance {
    fn has_room(&self, reuse: &InstanceReuse) -> bool {
        self.unanswered.load(Relaxed) < reuse.concurrent_requests.get() as usize
    }
}
