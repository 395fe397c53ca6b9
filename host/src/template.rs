//! Templates of a manifest (`redis://{{ redis_host }}:6379`) and the variables that fill them in.

use std::collections::BTreeMap;

use crate::HostError;
use crate::manifest::Variable;

/// Prefix of the process environment's variables, as Spin names them.
const ENVIRONMENT_PREFIX: &str = "SPIN_VARIABLE_";

/// The application's variables, each with the value it has in this run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Gives every declared variable its value: `given` wins over the environment (asked through
    /// `environment`), which wins over the default.
    pub(crate) fn resolve(
        declared: &BTreeMap<String, Variable>,
        given: &BTreeMap<String, String>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, HostError> {
        if let Some(name) = given.keys().find(|name| !declared.contains_key(*name)) {
            return Err(HostError::UnknownVariable {
                name: name.clone(),
                declared: declared.keys().cloned().collect::<Vec<_>>().join(", "),
            });
        }
        let mut values = BTreeMap::new();
        for (name, variable) in declared {
            let key = environment_key(name);
            let value = given
                .get(name)
                .cloned()
                .or_else(|| environment(&key))
                .or_else(|| variable.default.clone())
                .ok_or_else(|| HostError::MissingVariable {
                    name: name.clone(),
                    environment: key,
                })?;
            values.insert(name.clone(), value);
        }
        Ok(Self(values))
    }

    /// `template` with each `{{ name }}` replaced by that variable's value.
    pub(crate) fn fill(&self, template: &str) -> Result<String, HostError> {
        let mut filled = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((literal, tail)) = rest.split_once("{{") {
            filled.push_str(literal);
            let (name, tail) = tail
                .split_once("}}")
                .ok_or_else(|| HostError::template(template, "a '{{' has no '}}'"))?;
            let name = name.trim();
            let value = self.0.get(name).ok_or_else(|| {
                HostError::template(
                    template,
                    format!("there is no variable {name:?} in [variables]"),
                )
            })?;
            filled.push_str(value);
            rest = tail;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// The name under which the environment gives the variable `name`.
fn environment_key(name: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", name.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> BTreeMap<String, Variable> {
        BTreeMap::from([
            ("host".to_owned(), Variable::with_default("localhost")),
            ("token".to_owned(), Variable::required()),
        ])
    }

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn a_given_value_wins_over_the_environment_and_that_over_the_default() {
        let environment =
            |key: &str| (key == "SPIN_VARIABLE_HOST").then(|| "from-environment".to_owned());
        let fill = |pairs: &[(&str, &str)], environment: &dyn Fn(&str) -> Option<String>| {
            Variables::resolve(&declared(), &given(pairs), environment)
                .unwrap()
                .fill("{{ host }}")
                .unwrap()
        };
        assert_eq!(fill(&[("token", "t")], &|_| None), "localhost");
        assert_eq!(fill(&[("token", "t")], &environment), "from-environment");
        assert_eq!(
            fill(&[("token", "t"), ("host", "flag")], &environment),
            "flag"
        );
    }

    #[test]
    fn a_required_variable_without_a_value_names_what_to_set() {
        let error = Variables::resolve(&declared(), &given(&[]), |_| None).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("SPIN_VARIABLE_TOKEN"), "{message}");
        assert!(message.contains("--variable token="), "{message}");
    }

    #[test]
    fn a_value_for_an_undeclared_variable_is_refused() {
        let given = given(&[("token", "t"), ("hsot", "x")]);
        let message = Variables::resolve(&declared(), &given, |_| None)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("\"hsot\"") && message.contains("host, token"),
            "{message}"
        );
    }

    #[test]
    fn templates() {
        let variables =
            Variables::resolve(&declared(), &given(&[("token", "s3")]), |_| None).unwrap();
        let table: &[(&str, Result<&str, &str>)] = &[
            ("", Ok("")),
            ("plain }} text", Ok("plain }} text")),
            ("{{host}}:{{ token }}", Ok("localhost:s3")),
            ("redis://{{ host }}:6379", Ok("redis://localhost:6379")),
            ("{{ host", Err("has no '}}'")),
            ("{{ nobody }}", Err("no variable \"nobody\"")),
        ];
        for (template, expected) in table {
            match (variables.fill(template), expected) {
                (Ok(filled), Ok(expected)) => assert_eq!(&filled, expected, "{template}"),
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{template}: {error}");
                }
                (other, _) => panic!("{template}: {other:?}"),
            }
        }
    }
}
