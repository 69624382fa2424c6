//! Whose export runs next: so many at once, and so many of each user.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns of all exports.
#[derive(Debug)]
pub(super) struct Turns {
    at_once: usize,
    all: Arc<Semaphore>,
    /// How many one user has at once.
    of_user: usize,
    users: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// The turn of one export, until this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _of_user: Option<OwnedSemaphorePermit>,
    _of_all: OwnedSemaphorePermit,
}

impl Turns {
    /// `at_once` of all users, and `of_user` of each user.
    pub(super) fn new(at_once: usize, of_user: usize) -> Turns {
        let all = Arc::new(Semaphore::new(at_once));
        Turns { at_once, all, of_user, users: Mutex::default() }
    }

    /// Waits for a turn of `user`, who is nobody in exports of versions before users.
    pub(super) async fn next(&self, user: Option<&str>) -> Option<Turn> {
        let of_user = match user.and_then(|user| self.of_user(user)) {
            // A user who waits for a turn of their own takes none from others.
            Some(turns) => Some(turns.acquire_owned().await.ok()?),
            None => None,
        };
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn { _of_user: of_user, _of_all: of_all })
    }

    /// `None` where one user may have all.
    fn of_user(&self, user: &str) -> Option<Arc<Semaphore>> {
        if self.of_user >= self.at_once {
            return None;
        }
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        // Those who have none and wait for none are forgotten.
        users.retain(|_, turns| {
            Arc::strong_count(turns) > 1 || turns.available_permits() < self.of_user
        });
        let turns = users.entry(user.to_owned());
        Some(Arc::clone(turns.or_insert_with(|| Arc::new(Semaphore::new(self.of_user)))))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_user_with_all_turns_of_their_own_leaves_the_others() {
        let turns = Turns::new(3, 2);
        let first = turns.next(Some("alice")).await.unwrap();
        let second = turns.next(Some("alice")).await.unwrap();
        assert!(turns.next(Some("alice")).now_or_never().is_none());
        let others = turns.next(Some("bob")).now_or_never().flatten().unwrap();
        assert!(turns.next(Some("carol")).now_or_never().is_none());
        drop(first);
        let third = turns.next(Some("alice")).now_or_never().flatten().unwrap();
        drop((second, third, others));
        turns.next(Some("bob")).now_or_never().flatten().unwrap();
        // Nobody has one now.
        turns.next(Some("bob")).await.unwrap();
        assert_eq!(turns.users.lock().unwrap().len(), 1);
    }
}
