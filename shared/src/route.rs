//! From method and path to a query or command and its path arguments, and back.

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    catalog::{Catalog, Command, Query},
    param::{MAX_TARGET_LEN, ParamError, Params, Value},
    path::{self, ByMethod, Table},
};

/// What a target shows as it is: RFC 3986's unreserved characters, but the dot, since a path of dots
/// means another one.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// A query, by `GET` or `HEAD`.
    Query(&'a Query),
    /// A command, by its own method.
    Command(&'a Command),
}

/// Where a request belongs: the endpoint and the decoded arguments in its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// The query or command.
    pub endpoint: Endpoint<'a>,
    /// The path's arguments, percent-decoded, not yet typed.
    pub path_args: Vec<(String, String)>,
}

/// Why a request belongs nowhere; the text is fit for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No query or command has this path.
    #[error("no query has this path")]
    NotFound,
    /// The path is known, but not with this method.
    #[error("this path takes {allow}")]
    MethodNotAllowed {
        /// The methods that it takes, for the `Allow` header.
        allow: String,
    },
    /// The path can't be read.
    #[error(transparent)]
    Malformed(#[from] ParamError),
}

/// Routes of a whole catalog.
#[derive(Debug)]
pub struct Router {
    table: Table<Target>,
}

#[derive(Clone, Debug)]
enum Target {
    Query(String),
    Command(String),
}

impl Router {
    /// The queries alone: what the edge serves.
    pub fn for_edge(catalog: &Catalog) -> Self {
        let mut table = Table::default();
        for (name, query) in &catalog.queries {
            for method in [Method::GET, Method::HEAD] {
                // A catalog only exists with distinct routes.
                let _ = table.insert(method, &query.path, Target::Query(name.clone()));
            }
        }
        Self { table }
    }

    /// Queries and commands: what the origin serves.
    pub fn for_origin(catalog: &Catalog) -> Self {
        let mut router = Self::for_edge(catalog);
        for (name, command) in &catalog.commands {
            let target = Target::Command(name.clone());
            let _ = router
                .table
                .insert(command.method.clone(), &command.path, target);
        }
        router
    }

    /// Finds the endpoint of a request in the catalog that the router was made from. `path` is
    /// raw, as in the request line; `query_string` only counts towards the permitted length.
    ///
    /// # Errors
    /// The path is malformed, unknown, or does not take the method.
    pub fn route<'a>(
        &self,
        catalog: &'a Catalog,
        method: &Method,
        path: &str,
        query_string: &str,
    ) -> Result<Route<'a>, RouteError> {
        if path.len() + query_string.len() > MAX_TARGET_LEN {
            return Err(ParamError::TargetTooLong.into());
        }
        let (targets, raw_args) = self.table.at(path).ok_or(RouteError::NotFound)?;
        let target = targets
            .iter()
            .find_map(|(candidate, target)| (candidate == method).then_some(target))
            .ok_or_else(|| RouteError::MethodNotAllowed {
                allow: allow(targets),
            })?;
        let mut path_args = Vec::with_capacity(raw_args.len());
        for (name, raw) in raw_args {
            path_args.push((name, crate::param::decode(&raw, "path")?.into_owned()));
        }
        let endpoint = match target {
            Target::Query(name) => catalog.queries.get(name).map(Endpoint::Query),
            Target::Command(name) => catalog.commands.get(name).map(Endpoint::Command),
        };
        Ok(Route {
            endpoint: endpoint.ok_or(RouteError::NotFound)?,
            path_args,
        })
    }
}

/// The one canonical request for a query's answer to these arguments: the path, then the other
/// parameters in the order of their names, defaults written and absent ones left out. Routed again,
/// it leads to the same key.
///
/// `None` where it would exceed [`MAX_TARGET_LEN`] bytes: nobody could route it.
pub fn target(query: &Query, params: &Params) -> Option<String> {
    let mut target = String::with_capacity(query.path.len() + 64);
    let mut in_path = Vec::new();
    for segment in query.path[1..].split('/') {
        target.push('/');
        match path::placeholder(segment) {
            Some(name) => {
                let text = params.get(name).map_or("", Value::as_str);
                target.extend(utf8_percent_encode(text, ESCAPED));
                in_path.push(name);
            }
            None => target.push_str(segment),
        }
    }
    let mut separator = '?';
    for (name, value) in params.iter().filter(|(name, _)| !in_path.contains(name)) {
        let Some(value) = value else { continue };
        target.push(separator);
        target.push_str(name);
        target.push('=');
        target.extend(utf8_percent_encode(value.as_str(), ESCAPED));
        separator = '&';
    }
    (target.len() <= MAX_TARGET_LEN).then_some(target)
}

fn allow<T>(targets: &ByMethod<T>) -> String {
    let methods: Vec<_> = targets.iter().map(|(method, _)| method.as_str()).collect();
    methods.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    use crate::key::Key;

    const CATALOG: &str = r#"
        [query.page]
        path = "/shelf/{shelf}/page/{page}"
        params = { shelf = "text(9999)", page = "int", from = "timestamp?", most = "decimal = 9", title = "text(9999)?", open = "bool?" }
        sql = "page.sql"
        reads = ["pages"]
        scope = "shelf:{shelf}"

        [table.pages]
        scope = "shelf:{shelf}"

        [query.order]
        path = "/order/{id}"
        params = { id = "text" }
        sql = "order.sql"
        reads = ["orders"]

        [command.pay]
        method = "POST"
        path = "/order/{order}/payments"
        params = { order = "int" }
        sql = "pay.sql"

        [command.cancel]
        method = "DELETE"
        path = "/order/{id}"
        params = { id = "int" }
        sql = "cancel.sql"
    "#;

    #[test]
    fn requests_find_their_endpoint() {
        let catalog = Catalog::parse("t.toml", CATALOG).unwrap();
        let edge = Router::for_edge(&catalog);
        let origin = Router::for_origin(&catalog);

        let route = edge
            .route(&catalog, &Method::GET, "/order/a%2Fb", "")
            .unwrap();
        assert_eq!(route.endpoint, Endpoint::Query(&catalog.queries["order"]));
        assert_eq!(route.path_args, [("id".to_owned(), "a/b".to_owned())]);

        let route = origin
            .route(&catalog, &Method::POST, "/order/7/payments", "")
            .unwrap();
        assert_eq!(route.endpoint, Endpoint::Command(&catalog.commands["pay"]));
        assert_eq!(route.path_args, [("order".to_owned(), "7".to_owned())]);

        let refused = |router: &Router, method: Method, path: &str| {
            router
                .route(&catalog, &method, path, "")
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refused(&edge, Method::DELETE, "/order/7"),
            "this path takes GET, HEAD"
        );
        assert_eq!(
            refused(&origin, Method::PUT, "/order/7"),
            "this path takes GET, HEAD, DELETE"
        );
        assert_eq!(
            refused(&edge, Method::POST, "/order/7/payments"),
            "no query has this path"
        );
        assert_eq!(
            refused(&edge, Method::GET, "/order/7/"),
            "no query has this path"
        );
        assert_eq!(
            refused(&edge, Method::GET, "/order/%ff"),
            "the path is not UTF-8 after percent-decoding"
        );
        assert_eq!(
            edge.route(
                &catalog,
                &Method::GET,
                "/order/7",
                &"x".repeat(MAX_TARGET_LEN)
            ),
            Err(RouteError::Malformed(ParamError::TargetTooLong))
        );
    }

    /// Query and arguments of a target, as edge and audit find them.
    fn arguments<'a>(catalog: &'a Catalog, target: &str) -> (&'a Query, Params) {
        let (path, query_string) = target.split_once('?').unwrap_or((target, ""));
        let router = Router::for_edge(catalog);
        let route = router
            .route(catalog, &Method::GET, path, query_string)
            .unwrap();
        let Endpoint::Query(query) = route.endpoint else {
            panic!("{target} is no query's")
        };
        let params = Params::from_target(&query.params, &route.path_args, query_string).unwrap();
        (query, params)
    }

    #[test]
    fn a_target_is_canonical() {
        let catalog = Catalog::parse("t.toml", CATALOG).unwrap();
        let (query, params) = arguments(
            &catalog,
            "/shelf/a%20b.c/page/042?title=x+y%26&from=2025-01-01T01:00:00%2B01:00",
        );
        assert_eq!(
            target(query, &params).unwrap(),
            "/shelf/a%20b%2Ec/page/42?from=2025%2D01%2D01T00%3A00%3A00Z&most=9&title=x%20y%26"
                .replace("%2D", "-")
        );
    }

    #[test]
    fn a_target_that_nobody_could_route_is_none() {
        let catalog = Catalog::parse("t.toml", CATALOG).unwrap();
        let spaces = "+".repeat(5_000);
        let (query, params) = arguments(&catalog, &format!("/shelf/a/page/1?title={spaces}"));
        assert_eq!(target(query, &params), None);
    }

    proptest! {
        #[test]
        fn a_target_routed_again_gives_the_same_key(
            shelf in ".{1,8}",
            page in any::<i64>(),
            title in prop::option::of(".{0,8}"),
            open in prop::option::of(any::<bool>()),
            most in prop::option::of(any::<i32>()),
        ) {
            prop_assume!(!shelf.contains('\0'));
            let title = title.filter(|title| !title.contains('\0'));
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let mut request = format!("/shelf/{}/page/{page}?", encode(&shelf));
            if let Some(most) = most {
                request.push_str(&format!("most={most}.0&"));
            }
            if let Some(open) = open {
                request.push_str(&format!("open={}&", i32::from(open)));
            }
            if let Some(title) = &title {
                request.push_str(&format!("title={}", encode(title)));
            }
            let catalog = Catalog::parse("t.toml", CATALOG).unwrap();
            let (query, params) = arguments(&catalog, &request);
            let canonical = target(query, &params).unwrap();
            prop_assert!(canonical.is_ascii());
            let (again, arguments) = arguments(&catalog, &canonical);
            prop_assert_eq!(Key::of(again, &arguments), Key::of(query, &params));
            prop_assert_eq!(target(again, &arguments), Some(canonical));
        }
    }
}
