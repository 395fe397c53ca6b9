//! Typed parameters: how a catalog declares them and how a request's become canonical.
//!
//! Whatever spelling a client uses, an accepted value has exactly one canonical text, and that
//! text is all that keys, scopes and SQL ever see: `042` and `42` are one key.

mod body;
mod declaration;
mod query_string;
mod value;

use std::collections::BTreeMap;

pub use declaration::{DeclarationError, Fallback, ParamSpec};
pub(crate) use query_string::decode;
pub use value::{DEFAULT_TEXT_MAX, ParamType, Value, ValueError};

/// The declared parameters of a query or command by name.
pub type ParamSpecs = BTreeMap<String, ParamSpec>;

/// The most records that a list-of-records parameter may hold.
pub const MAX_RECORDS: usize = 1_000;

/// The longest path plus query string that is looked at, in bytes.
pub const MAX_TARGET_LEN: usize = 8 * 1024;

/// A complete, canonical set of arguments: one entry for each declared parameter, `None` for an
/// optional one that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params(BTreeMap<String, Option<Value>>);

impl Params {
    /// The canonical value of a parameter, `None` if it was left out.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)?.as_ref()
    }

    /// Every declared parameter in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&Value>)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_ref()))
    }

    /// The arguments of a query: those in its path, as routed, and the query string's.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn from_target(
        specs: &ParamSpecs,
        path_args: &[(String, String)],
        query_string: &str,
    ) -> Result<Self, ParamError> {
        let in_query = query_string::collect(query_string, specs, path_args)?;
        let in_path = path_args.iter();
        let given: Vec<(&str, &str)> = in_path
            .map(|(name, text)| (&**name, &**text))
            .chain(in_query.iter().map(|(name, text)| (&**name, &**text)))
            .collect();
        Self::complete(specs, |name, spec| {
            let given = given.iter().find(|(given, _)| *given == name);
            given
                .map(|(_, text)| spec.kind.parse_text(text))
                .transpose()
        })
    }

    /// The arguments of a query, each by its own text; one without is left out.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn from_texts(
        specs: &ParamSpecs,
        text: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ParamError> {
        Self::complete(specs, |name, spec| {
            text(name)
                .map(|text| spec.kind.parse_text(&text))
                .transpose()
        })
    }

    /// The arguments of a command: those in its path, as routed, and the JSON body's members.
    ///
    /// An empty body counts as an empty object.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn from_body(
        specs: &ParamSpecs,
        path_args: &[(String, String)],
        body: &[u8],
    ) -> Result<Self, ParamError> {
        let mut members = body::members(body, specs, path_args)?;
        Self::complete(specs, |name, spec| {
            match path_args.iter().find(|(path_name, _)| path_name == name) {
                Some((_, text)) => spec.kind.parse_text(text).map(Some),
                None => match members.remove(name) {
                    Some(json) => body::parse(&spec.kind, json.get()),
                    None => Ok(None),
                },
            }
        })
    }

    fn complete(
        specs: &ParamSpecs,
        mut argument: impl FnMut(&str, &ParamSpec) -> Result<Option<Value>, ValueError>,
    ) -> Result<Self, ParamError> {
        let mut complete = BTreeMap::new();
        for (name, spec) in specs {
            let given = argument(name, spec).map_err(|reason| ParamError::Invalid {
                name: name.clone(),
                reason,
            })?;
            let value = match (given, &spec.fallback) {
                (Some(value), _) => Some(value),
                (None, Fallback::Default(value)) => Some(value.clone()),
                (None, Fallback::Absent) => None,
                (None, Fallback::Required) => {
                    return Err(ParamError::Missing {
                        name: name.clone(),
                        kind: spec.kind.to_string(),
                    });
                }
            };
            complete.insert(name.clone(), value);
        }
        Ok(Self(complete))
    }
}

/// What is wrong with a request's parameters; the text is fit for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// The path and query string together exceed [`MAX_TARGET_LEN`].
    #[error("the request's path and query string exceed {MAX_TARGET_LEN} bytes")]
    TargetTooLong,
    /// A `%` is not followed by two hexadecimal digits.
    #[error("a % in the {place} is not followed by two hexadecimal digits")]
    PercentEncoding {
        /// Where: the path or the query string.
        place: &'static str,
    },
    /// The percent-decoded bytes are not UTF-8.
    #[error("the {place} is not UTF-8 after percent-decoding")]
    NotUtf8 {
        /// Where: the path or the query string.
        place: &'static str,
    },
    /// A name that is not declared, or that belongs elsewhere (a path parameter given twice).
    #[error("unknown parameter {name:?}; known here: {known}")]
    Unknown {
        /// The name, shortened if it is very long.
        name: String,
        /// The declared names.
        known: String,
    },
    /// A name that occurs more than once.
    #[error("parameter {name:?} is given more than once")]
    Repeated {
        /// The name.
        name: String,
    },
    /// A required parameter is not there.
    #[error("parameter {name:?} is missing: {kind} is required")]
    Missing {
        /// The name.
        name: String,
        /// Its declared type.
        kind: String,
    },
    /// A value is not of the declared type.
    #[error("parameter {name:?} {reason}")]
    Invalid {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: ValueError,
    },
    /// The body is not a JSON object.
    #[error("the body must be a JSON object: {reason}")]
    Body {
        /// What is wrong with it, and where; nothing of its content.
        reason: String,
    },
}

impl ParamError {
    /// The parameter that the error is about, where there is one.
    pub fn parameter(&self) -> Option<&str> {
        match self {
            Self::Unknown { name, .. }
            | Self::Repeated { name }
            | Self::Missing { name, .. }
            | Self::Invalid { name, .. } => Some(name),
            _ => None,
        }
    }

    fn unknown(name: &str, known: impl Iterator<Item = impl AsRef<str>>) -> Self {
        let known: Vec<_> = known.map(|name| name.as_ref().to_owned()).collect();
        Self::Unknown {
            name: name.chars().take(64).collect(),
            known: if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            },
        }
    }
}

#[cfg(test)]
mod tests;
