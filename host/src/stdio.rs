//! The guest's standard output and error: each line becomes a line of the host's log.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

/// Bytes after which a line is logged although it has not ended: a guest can't fill the memory.
const MAX_LINE: usize = 8 * 1024;

/// One output of one instance.
#[derive(Clone)]
pub(crate) struct GuestOutput {
    component: Arc<str>,
    stream: &'static str,
    /// The line that has not ended yet.
    started: Vec<u8>,
}

impl GuestOutput {
    pub(crate) fn new(component: Arc<str>, stream: &'static str) -> Self {
        Self {
            component,
            stream,
            started: Vec::new(),
        }
    }

    fn log(&mut self) {
        let line = String::from_utf8_lossy(&self.started);
        tracing::info!(
            target: "guest",
            component = %self.component,
            stream = self.stream,
            "{}",
            line.trim_end()
        );
        self.started.clear();
    }
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for GuestOutput {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.started.extend_from_slice(part);
            if part.ends_with(b"\n") || self.started.len() >= MAX_LINE {
                self.log();
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for GuestOutput {
    fn drop(&mut self) {
        if !self.started.is_empty() {
            self.log();
        }
    }
}
