//! What the proxy is to do, and what it has seen.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::{HeaderMap, Method, Uri};
use tokio::time::Instant;

use super::fault::{Fault, Requests};
use super::script::Script;

/// A throttled body moves in steps of this long at most, so that a changed pace is felt soon.
const STEPS_PER_SECOND: u64 = 20;

/// The settings of one proxy, shared by its connections.
#[derive(Debug, Default)]
pub struct Control(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    bytes_per_second: Option<u64>,
    /// When the bytes that were let through so far are paid for.
    paid_until: Option<Instant>,
    delay: Duration,
    faults: Vec<(Requests, Fault)>,
    script: Option<Script>,
    seen: Vec<String>,
    /// The headers of each.
    headers: Vec<HeaderMap>,
    spoiled: usize,
}

impl Control {
    pub fn clear(&self) {
        let mut state = self.state();
        state.bytes_per_second = None;
        state.paid_until = None;
        state.delay = Duration::ZERO;
        state.faults.clear();
        state.script = None;
    }

    pub fn script(&self, script: Script) {
        if let Some(pace) = script.pace() {
            self.throttle(pace);
        }
        self.state().script = Some(script);
    }

    pub fn scripted(&self) -> Vec<String> {
        self.state().script.as_ref().map(Script::made).unwrap_or_default()
    }

    pub fn throttle(&self, bytes_per_second: u64) {
        assert!(bytes_per_second > 0, "refuse connections instead of a pace of nothing");
        let mut state = self.state();
        state.bytes_per_second = Some(bytes_per_second);
        state.paid_until = None;
    }

    pub fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    pub fn fault(&self, requests: Requests, fault: Fault) {
        self.state().faults.push((requests, fault));
    }

    pub fn seen(&self) -> Vec<String> {
        self.state().seen.clone()
    }

    pub fn lacking(&self, header: &str) -> Vec<String> {
        let state = self.state();
        let seen = state.seen.iter().zip(&state.headers);
        seen.filter(|(_, headers)| !headers.contains_key(header))
            .map(|(line, _)| line.clone())
            .collect()
    }

    pub fn spoiled(&self) -> usize {
        self.state().spoiled
    }

    /// Counts a request that arrived: how long to wait before it, and what to do to it.
    pub fn arrived(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> (Duration, Option<Fault>) {
        let mut state = self.state();
        state.headers.push(headers.clone());
        state.seen.push(format!("{method} {uri}"));
        let fault = state
            .faults
            .iter_mut()
            .find_map(|(requests, fault)| requests.take(method, uri).then(|| fault.clone()));
        let script = state.script.as_mut();
        let acted = script.map(|script| script.act(method, uri, headers));
        let (late, scripted) = acted.unwrap_or_default();
        (state.delay + late, fault.or(scripted))
    }

    /// Counts a request that was spoiled.
    pub fn count_spoiled(&self) {
        self.state().spoiled += 1;
    }

    /// Of `len` body bytes, how many may pass, and when.
    pub fn allow(&self, len: usize) -> (usize, Option<Instant>) {
        let mut state = self.state();
        let Some(pace) = state.bytes_per_second else { return (len, None) };
        let step = usize::try_from((pace / STEPS_PER_SECOND).max(1)).unwrap_or(usize::MAX);
        let allowed = len.min(step);
        let from = state.paid_until.unwrap_or_else(Instant::now).max(Instant::now());
        let until = from + Duration::from_secs_f64(allowed as f64 / pace as f64);
        state.paid_until = Some(until);
        (allowed, Some(until))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
