//! What this process tells of its own work: logs, and spans for an OpenTelemetry collector.
//!
//! Spans are exported by OTLP over HTTP where the environment names a collector
//! (`OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`); the other variables of the
//! OpenTelemetry specification hold as well: `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
//! `OTEL_TRACES_SAMPLER`, `OTEL_BSP_…`, `OTEL_SDK_DISABLED`.

use std::{
    env,
    io::{self, IsTerminal as _},
};

use clap::ValueEnum;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::Targets, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// What is logged where `RUST_LOG` does not say.
const LOGGED: &str = "info,sqlx::postgres::notice=warn,sqlx::query=error";

/// The name of the service in traces where `OTEL_SERVICE_NAME` does not say.
const SERVICE: &str = "tidemark-origin";

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Telemetry that can't be set up.
#[derive(Debug, thiserror::Error)]
#[error("traces can't be exported as the OTEL_… variables say: {0}")]
pub struct TelemetryError(#[from] opentelemetry_otlp::ExporterBuildError);

/// Telemetry under way. What has not been exported yet is when this is dropped.
#[derive(Debug)]
pub struct Telemetry(Option<SdkTracerProvider>);

/// Begins to log to standard error, and to export spans where a collector is named.
///
/// # Errors
/// The collector's address can't be read.
pub fn start(format: LogFormat) -> Result<Telemetry, TelemetryError> {
    let provider = is_exported().then(provider).transpose()?;
    let spans = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(SERVICE))
            // Of this service only: the exporter's own would be exported in turn.
            .with_filter(Targets::new().with_target("tidemark_origin", tracing::Level::INFO))
    });
    tracing_subscriber::registry()
        .with(logs(format))
        .with(spans)
        .init();
    Ok(Telemetry(provider))
}

fn logs(format: LogFormat) -> Box<dyn Layer<Registry> + Send + Sync> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let logs = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => logs.with_filter(filter).boxed(),
        LogFormat::Json => logs.json().flatten_event(true).with_filter(filter).boxed(),
    }
}

/// Whether the environment names a collector.
fn is_exported() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_disabled = env::var("OTEL_SDK_DISABLED").is_ok_and(|it| it.eq_ignore_ascii_case("true"));
    let names = [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    ];
    !is_disabled && names.into_iter().any(is_set)
}

fn provider() -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder().with_http().build()?;
    let resource = Resource::builder();
    let resource = match env::var_os("OTEL_SERVICE_NAME") {
        Some(_) => resource,
        None => resource.with_service_name(SERVICE),
    };
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .build())
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take()
            && let Err(error) = provider.shutdown()
        {
            eprintln!("{SERVICE}: the last spans were not exported: {error}");
        }
    }
}
