//! Pages that the default exporter writes by hand, read back by an independent reader.
use offloom_rows::Schema;
use parquet::record::Field;

use crate::parquet_guest::{bytes_of, export, metadata, rows};
use crate::rows::Object;
use crate::support::{options, parquet_guest};

/// Columns that the host holds have pages of this project's own making: nulls in all patterns, values of
/// all lengths, pages that end within a batch and pages of several batches, with every option.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_held_columns_are_read_back() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let guest = parquet_guest();
    for round in 0..24_u64 {
        let (count, dimensions) = (1 + random(4000), random(600));
        // Runs of nulls of all lengths around the eight of a packed group, and single ones.
        let (vector_run, properties_run) = (1 + random(20), 1 + random(20));
        let nulls = round % 4;
        let objects: Vec<Object> = (0..count)
            .map(|row| {
                let value = |run: u64, bit: u64| nulls >> bit & 1 == 0 || row / run % 2 == 1;
                let length = if random(50) == 0 { random(60_000) } else { random(300) };
                Object {
                    vector: (dimensions > 0 && value(vector_run, 0))
                        .then(|| (0..dimensions).map(|n| (n * row) as f32 * 0.37).collect()),
                    properties: value(properties_run, 1)
                        .then(|| (0..length).map(|n| b'a' + (n * n % 17) as u8).collect()),
                    ..Object::new(u128::from(row) << 70)
                }
            })
            .collect();
        let schema = Schema::of_class("Article", false, None);
        let settings: &[&[(&str, &str)]] = &[
            &[],
            &[("vector-compression", "same")],
            &[("vector-compression", "none"), ("compression-level", "1")],
            &[("compression", "none")],
            &[("pages", "v1")],
        ];
        let settings = settings[round as usize % settings.len()];
        let (file, _) = export(&guest, &schema, &options(settings), vec![objects.clone()]).await;
        let read = rows(&file);
        assert_eq!(read.len(), objects.len());
        let bytes_or_null = |field: &Field| (*field != Field::Null).then(|| bytes_of(field));
        for (row, object) in read.iter().zip(&objects) {
            let vector = object.vector.as_ref();
            let vector = vector.map(|v| v.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>());
            assert!(bytes_or_null(&row[4].1) == vector, "round {round}: a vector differs");
            assert!(
                bytes_or_null(&row[7].1) == object.properties,
                "round {round}: properties differ"
            );
        }
        let metadata = metadata(&file);
        for column in [4, 7].map(|column| metadata.row_group(0).column(column)) {
            let held = !settings.contains(&("pages", "v1"));
            let delta =
                column.encodings().any(|e| e == parquet::basic::Encoding::DELTA_LENGTH_BYTE_ARRAY);
            assert_eq!(delta, held, "{:?}", column.column_path());
        }
    }
}
