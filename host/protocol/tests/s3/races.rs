//! Races that the server's conditional writes decide.
use futures::future::join_all;
use offloom_protocol::claim::{Claim, ClaimError};
use offloom_protocol::manifest::{Commit, Manifest, Outcome};
use offloom_protocol::store::ExportFolder;
use offloom_test_parts::Keys;

use crate::{bucket, destination, id, sample};

const PAIRS: usize = 50;

/// Two coordinators, each with a client of its own.
fn pair(bucket: &str, number: usize) -> (String, [ExportFolder; 2]) {
    let name = format!("e{number}");
    let coordinator = || destination(bucket, Keys::ReadWrite).export_folder(&id(&name)).unwrap();
    let folders = [coordinator(), coordinator()];
    (name, folders)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_claims_at_once_one_wins() {
    let bucket = bucket("races-claim");
    for group in (0..PAIRS).collect::<Vec<_>>().chunks(10) {
        join_all(group.iter().map(|number| async move {
            let (name, [a, b]) = pair(bucket, *number);
            let take = |owner: &str, folder: ExportFolder| {
                let claim = Claim::new(id(&name), owner.to_owned(), "0.1.0".to_owned());
                tokio::spawn(async move { claim.take(&folder).await.map(|()| claim) })
            };
            let (first, second) = tokio::join!(take("a", a.clone()), take("b", b));
            let winner = match (first.unwrap(), second.unwrap()) {
                (Ok(won), Err(ClaimError::IdInUse { .. }))
                | (Err(ClaimError::IdInUse { .. }), Ok(won)) => won,
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(Claim::read(&a).await.unwrap().unwrap().nonce, winner.nonce);
        }))
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_success_and_cancel_at_once_one_wins_and_the_other_learns_it() {
    let bucket = bucket("races-commit");
    for group in (0..PAIRS).collect::<Vec<_>>().chunks(10) {
        join_all(group.iter().map(|number| async move {
            let (name, [a, b]) = pair(bucket, *number);
            let success = sample::manifest(&name);
            let mut cancel = success.clone();
            cancel.status = Outcome::Canceled;
            let commit = |manifest: Manifest, folder: ExportFolder| {
                tokio::spawn(async move { manifest.commit(&folder).await.unwrap() })
            };
            let (success, cancel) = tokio::join!(commit(success, a.clone()), commit(cancel, b));
            let stored = match (success.unwrap(), cancel.unwrap()) {
                (Commit::Won, Commit::Lost(won)) if won.status == Outcome::Success => won,
                (Commit::Lost(won), Commit::Won) if won.status == Outcome::Canceled => won,
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(Manifest::read(&a).await.unwrap(), *stored);
        }))
        .await;
    }
}
