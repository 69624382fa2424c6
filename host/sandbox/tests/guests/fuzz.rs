//! Damaged guests: bytes of a component changed at random, and a guest that damages its own memory. Each
//! is refused, ends in an error of its own or succeeds; none of them panics, or takes more than it may.
use std::time::Duration;

use offloom_rows::Schema;
use offloom_sandbox::{
    ExporterGuest, GuestError, OfferedClass, PlacedBlock, Sandbox, SandboxConfig, SandboxLimits,
    Selection,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::rows::{Object, ObjectCursor};
use crate::support::{compiler, hostile_wasm, options, sandbox};
use crate::wat_guest::{TEXT, component, component_of};

/// Small, so that a guest that goes astray ends soon.
fn limits() -> SandboxLimits {
    SandboxLimits {
        cpu_between_moves: Duration::from_millis(200),
        cpu_per_export: Some(Duration::from_secs(1)),
        memory_bytes: 16 << 20,
        output_extra_bytes: 1 << 20,
        ..SandboxLimits::default()
    }
}

/// All of soak, or a part for every run of the tests.
fn rounds(all: u64, part: u64) -> u64 {
    if std::env::var_os("OFFLOOM_SOAK").is_some() { all } else { part }
}

/// How often guests ended in which way.
#[derive(Default)]
struct Ends {
    refused: u64,
    failed: u64,
    succeeded: u64,
}

impl Ends {
    fn count(&mut self, end: Result<(), GuestError>) {
        match end {
            Ok(()) => self.succeeded += 1,
            Err(error @ GuestError::Host(_)) => panic!("{error}"),
            Err(_) => self.failed += 1,
        }
    }
}

async fn export(guest: &ExporterGuest, pairs: &[(&str, &str)]) -> Result<(), GuestError> {
    let (run, options) = (guest.for_export(), options(pairs));
    let format = run.describe(&options).await?;
    let offered = ["Article", "Author"].map(|name| OfferedClass {
        name: name.to_owned(),
        multi_tenant: false,
        object_count: Some(300),
    });
    let selection = Selection { include: vec![], exclude: vec!["Other".to_owned()] };
    run.plan(&offered, &selection, &options).await?;
    let schema = Schema::of_class("Article", false, Some("{}".to_owned()));
    let mut encoder = run.open(&schema, &options, format.block_bytes).await?;
    let prologue = encoder.prologue().await?.len() as u64;
    let objects = (0..300).map(Object::new).collect();
    let encoded = encoder.encode(ObjectCursor::boxed(&schema, objects)).await?;
    let placed = PlacedBlock { offset: prologue, length: encoded.length, block: encoded.block };
    encoder.assemble(vec![placed]).await?;
    Ok(())
}

fn fresh_sandbox() -> (TempDir, Sandbox) {
    let dir = tempfile::tempdir().unwrap();
    let cache_dir = Some(dir.path().to_owned());
    let config = SandboxConfig { compiler: compiler(), cache_dir, limits: limits() };
    (dir, Sandbox::new(config).unwrap())
}

/// Mostly refused.
fn damage_bytes(whole: &[u8], count: u32, random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut damaged = whole.to_vec();
    for _ in 0..count {
        // After the first bytes, which say that it is a component.
        let at = random.random_range(8..damaged.len());
        match random.random_range(0..10) {
            0 => drop(damaged.remove(at)),
            1 => damaged.insert(at, random.random()),
            2 => damaged[at] ^= 1 << random.random_range(0..8),
            _ => damaged[at] = random.random(),
        }
    }
    damaged
}

/// Other addresses, lengths and answers: a whole component that does something else.
fn damage_numbers(count: u32, random: &mut ChaCha8Rng) -> Vec<u8> {
    const NUMBER: &str = "(i32.const ";
    let mut text = TEXT.to_owned();
    for _ in 0..count {
        let places: Vec<usize> = text.match_indices(NUMBER).map(|(at, _)| at).collect();
        let from = places[random.random_range(0..places.len())] + NUMBER.len();
        let length = text[from..].find(')').unwrap();
        let number: i32 = match random.random_range(0..4) {
            0 => random.random(),
            1 => random.random_range(-8..=8),
            2 => 262_144 + random.random_range(-32..=32),
            _ => random.random_range(0..700),
        };
        text.replace_range(from..from + length, &number.to_string());
    }
    component_of(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_components_are_refused_or_end() {
    let whole = component(&[]);
    let mut ends = Ends::default();
    let rounds = rounds(10_000, 300);
    let mut random = ChaCha8Rng::seed_from_u64(12);
    let mut place = fresh_sandbox();
    for round in 1..=rounds {
        if round % 100 == 0 {
            // What is compiled would fill the disk.
            place = fresh_sandbox();
        }
        let count = random.random_range(1..=3);
        let damaged = if round % 3 == 0 {
            damage_bytes(&whole, count, &mut random)
        } else {
            damage_numbers(count, &mut random)
        };
        let sandbox = place.1.clone();
        let loaded = tokio::task::spawn_blocking(move || sandbox.load_exporter(&damaged)).await;
        match loaded.unwrap() {
            Ok(guest) => ends.count(export(&guest, &[]).await),
            Err(_) => ends.refused += 1,
        }
    }
    // Each of the three ends is met, or little was tried.
    let Ends { refused, failed, succeeded } = ends;
    let ends = [refused, failed, succeeded];
    assert!(ends.iter().all(|count| *count > rounds / 100), "{ends:?}");
    println!(
        "soak: {rounds} damaged components: {refused} refused, {failed} failed, {succeeded} whole"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_damages_itself_ends() {
    let guest = sandbox(limits()).load_exporter(hostile_wasm()).unwrap();
    let mut ends = Ends::default();
    let rounds = rounds(10_000, 300);
    for seed in 0..rounds {
        ends.count(export(&guest, &[("scribble", &seed.to_string())]).await);
    }
    let Ends { failed, succeeded, .. } = ends;
    assert!(failed > rounds / 100 && succeeded > rounds / 100);
    println!("soak: {rounds} guests that damage themselves: {failed} failed, {succeeded} whole");
}
