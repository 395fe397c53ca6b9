//! What is cached: finding entries in Redis, and what each of them is.
//!
//! An entry holds no scopes and no arguments, but the request that it answers; with the catalog that
//! is its [`Question`] again.

mod inspection;
mod walk;

use axum::http::Method;
use tidemark_shared::{
    catalog::{Catalog, Query},
    freshness::Demand,
    key::Key,
    param::Params,
    route::{Endpoint, Router},
    scope::Scope,
};

pub use inspection::{InspectError, Inspection, Inspector};
pub use walk::Walk;

/// What an entry answers.
pub(crate) struct Question<'a> {
    pub(crate) query: &'a Query,
    pub(crate) params: Params,
    pub(crate) key: Key,
    pub(crate) scopes: Vec<Scope>,
}

impl<'a> Question<'a> {
    /// A request's question, if it is one of this catalog's. `target` is its path and query string.
    pub(crate) fn of_target(catalog: &'a Catalog, routes: &Router, target: &str) -> Option<Self> {
        let (path, query_string) = target.split_once('?').unwrap_or((target, ""));
        let route = routes
            .route(catalog, &Method::GET, path, query_string)
            .ok()?;
        let Endpoint::Query(query) = route.endpoint else {
            return None;
        };
        let params = Params::from_target(&query.params, &route.path_args, query_string).ok()?;
        Some(Self {
            key: Key::of(query, &params),
            scopes: query.scopes(&params),
            query,
            params,
        })
    }

    /// What an answer has to meet to be served.
    pub(crate) fn demand(&self) -> Demand<'_> {
        Demand {
            key: &self.key,
            scopes: &self.scopes,
            policy: self.query.policy,
            at_least_ms: None,
        }
    }
}
