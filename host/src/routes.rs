//! Which component answers a path.

use std::cmp::Reverse;
use std::fmt;

/// One `route` of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// The path without its trailing slash or `/...`: `""` is the root.
    path: String,
    wildcard: bool,
}

impl Route {
    /// Reads `/a/b` (that path only) or `/a/...` (that path and all below it).
    pub(crate) fn parse(written: &str) -> Result<Self, String> {
        let (path, wildcard) = match written.strip_suffix("/...") {
            Some(path) => (path, true),
            None => (written.strip_suffix('/').unwrap_or(written), false),
        };
        if !written.starts_with('/') {
            return Err(format!(
                "the route {written:?} is no path: it starts with '/'"
            ));
        }
        if path.contains("/:") || path.contains('*') || path.contains("/...") {
            return Err(format!(
                "the route {written:?} has a wildcard inside, which tidemark-host does not match: \
                 write the prefix and \"/...\", or run this application with `spin up`"
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            wildcard,
        })
    }

    /// What of `path` lies below this route (`""` below an exact one), if the route matches.
    fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(&*self.path)?;
        match self.wildcard {
            true => (rest.is_empty() || rest.starts_with('/')).then_some(rest),
            false => matches!(rest, "" | "/").then_some(""),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.path.as_str(), self.wildcard) {
            (path, true) => write!(f, "{path}/..."),
            ("", false) => f.write_str("/"),
            (path, false) => f.write_str(path),
        }
    }
}

/// The routes of an application: an exact one wins, then the longest prefix.
#[derive(Debug)]
pub(crate) struct Routes<T>(Vec<(Route, T)>);

impl<T> Routes<T> {
    pub(crate) fn new(mut routes: Vec<(Route, T)>) -> Self {
        routes.sort_by_key(|(route, _)| (route.wildcard, Reverse(route.path.len())));
        Self(routes)
    }

    /// The same routes to other targets.
    pub(crate) fn map<U>(&self, mut target: impl FnMut(&T) -> U) -> Routes<U> {
        let routes = self.0.iter();
        Routes(
            routes
                .map(|(route, it)| (route.clone(), target(it)))
                .collect(),
        )
    }

    /// The target of `path`, and what of the path lies below its route.
    pub(crate) fn find<'a>(&self, path: &'a str) -> Option<(&T, &'a str)> {
        let mut routes = self.0.iter();
        routes.find_map(|(route, target)| Some((target, route.rest(path)?)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Route, T)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes<'a>(written: &[&'a str]) -> Routes<&'a str> {
        let parse = |written: &&'a str| (Route::parse(written).unwrap(), *written);
        Routes::new(written.iter().map(parse).collect())
    }

    #[test]
    fn the_exact_route_wins_then_the_longest_prefix() {
        let routes = routes(&["/...", "/a/...", "/a/b", "/a/b/c/..."]);
        let table = [
            ("/", "/...", "/"),
            ("/x/y", "/...", "/x/y"),
            ("/ab", "/...", "/ab"),
            ("/a", "/a/...", ""),
            ("/a/", "/a/...", "/"),
            ("/a/b", "/a/b", ""),
            ("/a/b/", "/a/b", ""),
            ("/a/b/x", "/a/...", "/b/x"),
            ("/a/b/c/d/e", "/a/b/c/...", "/d/e"),
        ];
        for (path, route, rest) in table {
            assert_eq!(routes.find(path), Some((&route, rest)), "{path}");
        }
    }

    #[test]
    fn a_path_without_a_route_is_not_found() {
        for path in ["/", "/ab", "/a/b", ""] {
            assert_eq!(routes(&["/a"]).find(path), None, "{path}");
        }
    }

    #[test]
    fn routes_are_shown_as_they_are_written() {
        for written in ["/", "/...", "/a", "/a/..."] {
            assert_eq!(Route::parse(written).unwrap().to_string(), written);
        }
    }
}
