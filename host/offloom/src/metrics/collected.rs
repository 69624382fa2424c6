//! What is read when Prometheus asks: the exports of this moment, what workers and stores did, the process.
use std::fmt;
use std::sync::Arc;

use offloom_export::WorkCounts;
use offloom_protocol::store::traffic::traffic;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue};
use prometheus_client::metrics::MetricType;

use super::process;
use crate::scheduler::Scheduler;

/// What is read when Prometheus asks.
pub struct Collected {
    /// Knows the exports.
    pub scheduler: Scheduler,
    /// What the workers did.
    pub work: Arc<WorkCounts>,
    /// When the server began, in seconds since 1970.
    pub started_at: f64,
}

impl fmt::Debug for Collected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Collected").finish_non_exhaustive()
    }
}

impl Collector for Collected {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut series = Series(encoder);
        let (waiting, running) = self.scheduler.unfinished();
        let states = [("waiting", waiting), ("running", running)];
        let states = states.map(|(state, count)| ([("state", state)], count as u64));
        series.gauges("offloom_exports", "Exports that have not ended.", &states)?;
        series.counter("offloom_rows", "Rows in files.", self.work.rows())?;
        series.counter("weaviate_export_objects", "As offloom_rows.", self.work.rows())?;
        let help = "Bytes of objects that were read, as they are stored.";
        series.counter("offloom_read_bytes", help, self.work.read_bytes())?;
        series.counter("offloom_written_bytes", "Bytes of files.", self.work.written_bytes())?;
        let guests = self.work.guest_time().as_secs_f64();
        series.counter("offloom_guest_seconds", "Processor time of guests.", guests)?;
        let counts = traffic().counts();
        let results =
            [("success", counts.succeeded), ("refused", counts.refused), ("failed", counts.failed)];
        let results = results.map(|(result, count)| ([("result", result)], count));
        series.counters("offloom_store_requests", "Requests to stores over HTTP.", &results)?;
        let help = "Requests to stores that failed in a way after which they are sent again.";
        series.counter("offloom_store_retries", help, counts.failed)?;
        let help = "When the server began, in seconds since 1970.";
        series.gauge("offloom_start_time_seconds", help, self.started_at)?;
        // What the system does not show is left out.
        for (name, help, value) in process::readings() {
            if let Some(value) = value {
                series.gauge(name, help, value)?;
            }
        }
        Ok(())
    }
}

/// Writes series.
struct Series<'a>(DescriptorEncoder<'a>);

impl Series<'_> {
    fn counter(&mut self, name: &str, help: &str, value: impl EncodeCounterValue) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<super::Label, _, f64>(&value, None)
    }

    fn counters(&mut self, name: &str, help: &str, of: &[(super::Label, u64)]) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (label, value) in of {
            metric.encode_family(label)?.encode_counter::<super::Label, _, f64>(value, None)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    fn gauges(&mut self, name: &str, help: &str, of: &[(super::Label, u64)]) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (label, value) in of {
            metric.encode_family(label)?.encode_gauge(value)?;
        }
        Ok(())
    }
}
