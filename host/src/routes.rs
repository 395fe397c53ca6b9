//! Which component answers a path.

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
        if !written.starts_with('/') {
            return Err(format!(
                "{written:?} is not a path: a route starts with '/'"
            ));
        }
        let (path, wildcard) = match written.strip_suffix("/...") {
            Some(path) => (path, true),
            None => (written.strip_suffix('/').unwrap_or(written), false),
        };
        if path
            .split('/')
            .any(|part| part.starts_with(':') || part.contains('*') || part == "...")
        {
            return Err(format!(
                "{written:?} has a wildcard inside, which tidemark-host does not match: write the \
                 prefix and \"/...\", or run this application with `spin up`"
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            wildcard,
        })
    }

    /// What of `path` lies below this route (`""` for all of it), if the route matches at all.
    fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(&*self.path)?;
        match rest {
            "" | "/" => Some(rest),
            _ if self.wildcard && rest.starts_with('/') => Some(rest),
            _ => None,
        }
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
        routes.sort_by_key(|(route, _)| (route.wildcard, std::cmp::Reverse(route.path.len())));
        Self(routes)
    }

    /// The target of `path`, and what of the path lies below a wildcard route.
    pub(crate) fn find<'a>(&self, path: &'a str) -> Option<(&T, &'a str)> {
        self.0.iter().find_map(|(route, target)| {
            let rest = route.rest(path)?;
            Some((target, if route.wildcard { rest } else { "" }))
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Route, T)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_route_wins_then_the_longest_prefix() {
        let routes: Vec<_> = ["/...", "/a/...", "/a/b", "/a/b/c/..."]
            .into_iter()
            .map(|written| (Route::parse(written).unwrap(), written))
            .collect();
        let routes = Routes::new(routes);
        let table = [
            ("/", "/...", "/"),
            ("/x/y", "/...", "/x/y"),
            ("/ab", "/...", "/ab"),
            ("/a", "/a/...", ""),
            ("/a/", "/a/...", "/"),
            ("/a/x", "/a/...", "/x"),
            ("/a/b", "/a/b", ""),
            ("/a/b/", "/a/b", ""),
            ("/a/b/x", "/a/...", "/b/x"),
            ("/a/b/c", "/a/b/c/...", ""),
            ("/a/b/c/d/e", "/a/b/c/...", "/d/e"),
        ];
        for (path, route, rest) in table {
            assert_eq!(routes.find(path), Some((&route, rest)), "{path}");
        }
    }

    #[test]
    fn a_path_without_a_route_is_not_found() {
        let routes = Routes::new(vec![(Route::parse("/a").unwrap(), ())]);
        for path in ["/", "/ab", "/a/b", ""] {
            assert_eq!(routes.find(path), None, "{path}");
        }
        assert!(routes.find("/a").is_some());
    }

    #[test]
    fn routes_are_shown_as_they_are_written() {
        for written in ["/", "/...", "/a", "/a/..."] {
            assert_eq!(Route::parse(written).unwrap().to_string(), written);
        }
    }
}
