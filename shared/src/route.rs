//! From method and path to a query or command and its path arguments.

use http::Method;

use crate::{
    catalog::{Catalog, Command, Query},
    param::{MAX_TARGET_LEN, ParamError},
    path::{ByMethod, Table},
};

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
            path_args.push((name, crate::param::decode(&raw, "path")?));
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

fn allow<T>(targets: &ByMethod<T>) -> String {
    let methods: Vec<_> = targets.iter().map(|(method, _)| method.as_str()).collect();
    methods.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOG: &str = r#"
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
}
