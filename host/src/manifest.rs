//! Reads `spin.toml` (manifest version 2) and refuses, by name, what this runner does not do.
//!
//! Two passes over the same text: the first looks for features that Spin has and this runner
//! lacks, so that they are told apart from misspellings; the second is typed and knows every
//! other field, so that a misspelling is an error which shows its line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::HostError;
use crate::routes::Route;

/// A manifest, checked: every component of a route exists, and nothing in it will be ignored
/// that changes how the application behaves.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// The application's name.
    pub(crate) name: String,
    /// The directory that relative paths start from.
    pub(crate) directory: PathBuf,
    /// Declared variables by name.
    pub(crate) variables: BTreeMap<String, Variable>,
    /// Routes, and the id of the component that answers each.
    pub(crate) routes: Vec<(Route, String)>,
    /// Components by id; only those that a route reaches.
    pub(crate) components: BTreeMap<String, ComponentConfig>,
}

/// One entry of `[variables]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variable {
    /// The value when nobody gives one.
    pub(crate) default: Option<String>,
    #[serde(default)]
    required: bool,
    // Nothing here prints a variable's value, so there is nothing to hide it from.
    #[serde(default, rename = "secret")]
    _secret: bool,
    #[serde(default, rename = "description")]
    _description: Option<IgnoredAny>,
}

/// One component, as written: templates are not filled in yet.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ComponentConfig {
    /// Path of the WebAssembly component, relative to the manifest.
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
    #[serde(default, rename = "description")]
    _description: Option<IgnoredAny>,
    #[serde(default, rename = "build")]
    _build: Option<IgnoredAny>,
    #[serde(default, rename = "tool")]
    _tool: Option<IgnoredAny>,
    #[serde(default, rename = "targets")]
    _targets: Option<IgnoredAny>,
    // Refused by the first pass unless they are empty.
    #[serde(default, rename = "key_value_stores")]
    _key_value_stores: Option<IgnoredAny>,
    #[serde(default, rename = "sqlite_databases")]
    _sqlite_databases: Option<IgnoredAny>,
    #[serde(default, rename = "ai_models")]
    _ai_models: Option<IgnoredAny>,
    #[serde(default, rename = "dependencies")]
    _dependencies: Option<IgnoredAny>,
    #[serde(default, rename = "exclude_files")]
    _exclude_files: Option<IgnoredAny>,
    #[serde(default, rename = "allowed_http_hosts")]
    _allowed_http_hosts: Option<IgnoredAny>,
    #[serde(default, rename = "dependencies_inherit_configuration")]
    _dependencies_inherit_configuration: Option<IgnoredAny>,
    #[serde(default, rename = "profile")]
    _profile: Option<IgnoredAny>,
}

/// One entry of a component's `files`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum FilesMount {
    /// `"assets/logo.png"` or `"assets/*.png"`: seen by the guest under the same relative path.
    Pattern(String),
    /// `{ source = "catalog", destination = "/catalog" }`.
    Placed(Placement),
}

/// A file or directory of the host at a path of the guest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Placement {
    /// Path on the host, relative to the manifest.
    pub(crate) source: String,
    /// Absolute path in the guest.
    pub(crate) destination: String,
}

impl Manifest {
    /// Reads and checks the manifest at `path`.
    pub(crate) fn load(path: &Path) -> Result<Self, HostError> {
        let text = std::fs::read_to_string(path).map_err(HostError::read("the manifest", path))?;
        Self::parse(path, &text)
    }

    /// Checks the manifest `text`, which was read from `path`.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, HostError> {
        let syntax = |source: toml::de::Error| HostError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        };
        let table: toml::Table = toml::from_str(text).map_err(syntax)?;
        refuse_other_versions(&table)?;
        refuse_unsupported(&table)?;
        let written: Written = toml::from_str(text).map_err(syntax)?;
        written.check(path)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "spin_manifest_version")]
    _version: IgnoredAny,
    application: Application,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
    #[serde(default)]
    trigger: Triggers,
    #[serde(default)]
    component: BTreeMap<String, ComponentConfig>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Application {
    name: String,
    #[serde(default, rename = "version")]
    _version: Option<IgnoredAny>,
    #[serde(default, rename = "description")]
    _description: Option<IgnoredAny>,
    #[serde(default, rename = "authors")]
    _authors: Option<IgnoredAny>,
    #[serde(default, rename = "targets")]
    _targets: Option<IgnoredAny>,
    #[serde(default, rename = "tool")]
    _tool: Option<IgnoredAny>,
    // Refused by the first pass unless it is empty.
    #[serde(default, rename = "trigger")]
    _trigger: Option<IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Triggers {
    #[serde(default)]
    http: Vec<HttpTrigger>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpTrigger {
    route: String,
    component: ComponentReference,
    #[serde(default)]
    id: Option<String>,
    // Refused by the first pass unless they say what is the default anyway.
    #[serde(default, rename = "executor")]
    _executor: Option<IgnoredAny>,
    #[serde(default, rename = "components")]
    _components: Option<IgnoredAny>,
    #[serde(default, rename = "dependencies")]
    _dependencies: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ComponentReference {
    Id(String),
    Inline(Box<ComponentConfig>),
}

impl Written {
    fn check(self, path: &Path) -> Result<Manifest, HostError> {
        for (name, variable) in &self.variables {
            check_variable(name, variable)?;
        }
        if self.trigger.http.is_empty() {
            return Err(HostError::manifest(
                "trigger.http",
                "there is no route: add a [[trigger.http]] with `route` and `component`",
            ));
        }
        let mut routes = Vec::new();
        let mut components = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (index, trigger) in self.trigger.http.into_iter().enumerate() {
            let place = format!("trigger.http[{index}]");
            let route = Route::parse(&trigger.route)
                .map_err(|problem| HostError::manifest(format!("{place}.route"), problem))?;
            if !seen.insert(trigger.route.clone()) {
                return Err(HostError::manifest(
                    format!("{place}.route"),
                    format!("the route {:?} is declared twice", trigger.route),
                ));
            }
            let (id, config) = match trigger.component {
                ComponentReference::Id(id) => {
                    let config = self.component.get(&id).cloned().ok_or_else(|| {
                        HostError::manifest(
                            format!("{place}.component"),
                            format!("there is no [component.{id}]"),
                        )
                    })?;
                    (id, config)
                }
                ComponentReference::Inline(config) => (
                    trigger.id.unwrap_or_else(|| format!("inline-{index}")),
                    *config,
                ),
            };
            routes.push((route, id.clone()));
            components.insert(id, config);
        }
        for id in self
            .component
            .keys()
            .filter(|id| !components.contains_key(*id))
        {
            tracing::warn!(component = %id, "no route reaches this component: it is not loaded");
        }
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        Ok(Manifest {
            name: self.application.name,
            directory,
            variables: self.variables,
            routes,
            components,
        })
    }
}

fn check_variable(name: &str, variable: &Variable) -> Result<(), HostError> {
    let place = format!("variables.{name}");
    let lower_snake = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !lower_snake {
        return Err(HostError::manifest(
            place,
            "a variable's name is made of lower-case letters, digits and '_', a letter first",
        ));
    }
    match (variable.required, &variable.default) {
        (false, None) => Err(HostError::manifest(
            place,
            "needs either a `default` or `required = true`",
        )),
        (true, Some(_)) => Err(HostError::manifest(
            place,
            "is `required` and has a `default`: drop one of them",
        )),
        _ => Ok(()),
    }
}

fn refuse_other_versions(table: &toml::Table) -> Result<(), HostError> {
    match table.get("spin_manifest_version") {
        Some(toml::Value::Integer(2)) => Ok(()),
        Some(_) => Err(HostError::unsupported(
            "spin_manifest_version",
            "a manifest version other than 2 is",
        )),
        None => Err(HostError::manifest(
            "spin_manifest_version",
            "is missing: this is not a Spin manifest of version 2 (`spin_manifest_version = 2`)",
        )),
    }
}

fn refuse_unsupported(table: &toml::Table) -> Result<(), HostError> {
    if let Some(settings) = at(table, "application").and_then(|it| it.get("trigger"))
        && !is_empty(settings)
    {
        return Err(HostError::unsupported(
            "application.trigger",
            "settings for all triggers of a type are",
        ));
    }
    for (kind, triggers) in at(table, "trigger").into_iter().flatten() {
        if kind != "http" {
            return Err(HostError::unsupported(
                format!("trigger.{kind}"),
                format!("{kind} triggers are"),
            ));
        }
        let triggers = triggers.as_array().into_iter().flatten();
        for (index, trigger) in triggers.filter_map(toml::Value::as_table).enumerate() {
            refuse_in_trigger(&format!("trigger.http[{index}]"), trigger)?;
        }
    }
    for (id, component) in at(table, "component").into_iter().flatten() {
        if let Some(component) = component.as_table() {
            refuse_in_component(&format!("component.{id}"), component)?;
        }
    }
    Ok(())
}

fn refuse_in_trigger(place: &str, trigger: &toml::Table) -> Result<(), HostError> {
    if trigger.get("route").is_some_and(toml::Value::is_table) {
        return Err(HostError::unsupported(
            format!("{place}.route"),
            "private routes (calls from one component to another) are",
        ));
    }
    if let Some(executor) = trigger.get("executor")
        && executor.get("type").and_then(toml::Value::as_str) != Some("http")
    {
        return Err(HostError::unsupported(
            format!("{place}.executor"),
            "an executor other than { type = \"http\" } is",
        ));
    }
    for (field, feature) in [
        ("components", "further components of a trigger are"),
        ("dependencies", "dependencies of a trigger are"),
    ] {
        if trigger.get(field).is_some_and(|value| !is_empty(value)) {
            return Err(HostError::unsupported(format!("{place}.{field}"), feature));
        }
    }
    match trigger.get("component").and_then(toml::Value::as_table) {
        Some(inline) => refuse_in_component(&format!("{place}.component"), inline),
        None => Ok(()),
    }
}

fn refuse_in_component(place: &str, component: &toml::Table) -> Result<(), HostError> {
    if component.get("source").is_some_and(toml::Value::is_table) {
        return Err(HostError::unsupported(
            format!("{place}.source"),
            "a component from a URL or a registry is",
        ));
    }
    if component
        .get("allowed_http_hosts")
        .is_some_and(|value| !is_empty(value))
    {
        return Err(HostError::manifest(
            format!("{place}.allowed_http_hosts"),
            "is gone: write allowed_outbound_hosts = [\"http://host:port\"]",
        ));
    }
    for (field, feature) in [
        ("key_value_stores", "key-value stores are"),
        ("sqlite_databases", "SQLite databases are"),
        ("ai_models", "AI models are"),
        ("dependencies", "component dependencies are"),
        (
            "dependencies_inherit_configuration",
            "component dependencies are",
        ),
        ("exclude_files", "excluding files is"),
        ("profile", "build profiles are"),
    ] {
        if component.get(field).is_some_and(|value| !is_empty(value)) {
            return Err(HostError::unsupported(format!("{place}.{field}"), feature));
        }
    }
    Ok(())
}

fn at<'a>(table: &'a toml::Table, key: &str) -> Option<&'a toml::Table> {
    table.get(key).and_then(toml::Value::as_table)
}

/// Whether a field asks for nothing, as in `key_value_stores = []`.
fn is_empty(value: &toml::Value) -> bool {
    match value {
        toml::Value::Array(values) => values.is_empty(),
        toml::Value::Table(fields) => fields.is_empty(),
        toml::Value::Boolean(set) => !set,
        _ => false,
    }
}

#[cfg(test)]
impl Variable {
    pub(crate) fn with_default(value: &str) -> Self {
        Self {
            default: Some(value.to_owned()),
            required: false,
            _secret: false,
            _description: None,
        }
    }

    pub(crate) fn required() -> Self {
        Self {
            default: None,
            required: true,
            _secret: false,
            _description: None,
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
        assert!(matches!(&edge.files[0], FilesMount::Pattern(path) if path == "a.txt"));
        assert!(matches!(&edge.files[1], FilesMount::Placed(it) if it.destination == "/catalog"));
    }

    #[test]
    fn a_component_may_stand_inside_its_trigger() {
        let manifest = parse(
            "spin_manifest_version = 2\n[application]\nname = \"a\"\n\
             [[trigger.http]]\nroute = \"/a\"\ncomponent = { source = \"a.wasm\" }\n\
             [[trigger.http]]\nid = \"named\"\nroute = \"/b\"\ncomponent = { source = \"b.wasm\" }",
        )
        .unwrap();
        let ids: Vec<_> = manifest.components.keys().collect();
        assert_eq!(ids, ["inline-0", "named"]);
    }

    /// Each row: what to replace in the good manifest, by what, and what the message must say.
    #[test]
    fn each_refusal_says_what_and_where() {
        let table: &[(&str, &str, &[&str])] = &[
            (
                "spin_manifest_version = 2",
                "spin_manifest_version = 1",
                &["version other than 2", "spin up"],
            ),
            (
                "spin_manifest_version = 2",
                "",
                &["spin_manifest_version", "missing"],
            ),
            (
                "[[trigger.http]]",
                "[[trigger.redis]]",
                &["trigger.redis", "redis triggers", "spin up"],
            ),
            (
                "route = \"/...\"",
                "route = { private = true }",
                &["trigger.http[0].route", "private", "spin up"],
            ),
            (
                "route = \"/...\"",
                "route = \"a\"",
                &["trigger.http[0].route", "starts with '/'"],
            ),
            (
                "route = \"/...\"",
                "route = \"/:id\"",
                &["trigger.http[0].route", "/..."],
            ),
            (
                "route = \"/...\"",
                "route = \"/...\"\nexecutor = { type = \"wagi\" }",
                &["executor", "spin up"],
            ),
            (
                "route = \"/...\"",
                "route = \"/...\"\nrout = 1",
                &["unknown field", "rout", "spin.toml"],
            ),
            (
                "component = \"edge\"",
                "component = \"egde\"",
                &["no [component.egde]"],
            ),
            (
                "source = \"edge.wasm\"",
                "source = { url = \"https://x\", digest = \"y\" }",
                &["component.edge.source", "spin up"],
            ),
            (
                "key_value_stores = []",
                "key_value_stores = [\"default\"]",
                &["component.edge.key_value_stores", "key-value", "spin up"],
            ),
            (
                "key_value_stores = []",
                "sqlite_databases = [\"default\"]",
                &["SQLite", "spin up"],
            ),
            (
                "key_value_stores = []",
                "ai_models = [\"llama2-chat\"]",
                &["AI models", "spin up"],
            ),
            (
                "key_value_stores = []",
                "dependencies = { \"a:b/c\" = \"1.0\" }",
                &["dependencies", "spin up"],
            ),
            (
                "key_value_stores = []",
                "exclude_files = [\"*.md\"]",
                &["exclud", "spin up"],
            ),
            (
                "key_value_stores = []",
                "allowed_http_hosts = [\"x\"]",
                &["allowed_outbound_hosts"],
            ),
            (
                "key_value_stores = []",
                "keyvalue_stores = []",
                &["unknown field", "keyvalue_stores"],
            ),
            (
                "name = \"edge\"",
                "name = \"edge\"\ntrigger = { type = \"http\", base = \"/x\" }",
                &["application.trigger", "spin up"],
            ),
            ("token = {", "Token = {", &["variables.Token", "lower-case"]),
            (
                "token = { required = true, secret = true }",
                "token = {}",
                &["variables.token", "`default` or `required"],
            ),
            (
                "redis_url = { default",
                "redis_url = { required = true, default",
                &["variables.redis_url", "drop one"],
            ),
            ("name = \"edge\"", "name = ", &["spin.toml"]),
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
