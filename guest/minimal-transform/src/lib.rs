//! The smallest useful transform, to copy: adds the column `properties_bytes`, and with the option
//! `min-bytes` drops rows whose properties are shorter.
wit_bindgen::generate!({ path: "../../wit", world: "transform-guest" });
use exports::offloom::export::about;
use exports::offloom::export::transform::*;
use offloom::export::types::{DataType, Values};
struct Measure {
    min_bytes: i64,
}
export!(Measure);

impl about::Guest for Measure {
    fn describe_guest() -> about::Description {
        let option = about::KnownOption {
            key: "min-bytes".into(),
            summary: "Drops rows whose properties have fewer bytes; default 0.".into(),
            secret: false,
        };
        about::Description { summary: "Measures rows.".into(), options: vec![option] }
    }
}
impl Guest for Measure {
    type Transformer = Measure;
}
impl GuestTransformer for Measure {
    fn open(_: Schema, options: Options) -> Result<Transformer, Error> {
        let mut min_bytes = 0;
        for (key, value) in options {
            let wrong = || Error::Unsupported(format!("{key}={value}: min-bytes is a number"));
            min_bytes = value.parse().ok().filter(|_| key == "min-bytes").ok_or_else(wrong)?;
        }
        Ok(Transformer::new(Measure { min_bytes }))
    }
    fn shape(&self) -> Shape {
        let [name, read] = ["properties_bytes", "properties"].map(String::from);
        let bytes = Field { name, data_type: DataType::Int64, nullable: false };
        Shape { reads: vec![read], writes: vec![bytes], drops: vec![] }
    }
    fn apply(&self, batch: RowBatch) -> Result<Edits, Error> {
        let Values::VariableWidth(properties) = &batch.columns[0].values else {
            return Err(Error::Unsupported("properties that are no text".into()));
        };
        let lengths: Vec<i64> =
            properties.offsets.windows(2).map(|row| (row[1] - row[0]).into()).collect();
        let mut keep = vec![0; lengths.len().div_ceil(8)];
        for (row, _) in lengths.iter().enumerate().filter(|(_, bytes)| **bytes >= self.min_bytes) {
            keep[row / 8] |= 1 << (row % 8);
        }
        let column = Column { validity: None, values: Values::Int64(lengths) };
        Ok(Edits { keep: Some(keep), columns: vec![column], refused: vec![], counters: vec![] })
    }
}
