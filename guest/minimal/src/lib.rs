//! The smallest useful exporter, to copy: JSON lines. Named and multi vectors are left out.
wit_bindgen::generate!({ path: "../../wit", world: "exporter-guest" });
use exports::offloom::export::about;
use exports::offloom::export::exporter::*;
use offloom::export::types::{Column, DataType, Field, Values, VariableWidth};
struct JsonLines(Vec<Field>);
export!(JsonLines);

impl about::Guest for JsonLines {
    fn describe_guest() -> about::Description {
        about::Description { summary: "Writes JSON lines.".into(), options: vec![] }
    }
}
impl Guest for JsonLines {
    type File = JsonLines;
    fn describe(options: Options) -> Result<Format, Error> {
        let [name, extension, media_type] = ["jsonl", "jsonl", "application/jsonl"].map(Into::into);
        let format = Format { name, extension, media_type, block_bytes: 8 << 20 };
        options.first().map_or(Ok(format), |(key, _)| Err(Error::Unsupported(key.clone())))
    }
    fn plan(classes: Vec<Class>, _: Selection, _: Options) -> Result<Vec<String>, Error> {
        Ok(classes.into_iter().map(|class| class.name).collect())
    }
}
impl GuestFile for JsonLines {
    fn open(schema: Schema, _: Options) -> Result<File, Error> {
        Ok(File::new(JsonLines(schema.fields)))
    }
    fn prologue(&self) -> Vec<u8> {
        Vec::new()
    }
    fn encode(&self, rows: &Cursor, block: &Output) -> Result<Block, Error> {
        let mut row_count = 0;
        while let Some(batch) = rows.next(1000, 1 << 20)? {
            for row in 0..batch.row_count as usize {
                let pairs = self.0.iter().zip(&batch.columns).filter_map(|(f, c)| pair(f, c, row));
                let line = format!("{{{}}}\n", pairs.collect::<Vec<_>>().join(","));
                line.as_bytes().chunks(1 << 20).try_for_each(|piece| block.write(piece))?;
            }
            row_count += u64::from(batch.row_count);
        }
        Ok(Block { row_count, note: vec![], counters: vec![] })
    }
    fn assemble(&self, _: Vec<PlacedBlock>, _: &Output) -> Result<(), Error> {
        Ok(())
    }
}
/// `"name":value` of one row, or `None`. Text is a tenant's name, which needs no escapes.
fn pair(field: &Field, column: &Column, row: usize) -> Option<String> {
    column.validity.as_ref().is_none_or(|bits| bits[row / 8] >> (row % 8) & 1 == 1).then_some(())?;
    let at = |v: &VariableWidth| v.offsets[row] as usize..v.offsets[row + 1] as usize;
    let text = |v: &VariableWidth| String::from_utf8_lossy(&v.bytes[at(v)]).into_owned();
    let value = match &column.values {
        Values::Int64(v) => v[row].to_string(),
        Values::FixedWidth(v) => format!("\"{:032x}\"", u128::from_be_bytes(v.as_chunks().0[row])),
        Values::VariableWidth(v) if matches!(field.data_type, DataType::Json) => text(v),
        Values::VariableWidth(v) => format!("{:?}", text(v)),
        Values::Vector(v) => {
            let json = |n: f32| if n.is_finite() { n.to_string() } else { "null".into() };
            let numbers = v.bytes.as_chunks().0[at(v)].iter().map(|n| json(f32::from_le_bytes(*n)));
            format!("[{}]", numbers.collect::<Vec<_>>().join(","))
        }
        _ => return None,
    };
    Some(format!("\"{}\":{value}", field.name))
}
