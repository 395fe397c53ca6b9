//! What is asked: by a request, by what is cached (found again from its target), or to fill the cache.

use axum::http::Method;
use tidemark_shared::{
    catalog::{Catalog, Query},
    freshness::Demand,
    key::Key,
    param::Params,
    route::{Endpoint, RouteError, Router},
    scope::Scope,
};

/// A query, its arguments, and what follows from them.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The query.
    pub query: &'a Query,
    /// Its arguments.
    pub params: Params,
    /// Where its answer is cached.
    pub key: Key,
    /// What its answer depends on.
    pub scopes: Vec<Scope>,
}

impl<'a> Question<'a> {
    /// The question with these arguments.
    pub fn new(query: &'a Query, params: Params) -> Self {
        Self {
            key: Key::of(query, &params),
            scopes: query.scopes(&params),
            query,
            params,
        }
    }

    /// The question of a request's target: path and query string.
    ///
    /// # Errors
    /// It is none of this catalog's.
    pub fn of_target(
        catalog: &'a Catalog,
        routes: &Router,
        target: &str,
    ) -> Result<Self, RouteError> {
        let (path, query_string) = target.split_once('?').unwrap_or((target, ""));
        let route = routes.route(catalog, &Method::GET, path, query_string)?;
        let Endpoint::Query(query) = route.endpoint else {
            return Err(RouteError::NotFound);
        };
        let params = Params::from_target(&query.params, &route.path_args, query_string)?;
        Ok(Self::new(query, params))
    }

    /// What has to hold for a cached answer.
    pub fn demand(&self) -> Demand<'_> {
        Demand {
            key: &self.key,
            scopes: &self.scopes,
            policy: self.query.policy,
            at_least_ms: None,
        }
    }
}
