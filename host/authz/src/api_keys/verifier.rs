//! Checks secrets with argon2, a few at a time: each takes 0.2 s and 64 MiB.
use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordVerifier};
use tokio::sync::{Semaphore, TryAcquireError};

use crate::Unauthenticated;

/// Checks that run at once.
const AT_ONCE: usize = 2;
/// Checks that run or wait.
const WAITING: usize = 64;
/// What a hash may cost; Weaviate's own cost 64 MiB, 3 rounds, 2 lanes (`docs/format/rbac.md` 4.2).
const MAX_MEMORY_KIB: u32 = 256 << 10;
const MAX_ROUNDS: u32 = 10;
const MAX_LANES: u32 = 16;

/// A hash as Weaviate writes it, of a secret that nobody has. It is checked for unknown users, so that
/// they take the time of known ones.
const DECOY: &str = "$argon2id$v=19$m=65536,t=3,p=2$AAAAAAAAAAAAAAAAAAAAAA$\
                     AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Runs argon2 on blocking threads.
pub(super) struct Verifier {
    running: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Verifier {
    pub(super) fn new() -> Verifier {
        Verifier { running: Arc::new(Semaphore::new(AT_ONCE)), waiting: Semaphore::new(WAITING) }
    }

    /// Whether `hash` is that of `secret`. Without a hash it takes as long and says no.
    pub(super) async fn verify(
        &self,
        secret: String,
        hash: Option<String>,
    ) -> Result<bool, Unauthenticated> {
        let busy = || Unauthenticated::SlowedDown { seconds: 10 };
        let _place = match self.waiting.try_acquire() {
            Ok(place) => place,
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => return Err(busy()),
        };
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| busy())?;
        let check = tokio::task::spawn_blocking(move || {
            let is_right = is_hash_of(hash.as_deref().unwrap_or(DECOY), &secret);
            // Held by the thread: a request that is dropped does not end its check.
            drop(running);
            is_right && hash.is_some()
        });
        Ok(check.await.unwrap_or(false))
    }
}

fn is_hash_of(hash: &str, secret: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else {
        tracing::error!("the hash of a dynamic user's key is in no form that is known");
        return false;
    };
    match Params::try_from(&hash) {
        Ok(params) if is_affordable(&params) => {
            Argon2::default().verify_password(secret.as_bytes(), &hash).is_ok()
        }
        _ => {
            tracing::error!("the hash of a dynamic user's key costs more than Weaviate's own");
            false
        }
    }
}

fn is_affordable(params: &Params) -> bool {
    params.m_cost() <= MAX_MEMORY_KIB
        && params.t_cost() <= MAX_ROUNDS
        && params.p_cost() <= MAX_LANES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decoy_is_a_hash_with_the_cost_of_real_ones() {
        let hash = PasswordHash::new(DECOY).unwrap();
        let params = Params::try_from(&hash).unwrap();
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (65536, 3, 2));
        assert_eq!(hash.hash.unwrap().len(), 32);
    }

    #[test]
    fn hashes_that_cost_too_much_are_refused() {
        let affordable = |memory, rounds, lanes| {
            is_affordable(&Params::new(memory, rounds, lanes, None).unwrap())
        };
        assert!(affordable(65_536, 3, 2));
        assert!(!affordable(4 << 20, 3, 2));
        assert!(!affordable(65_536, 1_000, 2));
        assert!(!affordable(65_536, 3, 1_000));
    }
}
