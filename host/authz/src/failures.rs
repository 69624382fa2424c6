//! Counts failed logins, and slows down the addresses that they come from.
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::Unauthenticated;

/// So many unknown keys and failures are taken from one address at once.
const BURST: NonZeroU32 = NonZeroU32::new(20).unwrap();
/// After that, one in this time.
const PERIOD: Duration = Duration::from_secs(3);
/// Addresses that are remembered. A new count begins above: their number is an attack that counting
/// by address does not stop, and what a login costs has bounds of its own.
const MAX_ADDRESSES: usize = 50_000;

/// Failed logins of this process.
pub struct FailedLogins {
    count: AtomicU64,
    limiter: RwLock<DefaultKeyedRateLimiter<IpAddr>>,
    clock: DefaultClock,
}

impl FailedLogins {
    pub(crate) fn new() -> FailedLogins {
        FailedLogins {
            count: AtomicU64::new(0),
            limiter: RwLock::new(new_limiter()),
            clock: DefaultClock::default(),
        }
    }

    /// Credentials that were refused, and logins that were slowed down, since the start.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one try from the address. It comes before the check of a key, so that many at once from
    /// one address cannot start many checks.
    pub(crate) fn admit(&self, client: IpAddr) -> Result<(), Unauthenticated> {
        self.forget_some();
        let limiter = self.limiter.read().unwrap_or_else(PoisonError::into_inner);
        limiter.check_key(&network(client)).map_err(|wait| {
            self.add();
            let seconds = wait.wait_time_from(self.clock.now()).as_secs().saturating_add(1);
            Unauthenticated::SlowedDown { seconds }
        })
    }

    fn forget_some(&self) {
        let is_full = |limiter: &DefaultKeyedRateLimiter<IpAddr>| limiter.len() >= MAX_ADDRESSES;
        if !is_full(&self.limiter.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut limiter = self.limiter.write().unwrap_or_else(PoisonError::into_inner);
        limiter.retain_recent();
        if is_full(&limiter) {
            *limiter = new_limiter();
        }
    }
}

fn new_limiter() -> DefaultKeyedRateLimiter<IpAddr> {
    let quota = Quota::with_period(PERIOD).unwrap_or(Quota::per_second(NonZeroU32::MIN));
    RateLimiter::keyed(quota.allow_burst(BURST))
}

/// One client has a whole /64 of IPv6, and an IPv4 address can come in the form of IPv6.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => IpAddr::V4(mapped),
            None => {
                let upper = u128::from(address) >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from(upper))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_gets_its_burst_and_then_waits() {
        let failures = FailedLogins::new();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..BURST.get() {
            failures.admit(address).unwrap();
        }
        let Err(Unauthenticated::SlowedDown { seconds }) = failures.admit(address) else {
            panic!("one more than the burst was taken");
        };
        assert!((1..=PERIOD.as_secs() + 1).contains(&seconds), "{seconds}");
        assert_eq!(failures.count(), 1);
        failures.admit("192.0.2.2".parse().unwrap()).unwrap();
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_and_another_does_not() {
        let one = |text: &str| network(text.parse().unwrap());
        assert_eq!(one("2001:db8:0:1::1"), one("2001:db8:0:1:ffff::9"));
        assert_ne!(one("2001:db8:0:1::1"), one("2001:db8:0:2::1"));
        assert_eq!(one("::ffff:192.0.2.1"), one("192.0.2.1"));
    }

    #[test]
    fn addresses_without_end_take_bounded_memory() {
        let failures = FailedLogins::new();
        for number in 0..u32::try_from(MAX_ADDRESSES).unwrap() + 100 {
            failures.admit(IpAddr::V4(Ipv4Addr::from(number))).unwrap();
        }
        assert!(failures.limiter.read().unwrap().len() <= MAX_ADDRESSES);
    }
}
