//! Keeps the policy in force, and replaces it when its file changes.
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use super::policy::RbacPolicy;
use super::source::{Fingerprints, PolicyError, PolicySource};
use crate::authorizer::{Authorizer, Policy};

/// Between two looks at the files. It is the thread's only work.
const PERIOD: Duration = Duration::from_millis(250);

/// Weaviate's roles, or roles in their form.
pub(crate) struct Rbac {
    current: Arc<RwLock<Arc<RbacPolicy>>>,
    /// The thread ends when this goes.
    _alive: Sender<()>,
}

impl Rbac {
    /// Reads the policy and looks for changes from then on. Blocks.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub(crate) fn open(source: PolicySource) -> Result<Rbac, PolicyError> {
        let (policy, fingerprints) = source.load()?;
        let current = Arc::new(RwLock::new(Arc::new(policy)));
        let (alive, ended) = channel();
        let path = source.path.clone();
        let watch = Watch {
            source,
            current: Arc::clone(&current),
            loaded: Some(fingerprints),
            complaint: None,
        };
        thread::Builder::new()
            .name("policy".to_owned())
            .spawn(move || watch.run(&ended))
            .map_err(|source| PolicyError::Thread { path, source })?;
        Ok(Rbac { current, _alive: alive })
    }
}

impl Authorizer for Rbac {
    fn policy(&self) -> Arc<dyn Policy> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&*current) as Arc<dyn Policy>
    }
}

struct Watch {
    source: PolicySource,
    current: Arc<RwLock<Arc<RbacPolicy>>>,
    /// Of the last version that was read, good or bad.
    loaded: Option<Fingerprints>,
    /// Said once.
    complaint: Option<String>,
}

impl Watch {
    fn run(mut self, ended: &Receiver<()>) {
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(PERIOD) {
            if let Err(error) = self.look() {
                let text = error.to_string();
                if self.complaint.as_ref() != Some(&text) {
                    tracing::error!(error = %text, "the policy before the change stays in force");
                    self.complaint = Some(text);
                }
            }
        }
    }

    fn look(&mut self) -> Result<(), PolicyError> {
        let now = self.source.fingerprints()?;
        if self.loaded == Some(now) {
            return Ok(());
        }
        // A bad version is not read again before it changes. One whose state is not known is.
        self.loaded = None;
        let loaded = self.source.load();
        match &loaded {
            Err(PolicyError::Read { .. } | PolicyError::Unsettled { .. }) => {}
            Ok((_, fingerprints)) => self.loaded = Some(*fingerprints),
            Err(_) => self.loaded = Some(now),
        }
        let (policy, _) = loaded?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
        self.complaint = None;
        tracing::info!(path = %self.source.path.display(), "the policy has changed");
        Ok(())
    }
}
