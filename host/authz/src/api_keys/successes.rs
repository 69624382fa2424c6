//! Remembers tokens that were right, so that argon2 runs once a minute for each and not at each request.
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::hmac;
use ring::rand::SystemRandom;

/// So long a check counts.
const FRESH: Duration = Duration::from_secs(60);
/// So long after its last check a token is not slowed down with its address. It is checked again.
const REMEMBERED: Duration = Duration::from_secs(3600);
const MAX_TOKENS: usize = 10_000;

/// Stands for a token: an HMAC with a random key of this process.
pub(crate) type Tag = [u8; 32];

/// Tokens that were right.
pub(crate) struct Successes {
    key: hmac::Key,
    tokens: Mutex<HashMap<Tag, Success>>,
}

struct Success {
    /// The hash that the token was checked with. Another hash of the same user is another key.
    hash: Option<String>,
    at: Instant,
}

/// What is known of a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// It was not right within the last hour.
    None,
    /// It was right within the last hour.
    Seen,
    /// It was right within the last minute, against this hash.
    Fresh(String),
}

impl Successes {
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn new() -> Result<Successes, ring::error::Unspecified> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?;
        Ok(Successes { key, tokens: Mutex::default() })
    }

    pub(crate) fn tag(&self, token: &str) -> Tag {
        let mut tag = Tag::default();
        let signed = hmac::sign(&self.key, token.as_bytes());
        for (to, from) in tag.iter_mut().zip(signed.as_ref()) {
            *to = *from;
        }
        tag
    }

    pub(crate) fn recall(&self, tag: &Tag) -> Memory {
        self.recall_at(tag, Instant::now())
    }

    pub(crate) fn remember(&self, tag: Tag, hash: Option<String>) {
        self.remember_at(tag, hash, Instant::now());
    }

    fn recall_at(&self, tag: &Tag, now: Instant) -> Memory {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        match tokens.get(tag) {
            Some(Success { hash: Some(hash), at }) if now.duration_since(*at) < FRESH => {
                Memory::Fresh(hash.clone())
            }
            Some(Success { at, .. }) if now.duration_since(*at) < REMEMBERED => Memory::Seen,
            _ => Memory::None,
        }
    }

    fn remember_at(&self, tag: Tag, hash: Option<String>, now: Instant) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= MAX_TOKENS && !tokens.contains_key(&tag) {
            tokens.retain(|_, success| now.duration_since(success.at) < FRESH);
            if tokens.len() >= MAX_TOKENS {
                tokens.clear();
            }
        }
        tokens.insert(tag, Success { hash, at: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_counts_for_a_minute_and_is_remembered_for_an_hour() {
        let successes = Successes::new().unwrap();
        let (tag, now) = (successes.tag("right"), Instant::now());
        successes.remember_at(tag, Some("hash".to_owned()), now);
        let after = |seconds| successes.recall_at(&tag, now + Duration::from_secs(seconds));
        assert_eq!(after(59), Memory::Fresh("hash".to_owned()));
        assert_eq!(after(60), Memory::Seen);
        assert_eq!(after(3600), Memory::None);
        assert_eq!(successes.recall_at(&successes.tag("wrong"), now), Memory::None);
    }

    #[test]
    fn tags_of_two_processes_differ_and_memory_is_bounded() {
        let (one, other) = (Successes::new().unwrap(), Successes::new().unwrap());
        assert_ne!(one.tag("right"), other.tag("right"));
        for number in 0..MAX_TOKENS + 5 {
            one.remember(one.tag(&number.to_string()), None);
        }
        assert!(one.tokens.lock().unwrap().len() <= MAX_TOKENS);
    }
}
