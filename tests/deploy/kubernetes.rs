//! `ops/kubernetes`, and the example's kustomization that completes it.

use std::{collections::BTreeSet, fs, path::Path};

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{ConfigMap, Namespace, Secret, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use serde_json::Value;
use tidemark_tests::tools;

use crate::{
    differences::as_a,
    documents, files, installed, read,
    spinkube::{SpinApp, SpinAppExecutor},
};

/// What is wrong with a resource, by the schema of its kind.
fn check(resource: &Value) -> Vec<String> {
    let text = |field| resource[field].as_str().unwrap_or_default();
    match (text("apiVersion"), text("kind")) {
        ("v1", "ConfigMap") => as_a::<ConfigMap>(resource),
        ("v1", "Namespace") => as_a::<Namespace>(resource),
        ("v1", "Secret") => as_a::<Secret>(resource),
        ("v1", "Service") => as_a::<Service>(resource),
        ("apps/v1", "Deployment") => as_a::<Deployment>(resource),
        ("autoscaling/v2", "HorizontalPodAutoscaler") => as_a::<HorizontalPodAutoscaler>(resource),
        ("batch/v1", "Job") => as_a::<Job>(resource),
        ("networking.k8s.io/v1", "NetworkPolicy") => as_a::<NetworkPolicy>(resource),
        ("policy/v1", "PodDisruptionBudget") => as_a::<PodDisruptionBudget>(resource),
        ("core.spinkube.dev/v1alpha1", "SpinApp") => as_a::<SpinApp>(resource),
        ("core.spinkube.dev/v1alpha1", "SpinAppExecutor") => as_a::<SpinAppExecutor>(resource),
        (version, kind) => vec![format!("this test knows no {kind} of {version}")],
    }
}

/// The resources that are shipped, each with its file.
pub(crate) fn resources() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for path in files("ops/kubernetes") {
        if path.ends_with("kustomization.yaml") || path.extension().is_none_or(|it| it != "yaml") {
            continue;
        }
        let name = path.display().to_string();
        found.extend(
            documents(&read(&path))
                .into_iter()
                .map(|it| (name.clone(), it)),
        );
    }
    found
}

/// The Pods of a resource that has some: their labels and their containers.
pub(crate) fn pods(resource: &Value) -> Option<(&Value, &[Value])> {
    let template = &resource["spec"]["template"];
    let containers = template["spec"]["containers"].as_array()?;
    Some((&template["metadata"]["labels"], containers))
}

#[test]
fn every_resource_is_as_kubernetes_and_spinkube_define_it() {
    let resources = resources();
    assert!(resources.len() > 15, "{}", resources.len());
    for (file, resource) in &resources {
        let found = check(resource);
        assert!(found.is_empty(), "{file}, {}: {found:#?}", resource["kind"]);
    }
}

#[test]
fn a_typo_and_an_omission_are_found() {
    let is_origin = |resource: &&Value| {
        resource["kind"] == "Deployment" && resource["metadata"]["name"] == "origin"
    };
    let resources = resources();
    let origin = resources.iter().map(|(_, it)| it).find(is_origin).unwrap();
    let mut typo = origin.clone();
    let container = &mut typo["spec"]["template"]["spec"]["containers"][0];
    container["readinesProbe"] = container["readinessProbe"].take();
    container.as_object_mut().unwrap().remove("readinessProbe");
    let mut omission = origin.clone();
    omission["spec"].as_object_mut().unwrap().remove("selector");
    assert_eq!(
        [check(&typo), check(&omission)].concat(),
        [
            ".spec.template.spec.containers[0].readinesProbe is unknown",
            ".spec.selector is missing"
        ]
    );
}

/// All selectors in a resource, of whichever form.
fn selectors(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match (name.as_str(), &field["matchLabels"]) {
                    ("selector" | "podSelector" | "labelSelector", Value::Object(labels)) => {
                        found.push(Value::Object(labels.clone()));
                    }
                    // A Service's.
                    ("selector", Value::Null) => found.push(field.clone()),
                    _ => selectors(field, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| selectors(value, found)),
        _ => {}
    }
}

#[test]
fn every_selector_selects_pods() {
    let resources = resources();
    let labels: Vec<_> = resources
        .iter()
        .filter_map(|(_, it)| pods(it))
        .map(|it| it.0)
        .collect();
    for (file, resource) in &resources {
        let mut found = Vec::new();
        selectors(resource, &mut found);
        for selector in found {
            let wanted = selector.as_object().unwrap();
            let selects =
                |labels: &&&Value| wanted.iter().all(|(key, value)| labels[key] == *value);
            assert!(labels.iter().any(|it| selects(&it)), "{file}: {selector}");
        }
    }
}

#[test]
fn every_container_is_confined() {
    for (file, resource) in resources() {
        let Some((_, containers)) = pods(&resource) else {
            continue;
        };
        let pod = &resource["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{file}");
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
            "{file}"
        );
        assert_eq!(pod["automountServiceAccountToken"], false, "{file}");
        for container in containers {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{file}");
            assert_eq!(security["readOnlyRootFilesystem"], true, "{file}");
            assert_eq!(security["capabilities"]["drop"][0], "ALL", "{file}");
            assert!(
                container["resources"]["limits"]["memory"].is_string(),
                "{file}"
            );
        }
    }
}

#[test]
fn the_example_brings_its_whole_catalog() {
    let kustomization = &documents(&read("examples/erp/kustomization.yaml"))[0];
    let listed: BTreeSet<String> = kustomization["configMapGenerator"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|map| map["files"].as_array().unwrap())
        .map(|file| file.as_str().unwrap().to_owned())
        .collect();
    let sql = tools::repository().join("examples/erp/sql");
    let mut there: BTreeSet<String> = fs::read_dir(sql)
        .unwrap()
        .map(|entry| format!("sql/{}", entry.unwrap().file_name().display()))
        .collect();
    there.insert("tidemark.toml".to_owned());
    assert_eq!(listed, there);
}

#[test]
fn kubectl_builds_it() {
    for folder in [
        "examples/erp",
        "ops/kubernetes/edge-spinkube",
        "ops/kubernetes/relay",
    ] {
        let Some(mut kubectl) = installed("kubectl", folder) else {
            return;
        };
        let folder: &Path = &tools::repository().join(folder);
        let built = tools::output(kubectl.arg("kustomize").arg(folder)).unwrap();
        for resource in documents(&built) {
            let found = check(&resource);
            assert!(found.is_empty(), "{}: {found:#?}", resource["kind"]);
        }
    }
}
