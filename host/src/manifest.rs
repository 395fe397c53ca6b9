//! Reads `spin.toml` (manifest version 2) and refuses what this runner does not do.
//!
//! Every field that Spin knows stands here. One that changes how the application behaves is obeyed
//! or [`Unsupported`], one that does not is ignored, and any other is a misspelling. The parser
//! says which, and shows the line.

#![expect(
    dead_code,
    reason = "some fields exist to be recognised, not to be read"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};

use crate::HostError;
use crate::error::UNSUPPORTED;
use crate::routes::Route;

/// A manifest, checked.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// The application's name.
    pub(crate) name: String,
    /// The directory that relative paths start from.
    pub(crate) directory: PathBuf,
    /// Declared variables by name.
    pub(crate) variables: BTreeMap<String, Variable>,
    /// Routes, and the id of the component that answers each; all of them exist.
    pub(crate) routes: Vec<(Route, String)>,
    /// Components by id; only those that a route reaches.
    pub(crate) components: BTreeMap<String, ComponentConfig>,
}

/// One entry of `[variables]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variable {
    /// The value when nobody gives one.
    pub(crate) default: Option<String>,
    #[serde(default)]
    required: bool,
    // Nothing here prints a variable's value, so there is nothing to hide it from.
    secret: Option<IgnoredAny>,
    description: Option<IgnoredAny>,
}

/// One component, as written: templates are not filled in yet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ComponentConfig {
    /// Path of the WebAssembly component, relative to the manifest.
    #[serde(deserialize_with = "text")]
    pub(crate) source: String,
    /// What of the file system the guest sees.
    #[serde(default)]
    pub(crate) files: Vec<FilesMount>,
    /// The guest's variables: name to template.
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, String>,
    /// The guest's environment variables.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// Templates of the addresses that the guest may connect to.
    #[serde(default)]
    pub(crate) allowed_outbound_hosts: Vec<String>,

    description: Option<IgnoredAny>,
    build: Option<IgnoredAny>,
    tool: Option<IgnoredAny>,
    targets: Option<IgnoredAny>,

    key_value_stores: Option<Unsupported>,
    sqlite_databases: Option<Unsupported>,
    ai_models: Option<Unsupported>,
    dependencies: Option<Unsupported>,
    dependencies_inherit_configuration: Option<Unsupported>,
    exclude_files: Option<Unsupported>,
    profile: Option<Unsupported>,
}

/// One entry of a component's `files`.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "write a relative path or { source = \"directory\", destination = \"/…\" }"
)]
pub(crate) enum FilesMount {
    /// A file or directory that the guest sees under the same relative path.
    Path(String),
    /// A file or directory of the host (relative to the manifest) at an absolute path of the guest.
    Placed { source: String, destination: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    spin_manifest_version: IgnoredAny,
    application: Application,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
    trigger: Triggers,
    component: BTreeMap<String, ComponentConfig>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Application {
    name: String,
    version: Option<IgnoredAny>,
    description: Option<IgnoredAny>,
    authors: Option<IgnoredAny>,
    targets: Option<IgnoredAny>,
    tool: Option<IgnoredAny>,
    trigger: Option<Unsupported>,
}

/// Triggers by type; those of plugins are unknown here and refused all the same.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Triggers {
    http: Vec<HttpTrigger>,
    redis: Option<Unsupported>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpTrigger {
    #[serde(deserialize_with = "text")]
    route: String,
    #[serde(deserialize_with = "text")]
    component: String,
    id: Option<IgnoredAny>,
    executor: Option<Unsupported>,
    components: Option<Unsupported>,
    dependencies: Option<Unsupported>,
}

/// A field that may only ask for nothing, as in `key_value_stores = []`.
#[derive(Debug)]
struct Unsupported;

impl<'de> Deserialize<'de> for Unsupported {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let asks_for_nothing = match toml::Value::deserialize(deserializer)? {
            toml::Value::Array(values) => values.is_empty(),
            toml::Value::Table(fields) => fields.is_empty(),
            toml::Value::Boolean(set) => !set,
            _ => false,
        };
        if asks_for_nothing {
            Ok(Self)
        } else {
            Err(D::Error::custom(UNSUPPORTED))
        }
    }
}

/// A string where Spin also takes a table, for features that are not supported: a component from
/// a URL or a registry, a private route, a component inside its trigger.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => Ok(text),
        _ => Err(D::Error::custom(UNSUPPORTED)),
    }
}

impl Manifest {
    /// Reads and checks the manifest at `path`.
    pub(crate) fn load(path: &Path) -> Result<Self, HostError> {
        let text = std::fs::read_to_string(path).map_err(HostError::read(path))?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, HostError> {
        let syntax = |error: toml::de::Error| HostError::manifest(path.display(), error);
        let table: toml::Table = toml::from_str(text).map_err(syntax)?;
        if table.get("spin_manifest_version") != Some(&toml::Value::Integer(2)) {
            return Err(HostError::manifest(
                "spin_manifest_version",
                "tidemark-host reads version 2 only (`spin_manifest_version = 2`)",
            ));
        }
        let written: Written = toml::from_str(text).map_err(syntax)?;
        written.check(path)
    }
}

impl Written {
    fn check(mut self, path: &Path) -> Result<Manifest, HostError> {
        for (name, variable) in &self.variables {
            if variable.required == variable.default.is_some() {
                return Err(HostError::manifest(
                    format!("variables.{name}"),
                    "needs either a `default` or `required = true`",
                ));
            }
        }
        let mut routes: Vec<(Route, String)> = Vec::new();
        for (index, trigger) in self.trigger.http.into_iter().enumerate() {
            let wrong = |problem| HostError::manifest(format!("trigger.http[{index}]"), problem);
            let route = Route::parse(&trigger.route).map_err(wrong)?;
            if routes.iter().any(|(other, _)| *other == route) {
                return Err(wrong(format!("the route {route} is declared twice")));
            }
            if !self.component.contains_key(&trigger.component) {
                return Err(wrong(format!(
                    "there is no [component.{}]",
                    trigger.component
                )));
            }
            routes.push((route, trigger.component));
        }
        self.component
            .retain(|id, _| routes.iter().any(|(_, target)| target == id));
        Ok(Manifest {
            name: self.application.name,
            directory: path.parent().map(Path::to_owned).unwrap_or_default(),
            variables: self.variables,
            routes,
            components: self.component,
        })
    }
}

#[cfg(test)]
impl Variable {
    pub(crate) fn new(default: Option<&str>) -> Self {
        Self {
            default: default.map(str::to_owned),
            required: default.is_none(),
            secret: None,
            description: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        spin_manifest_version = 2

        [application]
        name = "edge"
        version = "0.1.0"
        authors = ["somebody"]

        [variables]
        redis_url = { default = "redis://127.0.0.1:6379" }
        token = { required = true, secret = true }

        [[trigger.http]]
        route = "/..."
        component = "edge"

        [component.edge]
        source = "edge.wasm"
        files = ["a.txt", { source = "catalog", destination = "/catalog" }]
        allowed_outbound_hosts = ["{{ redis_url }}"]
        key_value_stores = []
        [component.edge.variables]
        redis_url = "{{ redis_url }}"
        [component.edge.build]
        command = "cargo build"
        watch = ["src/**/*.rs"]
    "#;

    fn parse(text: &str) -> Result<Manifest, HostError> {
        Manifest::parse(Path::new("app/spin.toml"), text)
    }

    #[test]
    fn a_usual_manifest_is_read() {
        let manifest = parse(GOOD).unwrap();
        assert_eq!(manifest.name, "edge");
        assert_eq!(manifest.directory, Path::new("app"));
        assert_eq!(manifest.routes[0].1, "edge");
        let edge = &manifest.components["edge"];
        assert_eq!(edge.source, "edge.wasm");
        assert!(matches!(&edge.files[0], FilesMount::Path(path) if path == "a.txt"));
        assert!(matches!(&edge.files[1], FilesMount::Placed { source, .. } if source == "catalog"));
    }

    /// Each row: what to replace in the good manifest, by what, and what the message must say.
    #[test]
    fn each_refusal_says_what_and_where() {
        let version = "spin_manifest_version = 2";
        let route = "route = \"/...\"";
        let stores = "key_value_stores = []";
        let build = "[component.edge.build]";
        let token = "token = { required = true, secret = true }";
        #[rustfmt::skip]
        let table: &[(&str, &str, &[&str])] = &[
            (version, "spin_manifest_version = 1", &["spin_manifest_version", "version 2 only"]),
            (version, "", &["spin_manifest_version", "version 2 only"]),
            ("name = \"edge\"", "name = ", &["spin.toml", "name = "]),
            ("[[trigger.http]]", "[[trigger.redis]]", &["trigger.redis", "spin up"]),
            ("[[trigger.http]]", "[[trigger.cron]]", &["unknown field `cron`"]),
            ("[application]", "[application]\ntrigger = { type = \"http\" }", &["trigger", "spin up"]),
            (route, "route = { private = true }", &["private", "spin up"]),
            (route, "route = \"a\"", &["trigger.http[0]", "starts with '/'"]),
            (route, "route = \"/:id\"", &["trigger.http[0]", "/..."]),
            (route, "route = \"/...\"\nexecutor = { type = \"wagi\" }", &["executor", "spin up"]),
            (route, "route = \"/...\"\nrout = 1", &["unknown field `rout`", "spin.toml"]),
            ("component = \"edge\"", "component = \"egde\"", &["no [component.egde]"]),
            ("component = \"edge\"", "component = { source = \"a\" }", &["component = {", "spin up"]),
            ("source = \"edge.wasm\"", "source = { url = \"x\" }", &["source = {", "spin up"]),
            (stores, "key_value_stores = [\"default\"]", &["key_value_stores", "spin up"]),
            (stores, "sqlite_databases = [\"default\"]", &["sqlite_databases", "spin up"]),
            (stores, "ai_models = [\"llama2-chat\"]", &["ai_models", "spin up"]),
            (stores, "exclude_files = [\"*.md\"]", &["exclude_files", "spin up"]),
            (stores, "dependencies_inherit_configuration = true", &["inherit", "spin up"]),
            (stores, "profile = { a = { source = \"b\" } }", &["profile", "spin up"]),
            (stores, "keyvalue_stores = []", &["unknown field `keyvalue_stores`"]),
            (build, "[component.edge.dependencies]\n\"a:b/c\" = \"1\"\n[component.edge.build]", &["[component.edge.dependencies]", "spin up"]),
            ("\"a.txt\"", "1", &["relative path", "destination"]),
            (token, "token = {}", &["variables.token", "`default` or `required"]),
            (token, "token = { required = true, default = \"\" }", &["`default` or `required"]),
        ];
        for (from, to, parts) in table {
            assert!(GOOD.contains(from), "{from}");
            let error = parse(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
            for part in *parts {
                assert!(error.contains(part), "{to}: {error}");
            }
        }
    }

    #[test]
    fn a_route_declared_twice_is_refused() {
        let twice = format!("{GOOD}\n[[trigger.http]]\nroute = \"/...\"\ncomponent = \"edge\"");
        let error = parse(&twice).unwrap_err().to_string();
        assert!(error.contains("declared twice"), "{error}");
    }
}
