//! Path templates such as `/org/{org}/dashboard`, and the table that finds them.

use std::collections::BTreeMap;

use http::Method;

/// The targets of one path.
pub(crate) type ByMethod<T> = Vec<(Method, T)>;

/// A path's arguments by name, raw or decoded.
pub(crate) type PathArgs = Vec<(String, String)>;

/// Path templates with one target for each method.
#[derive(Clone, Debug)]
pub(crate) struct Table<T> {
    paths: matchit::Router<usize>,
    targets: Vec<ByMethod<T>>,
    by_template: BTreeMap<String, usize>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            paths: matchit::Router::new(),
            targets: Vec::new(),
            by_template: BTreeMap::new(),
        }
    }
}

impl<T> Table<T> {
    /// Adds a route; fails with the reason if its method and path are taken.
    pub(crate) fn insert(&mut self, method: Method, path: &str, target: T) -> Result<(), String> {
        let index = match self.by_template.get(path) {
            Some(index) => *index,
            None => {
                let index = self.targets.len();
                self.paths
                    .insert(path, index)
                    .map_err(|error| format!("the path {path:?} clashes with another: {error}"))?;
                self.targets.push(Vec::new());
                self.by_template.insert(path.to_owned(), index);
                index
            }
        };
        let methods = &mut self.targets[index];
        if methods.iter().any(|(taken, _)| *taken == method) {
            return Err(format!("{method} {path} is declared twice"));
        }
        methods.push((method, target));
        Ok(())
    }

    /// The targets of a path by method, and its raw arguments.
    pub(crate) fn at(&self, path: &str) -> Option<(&ByMethod<T>, PathArgs)> {
        let found = self.paths.at(path).ok()?;
        let args = found
            .params
            .iter()
            .map(|(name, raw)| (name.to_owned(), raw.to_owned()))
            .collect();
        Some((&self.targets[*found.value], args))
    }
}

/// The parameter that a segment of a path template stands for, if it does for one.
pub(crate) fn placeholder(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// First path segments that the origin serves itself.
const RESERVED: [&str; 5] = ["admin", "console", "healthz", "metrics", "readyz"];

/// The parameters that a path template names; fails with the reason if it is no such template.
pub(crate) fn template_params(path: &str) -> Result<Vec<String>, String> {
    if !path.starts_with('/') {
        return Err(format!("the path {path:?} does not begin with /"));
    }
    if path[1..]
        .split('/')
        .next()
        .is_some_and(|first| RESERVED.contains(&first))
    {
        return Err(format!("the path {path:?} is reserved"));
    }
    let mut params: Vec<String> = Vec::new();
    for segment in path[1..].split('/') {
        match placeholder(segment) {
            Some(name) if params.iter().any(|known| known == name) => {
                return Err(format!("the path names {{{name}}} twice"));
            }
            Some(name) => params.push(name.to_owned()),
            None if segment.is_empty() && path != "/" => {
                return Err(format!("the path {path:?} has an empty segment"));
            }
            None if !segment
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.~".contains(c)) =>
            {
                return Err(format!(
                    "the path segment {segment:?} is neither plain nor one {{parameter}}"
                ));
            }
            None => {}
        }
    }
    Ok(params)
}
