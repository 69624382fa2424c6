//! Races that the store's conditional writes decide: who owns an id, and which outcome counts.
use futures::future::join_all;
use offloom_protocol::claim::{Claim, ClaimError};
use offloom_protocol::manifest::{Commit, Manifest, Outcome};
use offloom_protocol::names::ObjectKey;
use offloom_protocol::store::{Created, ExportFolder};

use crate::place::{Kind, Place};
use crate::{content, for_stores, id, sample};

const PAIRS: usize = 30;

for_stores! {
    filesystem: Filesystem, s3: S3, gcs: Gcs, azure: Azure;
    of_two_creates_at_once_one_wins,
    of_two_claims_at_once_one_wins,
    of_success_and_cancel_at_once_one_wins_and_the_other_learns_it,
}

/// Two coordinators of one export.
fn pair(place: &Place, number: usize) -> (String, [ExportFolder; 2]) {
    let name = format!("e{number}");
    let coordinator = || place.destination().export_folder(&id(&name)).unwrap();
    let folders = [coordinator(), coordinator()];
    (name, folders)
}

async fn of_two_creates_at_once_one_wins(kind: Kind) {
    let place = Place::new(kind);
    for group in (0..PAIRS).collect::<Vec<_>>().chunks(10) {
        join_all(group.iter().map(|number| async {
            let (name, [a, b]) = pair(&place, *number);
            let create = |folder: ExportFolder, len: usize| {
                let key = ObjectKey::parse("x.json").unwrap();
                tokio::spawn(async move { folder.create(&key, content(len)).await.unwrap() })
            };
            let (first, second) = tokio::join!(create(a, 1_000), create(b, 1_001));
            let won = match (first.unwrap(), second.unwrap()) {
                (Created::Ours, Created::Theirs(theirs)) if theirs == content(1_000) => 1_000,
                (Created::Theirs(theirs), Created::Ours) if theirs == content(1_001) => 1_001,
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(place.read(&format!("exports/{name}/x.json")), content(won));
        }))
        .await;
    }
}

async fn of_two_claims_at_once_one_wins(kind: Kind) {
    let place = Place::new(kind);
    for group in (0..PAIRS).collect::<Vec<_>>().chunks(10) {
        join_all(group.iter().map(|number| async {
            let (name, [a, b]) = pair(&place, *number);
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

async fn of_success_and_cancel_at_once_one_wins_and_the_other_learns_it(kind: Kind) {
    let place = Place::new(kind);
    for group in (0..PAIRS).collect::<Vec<_>>().chunks(10) {
        join_all(group.iter().map(|number| async {
            let (name, [a, b]) = pair(&place, *number);
            let success = sample::manifest(&name);
            let mut cancel = success.clone();
            cancel.status = Outcome::Canceled;
            let commit = |manifest: Manifest, folder: ExportFolder| {
                tokio::spawn(async move { manifest.commit(&folder, None).await.unwrap() })
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
