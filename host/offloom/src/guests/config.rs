//! The settings of guests: who may change them, and what they must and may do.
use std::num::{NonZeroU16, NonZeroU64};
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;
use serde::{Deserialize, Serialize};

/// The settings of the table `guests`.
#[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
#[serde(default)]
pub struct GuestRules {
    /// The table.
    #[command(flatten)]
    pub guests: GuestsConfig,
}

/// Who may change guests, and what they must and may do.
#[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuestsConfig {
    /// Users who may push, activate and delete guests, such as alice or oidc:bob. Without users (nobody logs
    /// in) everybody may
    #[arg(
        id = "guests.admins",
        long = "guests-admins",
        env = "OFFLOOM_GUESTS__ADMINS",
        value_name = "A,B",
        value_delimiter = ','
    )]
    pub admins: Vec<String>,
    /// Take guests alone that one of these minisign keys has signed
    #[arg(
        id = "guests.public_keys",
        long = "guests-public-keys",
        env = "OFFLOOM_GUESTS__PUBLIC_KEYS",
        value_name = "A,B",
        value_delimiter = ','
    )]
    pub public_keys: Vec<String>,
    /// Transforms that rows must pass, whatever a request asks for: a TOML file
    #[arg(
        id = "guests.policy_file",
        long = "guests-policy-file",
        env = "OFFLOOM_GUESTS__POLICY_FILE",
        value_name = "FILE"
    )]
    pub policy_file: Option<PathBuf>,
    /// What the guests of a tenant may use.
    #[command(flatten)]
    #[serde(flatten)]
    pub tenants: TenantLimits,
}

/// What the guests of one tenant may use.
#[derive(Debug, Clone, Args, Deserialize, Serialize)]
#[serde(default)]
pub struct TenantLimits {
    /// Memory of an instance of a tenant's guest [default: 128MiB]
    #[arg(
        id = "guests.tenant_memory",
        long = "guests-tenant-memory",
        env = "OFFLOOM_GUESTS__TENANT_MEMORY",
        value_name = "SIZE"
    )]
    pub tenant_memory: ByteSize,
    /// Processor time of a tenant's guest in one export, in seconds [default: 600]
    #[arg(
        id = "guests.tenant_cpu_seconds",
        long = "guests-tenant-cpu-seconds",
        env = "OFFLOOM_GUESTS__TENANT_CPU_SECONDS",
        value_name = "N"
    )]
    pub tenant_cpu_seconds: NonZeroU64,
    /// Instances of a tenant's guests at once, in all exports together [default: 4]
    #[arg(
        id = "guests.tenant_instances",
        long = "guests-tenant-instances",
        env = "OFFLOOM_GUESTS__TENANT_INSTANCES",
        value_name = "N"
    )]
    pub tenant_instances: NonZeroU16,
    /// Bytes that a tenant's guest may write in one export [default: 16GiB]
    #[arg(
        id = "guests.tenant_output",
        long = "guests-tenant-output",
        env = "OFFLOOM_GUESTS__TENANT_OUTPUT",
        value_name = "SIZE"
    )]
    pub tenant_output: ByteSize,
}

const CPU_SECONDS: NonZeroU64 = NonZeroU64::new(600).unwrap();
const INSTANCES: NonZeroU16 = NonZeroU16::new(4).unwrap();

impl Default for TenantLimits {
    fn default() -> TenantLimits {
        TenantLimits {
            tenant_memory: ByteSize::mib(128),
            tenant_cpu_seconds: CPU_SECONDS,
            tenant_instances: INSTANCES,
            tenant_output: ByteSize::gib(16),
        }
    }
}

impl TenantLimits {
    /// Memory of an instance, in bytes.
    pub fn memory_bytes(&self) -> usize {
        usize::try_from(self.tenant_memory.as_u64()).unwrap_or(usize::MAX)
    }
}
