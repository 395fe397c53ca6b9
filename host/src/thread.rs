//! A thread that answers: its connections, and a runtime, instances and outgoing connections of its
//! own.
//!
//! There is one for each processor, unless told otherwise. A request crosses no threads on its way from its
//! connection into an instance, to Redis and back, which otherwise costs the kernel a wake-up for each step.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;

use crate::guest::{Connections, Guest};
use crate::instances::{Instances, Life};
use crate::routes::Routes;
use crate::service::Service;

/// How long a client may take for the head of a request, idle between two, and take nothing of a
/// response.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests and what they left running may take when the host stops.
const GRACE: Duration = Duration::from_secs(10);

/// A running thread. It ends once it has finished what it was given.
pub(crate) struct Thread {
    given: UnboundedSender<Connection>,
    /// One more for each connection that is open.
    open: Arc<()>,
    ended: oneshot::Receiver<Infallible>,
}

/// A client's connection on its way to the thread: not yet of any runtime.
struct Connection {
    stream: std::net::TcpStream,
    client: SocketAddr,
    open: Arc<()>,
}

/// What the thread's connections have in common.
struct Share {
    routes: Arc<Routes<Arc<Instances>>>,
    /// One permit for each request that any thread may have.
    requests: Arc<Semaphore>,
}

impl Thread {
    /// Starts one. `requests` has a permit for each request that all threads together may have.
    ///
    /// # Errors
    /// The operating system has no thread, or no event queue, to give.
    pub(crate) fn start(routes: &Routes<Arc<Guest>>, requests: Arc<Semaphore>) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (life, lives) = mpsc::channel(1);
        let routes = instances(routes, life);
        let share = Share {
            routes: Arc::new(routes),
            requests,
        };
        let (given, connections) = unbounded_channel();
        let (running, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("requests".to_owned())
            .spawn(move || {
                runtime.block_on(serve(connections, share, lives));
                // Whatever did not end in time goes before anybody hears of the end.
                drop(runtime);
                drop::<oneshot::Sender<Infallible>>(running);
            })?;
        Ok(Self {
            given,
            open: Arc::new(()),
            ended,
        })
    }

    /// How many connections it has.
    pub(crate) fn connections(&self) -> usize {
        Arc::strong_count(&self.open) - 1
    }

    /// Gives it a client's connection.
    ///
    /// # Errors
    /// The connection is none any more.
    pub(crate) fn take_over(&self, stream: TcpStream, client: SocketAddr) -> io::Result<()> {
        // Only a thread that has panicked takes nothing more.
        let _ = self.given.send(Connection {
            stream: stream.into_std()?,
            client,
            open: self.open.clone(),
        });
        Ok(())
    }

    /// Gives it nothing more; done when the thread has finished what it has, or after [`GRACE`].
    pub(crate) fn finish(self) -> impl Future<Output = ()> {
        let Self { given, ended, .. } = self;
        drop(given);
        async {
            let _ = ended.await;
        }
    }
}

/// The instances of each component, with connections of the thread's own.
fn instances(routes: &Routes<Arc<Guest>>, life: Life) -> Routes<Arc<Instances>> {
    let connections = Connections::new();
    let mut known = BTreeMap::new();
    routes.map(|guest| {
        let instances = known.entry(guest.id.clone()).or_insert_with(|| {
            let instances = Instances::new(guest.clone(), connections.clone(), life.clone());
            Arc::new(instances)
        });
        instances.clone()
    })
}

async fn serve(
    mut given: UnboundedReceiver<Connection>,
    share: Share,
    mut lives: Receiver<Infallible>,
) {
    let graceful = GracefulShutdown::new();
    while let Some(connection) = given.recv().await {
        let client = connection.client;
        if let Err(error) = begin(connection, &share, &graceful) {
            tracing::debug!(%client, %error, "connection lost");
        }
    }
    let finished = timeout(GRACE, async {
        graceful.shutdown().await;
        // Nobody asks any more: instances that rest go, those that work finish what they left running.
        drop(share);
        let _ = lives.recv().await;
    });
    if finished.await.is_err() {
        tracing::warn!("stopped with work unfinished");
    }
}

fn begin(connection: Connection, share: &Share, graceful: &GracefulShutdown) -> io::Result<()> {
    let Connection {
        stream,
        client,
        open,
    } = connection;
    let mut stream = TimeoutStream::new(TcpStream::from_std(stream)?);
    stream.set_write_timeout(Some(CLIENT_TIMEOUT));
    let service = Service {
        routes: share.routes.clone(),
        requests: share.requests.clone(),
        client,
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CLIENT_TIMEOUT)
        .serve_connection(
            TokioIo::new(Box::pin(stream)),
            service_fn(move |request| service.clone().answer(request)),
        );
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%client, %error, "connection ended");
        }
        drop(open);
    });
    Ok(())
}
