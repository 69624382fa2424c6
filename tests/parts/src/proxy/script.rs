//! Faults at random, drawn from a seed: the same seed does the same to the same requests.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use hyper::header::CONTENT_LENGTH;
use hyper::{HeaderMap, Method, Uri};

use super::fault::Fault;
use super::refusal::Language;

/// Of a thousand requests, how many are late.
const LATE: u64 = 150;

/// Of a thousand requests, how many are spoiled.
const SPOILED: u64 = 250;

/// One of the first requests is spoiled in any case, so that no seed is without a fault.
const FIRST_REQUESTS: u64 = 3;

/// The longest that a late request waits.
const LONGEST_DELAY_MILLISECONDS: u64 = 80;

/// Of a hundred faults, how many are an expired token: it ends most uploads, and the other faults are to
/// be met too.
const EXPIRED: u64 = 4;

/// What happens to the requests of one run.
///
/// A fault is drawn from the seed, the request without its bucket and the number of its kind, so that
/// neither the order of requests at the same time nor the names of buckets change it.
#[derive(Debug)]
pub struct Script {
    seed: u64,
    /// How often each request came, a retry of it too.
    came: BTreeMap<String, u64>,
    arrived: u64,
    /// Credentials expire once at most.
    expired: bool,
    flips_requests: bool,
    flips_answers: bool,
    made: Vec<String>,
}

impl Script {
    /// The script of a seed. It changes no byte of a body.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            came: BTreeMap::new(),
            arrived: 0,
            expired: false,
            flips_requests: false,
            flips_answers: false,
            made: Vec::new(),
        }
    }

    /// The same, which also flips bits of request bodies: for stores that get checksums with them.
    #[must_use]
    pub fn that_flips_requests(self) -> Self {
        Self { flips_requests: true, ..self }
    }

    /// The same, which also flips bits of answers in XML to a `POST` or a listing.
    #[must_use]
    pub fn that_flips_answers(self) -> Self {
        Self { flips_answers: true, ..self }
    }

    /// Bytes a second, if this seed has a slow network.
    pub(super) fn pace(&self) -> Option<u64> {
        let draw = self.draw("pace", 0, "");
        draw.is_multiple_of(3).then(|| (30 << 20) + draw % (30 << 20))
    }

    /// What it has done, oldest first, as `PUT a.parquet partNumber=2 #1: DropReply`.
    pub(super) fn made(&self) -> Vec<String> {
        self.made.clone()
    }

    /// How long a request waits, and what happens to it.
    pub(super) fn act(
        &mut self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> (Duration, Option<Fault>) {
        let request = described(method, uri);
        let came = self.came.entry(request.clone()).or_default();
        *came += 1;
        let number = *came;
        let is_first = self.draw("first", 0, "") % FIRST_REQUESTS == self.arrived;
        self.arrived += 1;
        let late = self.draw(&request, number, "late");
        let delay = match late % 1_000 {
            0..LATE => Duration::from_millis(late / 1_000 % LONGEST_DELAY_MILLISECONDS),
            _ => Duration::ZERO,
        };
        if !is_first && self.draw(&request, number, "spoiled") % 1_000 >= SPOILED {
            return (delay, None);
        }
        let fault = self.fault(&request, number, method, uri, headers);
        self.made.push(format!("{request} #{number}: {fault:?}"));
        (delay, Some(fault))
    }

    fn fault(
        &mut self,
        request: &str,
        number: u64,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Fault {
        let language = Language::of(headers);
        let draw = |question| self.draw(request, number, question);
        if !self.expired && draw("expired") % 100 < EXPIRED {
            self.expired = true;
            let (status, code) = language.expired();
            return Fault::Answer { status, code };
        }
        let per_mille = u16::try_from(draw("where") % 1_000).expect("below a thousand");
        let (status, code) = language.slow_down();
        let slow = Fault::Answer { status, code };
        let (status, code) = language.unavailable();
        let mut faults = vec![slow, Fault::Answer { status, code }, Fault::DropReply];
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let length = length.map_or(0, |text| text.parse().expect("a length"));
        if length > 0 {
            faults.push(Fault::CutAfter { body_bytes: draw("cut") % length });
            if self.flips_requests {
                faults.push(Fault::FlipRequest { per_mille });
            }
        }
        // The other answers of a success have no body.
        if [Method::GET, Method::POST].contains(method) {
            faults.push(Fault::CutAnswer { per_mille });
            let is_xml = *method == Method::POST || is_listing(uri);
            if self.flips_answers && is_xml {
                faults.push(Fault::FlipAnswer { per_mille });
            }
        }
        let completes = *method == Method::POST && request.contains(" uploadId");
        if language == Language::S3 && completes {
            faults.push(Fault::SLOW_DOWN_INSIDE_OK);
        }
        let chosen = draw("which") % faults.len() as u64;
        faults.swap_remove(usize::try_from(chosen).expect("an index"))
    }

    fn draw(&self, request: &str, number: u64, question: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, request, number, question).hash(&mut hasher);
        hasher.finish()
    }
}

fn is_listing(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.contains("prefix="))
}

/// A request without what differs from run to run: its bucket, its folder and random ids.
fn described(method: &Method, uri: &Uri) -> String {
    let query = uri.query().unwrap_or_default().split('&').filter(|part| !part.is_empty());
    let query = query.map(|part| match part.split_once('=') {
        Some((name @ ("uploadId" | "prefix" | "blockid"), _)) => name,
        _ => part,
    });
    // Google's client escapes slashes too.
    let path = uri.path().replace("%2F", "/");
    let file = match path.rsplit('/').next() {
        Some(name) if !is_listing(uri) => name,
        _ => "",
    };
    let parts = [method.as_str(), file].into_iter().chain(query);
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acts(seed: u64, bucket: &str, order: &[usize]) -> Vec<String> {
        let requests: Vec<(&str, String)> = (0..40)
            .map(|part| ("PUT", format!("/{bucket}/x/a.bin?partNumber={part}&uploadId={bucket}")))
            .chain([("GET", format!("/{bucket}?list-type=2&prefix={bucket}"))])
            .chain([("POST", format!("/{bucket}/x/a.bin?uploadId={bucket}"))])
            .collect();
        let mut script = Script::new(seed).that_flips_requests();
        let headers: HeaderMap = [(CONTENT_LENGTH, "1000".parse().unwrap())].into_iter().collect();
        // The first requests come one after another.
        for (method, uri) in requests.iter().skip(37).chain(order.iter().map(|at| &requests[*at])) {
            script.act(&method.parse().unwrap(), &uri.parse().unwrap(), &headers);
        }
        let mut made = script.made();
        made.sort();
        made
    }

    #[test]
    fn a_seed_makes_the_same_faults_whatever_the_order_and_the_bucket() {
        let order: Vec<usize> = (0..40).collect();
        let turned: Vec<usize> = (0..40).rev().collect();
        let mut all = Vec::new();
        for seed in 0..50 {
            let faults = acts(seed, "one", &order);
            assert!(!faults.is_empty(), "seed {seed}");
            let again: Vec<_> = without_expiry(acts(seed, "another", &turned));
            assert_eq!(without_expiry(faults.clone()), again, "seed {seed}");
            all.extend(faults);
        }
        for name in ["CutAfter", "DropReply", "CutAnswer", "FlipRequest", "status: 200", "Expired"]
        {
            assert!(all.iter().any(|fault| fault.contains(name)), "{name}: {all:#?}");
        }
    }

    /// Credentials expire once, for the first request that has this fate: it depends on the order.
    fn without_expiry(faults: Vec<String>) -> Vec<String> {
        let expired = faults.iter().any(|fault| fault.contains("ExpiredToken"));
        if expired { Vec::new() } else { faults }
    }
}
