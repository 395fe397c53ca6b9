//! What a request asks for: routed, typed and named, before anything is read from anywhere.

use http::{HeaderMap, HeaderName, request::Parts, uri::PathAndQuery};
use tidemark_shared::{
    catalog::Query,
    freshness::Demand,
    header,
    key::Key,
    param::Params,
    problem::{Kind, Problem},
    route::{self, Endpoint, RouteError},
    scope::Scope,
};

use crate::{flight::Terms, origin::Order, settings::Settings};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A request that makes sense: a query, its canonical arguments by their names in Redis, and how to
/// ask the origin for the answer.
pub(crate) struct Question<'a> {
    pub(crate) query: &'a Query,
    params: Params,
    pub(crate) key: Key,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) at_least_ms: Option<i64>,
    pub(crate) order: Order,
}

impl<'a> Question<'a> {
    /// Reads a request, or says what is wrong with it.
    pub(crate) fn of(settings: &'a Settings, request: &Parts) -> Result<Self, Problem> {
        let path = request.uri.path();
        let query_string = request.uri.query().unwrap_or_default();
        let route =
            settings
                .router
                .route(&settings.catalog, &request.method, path, query_string)?;
        let Endpoint::Query(query) = route.endpoint else {
            return Err(RouteError::NotFound.into());
        };
        let params = Params::from_target(&query.params, &route.path_args, query_string)?;
        Ok(Self {
            query,
            key: Key::of(query, &params),
            scopes: query.scopes(&params),
            params,
            at_least_ms: at_least_ms(&request.headers)?,
            order: order(request),
        })
    }

    /// The canonical request for the same answer, to be stored with it: made only where it is needed.
    pub(crate) fn target(&self) -> Option<String> {
        route::target(self.query, &self.params)
    }

    /// What has to hold for a cached answer.
    pub(crate) fn demand(&self) -> Demand<'_> {
        Demand {
            key: &self.key,
            scopes: &self.scopes,
            policy: self.query.policy,
            at_least_ms: self.at_least_ms,
        }
    }
}

fn at_least_ms(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    header::at_least(headers)
        .map_err(|error| Problem::new(Kind::MalformedRequest, error.to_string()))
}

/// The client's own path and query string, which the origin reads as the edge has. Of its headers
/// only the one that ties its traces together: an answer may depend on no other.
fn order(request: &Parts) -> Order {
    Order {
        target: request
            .uri
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/")),
        traceparent: request.headers.get(TRACEPARENT).cloned(),
        held: None,
        terms: Terms::default(),
    }
}
