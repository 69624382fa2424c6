//! Objects, files and folders on every store.
use offloom_protocol::claim::{Claim, ClaimError};
use offloom_protocol::digest::{Digest, DigestAlgorithm};
use offloom_protocol::error::{Cause, Operation, StoreError};
use offloom_protocol::names::{Attempt, ObjectKey};
use offloom_protocol::store::{Created, ExportFolder};
use offloom_protocol::upload::Upload;

use crate::place::{Kind, Place};
use crate::{content, for_stores, id, key};

const PART_BYTES: usize = 8 * 1024 * 1024;

for_stores! {
    filesystem: Filesystem, s3: S3, gcs: Gcs, azure: Azure;
    objects_are_created_once_and_listed_relative_to_the_folder,
    what_is_not_there_is_not_there,
    parts_of_objects_are_read,
    files_of_any_size_arrive_whole_with_their_digest,
    a_small_file_does_not_replace_another,
    an_aborted_upload_makes_no_object_and_its_name_stays_free,
    prefixes_are_taken_as_they_are,
    the_right_keys_pass_the_check_and_the_probe_goes,
    an_export_in_the_way_is_found,
}

async fn objects_are_created_once_and_listed_relative_to_the_folder(kind: Kind) {
    let place = Place::new(kind);
    let folder = place.folder();
    assert_eq!(folder.list(10).await.unwrap(), []);
    let key = ObjectKey::parse("quarantine/Article.jsonl").unwrap();
    let ours = content(4);
    assert_eq!(folder.create(&key, ours.clone()).await.unwrap(), Created::Ours);
    assert_eq!(folder.create(&key, ours.clone()).await.unwrap(), Created::Ours);
    let theirs = folder.create(&key, content(5)).await.unwrap();
    assert_eq!(theirs, Created::Theirs(ours.clone()));
    assert_eq!(place.read("exports/e1/quarantine/Article.jsonl"), ours);
    folder.create(&ObjectKey::claim(Attempt::FIRST), content(7)).await.unwrap();
    let listed = folder.list(10).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|object| (&*object.key, object.size_bytes)).collect();
    assert_eq!(listed, [("_claim.json", 7), ("quarantine/Article.jsonl", 4)]);
    folder.delete(&key).await.unwrap();
    assert_eq!(folder.size_bytes(&key).await.unwrap(), None);
    assert_eq!(place.objects().len(), 1);
}

async fn what_is_not_there_is_not_there(kind: Kind) {
    let folder = Place::new(kind).folder();
    assert_eq!(folder.size_bytes(&key()).await.unwrap(), None);
    let error = folder.read(&key(), 10).await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::NotFound), "{error}");
    assert!(error.to_string().contains("it does not exist") || kind == Kind::Filesystem, "{error}");
    assert!(Claim::read(&folder).await.unwrap().is_none());
}

async fn parts_of_objects_are_read(kind: Kind) {
    let folder = Place::new(kind).folder();
    folder.create(&key(), content(1_000)).await.unwrap();
    assert_eq!(folder.read_range(&key(), 3..17).await.unwrap(), content(1_000).slice(3..17));
    assert_eq!(folder.size_bytes(&key()).await.unwrap(), Some(1_000));
    folder.read_range(&key(), 990..1_001).await.unwrap_err();
    let error = folder.read(&key(), 999).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { size_bytes: 1_000, .. }), "{error}");
}

async fn uploaded(folder: &ExportFolder, key: ObjectKey, len: usize) -> Result<Digest, StoreError> {
    let mut upload = Upload::start(folder, key, 0);
    let mut rest = content(len);
    while !rest.is_empty() {
        upload.append(rest.split_to(rest.len().min(3_000_001))).await?;
    }
    let uploaded = upload.finish().await?;
    assert_eq!(uploaded.size_bytes, len as u64);
    Ok(uploaded.digest)
}

async fn files_of_any_size_arrive_whole_with_their_digest(kind: Kind) {
    let place = Place::new(kind);
    let folder = place.folder();
    let lens = [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES + 7];
    for (number, len) in (1..).zip(lens) {
        let key = ObjectKey::class_file("A", number, "csv", Attempt::FIRST).unwrap();
        let digest = uploaded(&folder, key.clone(), len).await.unwrap();
        assert_eq!(digest, Digest::of(DigestAlgorithm::Blake3, &content(len)));
        let stored = place.read(&format!("exports/e1/{key}"));
        assert!(stored == content(len), "{len} bytes");
    }
    assert_eq!(place.open_uploads(), <[String; 0]>::default());
    assert_eq!(place.objects().len(), lens.len());
}

async fn a_small_file_does_not_replace_another(kind: Kind) {
    let folder = Place::new(kind).folder();
    uploaded(&folder, key(), 10).await.unwrap();
    let error = uploaded(&folder, key(), 11).await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::AlreadyExists), "{error}");
    assert_eq!(folder.read(&key(), 100).await.unwrap(), content(10));
}

async fn an_aborted_upload_makes_no_object_and_its_name_stays_free(kind: Kind) {
    let place = Place::new(kind);
    let folder = place.folder();
    for is_dropped in [false, true] {
        let mut upload = Upload::start(&folder, key(), 0);
        upload.append(content(3 * PART_BYTES)).await.unwrap();
        // A block that is not there yet would not be left.
        while kind == Kind::Azure && place.open_uploads().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        if is_dropped {
            drop(upload);
            folder.wait_for_aborts().await;
        } else {
            upload.abort().await.unwrap();
        }
        assert!(place.objects().is_empty(), "{:?}", place.objects());
        assert_eq!(folder.list(10).await.unwrap(), []);
        // Azure has no way to remove blocks that were not committed; they are no object.
        let left = if kind == Kind::Azure { 1 } else { 0 };
        assert_eq!(place.open_uploads().len(), left);
    }
    uploaded(&folder, key(), 2 * PART_BYTES).await.unwrap();
    assert!(place.read("exports/e1/Article.parquet") == content(2 * PART_BYTES));
    assert!(place.open_uploads().is_empty(), "the blocks of the others are gone with it");
}

async fn prefixes_are_taken_as_they_are(kind: Kind) {
    let place = Place::new(kind);
    let Some(cloud) = kind.cloud() else { return };
    let options = kind.variables(None).into_iter().collect();
    let text = format!("{}://{}/ü 50%/a+b&c", cloud.scheme(), place.bucket);
    let destination = offloom_protocol::store::Destination::parse(text).unwrap();
    let folder = destination.with_options(options).export_folder(&id("e1")).unwrap();
    folder.create(&key(), content(3)).await.unwrap();
    assert_eq!(folder.list(10).await.unwrap()[0].key, "Article.parquet");
    assert_eq!(folder.read(&key(), 3).await.unwrap(), content(3));
    let stored = place.objects().into_keys().collect::<Vec<_>>();
    assert_eq!(stored, ["ü 50%/a+b&c/e1/Article.parquet"]);
    uploaded(&folder, ObjectKey::parse("B.csv").unwrap(), PART_BYTES + 1).await.unwrap();
    folder.delete(&key()).await.unwrap();
    assert_eq!(folder.list(10).await.unwrap().len(), 1);
}

async fn the_right_keys_pass_the_check_and_the_probe_goes(kind: Kind) {
    let place = Place::new(kind);
    place.destination().check_access().await.unwrap();
    assert!(place.objects().is_empty());
}

async fn an_export_in_the_way_is_found(kind: Kind) {
    let place = Place::new(kind);
    let claim = |name: &str| Claim::new(id(name), "a".to_owned(), "0.1.0".to_owned());
    claim("e1").take(&place.folder()).await.unwrap();
    let again = claim("e1").take(&place.folder()).await.unwrap_err();
    assert!(matches!(again, ClaimError::IdInUse { .. }), "{again}");
    // A folder within the export's folder.
    let inside = match kind.cloud() {
        None => {
            let path = place.destination().local_path().unwrap().join("e1");
            offloom_protocol::store::Destination::filesystem(&path).unwrap()
        }
        Some(cloud) => {
            let variables = kind.variables(None).into_iter().collect();
            offloom_protocol::store::Destination::bucket(cloud, &place.bucket, "exports/e1/x")
                .unwrap()
                .with_options(variables)
        }
    };
    let error = inside.check_access().await.unwrap_err();
    assert!(matches!(error, StoreError::InsideExport { .. }), "{error}");
    let missing = place.folder().read(&ObjectKey::manifest(), 10).await.unwrap_err();
    let is_read = matches!(missing, StoreError::Failed { operation: Operation::Read, .. });
    assert!(is_read, "{missing}");
}
