//! How many exports each user may have.
use std::num::{NonZeroU16, NonZeroU32};

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::export_index::IndexEntry;

/// The settings of the table `quotas`.
#[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
#[serde(default)]
pub struct QuotaRules {
    /// The table.
    #[command(flatten)]
    pub quotas: QuotaConfig,
}

/// How many exports each user may have. Everybody without a name is one user.
#[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaConfig {
    /// Exports of one user that run at the same time; others of that user wait [default: max_exports]
    #[arg(
        id = "quotas.running",
        long = "quotas-running",
        env = "OFFLOOM_QUOTAS__RUNNING",
        value_name = "N"
    )]
    pub running: Option<NonZeroU16>,
    /// Exports of one user that wait; further requests of that user are refused [default: max_waiting]
    #[arg(
        id = "quotas.waiting",
        long = "quotas-waiting",
        env = "OFFLOOM_QUOTAS__WAITING",
        value_name = "N"
    )]
    pub waiting: Option<u32>,
    /// Exports that one user may begin within 24 hours, however they end [default: no limit]
    #[arg(
        id = "quotas.per_day",
        long = "quotas-per-day",
        env = "OFFLOOM_QUOTAS__PER_DAY",
        value_name = "N"
    )]
    pub per_day: Option<NonZeroU32>,
}

/// A user has as many exports as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverQuota {
    /// At once.
    #[error(
        "{unfinished} of your exports run or wait, and {allowed} may (quotas.running and quotas.waiting): try again when one has ended"
    )]
    AtOnce {
        /// Those that run or wait.
        unfinished: u64,
        /// How many may.
        allowed: u64,
    },
    /// Within a day.
    #[error(
        "you have begun {allowed} exports within 24 hours, as many as you may (quotas.per_day)"
    )]
    PerDay {
        /// How many may.
        allowed: u32,
        /// Until the first of them is a day old.
        seconds: u64,
    },
}

/// What each user may have.
#[derive(Debug, Clone)]
pub struct Quotas {
    config: QuotaConfig,
    /// Exports of all users that may run at once.
    max_exports: u16,
}

impl Quotas {
    /// `max_exports`: how many exports of all users may run at once.
    pub fn new(config: QuotaConfig, max_exports: u16) -> Quotas {
        Quotas { config, max_exports }
    }

    /// How many exports of one user may run at once.
    pub fn running(&self) -> usize {
        usize::from(self.config.running.map_or(self.max_exports, NonZeroU16::get))
    }

    /// Whether there are quotas that [`Quotas::check`] knows.
    pub fn are_counted(&self) -> bool {
        self.config.waiting.is_some() || self.config.per_day.is_some()
    }

    /// Refuses one more export of a user whose exports are `entries`.
    ///
    /// # Errors
    /// [`OverQuota`].
    pub fn check<'a>(
        &self,
        entries: impl Iterator<Item = &'a IndexEntry> + Clone,
        now: DateTime<Utc>,
    ) -> Result<(), OverQuota> {
        if let Some(waiting) = self.config.waiting {
            let unfinished = entries.clone().filter(|entry| entry.ended.is_none()).count() as u64;
            let allowed = (self.running() as u64).saturating_add(u64::from(waiting));
            if unfinished >= allowed {
                return Err(OverQuota::AtOnce { unfinished, allowed });
            }
        }
        if let Some(allowed) = self.config.per_day.map(NonZeroU32::get) {
            let since = now - TimeDelta::days(1);
            let mut begun: Vec<DateTime<Utc>> =
                entries.map(|entry| entry.started_at).filter(|at| *at > since).collect();
            begun.sort_unstable();
            // The one that has to be a day old before there is room again.
            let over = begun.len().checked_sub(allowed as usize);
            if let Some(oldest) = over.and_then(|over| begun.get(over)) {
                let seconds = (*oldest - since).num_seconds().max(0).unsigned_abs();
                return Err(OverQuota::PerDay { allowed, seconds: seconds.saturating_add(1) });
            }
        }
        Ok(())
    }
}

impl OverQuota {
    /// When the user may try again, in seconds; `None` if that is up to the exports that run.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            OverQuota::AtOnce { .. } => None,
            OverQuota::PerDay { seconds, .. } => Some(*seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use offloom_protocol::names::ExportId;

    use super::*;
    use crate::export_index::ExportEnd;

    fn entry(number: usize, started_at: DateTime<Utc>, has_ended: bool) -> IndexEntry {
        IndexEntry {
            backend: "s3".to_owned(),
            id: ExportId::parse(&format!("e{number}")).unwrap(),
            destination: "s3://b/".to_owned(),
            started_at,
            principal: Some("db:alice".to_owned()),
            classes: Vec::new(),
            tenants: BTreeMap::new(),
            ended: has_ended.then(|| ExportEnd::failed(None)),
        }
    }

    fn quotas(running: u16, waiting: Option<u32>, per_day: Option<u32>) -> Quotas {
        let running = NonZeroU16::new(running);
        let config = QuotaConfig { running, waiting, per_day: per_day.and_then(NonZeroU32::new) };
        Quotas::new(config, 4)
    }

    #[test]
    fn those_that_run_and_wait_are_counted_and_those_that_ended_are_not() {
        let now = Utc::now();
        let entries: Vec<_> = (0..5).map(|number| entry(number, now, number >= 3)).collect();
        let check = |quotas: Quotas| quotas.check(entries.iter(), now);
        assert_eq!(check(quotas(2, Some(2), None)), Ok(()));
        let over = OverQuota::AtOnce { unfinished: 3, allowed: 3 };
        assert_eq!(check(quotas(2, Some(1), None)), Err(over));
        assert_eq!(check(quotas(0, Some(0), None)), Ok(()));
        assert_eq!(check(quotas(2, None, None)), Ok(()));
    }

    #[test]
    fn a_day_has_24_hours_from_each_export_on() {
        let now = Utc::now();
        let ago = |hours| now - TimeDelta::hours(hours);
        let entries: Vec<_> =
            [25, 23, 10, 0].iter().map(|hours| entry(*hours as usize, ago(*hours), true)).collect();
        let check = |per_day| quotas(2, None, Some(per_day)).check(entries.iter(), now);
        assert_eq!(check(4), Ok(()));
        // When the one of 23 hours ago is a day old, two are left.
        assert_eq!(check(3), Err(OverQuota::PerDay { allowed: 3, seconds: 3_601 }));
        assert_eq!(check(2), Err(OverQuota::PerDay { allowed: 2, seconds: 14 * 3_600 + 1 }));
    }
}
