//! The setting of where metrics are served.
use std::net::SocketAddr;

use clap::Args;
use serde::{Deserialize, Serialize};

/// Where metrics are served.
#[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
#[serde(default)]
pub struct MetricsConfig {
    /// Where Prometheus reads /metrics, such as 127.0.0.1:9091 [default: nowhere]
    #[arg(long, env = "OFFLOOM_METRICS_LISTEN", value_name = "ADDRESS")]
    pub metrics_listen: Option<SocketAddr>,
}
