//! What a request asks for: routed, typed and named, before anything is read from anywhere.

use std::{cell::RefCell, rc::Rc};

use http::{HeaderMap, HeaderName, Method, request::Parts, uri::PathAndQuery};
use quick_cache::unsync::Cache;
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

/// How many targets an instance knows the meaning of.
const KNOWN: usize = 512;

/// The length of the longest target whose meaning is kept, in bytes.
const LONGEST_KNOWN: usize = 512;

/// A request that makes sense: a query, its canonical arguments by their names in Redis, and how to
/// ask the origin for the answer.
pub(crate) struct Question<'a> {
    pub(crate) query: &'a Query,
    meaning: Rc<Meaning>,
    pub(crate) at_least_ms: Option<i64>,
    pub(crate) order: Order,
}

/// What a target asks for, whoever asks.
struct Meaning {
    /// The query's name.
    query: String,
    params: Params,
    key: Key,
    scopes: Vec<Scope>,
    /// The names in Redis that a look-up asks for: see [`Demand::names`].
    names: Vec<String>,
}

/// The meaning of targets that have been asked for lately. It is a matter of the catalog alone, and to find it
/// out anew for each request was a fifth of what the component computes for a hit.
pub(crate) struct Meanings(RefCell<Cache<String, Rc<Meaning>>>);

impl Default for Meanings {
    fn default() -> Self {
        Self(RefCell::new(Cache::new(KNOWN)))
    }
}

impl Meanings {
    fn of(&self, settings: &Settings, request: &Parts) -> Result<Rc<Meaning>, Problem> {
        let target = request
            .uri
            .path_and_query()
            .map_or("/", PathAndQuery::as_str);
        // Of two methods that a query takes the target means the same; who uses another one is told which.
        let is_read = matches!(request.method, Method::GET | Method::HEAD);
        if !is_read || target.len() > LONGEST_KNOWN {
            return Meaning::find(settings, request).map(Rc::new);
        }
        if let Some(known) = self.0.borrow().get(target) {
            return Ok(known.clone());
        }
        let found = Rc::new(Meaning::find(settings, request)?);
        self.0.borrow_mut().insert(target.to_owned(), found.clone());
        Ok(found)
    }
}

impl Meaning {
    fn find(settings: &Settings, request: &Parts) -> Result<Self, Problem> {
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
        let mut meaning = Self {
            query: query.name.clone(),
            key: Key::of(query, &params),
            scopes: query.scopes(&params),
            params,
            names: Vec::new(),
        };
        meaning.names = meaning.demand(query, None).names(&settings.keyspace);
        Ok(meaning)
    }

    fn demand(&self, query: &Query, at_least_ms: Option<i64>) -> Demand<'_> {
        Demand {
            key: &self.key,
            scopes: &self.scopes,
            policy: query.policy,
            at_least_ms,
        }
    }
}

impl<'a> Question<'a> {
    /// Reads a request, or says what is wrong with it.
    pub(crate) fn of(
        settings: &'a Settings,
        meanings: &Meanings,
        request: &Parts,
    ) -> Result<Self, Problem> {
        let meaning = meanings.of(settings, request)?;
        let query = settings.catalog.queries.get(&meaning.query);
        Ok(Self {
            query: query.ok_or(RouteError::NotFound)?,
            meaning,
            at_least_ms: at_least_ms(&request.headers)?,
            order: order(request),
        })
    }

    /// Where the answer is cached.
    pub(crate) fn key(&self) -> &Key {
        &self.meaning.key
    }

    /// What the answer depends on.
    pub(crate) fn scopes(&self) -> &[Scope] {
        &self.meaning.scopes
    }

    /// The names in Redis of what is cached and what governs it.
    pub(crate) fn names(&self) -> &[String] {
        &self.meaning.names
    }

    /// The canonical request for the same answer, to be stored with it: made only where it is needed.
    pub(crate) fn target(&self) -> Option<String> {
        route::target(self.query, &self.meaning.params)
    }

    /// What has to hold for a cached answer.
    pub(crate) fn demand(&self) -> Demand<'_> {
        self.meaning.demand(self.query, self.at_least_ms)
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

#[cfg(test)]
mod tests {
    use http::Request;
    use tidemark_shared::{catalog::Catalog, key::Keyspace, route::Router};

    use super::*;
    use crate::{address::OriginAddress, cors::Cors, deadline::Deadlines};

    fn settings() -> Settings {
        let catalog = "[query.one]\npath = \"/{id}\"\nparams = { id = \"int\" }\nsql = \"one.sql\"\nreads = [\"orders\"]";
        let catalog = Catalog::parse("t.toml", catalog).unwrap();
        Settings {
            router: Router::for_edge(&catalog),
            catalog,
            keyspace: Keyspace::default(),
            redis_url: "redis://127.0.0.1".to_owned(),
            origin: OriginAddress::parse("http://127.0.0.1:3001").unwrap(),
            deadlines: Deadlines {
                redis: std::time::Duration::from_millis(250),
                origin: std::time::Duration::from_secs(30),
            },
            l1_bytes: 0,
            cors: Cors::Off,
        }
    }

    fn head(method: Method, target: &str) -> Parts {
        let request = Request::builder().method(method).uri(target);
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_target_that_is_known_means_the_same_and_takes_no_other_methods() {
        let (settings, meanings) = (settings(), Meanings::default());
        let of = |method, target| meanings.of(&settings, &head(method, target));
        let first = of(Method::GET, "/7").unwrap();
        assert_eq!(first.names[0], format!("tm:{}", first.key.as_str()));
        assert_eq!(first.names.len(), 2 + first.scopes.len());
        assert!(Rc::ptr_eq(&first, &of(Method::HEAD, "/7").unwrap()));
        assert_eq!(of(Method::GET, "/07").unwrap().key, first.key);
        assert_ne!(of(Method::GET, "/8").unwrap().key, first.key);
        let refused = of(Method::POST, "/7").err().unwrap();
        assert_eq!(refused.kind, Kind::MethodNotAllowed);
        for _ in 0..2 {
            assert!(of(Method::GET, "/seven").is_err());
        }
    }
}
