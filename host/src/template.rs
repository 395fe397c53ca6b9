//! Templates of a manifest (`redis://{{ redis_host }}:6379`) and the variables that fill them in.

use std::collections::BTreeMap;

use crate::HostError;
use crate::manifest::Variable;

/// The application's variables, each with the value it has in this run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Gives every declared variable its value: `given` wins over the environment (asked through
    /// `environment` for `SPIN_VARIABLE_NAME`), which wins over the default.
    pub(crate) fn resolve(
        declared: &BTreeMap<String, Variable>,
        mut given: BTreeMap<String, String>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, HostError> {
        let mut values = BTreeMap::new();
        for (name, variable) in declared {
            let key = format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase());
            let value = given
                .remove(name)
                .or_else(|| environment(&key))
                .or_else(|| variable.default.clone())
                .ok_or_else(|| {
                    HostError::manifest(
                        format!("variables.{name}"),
                        format!("has no value: set {key} or pass --variable {name}=…"),
                    )
                })?;
            values.insert(name.clone(), value);
        }
        match given.keys().next() {
            None => Ok(Self(values)),
            Some(name) => Err(HostError::manifest(
                format!("variables.{name}"),
                format!(
                    "a value is given, but the manifest declares only {:?}",
                    declared.keys()
                ),
            )),
        }
    }

    /// `template`, which stands at `place`, with each `{{ name }}` replaced by the variable's value.
    pub(crate) fn fill(&self, place: &str, template: &str) -> Result<String, HostError> {
        let wrong = |problem: &str| HostError::manifest(place, format!("{template:?} {problem}"));
        let mut filled = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((literal, tail)) = rest.split_once("{{") {
            let parts = tail.split_once("}}");
            let (name, tail) = parts.ok_or_else(|| wrong("has a '{{' without '}}'"))?;
            let value = self.0.get(name.trim());
            let value = value.ok_or_else(|| wrong("names no variable of [variables]"))?;
            filled.push_str(literal);
            filled.push_str(value);
            rest = tail;
        }
        Ok(filled + rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variables `host` (with a default) and `token` (required), resolved.
    fn resolve(given: &[(&str, &str)], environment: &str) -> Result<Variables, HostError> {
        let declared = BTreeMap::from([
            ("host".to_owned(), Variable::new(Some("localhost"))),
            ("token".to_owned(), Variable::new(None)),
        ]);
        let given = given
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Variables::resolve(&declared, given.collect(), |key| {
            (key == environment).then(|| "from-environment".to_owned())
        })
    }

    #[test]
    fn a_given_value_wins_over_the_environment_and_that_over_the_default() {
        let host = |given: &[(&str, &str)], environment| {
            let variables = resolve(given, environment).unwrap();
            variables.fill("", "{{ host }}").unwrap()
        };
        let (token, both) = ([("token", "t")], [("token", "t"), ("host", "flag")]);
        assert_eq!(host(&token, ""), "localhost");
        assert_eq!(host(&token, "SPIN_VARIABLE_HOST"), "from-environment");
        assert_eq!(host(&both, "SPIN_VARIABLE_HOST"), "flag");
    }

    #[test]
    fn a_missing_or_undeclared_variable_is_named() {
        let missing = resolve(&[], "").unwrap_err().to_string();
        assert!(missing.contains("SPIN_VARIABLE_TOKEN"), "{missing}");
        assert!(missing.contains("--variable token="), "{missing}");
        let undeclared = resolve(&[("token", "t"), ("hsot", "x")], "").unwrap_err();
        let undeclared = undeclared.to_string();
        assert!(undeclared.contains("hsot"), "{undeclared}");
        assert!(undeclared.contains(r#"["host", "token"]"#), "{undeclared}");
    }

    #[test]
    fn templates() {
        let variables = resolve(&[("token", "s3")], "").unwrap();
        let table: &[(&str, Result<&str, &str>)] = &[
            ("", Ok("")),
            ("plain }} text", Ok("plain }} text")),
            ("{{host}}:{{ token }}", Ok("localhost:s3")),
            ("redis://{{ host }}:6379", Ok("redis://localhost:6379")),
            ("{{ host", Err("c.x: \"{{ host\" has a '{{' without")),
            ("{{ nobody }}", Err("nobody")),
        ];
        for (template, expected) in table {
            match (variables.fill("c.x", template), expected) {
                (Ok(filled), Ok(expected)) => assert_eq!(&filled, expected, "{template}"),
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{template}: {error}");
                }
                (other, _) => panic!("{template}: {other:?}"),
            }
        }
    }
}
