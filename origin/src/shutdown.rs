//! Shutdown as a value: requested once, seen by everybody who holds a copy.

use std::future::Future;

use tokio::sync::watch;

/// Tells when to stop.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// A shutdown that is requested when `trigger` completes.
    pub fn when(trigger: impl Future<Output = ()> + Send + 'static) -> Self {
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            trigger.await;
            sender.send_replace(true);
        });
        Self(receiver)
    }

    /// Whether the shutdown has been requested.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Completes once the shutdown has been requested.
    pub async fn requested(&self) {
        // An error means that the trigger's task is gone, and the runtime with it.
        let _ = self.0.clone().wait_for(|requested| *requested).await;
    }
}

/// Completes at SIGINT (Ctrl-C) or SIGTERM.
///
/// # Errors
/// The signals can't be listened to.
pub fn signal() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
