//! The log on standard error, as text or JSON, and traces to an OpenTelemetry collector.
use std::env;

use anyhow::{Context, bail};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::runtime;
use opentelemetry_sdk::trace::SdkTracerProvider;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use tokio::runtime::Runtime;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::terminal;

/// What is logged, as `tracing_subscriber` reads it, such as `info`.
const FILTER: &str = "OFFLOOM_LOG";

/// `text` or `json`.
const FORMAT: &str = "OFFLOOM_LOG_FORMAT";

/// Where traces are sent, by the names of OpenTelemetry. Without either there are none.
const COLLECTOR: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// What the traces are said to be from, unless `OTEL_SERVICE_NAME` says otherwise.
const SERVICE: &str = "offloom";

/// Begins to log and trace. What is returned is kept until the end of the program.
///
/// # Errors
/// An unknown format; a collector that has no address.
pub fn begin() -> anyhow::Result<Option<Traces>> {
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new("warn"));
    // A log is kept and searched: it has no colours.
    let log = fmt::layer().with_ansi(false).with_writer(|| terminal::Log);
    let log = match env::var(FORMAT).unwrap_or_default().as_str() {
        "" | "text" => log.boxed(),
        "json" => log.json().flatten_event(true).boxed(),
        other => bail!("{FORMAT} is '{other}': give text or json"),
    };
    let is_set = |name: &&&str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let traces = match COLLECTOR.iter().find(is_set) {
        Some(variable) => Some(Traces::begin().with_context(|| format!("traces ({variable})"))?),
        None => None,
    };
    let spans = traces.as_ref().map(|traces| {
        let tracer = traces.provider.tracer(SERVICE);
        // Those of the libraries are many, and say nothing of an export.
        let ours =
            filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with("offloom"));
        tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours)
    });
    tracing_subscriber::registry().with(log.with_filter(filter)).with(spans).init();
    Ok(traces)
}

/// Sends traces.
pub struct Traces {
    provider: SdkTracerProvider,
    /// What sends must not wait for what the program does.
    runtime: Runtime,
}

impl Traces {
    fn begin() -> anyhow::Result<Traces> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("traces").enable_all().build()?;
        let _entered = runtime.enter();
        // An error says that one is installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().build()?;
        let exporter = SpanExporter::builder().with_http().with_http_client(client).build()?;
        let processor = BatchSpanProcessor::builder(exporter, runtime::Tokio).build();
        let mut resource = Resource::builder();
        if env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(SERVICE);
        }
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_resource(resource.build())
            .build();
        Ok(Traces { provider, runtime })
    }

    /// Sends what is left.
    pub fn end(self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last traces were not sent");
        }
        self.runtime.shutdown_background();
    }
}
