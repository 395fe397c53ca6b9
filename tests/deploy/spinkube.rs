//! The resources of SpinKube (`core.spinkube.dev/v1alpha1`, spin-operator 0.6): of their fields those that
//! `ops/kubernetes/edge-spinkube` uses. Add what you use, as the CRD has it.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::EnvVarSource,
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SpinApp {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: SpinAppSpec,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SpinAppSpec {
    image: String,
    executor: String,
    enable_autoscaling: bool,
    pod_labels: BTreeMap<String, String>,
    variables: Vec<SpinVariable>,
    resources: Resources,
    invocation_limits: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SpinVariable {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_from: Option<EnvVarSource>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Resources {
    limits: BTreeMap<String, Quantity>,
    requests: BTreeMap<String, Quantity>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SpinAppExecutor {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: SpinAppExecutorSpec,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SpinAppExecutorSpec {
    create_deployment: bool,
    deployment_config: DeploymentConfig,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeploymentConfig {
    spin_image: String,
    #[serde(rename = "installDefaultCACerts")]
    install_default_ca_certs: bool,
}
