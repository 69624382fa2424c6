//! The guests that this server knows: those of the program, and those that were pushed.
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use chrono::Utc;
use offloom_export::Lease;
use offloom_sandbox::{
    ExporterGuest, Guest, InstanceQuota, Sandbox, SandboxError, SandboxLimits, TransformGuest,
};
use tokio::sync::Semaphore;

use super::config::TenantLimits;
use super::name::{GuestName, GuestReference, Owner};
use super::signature::{SignatureError, TrustedKeys};
use super::store::{GuestEntry, GuestStore, GuestStoreError, GuestVersion};
use crate::built_in;

/// Versions of one name that are kept; one more removes the oldest that is neither active nor next in a
/// roll back. Exports that run have theirs in memory.
const MAX_VERSIONS: usize = 20;

/// Names that one owner may have: each takes up to 20 times 64 MiB.
const MAX_NAMES: usize = 100;

/// Loaded guests that stay in memory besides those that exports use.
const MAX_LOADED: usize = 64;

/// Why a guest cannot be had, or changed.
#[derive(Debug, thiserror::Error)]
pub enum GuestsError {
    /// There is none, or the caller may not know.
    #[error("there is no guest {0}")]
    NotFound(String),
    /// The name is that of a guest of the program.
    #[error("{0} is a guest of the program, which cannot be replaced: choose another name")]
    BuiltIn(GuestName),
    /// It has no such version.
    #[error("the guest {name} has no version sha256:{digest}")]
    NoVersion {
        /// Its name.
        name: String,
        /// The digest.
        digest: String,
    },
    /// There was none before.
    #[error("no other version of the guest {0} was active before")]
    NothingBefore(GuestName),
    /// The owner has as many guests as it may have.
    #[error("there are {MAX_NAMES} guests already: delete one that is not needed any more")]
    TooMany,
    /// An export uses it.
    #[error("the guest {0} is in use: wait until the exports that use it have ended")]
    InUse(GuestName),
    /// All versions of a name are of one kind.
    #[error(
        "the guest {name} is of the kind `{before}`, and this component is of the kind `{now}`: choose another name"
    )]
    OtherKind {
        /// Its name.
        name: GuestName,
        /// The kind of its versions.
        before: String,
        /// The kind of the new one.
        now: String,
    },
    /// The sandbox refuses the component.
    #[error("the guest was refused: {0}")]
    Refused(#[from] SandboxError),
    /// The signature is missing or wrong.
    #[error("the guest was refused: {0}")]
    Signature(#[from] SignatureError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] GuestStoreError),
    /// A task panicked or the runtime stopped.
    #[error("interrupted")]
    Stopped(#[from] tokio::task::JoinError),
}

/// A guest for one request, pinned to one version.
#[derive(Clone)]
pub struct Resolved {
    /// Its name with the version, as manifests have it.
    pub name: String,
    /// SHA-256 of the component.
    pub digest: String,
    /// The guest.
    pub guest: Guest,
    /// Keeps it from being deleted; absent for guests of the program.
    pub lease: Option<Lease>,
}

/// The guests. Cheap to clone.
#[derive(Clone)]
pub struct Guests {
    inner: Arc<Inner>,
}

struct Inner {
    sandbox: Sandbox,
    store: GuestStore,
    keys: TrustedKeys,
    limits: TenantLimits,
    /// By digest, those of tenants apart: they have other limits.
    loaded: Mutex<HashMap<(Owner, String), Guest>>,
    leases: Mutex<HashMap<(Owner, GuestName), Weak<()>>>,
    quotas: Mutex<HashMap<Owner, InstanceQuota>>,
    /// Compiling takes a gigabyte at most: one at a time.
    compiling: Semaphore,
    /// Changes of the store, one at a time.
    changing: Mutex<()>,
    /// Loads of guests that are not in memory, one at a time.
    loading: Mutex<()>,
}

/// What a push did.
pub struct Pushed {
    /// The guest as it is now.
    pub entry: GuestEntry,
    /// SHA-256 of the component.
    pub digest: String,
    /// Whether the version is new.
    pub is_new: bool,
}

impl Guests {
    /// The guests in `store`.
    pub fn new(
        sandbox: Sandbox,
        store: GuestStore,
        keys: TrustedKeys,
        limits: TenantLimits,
    ) -> Guests {
        let inner = Inner {
            sandbox,
            store,
            keys,
            limits,
            loaded: Mutex::default(),
            leases: Mutex::default(),
            quotas: Mutex::default(),
            compiling: Semaphore::new(1),
            changing: Mutex::default(),
            loading: Mutex::default(),
        };
        Guests { inner: Arc::new(inner) }
    }

    /// The sandbox of the server.
    pub fn sandbox(&self) -> &Sandbox {
        &self.inner.sandbox
    }

    /// The guest that a request refers to, in the version that is active now or that it names.
    ///
    /// # Errors
    /// [`GuestsError`].
    pub async fn resolve(&self, reference: GuestReference) -> Result<Resolved, GuestsError> {
        let guests = self.clone();
        tokio::task::spawn_blocking(move || guests.resolve_now(reference)).await?
    }

    fn resolve_now(&self, reference: GuestReference) -> Result<Resolved, GuestsError> {
        let GuestReference { owner, name, digest } = reference;
        if owner == Owner::Operator
            && let Some(component) = built_in::component(name.as_str())
        {
            return self.built_in(&name, component, digest);
        }
        let shown = shown(&owner, &name);
        // Before the entry is read, so that it is not deleted in between.
        let lease = self.lease(&owner, &name);
        let entry = self.inner.store.entry(&owner, &name)?;
        let entry = entry.ok_or_else(|| GuestsError::NotFound(shown.clone()))?;
        let digest = digest.unwrap_or_else(|| entry.active.clone());
        let Some(version) = entry.version(&digest) else {
            return Err(GuestsError::NoVersion { name: shown, digest });
        };
        let guest = self.loaded(&owner, version)?;
        let name = format!("{shown}@sha256:{digest}");
        Ok(Resolved { name, digest, guest, lease: Some(lease) })
    }

    /// The component of a guest.
    ///
    /// # Errors
    /// [`GuestsError::Store`].
    pub async fn component(&self, resolved: &Resolved) -> Result<Cow<'static, [u8]>, GuestsError> {
        let of_program = resolved.lease.is_none().then(|| built_in::component(&resolved.name));
        if let Some(component) = of_program.flatten() {
            return Ok(component.into());
        }
        let (guests, digest) = (self.clone(), resolved.digest.clone());
        let component = tokio::task::spawn_blocking(move || guests.inner.store.read(&digest));
        Ok(component.await??.into())
    }

    fn built_in(
        &self,
        name: &GuestName,
        component: &'static [u8],
        digest: Option<String>,
    ) -> Result<Resolved, GuestsError> {
        let key = (Owner::Operator, name.to_string());
        let known = self.lock(&self.inner.loaded).get(&key).cloned();
        let guest = match known {
            Some(guest) => guest,
            None => {
                let _loading = self.lock(&self.inner.loading);
                // It takes as long as the rows need.
                let guest = self.inner.sandbox.without_time_limit().load(component)?;
                self.keep(key, &guest);
                guest
            }
        };
        let own = guest.digest().to_owned();
        if let Some(digest) = digest.filter(|digest| *digest != own) {
            return Err(GuestsError::NoVersion { name: name.to_string(), digest });
        }
        Ok(Resolved { name: name.to_string(), digest: own, guest, lease: None })
    }

    /// Loads a version, with the limits of its owner. The signature is checked again.
    fn loaded(&self, owner: &Owner, version: &GuestVersion) -> Result<Guest, GuestsError> {
        let inner = &self.inner;
        let key = (owner.clone(), version.digest.clone());
        let known = self.lock(&inner.loaded).get(&key).cloned();
        if let Some(guest) = known {
            return Ok(guest);
        }
        // One at a time: without its compiled code, each would start a compiler.
        let _loading = self.lock(&inner.loading);
        let known = self.lock(&inner.loaded).get(&key).cloned();
        if let Some(guest) = known {
            return Ok(guest);
        }
        let component = inner.store.read(&version.digest)?;
        inner.keys.check(&component, version.signature.as_deref())?;
        let guest = self.within_limits(owner, inner.sandbox.load(&component)?);
        self.keep(key, &guest);
        Ok(guest)
    }

    /// A tenant's guest: with the limits of tenants, and the quota that all of its guests share.
    fn within_limits(&self, owner: &Owner, guest: Guest) -> Guest {
        if *owner == Owner::Operator {
            return guest;
        }
        let limits = self.inner.limits.clone();
        let quota = self
            .lock(&self.inner.quotas)
            .entry(owner.clone())
            .or_insert_with(|| InstanceQuota::new(limits.tenant_instances.get()))
            .clone();
        let change = move |before: SandboxLimits| SandboxLimits {
            memory_bytes: before.memory_bytes.min(limits.memory_bytes()),
            cpu_per_export: Some(Duration::from_secs(limits.tenant_cpu_seconds.get())),
            output_per_export: Some(limits.tenant_output.as_u64()),
            ..before
        };
        match guest {
            Guest::Exporter(guest) => {
                Guest::Exporter(ExporterGuest::with_quota(&guest, change, quota))
            }
            Guest::Transform(guest) => {
                Guest::Transform(TransformGuest::with_quota(&guest, change, quota))
            }
        }
    }

    fn keep(&self, key: (Owner, String), guest: &Guest) {
        let mut loaded = self.lock(&self.inner.loaded);
        if loaded.len() >= MAX_LOADED && !loaded.contains_key(&key) {
            loaded.clear();
        }
        loaded.insert(key, guest.clone());
    }

    fn lease(&self, owner: &Owner, name: &GuestName) -> Lease {
        let mut leases = self.lock(&self.inner.leases);
        let key = (owner.clone(), name.clone());
        if let Some(lease) = leases.get(&key).and_then(Weak::upgrade) {
            return lease;
        }
        leases.retain(|_, lease| lease.strong_count() > 0);
        let lease = Lease::default();
        leases.insert(key, Arc::downgrade(&lease));
        lease
    }

    fn is_in_use(&self, owner: &Owner, name: &GuestName) -> bool {
        let key = (owner.clone(), name.clone());
        self.lock(&self.inner.leases).get(&key).is_some_and(|lease| lease.strong_count() > 0)
    }

    /// Checks, compiles and stores a component as a version of `name`. The first version is active at
    /// once, others when `activate` says so.
    ///
    /// # Errors
    /// [`GuestsError`].
    pub async fn push(
        &self,
        owner: Owner,
        name: GuestName,
        component: Vec<u8>,
        signature: Option<String>,
        pushed_by: String,
        activate: bool,
    ) -> Result<Pushed, GuestsError> {
        let _turn = self.inner.compiling.acquire().await.ok();
        let guests = self.clone();
        let pushing = move || {
            let inner = &guests.inner;
            refuse_built_in(&name)?;
            inner.keys.check(&component, signature.as_deref())?;
            let kind = inner.sandbox.declared(&component)?.kind.to_string();
            let guest = guests.within_limits(&owner, inner.sandbox.load(&component)?);
            let _changing = guests.lock(&inner.changing);
            if inner.store.entry(&owner, &name)?.is_none() {
                let entries = inner.store.entries()?;
                if entries.iter().filter(|(of, _, _)| *of == owner).count() >= MAX_NAMES {
                    return Err(GuestsError::TooMany);
                }
            }
            let digest = inner.store.write(&component)?;
            let version = GuestVersion {
                digest: digest.clone(),
                size_bytes: component.len() as u64,
                pushed_at: Utc::now(),
                pushed_by,
                signature,
            };
            let mut is_new = true;
            let mut removed = Vec::new();
            let change = |entry: Option<GuestEntry>| {
                let Some(mut entry) = entry else {
                    return Ok(Some(GuestEntry::new(kind, version)));
                };
                if entry.kind != kind {
                    let (before, now) = (entry.kind, kind);
                    return Err(GuestsError::OtherKind { name: name.clone(), before, now });
                }
                match entry.versions.iter_mut().find(|known| known.digest == version.digest) {
                    Some(known) => {
                        is_new = false;
                        known.signature = version.signature.or(known.signature.take());
                    }
                    None => entry.versions.push(version),
                }
                if activate {
                    set_active(&mut entry, &digest);
                }
                removed = forget_oldest(&mut entry);
                Ok(Some(entry))
            };
            let entry = inner.store.change::<GuestsError>(&owner, &name, change);
            if entry.is_err() {
                removed.push(digest.clone());
            }
            inner.store.remove_unused(&removed)?;
            let entry = entry?;
            let entry = entry.ok_or_else(|| GuestsError::NotFound(name.to_string()))?;
            guests.keep((owner.clone(), digest.clone()), &guest);
            tracing::info!(guest = %shown(&owner, &name), digest, "a guest was pushed");
            Ok(Pushed { entry, digest, is_new })
        };
        tokio::task::spawn_blocking(pushing).await?
    }

    /// All guests that were pushed.
    ///
    /// # Errors
    /// [`GuestsError`].
    pub async fn entries(&self) -> Result<Vec<(Owner, GuestName, GuestEntry)>, GuestsError> {
        let guests = self.clone();
        Ok(tokio::task::spawn_blocking(move || guests.inner.store.entries()).await??)
    }

    /// One guest that was pushed.
    ///
    /// # Errors
    /// [`GuestsError`].
    pub async fn entry(&self, owner: Owner, name: GuestName) -> Result<GuestEntry, GuestsError> {
        let guests = self.clone();
        let found = move || {
            let entry = guests.inner.store.entry(&owner, &name)?;
            entry.ok_or_else(|| GuestsError::NotFound(shown(&owner, &name)))
        };
        tokio::task::spawn_blocking(found).await?
    }

    /// Makes a version the one that `name` alone means.
    ///
    /// # Errors
    /// [`GuestsError`].
    pub async fn activate(
        &self,
        owner: Owner,
        name: GuestName,
        digest: String,
    ) -> Result<GuestEntry, GuestsError> {
        self.change(owner, name, move |owner, name, entry| {
            if entry.version(&digest).is_none() {
                return Err(GuestsError::NoVersion { name: shown(owner, name), digest });
            }
            set_active(entry, &digest);
            Ok(())
        })
        .await
    }

    /// Goes back to the version that was active before.
    ///
    /// # Errors
    /// [`GuestsError`].
    pub async fn roll_back(
        &self,
        owner: Owner,
        name: GuestName,
    ) -> Result<GuestEntry, GuestsError> {
        self.change(owner, name, |_, name, entry| {
            let before = entry.before.pop().ok_or(GuestsError::NothingBefore(name.clone()))?;
            entry.active = before;
            Ok(())
        })
        .await
    }

    async fn change(
        &self,
        owner: Owner,
        name: GuestName,
        change: impl FnOnce(&Owner, &GuestName, &mut GuestEntry) -> Result<(), GuestsError>
        + Send
        + 'static,
    ) -> Result<GuestEntry, GuestsError> {
        let guests = self.clone();
        let changing = move || {
            refuse_built_in(&name)?;
            let _changing = guests.lock(&guests.inner.changing);
            let entry = guests.inner.store.change::<GuestsError>(&owner, &name, |entry| {
                let mut entry = entry.ok_or_else(|| GuestsError::NotFound(shown(&owner, &name)))?;
                change(&owner, &name, &mut entry)?;
                Ok(Some(entry))
            })?;
            entry.ok_or_else(|| GuestsError::NotFound(shown(&owner, &name)))
        };
        tokio::task::spawn_blocking(changing).await?
    }

    /// Removes a guest with all of its versions.
    ///
    /// # Errors
    /// [`GuestsError::InUse`] while an export uses it.
    pub async fn delete(&self, owner: Owner, name: GuestName) -> Result<(), GuestsError> {
        let guests = self.clone();
        let deleting = move || {
            let inner = &guests.inner;
            refuse_built_in(&name)?;
            let _changing = guests.lock(&inner.changing);
            let mut digests = Vec::new();
            inner.store.change::<GuestsError>(&owner, &name, |entry| {
                let entry = entry.ok_or_else(|| GuestsError::NotFound(shown(&owner, &name)))?;
                if guests.is_in_use(&owner, &name) {
                    return Err(GuestsError::InUse(name.clone()));
                }
                digests = entry.versions.into_iter().map(|version| version.digest).collect();
                Ok(None)
            })?;
            guests
                .lock(&inner.loaded)
                .retain(|(of, digest), _| *of != owner || !digests.contains(digest));
            Ok(inner.store.remove_unused(&digests)?)
        };
        tokio::task::spawn_blocking(deleting).await?
    }

    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not even a tenant's guest may have such a name, so that nobody takes one for the other.
fn refuse_built_in(name: &GuestName) -> Result<(), GuestsError> {
    match built_in::component(name.as_str()) {
        Some(_) => Err(GuestsError::BuiltIn(name.clone())),
        None => Ok(()),
    }
}

fn set_active(entry: &mut GuestEntry, digest: &str) {
    if entry.active != digest {
        let before = std::mem::replace(&mut entry.active, digest.to_owned());
        entry.before.push(before);
    }
    let excess = entry.before.len().saturating_sub(MAX_VERSIONS);
    entry.before.drain(..excess);
}

/// Forgets the oldest versions that are neither active nor next in a roll back.
fn forget_oldest(entry: &mut GuestEntry) -> Vec<String> {
    let mut removed = Vec::new();
    while entry.versions.len() > MAX_VERSIONS {
        let keep = [Some(&entry.active), entry.before.last()];
        let oldest = entry.versions.iter().position(|known| !keep.contains(&Some(&known.digest)));
        let Some(oldest) = oldest else { break };
        let version = entry.versions.remove(oldest);
        entry.before.retain(|digest| *digest != version.digest);
        removed.push(version.digest);
    }
    removed
}

/// A name with its owner.
pub fn shown(owner: &Owner, name: &GuestName) -> String {
    match owner {
        Owner::Operator => name.to_string(),
        Owner::Tenant { class, tenant } => format!("{class}/{tenant}/{name}"),
    }
}
