//! Lists the exports that this server was asked for, and waits for changes of one.
use std::time::Duration;

use offloom_authz::{Action, Principal};
use offloom_export::may_act_on_all;
use offloom_protocol::names::ExportId;

use super::{Scheduler, is_creator};
use crate::lookup::{ExportState, ExportView, LookupError, view_of_index};

/// How often an export is looked at that this process runs. Its end is seen at once.
const PAUSE: Duration = Duration::from_secs(1);

/// How often an export is looked at that another server runs: each time its store is asked.
const PAUSE_ELSEWHERE: Duration = Duration::from_secs(5);

/// Which exports a list has.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Only those in this state, by its name; `None` for all.
    pub status: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// Only those before this one.
    pub after: Option<ExportId>,
}

/// Some exports of a backend, the newest first.
#[derive(Debug)]
pub struct Page {
    /// What this server knows of them without their manifests.
    pub exports: Vec<ExportView>,
    /// Whether there are more, after the last of them.
    pub has_more: bool,
}

impl Scheduler {
    /// The exports of a backend that the principal may see, the newest first.
    ///
    /// # Errors
    /// [`LookupError::NotFound`] when the principal may not see the one that `listed` begins after;
    /// [`LookupError::Index`].
    pub async fn list(
        &self,
        principal: &Principal,
        backend: &str,
        listed: Listed,
    ) -> Result<Page, LookupError> {
        let (scheduler, principal) = (self.clone(), principal.clone());
        let backend = backend.to_owned();
        // Many exports, roles and classes take a while.
        let listing = move || scheduler.page(&principal, &backend, listed);
        tokio::task::spawn_blocking(listing).await?
    }

    fn page(
        &self,
        principal: &Principal,
        backend: &str,
        Listed { status, limit, after }: Listed,
    ) -> Result<Page, LookupError> {
        let mut entries = self.inner.index.of_backend(backend)?.into_iter();
        let policy = self.inner.authorizer.policy();
        let is_shown = |view: &ExportView| {
            is_creator(principal, view)
                || may_act_on_all(
                    &*policy,
                    principal,
                    Action::Status,
                    view.class_names().as_deref(),
                )
        };
        if let Some(after) = after {
            let found = entries.find(|entry| entry.id == after);
            if !found.is_some_and(|entry| is_shown(&view_of_index(&entry))) {
                return Err(LookupError::NotFound(after));
            }
        }
        let views = entries.map(|entry| {
            let key = (entry.backend.clone(), entry.id.clone());
            let running = self.running().get(&key).map(|running| running.view(&key));
            running.unwrap_or_else(|| view_of_index(&entry))
        });
        let mut shown = views
            .filter(|view| status.as_deref().is_none_or(|status| view.state.name() == status))
            .filter(is_shown);
        let exports = shown.by_ref().take(limit).collect();
        Ok(Page { exports, has_more: shown.next().is_some() })
    }

    /// How many exports wait, and how many run.
    pub fn unfinished(&self) -> (usize, usize) {
        let running = self.running();
        let transferring =
            running.values().filter(|running| running.status.is_transferring()).count();
        (running.len().saturating_sub(transferring), transferring)
    }

    /// Waits until it is time to look at an export again. `false` once this process no longer knows how it
    /// goes on: the next one does.
    pub async fn wait_for_change(&self, backend: &str, id: &ExportId) -> bool {
        let key = (backend.to_owned(), id.clone());
        let ended = self.running().get(&key).map(|running| running.ended.clone());
        match ended {
            Some(mut ended) => {
                match tokio::time::timeout(PAUSE, ended.wait_for(Option::is_some)).await {
                    Ok(ended) => ended.is_ok(),
                    Err(_elapsed) => true,
                }
            }
            None => tokio::select! {
                () = tokio::time::sleep(PAUSE_ELSEWHERE) => true,
                () = self.inner.stopping.cancelled() => false,
            },
        }
    }
}

impl ExportView {
    /// Whether it does not change again.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, ExportState::Ended { .. })
    }
}
