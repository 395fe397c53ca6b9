//! The guest's standard output and error: each line becomes a line of the host's log.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

/// Bytes after which a line is logged although it has not ended: a guest can't fill the memory.
const MAX_LINE: usize = 8 * 1024;

/// One output of one component.
#[derive(Clone)]
pub(crate) struct GuestOutput {
    component: Arc<str>,
    stream: &'static str,
}

impl GuestOutput {
    pub(crate) fn new(component: Arc<str>, stream: &'static str) -> Self {
        Self { component, stream }
    }
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Lines {
            output: self.clone(),
            started: Vec::new(),
        })
    }
}

struct Lines {
    output: GuestOutput,
    /// The line that has not ended yet.
    started: Vec<u8>,
}

impl Lines {
    fn take(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.started.extend_from_slice(&bytes[..end]);
            self.log();
            bytes = &bytes[end + 1..];
        }
        self.started.extend_from_slice(bytes);
        if self.started.len() >= MAX_LINE {
            self.log();
        }
    }

    fn log(&mut self) {
        let GuestOutput { component, stream } = &self.output;
        let line = String::from_utf8_lossy(&self.started);
        tracing::info!(target: "guest", component = %component, stream, "{}", line.trim_end());
        self.started.clear();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.started.is_empty() {
            self.log();
        }
    }
}

impl AsyncWrite for Lines {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
