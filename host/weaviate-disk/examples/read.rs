//! Reads every row of a data directory and prints the speed: `read DATA_DIR [BLOCK_BYTES]`.
use std::{path::Path, time::Instant};

use offloom_rows::{BatchLimits, Cursor, MAX_BATCH_BYTES, MAX_BATCH_ROWS, Values};
use offloom_weaviate_disk::{DataDirectory, ReadOptions, UnitCursor, UnitOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: read DATA_DIR [BLOCK_BYTES]")?;
    let block_bytes = arguments.next().map_or(Ok(32 << 20), |bytes| bytes.parse())?;
    let limits = BatchLimits { max_rows: MAX_BATCH_ROWS, max_bytes: MAX_BATCH_BYTES };
    let directory = DataDirectory::open(Path::new(&path), None)?;
    for class in directory.classes() {
        let start = Instant::now();
        let (mut rows, mut column_bytes, mut raw_bytes, mut units) = (0_u64, 0_u64, 0_u64, 0_u64);
        let mut all = directory.units(class, UnitOptions::new(block_bytes));
        let mut cutting = std::time::Duration::ZERO;
        loop {
            let before = Instant::now();
            let Some(unit) = all.next() else { break };
            cutting += before.elapsed();
            units += 1;
            raw_bytes += unit.raw_bytes();
            let mut cursor = UnitCursor::open(&unit, &ReadOptions::default());
            while let Some(batch) = cursor.next_batch(limits)? {
                rows += u64::from(batch.rows.row_count);
                for column in &batch.rows.columns {
                    column_bytes += match &column.values {
                        Values::VariableWidth(values) | Values::Vector(values) => {
                            values.bytes.len() as u64
                        }
                        Values::FixedWidth(bytes) => bytes.len() as u64,
                        Values::NamedVectors(map) => map.components.len() as u64,
                        Values::NamedMultiVectors(map) => map.components.len() as u64,
                        _ => 8 * u64::from(batch.rows.row_count),
                    };
                }
            }
        }
        for shard in all.shards() {
            if let Some(error) = &shard.error {
                println!("{}: {error}", shard.shard);
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{}: {rows} rows in {units} units of {} shards, {:.0} rows/s; {:.2} GB stored, {:.2} GB \
             of columns, {:.2} GB/s stored; cutting took {:.0} ms of {:.0} ms",
            class.name,
            all.shards().len(),
            rows as f64 / seconds,
            raw_bytes as f64 / 1e9,
            column_bytes as f64 / 1e9,
            raw_bytes as f64 / 1e9 / seconds,
            cutting.as_secs_f64() * 1e3,
            seconds * 1e3,
        );
    }
    Ok(())
}
