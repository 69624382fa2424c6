//! What the server measures, for Prometheus. No label names a class or a user.
//!
//! Read in this order: `config`, this file (what is counted when it happens), `collected` (what is read when
//! Prometheus asks), `process`, `server`.
mod collected;
pub mod config;
mod process;
pub mod server;

use std::time::Duration;

use chrono::{DateTime, Utc};
use offloom_protocol::manifest::Outcome;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use collected::Collected;

use crate::export_index::ExportEnd;

/// One label with its value.
type Label = [(&'static str, &'static str); 1];

/// The buckets of Weaviate, in seconds (`docs/format/export-api.md` 7).
const COORDINATION_SECONDS: [f64; 7] = [1., 5., 10., 15., 30., 45., 60.];
const DURATION_SECONDS: [f64; 11] =
    [10., 30., 60., 300., 600., 1800., 3600., 7200., 14400., 28800., 86400.];

/// What is counted when it happens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ExportMetrics {
    ended: Family<Label, Counter>,
    partial: Counter,
    refused: Family<Label, Counter>,
    last_success: Gauge<f64, std::sync::atomic::AtomicU64>,
    coordination: Histogram,
    duration: Histogram,
}

/// Why a request was answered with 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Too many exports wait.
    Queue,
    /// Its user has too many.
    Quota,
}

impl Default for ExportMetrics {
    fn default() -> ExportMetrics {
        let metrics = ExportMetrics {
            ended: Family::default(),
            partial: Counter::default(),
            refused: Family::default(),
            last_success: Gauge::default(),
            coordination: Histogram::new(COORDINATION_SECONDS),
            duration: Histogram::new(DURATION_SECONDS),
        };
        // A series that begins with its first event has no rate of it.
        for status in ["success", "failed", "canceled"] {
            drop(metrics.ended.get_or_create(&[("status", status)]));
        }
        for reason in ["queue", "quota"] {
            drop(metrics.refused.get_or_create(&[("reason", reason)]));
        }
        metrics
    }
}

impl ExportMetrics {
    /// An export's id was taken so long after it was asked for.
    pub fn claimed(&self, after: Duration) {
        self.coordination.observe(after.as_secs_f64());
    }

    /// An export that began at `started_at` has ended.
    pub fn ended(&self, started_at: DateTime<Utc>, end: &ExportEnd) {
        let status = match end.outcome {
            Outcome::Success => "success",
            Outcome::Failed => "failed",
            Outcome::Canceled => "canceled",
        };
        self.ended.get_or_create(&[("status", status)]).inc();
        if end.partial {
            self.partial.inc();
        }
        if end.outcome == Outcome::Success {
            self.last_success.set(seconds_since_1970(end.completed_at));
        }
        let took = (end.completed_at - started_at).to_std().unwrap_or_default();
        self.duration.observe(took.as_secs_f64());
    }

    /// A request was answered with 429.
    pub fn refused(&self, why: Refused) {
        let reason = match why {
            Refused::Queue => "queue",
            Refused::Quota => "quota",
        };
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }

    /// All metrics, with those that are read when Prometheus asks.
    pub fn registry(self, collected: Collected) -> Registry {
        let mut registry = Registry::default();
        let ExportMetrics { ended, partial, refused, last_success, coordination, duration } = self;
        registry.register("offloom_exports_ended", "Exports that have ended", ended.clone());
        let help = "Exports that succeeded without something that they were allowed to lack";
        registry.register("offloom_exports_partial", help, partial);
        registry.register("offloom_exports_refused", "Requests answered with 429", refused);
        let help = "When an export succeeded last, in seconds since 1970; 0 before the first";
        registry.register("offloom_last_success_timestamp_seconds", help, last_success);
        registry.register("weaviate_export_operations", "As offloom_exports_ended", ended);
        let help = "From the request until the id of the export is taken";
        registry.register("weaviate_export_coordination_duration_seconds", help, coordination);
        let help = "From then until the end of the export";
        registry.register("weaviate_export_duration_seconds", help, duration);
        registry.register_collector(Box::new(collected));
        registry
    }
}

fn seconds_since_1970(time: DateTime<Utc>) -> f64 {
    Duration::from_millis(time.timestamp_millis().max(0).unsigned_abs()).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_counted_by_their_outcome() {
        let metrics = ExportMetrics::default();
        let end = |outcome, partial| ExportEnd {
            outcome,
            error: None,
            completed_at: DateTime::from_timestamp(1_000, 500_000_000).unwrap(),
            partial,
        };
        let began = DateTime::from_timestamp(980, 0).unwrap();
        metrics.ended(began, &end(Outcome::Success, true));
        metrics.ended(began, &end(Outcome::Canceled, false));
        let mut registry = Registry::default();
        registry.register("ended", "", metrics.ended);
        registry.register("partial", "", metrics.partial);
        registry.register("last", "", metrics.last_success);
        registry.register("took", "", metrics.duration);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "ended_total{status=\"success\"} 1",
            "ended_total{status=\"failed\"} 0",
            "ended_total{status=\"canceled\"} 1",
            "partial_total 1",
            "last 1000.5",
            "took_sum 41.0",
            "took_bucket{le=\"10.0\"} 0",
            "took_bucket{le=\"30.0\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
