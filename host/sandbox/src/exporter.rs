//! A loaded exporter: it describes itself, chooses classes and opens files.
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::about::About;
use crate::encoder::FileEncoder;
use crate::error::{ContractBreach, GuestError};
use crate::instance::{Instance, Shared, settle, within};
use crate::limits::{BLOCK_BYTES, SandboxLimits};
use crate::log::escape;
use crate::quota::InstanceQuota;
use crate::state::State;
use crate::v0_1::bindings::exports::offloom::export::exporter as wit;
use crate::v0_1::bindings::{ExporterGuest as Bindings, ExporterGuestPre};
use crate::v0_1::convert;
use offloom_rows::{ObjectLimit, Schema};

/// Settings of a guest: key and value.
pub type GuestOptions = Vec<(String, String)>;

/// What kind of files an exporter writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// For example `parquet`.
    pub name: String,
    /// File name extension without a dot, `^[a-z0-9.]{1,16}$`.
    pub extension: String,
    /// For example `application/vnd.apache.parquet`.
    pub media_type: String,
    /// Bytes of rows that a block should hold, within 1 to 64 MiB.
    pub block_bytes: u64,
}

/// A class that the caller may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedClass {
    /// Its exact name.
    pub name: String,
    /// Whether its rows name a tenant.
    pub multi_tenant: bool,
    /// Number of objects, when known without reading them.
    pub object_count: Option<u64>,
}

/// What a request asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only these classes; empty for all.
    pub include: Vec<String>,
    /// All classes except these.
    pub exclude: Vec<String>,
}

/// A checked and compiled exporter. Cheap to clone. It is called through [`ExporterGuest::for_export`].
#[derive(Clone)]
pub struct ExporterGuest {
    pre: ExporterGuestPre<State>,
    digest: Arc<str>,
    limits: Arc<SandboxLimits>,
    quota: Option<InstanceQuota>,
}

/// The guest of one export. Cheap to clone; every call gets an instance of its own. All instances and
/// clones share what an export may log and how much processor time it may use.
#[derive(Clone)]
pub struct GuestRun {
    guest: ExporterGuest,
    shared: Shared,
}

impl ExporterGuest {
    pub(crate) fn new(
        pre: ExporterGuestPre<State>,
        digest: String,
        limits: Arc<SandboxLimits>,
    ) -> ExporterGuest {
        ExporterGuest { pre, digest: digest.into(), limits, quota: None }
    }

    /// The guest of one export, with a log and processor time of its own.
    pub fn for_export(&self) -> GuestRun {
        let shared = Shared::new(&self.limits);
        GuestRun { guest: self.clone(), shared }
    }

    /// The same exporter with other limits, and a quota of instances that it shares with the other guests of
    /// its owner.
    #[must_use]
    pub fn with_quota(
        &self,
        change: impl FnOnce(SandboxLimits) -> SandboxLimits,
        quota: InstanceQuota,
    ) -> ExporterGuest {
        let limits = Arc::new(change((*self.limits).clone()));
        ExporterGuest { limits, quota: Some(quota), ..self.clone() }
    }

    /// SHA-256 of the component, in lower-case hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The largest object that it can take.
    pub fn object_limit(&self) -> ObjectLimit {
        self.limits.object_limit
    }
}

impl GuestRun {
    /// The quota of its owner, if it has one.
    pub fn quota(&self) -> Option<&InstanceQuota> {
        self.guest.quota.as_ref()
    }

    /// Processor time of all of its instances so far.
    pub fn processor_time(&self) -> Duration {
        self.shared.spent.time()
    }

    /// SHA-256 of the component, in lower-case hexadecimal digits.
    pub fn digest(&self) -> &str {
        self.guest.digest()
    }

    /// The largest object that it can take.
    pub fn object_limit(&self) -> ObjectLimit {
        self.guest.object_limit()
    }

    /// What the guest says of itself.
    pub async fn about(&self) -> Result<About, GuestError> {
        let mut instance = self.instantiate().await?;
        let Instance { store, clock, bindings, limits, .. } = &mut instance;
        let call = bindings.offloom_export_about().call_describe_guest(&mut *store);
        let answer = within(limits, clock, call).await;
        Ok(settle(&store.data().log, limits, answer.map(Ok))?.into())
    }

    /// What kind of files the guest writes with these options.
    pub async fn describe(&self, options: &GuestOptions) -> Result<Format, GuestError> {
        let mut instance = self.instantiate().await?;
        let Instance { store, clock, bindings, limits, .. } = &mut instance;
        let call = bindings.offloom_export_exporter().call_describe(&mut *store, options);
        let answer = within(limits, clock, call).await;
        let format = settle(&store.data().log, limits, answer)?;
        let characters = |extension: &str| {
            extension.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.'))
        };
        if !(1..=16).contains(&format.extension.len()) || !characters(&format.extension) {
            return Err(ContractBreach::Extension(escape(&format.extension, 64)).into());
        }
        Ok(Format {
            name: escape(&format.name, 64),
            extension: format.extension,
            media_type: escape(&format.media_type, 128),
            block_bytes: format.block_bytes.clamp(*BLOCK_BYTES.start(), *BLOCK_BYTES.end()),
        })
    }

    /// The class filter: which of the offered classes become files, in the guest's order. The caller
    /// has checked that the names in `selection.include` are offered.
    pub async fn plan(
        &self,
        classes: &[OfferedClass],
        selection: &Selection,
        options: &GuestOptions,
    ) -> Result<Vec<String>, GuestError> {
        let offered: Vec<wit::Class> = classes
            .iter()
            .map(|class| wit::Class {
                name: class.name.clone(),
                multi_tenant: class.multi_tenant,
                object_count: class.object_count,
            })
            .collect();
        let selection = wit::Selection {
            include: selection.include.clone(),
            exclude: selection.exclude.clone(),
        };
        let mut instance = self.instantiate().await?;
        let Instance { store, clock, bindings, limits, .. } = &mut instance;
        let call = bindings.offloom_export_exporter().call_plan(
            &mut *store,
            &offered,
            &selection,
            options,
        );
        let answer = within(limits, clock, call).await;
        let planned = settle(&store.data().log, limits, answer)?;
        let offered: HashSet<&str> = classes.iter().map(|class| class.name.as_str()).collect();
        let mut seen = BTreeSet::new();
        for name in &planned {
            if !offered.contains(name.as_str()) {
                return Err(ContractBreach::NotOffered(escape(name, 256)).into());
            }
            if !seen.insert(name) {
                return Err(ContractBreach::PlannedTwice(name.clone()).into());
            }
        }
        Ok(planned)
    }

    /// An encoder for the file of one class. `block_bytes` is [`Format::block_bytes`] of
    /// [`GuestRun::describe`]; it bounds the output of a block.
    pub async fn open(
        &self,
        schema: &Schema,
        options: &GuestOptions,
        block_bytes: u64,
    ) -> Result<FileEncoder, GuestError> {
        let schema = convert::schema(schema);
        let mut instance = self.instantiate().await?;
        let Instance { store, clock, bindings, limits, .. } = &mut instance;
        let exporter = bindings.offloom_export_exporter();
        let call = exporter.file();
        let answer = within(limits, clock, call.call_open(&mut *store, &schema, options)).await;
        let file = settle(&store.data().log, limits, answer)?;
        let output_limit =
            limits.block_output_bytes(block_bytes.clamp(*BLOCK_BYTES.start(), *BLOCK_BYTES.end()));
        Ok(FileEncoder::new(instance, file, output_limit))
    }

    /// A new instance, which uses this export's budgets.
    async fn instantiate(&self) -> Result<Instance<Bindings>, GuestError> {
        Instance::new(&self.guest.pre, &self.shared).await
    }
}
