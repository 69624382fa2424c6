//! The answer to `?watch`: server-sent events about one export, until it ends.
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use offloom_authz::Principal;
use offloom_protocol::names::ExportId;
use offloom_protocol::store::Destination;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use utoipa::ToSchema;

use super::client_text::ClientText;
use super::error::ApiError;
use super::model::ExportBody;
use crate::lookup::ExportView;
use crate::scheduler::Scheduler;

/// Watches at once.
const MAX_WATCHES: usize = 64;

/// When a client may try again that found no place for its watch.
const RETRY_AFTER_SECONDS: u64 = 5;

/// How often a comment is sent, so that no proxy takes the connection for dead.
const COMMENTS: Duration = Duration::from_secs(15);

/// The places for watches.
#[derive(Debug, Clone)]
pub struct Watches(Arc<Semaphore>);

impl Default for Watches {
    fn default() -> Watches {
        Watches(Arc::new(Semaphore::new(MAX_WATCHES)))
    }
}

impl Watches {
    /// A place for one more.
    ///
    /// # Errors
    /// [`ApiError::SlowedDown`] when all are taken.
    pub fn place(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_none_free| ApiError::SlowedDown {
            message: format!("{MAX_WATCHES} exports are being watched already: try again later"),
            seconds: RETRY_AFTER_SECONDS,
        })
    }
}

/// An event of a watch.
#[derive(ToSchema)]
#[schema(as = WatchEvent)]
#[expect(dead_code, reason = "it describes what axum writes")]
pub struct EventBody {
    /// `snapshot` or `change`.
    event: String,
    /// JSON: an Export, or a merge patch of it.
    data: String,
}

/// Which export is watched, and for whom.
pub struct Watched {
    pub scheduler: Scheduler,
    pub client_text: ClientText,
    pub principal: Principal,
    pub backend: String,
    pub id: ExportId,
    pub elsewhere: Option<Destination>,
    /// Whether shards are shown.
    pub shards: bool,
}

/// Events about an export: `snapshot` with the body of its status, then `change` with a JSON merge patch
/// (RFC 7396) of it for each change. They end when the export does.
pub fn events(watched: Watched, first: ExportView, place: OwnedSemaphorePermit) -> Response {
    let mut comments = tokio::time::interval_at(Instant::now() + COMMENTS, COMMENTS);
    comments.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watch = Watch { watched, next: Some(first), shown: None, comments, _place: place };
    let events = stream::unfold(watch, async |mut watch| {
        let event = watch.next_event().await?;
        Some((Ok::<_, Infallible>(event), watch))
    });
    Sse::new(events).into_response()
}

struct Watch {
    watched: Watched,
    /// What is shown next.
    next: Option<ExportView>,
    /// What the client knows.
    shown: Option<Value>,
    comments: Interval,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    /// `None` after the end.
    async fn next_event(&mut self) -> Option<Event> {
        loop {
            let has_ended = |shown: &Value| shown.get("completedAt").is_some();
            let view = match self.next.take() {
                Some(view) => view,
                None if self.shown.as_ref().is_some_and(has_ended) => return None,
                None => match self.look_again().await? {
                    Next::Comment => return Some(Event::default().comment("")),
                    Next::View(view) => *view,
                },
            };
            let body = ExportBody::new(view, self.watched.shards, &self.watched.client_text);
            let body = serde_json::to_value(body).ok()?;
            let (name, content) = match &self.shown {
                None => ("snapshot", Some(body.clone())),
                Some(shown) => ("change", merge_patch(shown, &body)),
            };
            self.shown = Some(body);
            if let Some(content) = content {
                return Event::default().event(name).json_data(content).ok();
            }
        }
    }

    /// `None` when the export is not to be seen any more.
    async fn look_again(&mut self) -> Option<Next> {
        let Watched { scheduler, principal, backend, id, elsewhere, shards, .. } = &self.watched;
        tokio::select! {
            biased;
            _ = self.comments.tick() => return Some(Next::Comment),
            goes_on = scheduler.wait_for_change(backend, id) => goes_on.then_some(())?,
        }
        // A caller who may no longer see it is shown no more of it.
        let view = scheduler.view(principal, backend, id, elsewhere.clone(), *shards).await.ok()?;
        Some(Next::View(Box::new(view)))
    }
}

enum Next {
    Comment,
    View(Box<ExportView>),
}

/// What makes `to` out of `from` (RFC 7396); `None` if they are the same. Neither has a null, which a patch
/// could not express.
fn merge_patch(from: &Value, to: &Value) -> Option<Value> {
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        return (from != to).then(|| to.clone());
    };
    let mut patch = Map::new();
    for (key, value) in to {
        let change = match from.get(key) {
            Some(before) => merge_patch(before, value),
            None => Some(value.clone()),
        };
        patch.extend(change.map(|change| (key.clone(), change)));
    }
    let removed = from.keys().filter(|key| !to.contains_key(*key));
    patch.extend(removed.map(|key| (key.clone(), Value::Null)));
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_has_what_changed_and_nothing_else() {
        let from =
            json!({ "status": "STARTED", "progress": { "A": { "rows": 1 }, "B": {} }, "gone": 1 });
        assert_eq!(merge_patch(&from, &from), None);
        let to = json!({ "status": "FAILED", "progress": { "A": { "rows": 2 }, "B": {} }, "error": "e" });
        let patch = json!({ "status": "FAILED", "progress": { "A": { "rows": 2 } }, "error": "e", "gone": null });
        assert_eq!(merge_patch(&from, &to), Some(patch));
        assert_eq!(merge_patch(&json!([1]), &json!([1, 2])), Some(json!([1, 2])));
    }

    #[test]
    fn there_are_so_many_places_and_one_that_ends_is_free_again() {
        let watches = Watches::default();
        let mut places: Vec<_> = (0..MAX_WATCHES).map(|_| watches.place().unwrap()).collect();
        let error = watches.place().unwrap_err();
        assert!(error.to_string().starts_with("64 exports are being watched"), "{error}");
        places.pop();
        drop(watches.place().unwrap());
    }
}
