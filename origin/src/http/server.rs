//! The listening side: accepts connections, and bounds how many there are and how long a client may take to
//! say what it wants and to hear the answer.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};
use tokio_io_timeout::TimeoutStream;

use crate::metrics::Level;

/// Pause after a failed `accept`, such as one for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long connections that are kept may still be used once the service stops: by the next answer, a
/// client is told that this was the last one. Were a connection just closed, a request might be on its
/// way already.
const FAREWELL: Duration = Duration::from_millis(500);

/// How often it is looked whether any are left.
const FAREWELL_LOOK: Duration = Duration::from_millis(10);

/// How often it is told that there are too many clients.
const COMPLAINT: Duration = Duration::from_secs(60);

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clients {
    /// The most connections at a time. Whoever comes then waits, unaccepted, until another one goes.
    pub(crate) connections: usize,
    /// How long a client may take to send the whole head of a request, be it slow or idle, and how long
    /// it may take nothing of its answer. Then its connection is closed.
    pub(crate) patience: Duration,
}

/// Serves until `stop` completes, then finishes the requests that run.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    clients: Clients,
    stop: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let mut door = Door::new(listener, clients.connections);
    let mut stop = pin!(stop);
    loop {
        let (stream, place) = tokio::select! {
            biased;
            () = &mut stop => break,
            entered = door.enter() => entered,
        };
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(clients.patience));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(clients.patience)
            .serve_connection(
                TokioIo::new(Box::pin(stream)),
                TowerToHyperService::new(router.clone()),
            );
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
            drop(place);
        });
    }
    // So that new clients are refused, not left waiting.
    drop(door);
    let stopped = Instant::now();
    while graceful.count() > 0 && stopped.elapsed() < FAREWELL {
        time::sleep(FAREWELL_LOOK).await;
    }
    graceful.shutdown().await;
}

/// Where clients come in, one after the other.
struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    complained: Option<Instant>,
}

/// A client's connection, until it is dropped.
struct Place {
    _permit: Option<OwnedSemaphorePermit>,
    _connected: Level,
}

impl Door {
    fn new(listener: TcpListener, places: usize) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            complained: None,
        }
    }

    async fn enter(&mut self) -> (TcpStream, Place) {
        if self.places.available_permits() == 0 {
            self.complain("as many clients are connected as files may be open; others wait");
        }
        // Nobody closes the semaphore.
        let permit = self.places.clone().acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // Small answers must not wait for the client's delayed acknowledgement.
                    let _ = stream.set_nodelay(true);
                    let place = Place {
                        _permit: permit,
                        _connected: Level::connected(),
                    };
                    return (stream, place);
                }
                Err(error) => {
                    self.complain(&format!("accepting a connection failed: {error}"));
                    time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Not for each client: just then there are very many.
    fn complain(&mut self, about: &str) {
        let is_due = |complained: Instant| complained.elapsed() >= COMPLAINT;
        if self.complained.is_none_or(is_due) {
            tracing::warn!("{about}");
            self.complained = Some(Instant::now());
        }
    }
}
