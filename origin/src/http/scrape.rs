//! `/metrics`, and a server of little else: what a relay or manager that runs by itself tells.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::header,
    middleware,
    response::{IntoResponse as _, Response},
    routing,
};
use tidemark_shared::problem::{Kind, Problem};
use tokio::{net::TcpListener, time};

use super::{Clients, farewell, health, respond::problem_response, serve_http, takes_only};
use crate::{
    metrics::{
        exposition::{self, Exposition},
        region::Regions,
    },
    shutdown::Shutdown,
};

/// Enough for Prometheus, a probe, and a person who looks.
const CLIENTS: Clients = Clients {
    connections: 32,
    patience: Duration::from_secs(30),
};

/// How long an answer may take to finish after the shutdown was requested.
const GRACE: Duration = Duration::from_secs(2);

/// What this process has counted, and what the regions tell now.
pub(super) async fn page(exposition: &Exposition, regions: &Regions) -> Response {
    let mut page = exposition.page();
    regions.show(&mut page).await;
    let content_type = [(header::CONTENT_TYPE, exposition::CONTENT_TYPE)];
    (content_type, page.into_text()).into_response()
}

/// A server of `/metrics` and `/healthz`, bound and ready to run.
pub(crate) struct MetricsServer {
    listener: TcpListener,
    exposition: Exposition,
    regions: Arc<Regions>,
}

impl MetricsServer {
    /// Binds, and begins to count.
    ///
    /// # Errors
    /// The address can't be listened on.
    pub(crate) async fn bind(address: SocketAddr, regions: Regions) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            exposition: Exposition::start(),
            regions: Arc::new(regions),
        })
    }

    /// The address that was bound.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the shutdown is requested, then finishes what runs, within 2 s.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let router = Router::new()
            .route("/healthz", routing::get(health::alive))
            .route("/metrics", routing::get(scrape))
            .fallback(|| async {
                problem_response(&Problem::new(
                    Kind::UnknownPath,
                    "there are /metrics and /healthz here",
                ))
            })
            .method_not_allowed_fallback(|| takes_only("GET, HEAD"))
            .layer(middleware::map_response_with_state(
                shutdown.clone(),
                farewell,
            ))
            .with_state((self.exposition.clone(), self.regions));
        let server = serve_http(self.listener, router, CLIENTS, shutdown.requested());
        tokio::select! {
            () = server => {}
            () = self.exposition.keep_up() => {}
            () = async {
                shutdown.requested().await;
                time::sleep(GRACE).await;
            } => {}
        }
    }
}

async fn scrape(State((exposition, regions)): State<(Exposition, Arc<Regions>)>) -> Response {
    page(&exposition, &regions).await
}
