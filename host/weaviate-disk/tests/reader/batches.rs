//! Rows at the ends of batches: none is lost or comes twice, whichever limit ends a batch.
use offloom_encoder::{DirectoryWriter, NameStyle, Node, Object, ObjectOptions, SegmentOptions};
use offloom_rows::MAX_BATCH_ROWS;
use offloom_weaviate_disk::{DataDirectory, ReadOptions, UnitCursor, UnitOptions};

use crate::rows::{self, LIMITS};

const CLASS: &str = "Shelf";

fn id(number: u32) -> [u8; 16] {
    u128::from(number).to_be_bytes()
}

/// Rows of each batch of one unit that holds so many objects of `bytes` in each of its tenants.
fn batches(tenants: &[u32], bytes: usize) -> Vec<u32> {
    let root = tempfile::tempdir().unwrap();
    let mut directory = DirectoryWriter::create(root.path()).unwrap();
    let class = directory.class(CLASS, true).unwrap();
    for (tenant, objects) in tenants.iter().enumerate() {
        let shard = class.shard(&format!("tenant-{tenant}")).unwrap();
        let mut segment = shard.segment(1, NameStyle::Long, SegmentOptions::default()).unwrap();
        for number in 0..*objects {
            let mut object = Object::new(id(number), CLASS);
            object.properties = Some(format!(r#"{{"t":"{}"}}"#, "x".repeat(bytes)).into_bytes());
            segment.append(&Node::live(&object, &ObjectOptions::default()).unwrap()).unwrap();
        }
        segment.finish().unwrap();
    }
    let directory = DataDirectory::open(root.path(), None).unwrap();
    let class = rows::class(&directory, CLASS);
    let units = directory.units(class, UnitOptions::new(u64::MAX));
    let [unit] = <[_; 1]>::try_from(units.collect::<Vec<_>>()).unwrap();
    let found = rows::read_unit(&unit, LIMITS).unwrap();
    let found: Vec<(u32, [u8; 16])> = found.iter().map(|row| (row.shard, row.id)).collect();
    let of_tenant = |(tenant, objects): (u32, &u32)| (0..*objects).map(move |at| (tenant, id(at)));
    let expected: Vec<_> = (0..).zip(tenants).flat_map(of_tenant).collect();
    assert!(found == expected, "{} rows of {}", found.len(), expected.len());
    let mut cursor = UnitCursor::open(&unit, &ReadOptions::default());
    let mut batches = Vec::new();
    while let Some(batch) = cursor.read_batch(LIMITS).unwrap() {
        batches.push(batch.rows.row_count);
    }
    batches
}

#[test]
fn batches_that_end_at_the_number_of_rows_lose_none() {
    const MOST: u32 = MAX_BATCH_ROWS;
    assert_eq!(batches(&[MOST - 1], 10), [MOST - 1]);
    assert_eq!(batches(&[MOST], 10), [MOST]);
    assert_eq!(batches(&[MOST + 1], 10), [MOST, 1]);
    assert_eq!(batches(&[3 * MOST + 1], 10), [MOST, MOST, MOST, 1]);
    // Across tenants, whose rows share batches.
    assert_eq!(batches(&[MOST - 1, 1, 1], 10), [MOST, 1]);
    assert_eq!(batches(&[7_000, 7_000, 7_000], 10), [MOST, MOST, 1_000]);
}

#[test]
fn batches_that_end_at_the_number_of_bytes_lose_none() {
    let batches = batches(&[12_000, 12_000], 2_000);
    assert_eq!(batches.iter().sum::<u32>(), 24_000);
    assert!(batches.len() > 4 && batches.iter().all(|rows| *rows < MAX_BATCH_ROWS), "{batches:?}");
}
