//! Blocks that wait for their turn: order, errors, the end.
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use offloom_protocol::names::Attempt;
use offloom_protocol::names::ExportId;
use offloom_protocol::store::Destination;
use offloom_sandbox::Block as EncodedNote;

use super::*;

/// Larger than the parts of an upload together that may be under way.
const LARGE: usize = 40 << 20;

/// A class whose first file was begun.
async fn begun(root: &Path) -> Arc<ClassFiles> {
    let destination = Destination::parse(root.to_str().unwrap()).unwrap();
    let folder = destination.export_folder(&ExportId::parse("e1").unwrap()).unwrap();
    let key = ObjectKey::class_file("A", 1, "bin", Attempt::FIRST).unwrap();
    let files = ClassFiles {
        class: "A".to_owned(),
        format: FileFormat {
            name: "bin".to_owned(),
            extension: "bin".to_owned(),
            media_type: String::new(),
        },
        folder: folder.clone(),
        estimated_bytes: 0,
        turn: watch::Sender::default(),
        written: Mutex::default(),
        stopped: CancellationToken::new(),
    };
    assert!(!files.takes_behind(0), "no file is open");
    files.written.lock().await.open = Some(OpenFile {
        upload: Upload::start(&folder, key.clone(), 0),
        key,
        offset: 0,
        rows: 0,
        blocks: Vec::new(),
        counters: BTreeMap::new(),
    });
    let room = files.written.lock().await.room();
    files.turn.send_replace(Turn { ticket: 0, room });
    Arc::new(files)
}

fn block(content: &[u8]) -> EncodedBlock {
    EncodedBlock {
        chunks: vec![content.to_vec().into()],
        length: content.len() as u64,
        block: EncodedNote { row_count: 1, note: Vec::new(), counters: Vec::new() },
        runs: Vec::new(),
    }
}

fn behind(
    files: &Arc<ClassFiles>,
    ticket: u64,
    content: &[u8],
) -> JoinHandle<Result<(), FileError>> {
    let (files, block) = (Arc::clone(files), block(content));
    tokio::spawn(
        async move { files.append_behind(ticket, block, BlockReport::default(), || ()).await },
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_that_wait_are_appended_and_recorded_in_the_order_of_their_tickets() {
    let root = tempfile::tempdir().unwrap();
    let files = begun(root.path()).await;
    let recorded = Arc::new(AtomicU64::new(0));
    let mut waiting = Vec::new();
    for ticket in (0..50u64).rev() {
        let (files, recorded) = (Arc::clone(&files), Arc::clone(&recorded));
        waiting.push(tokio::spawn(async move {
            let appended = || assert_eq!(recorded.fetch_add(1, Ordering::SeqCst), ticket);
            let block = block(&[ticket as u8]);
            files.append_behind(ticket, block, BlockReport::default(), appended).await
        }));
    }
    for appended in waiting {
        appended.await.unwrap().unwrap();
    }
    let file = files.written.lock().await.open.take().unwrap();
    file.upload.finish().await.unwrap();
    let expected: Vec<u8> = (0..50).collect();
    assert_eq!(std::fs::read(root.path().join("e1/A.bin")).unwrap(), expected);
    let places: Vec<u64> = file.blocks.iter().map(|placed| placed.offset).collect();
    assert_eq!(places, (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn no_block_waits_that_another_file_would_have_to_be_begun_for() {
    let root = tempfile::tempdir().unwrap();
    let files = begun(root.path()).await;
    let last = MAX_BLOCKS_PER_FILE as u64 - 1;
    assert!(files.takes_behind(last) && !files.takes_behind(last + 1));
    behind(&files, 0, b"0").await.unwrap().unwrap();
    assert!(files.takes_behind(last) && !files.takes_behind(last + 1));
    // A block without rows leaves the room to the next.
    behind(&files, 1, b"").await.unwrap().unwrap();
    assert!(files.takes_behind(last + 1) && !files.takes_behind(last + 2));
}

#[tokio::test]
async fn an_append_that_fails_has_its_own_error_and_the_next_gets_no_turn() {
    let root = tempfile::tempdir().unwrap();
    // The folder of the export cannot be made.
    std::fs::write(root.path().join("e1"), "in the way").unwrap();
    let files = begun(root.path()).await;
    let next = behind(&files, 1, b"1");
    let error = behind(&files, 0, &vec![7; LARGE]).await.unwrap().unwrap_err();
    assert!(matches!(error, FileError::Store(StoreError::Failed { .. })), "{error}");
    assert_eq!(files.turn.borrow().ticket, 0);
    assert!(!next.is_finished());
    next.abort();
    files.end().await;
}

#[tokio::test]
async fn what_waits_when_the_export_ends_is_dropped() {
    let root = tempfile::tempdir().unwrap();
    let files = begun(root.path()).await;
    behind(&files, 0, &vec![7; LARGE]).await.unwrap().unwrap();
    assert_eq!(std::fs::read_dir(root.path().join("e1")).unwrap().count(), 1);
    // The one that waits for its turn, and the one whose turn it is when the end comes.
    let later = behind(&files, 3, b"3");
    let written = files.written.lock().await;
    let now = behind(&files, 1, b"1");
    let ending = Arc::clone(&files);
    let ending = tokio::spawn(async move { ending.end().await.files.len() });
    tokio::task::yield_now().await;
    drop(written);
    assert_eq!(ending.await.unwrap(), 0);
    // It came first or was refused; either way nothing stays.
    let _ = now.await.unwrap();
    assert!(!later.is_finished());
    later.abort();
    assert_eq!(std::fs::read_dir(root.path().join("e1")).unwrap().count(), 0);
    let refused = behind(&files, files.turn.borrow().ticket, b"2").await.unwrap();
    assert!(matches!(refused, Err(FileError::ExportEnded)), "{refused:?}");
}
