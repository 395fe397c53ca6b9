//! The listening side: connections, and the threads that they are given to.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::guest::Guest;
use crate::routes::Routes;
use crate::service::MAX_REQUESTS;
use crate::thread::Thread;

/// Pause after a failed `accept`, such as one for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The server of one application.
pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) routes: Routes<Arc<Guest>>,
    /// How many threads answer.
    pub(crate) threads: NonZeroUsize,
}

impl Server {
    /// Serves until `shutdown` resolves; then finishes what runs, within the threads' grace.
    ///
    /// # Errors
    /// A thread can't be started.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let requests = Arc::new(Semaphore::new(MAX_REQUESTS));
        let threads = (0..self.threads.get())
            .map(|_| Thread::start(&self.routes, requests.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        let mut shutdown = pin!(shutdown);
        loop {
            let (stream, client) = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = accept(&self.listener) => accepted,
            };
            let Some(thread) = threads.iter().min_by_key(|thread| thread.connections()) else {
                break;
            };
            if let Err(error) = thread.take_over(stream, client) {
                tracing::debug!(%client, %error, "connection lost");
            }
        }
        drop(self.listener);
        // All are told before any is waited for.
        let ends: Vec<_> = threads.into_iter().map(Thread::finish).collect();
        for end in ends {
            end.await;
        }
        Ok(())
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
