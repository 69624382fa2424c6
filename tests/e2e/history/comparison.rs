//! Compares the rows of an export with a history, one by one, without holding them.
use std::collections::HashMap;

use offloom_encoder::History;

use super::exported::ExportedRow;

/// One way in which an export is not the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// An object has no row.
    Lost { tenant: String, id: String },
    /// An object has more than one row.
    Twice { tenant: String, id: String },
    /// A row of an object that is deleted.
    Deleted { tenant: String, id: String },
    /// A row of an object, or a tenant, that never was.
    Unknown { tenant: String, id: String },
    /// A row has another value than the object.
    Value { tenant: String, id: String, column: &'static str },
}

/// Differences that are kept: one is enough to fail, and some show the kind.
const KEPT: usize = 20;

/// What was seen of an export so far.
pub struct Comparison<'a> {
    history: &'a History,
    /// Index of each tenant by its name.
    tenants: HashMap<&'a str, usize>,
    /// By tenant and number: whether the object had a row.
    seen: Vec<Vec<bool>>,
    rows: u64,
    differences: Vec<Difference>,
}

impl<'a> Comparison<'a> {
    pub fn new(history: &'a History) -> Comparison<'a> {
        let names = history.tenants().iter().map(|(name, _)| name.as_str());
        Comparison {
            history,
            tenants: names.zip(0..).collect(),
            seen: history.tenants().iter().map(|(_, size)| vec![false; *size as usize]).collect(),
            rows: 0,
            differences: Vec::new(),
        }
    }

    fn found(&mut self, difference: Difference) {
        if self.differences.len() < KEPT {
            self.differences.push(difference);
        }
    }

    pub fn row(&mut self, row: &ExportedRow) {
        self.rows += 1;
        let (tenant, id) = (row.tenant.clone(), row.id.clone());
        let number = History::number(bytes(&row.id));
        let place = self.tenants.get(row.tenant.as_str()).copied().zip(number);
        let Some((index, number)) = place else {
            return self.found(Difference::Unknown { tenant, id });
        };
        let Some(seen) = self.seen[index].get_mut(number as usize) else {
            return self.found(Difference::Unknown { tenant, id });
        };
        if std::mem::replace(seen, true) {
            return self.found(Difference::Twice { tenant, id });
        }
        let Some(object) = self.history.live(index, number) else {
            return self.found(Difference::Deleted { tenant, id });
        };
        let vector: Vec<u8> = object.vector.iter().flat_map(|each| each.to_le_bytes()).collect();
        let columns = [
            ("class_name", row.class_name == History::CLASS),
            ("creation_time", row.created_ms == object.created_ms),
            ("update_time", row.updated_ms == object.updated_ms),
            ("vector", row.vector == (!vector.is_empty()).then_some(vector)),
            ("named_vectors", row.named_vectors.is_none()),
            ("multi_vectors", row.multi_vectors.is_none()),
            ("properties", row.properties == object.properties),
        ];
        for (column, _) in columns.into_iter().filter(|(_, equal)| !equal) {
            self.found(Difference::Value { tenant: tenant.clone(), id: id.clone(), column });
        }
    }

    /// The number of rows, and the first differences.
    pub fn end(mut self) -> (u64, Vec<Difference>) {
        for (index, (tenant, objects)) in self.history.tenants().iter().enumerate() {
            for number in 0..*objects {
                let lost = !self.seen[index][number as usize]
                    && self.history.live(index, number).is_some();
                if lost {
                    let (tenant, id) = (tenant.clone(), text(History::id(number)));
                    self.found(Difference::Lost { tenant, id });
                }
            }
        }
        (self.rows, self.differences)
    }
}

/// An id as text, as in a file.
pub fn text(id: [u8; 16]) -> String {
    let hex = hex::encode(id);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// The id that a text is.
fn bytes(id: &str) -> [u8; 16] {
    let decoded = hex::decode(id.replace('-', "")).unwrap().try_into().unwrap();
    assert_eq!(text(decoded), id, "not the canonical text");
    decoded
}
