//! How long a store is waited for: during an export, and during a check.
use std::time::Duration;

use object_store::{BackoffConfig, ClientOptions, RetryConfig};

/// How long a store is waited for. `object_store`'s own 180 s of tries, for a part and again for
/// what follows its failure, would leave an export undecided for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Of an export: a store that restarts, or asks to slow down, is back within a minute.
    Export,
    /// Of a check, whose caller waits for the answer.
    Check,
}

impl Patience {
    pub(super) fn retry(self) -> RetryConfig {
        let (retry_timeout, max_backoff) = match self {
            Patience::Export => (Duration::from_secs(60), Duration::from_secs(10)),
            Patience::Check => (Duration::from_secs(2), Duration::from_secs(1)),
        };
        let init_backoff = Duration::from_millis(100);
        let backoff = BackoffConfig { init_backoff, max_backoff, base: 2.0 };
        // More tries than fit, however short the random pauses are: the time decides.
        RetryConfig { backoff, max_retries: 10_000, retry_timeout }
    }

    /// A request that takes longer hangs, and has used up the time for tries: a part of 8 MiB in 90
    /// seconds is 93 kB a second. `AWS_TIMEOUT`, `GOOGLE_TIMEOUT` and `AZURE_TIMEOUT` allow slower
    /// stores.
    fn request_timeout(self) -> Duration {
        match self {
            Patience::Export => Duration::from_secs(90),
            Patience::Check => Duration::from_secs(10),
        }
    }

    pub(super) fn client_options(self) -> ClientOptions {
        ClientOptions::new()
            .with_timeout(self.request_timeout())
            .with_connect_timeout(Duration::from_secs(5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ClientConfigKey;

    #[test]
    fn a_store_has_the_documented_time() {
        let docs = include_str!("../../../../docs/rest-api.md");
        let request = Patience::Export.request_timeout().as_secs();
        assert!(
            docs.contains(&format!("A store has {request} s to answer a request")),
            "{request}"
        );
        let tries = Patience::Export.retry().retry_timeout.as_secs();
        assert!(docs.contains(&format!("is tried again for {tries} s")), "{tries}");
        let options = Patience::Export.client_options();
        assert_eq!(options.get_config_value(&ClientConfigKey::Timeout).unwrap(), "1m 30s");
    }
}
