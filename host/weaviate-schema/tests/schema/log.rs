//! An independent writer of RAFT logs and their commands (`data-directory.md` 5.1).
use offloom_weaviate_schema::{ClusterSchema, SchemaError, bbolt::Database, raft};
use serde_json::{Value, json};

use crate::bbolt_file::{self, Node, SHAPE, Tree};

/// A log, entry by entry.
#[derive(Debug, Clone)]
pub struct Log {
    entries: Vec<Vec<u8>>,
    /// Of the entries that follow.
    term: u8,
    /// Of the entries that follow: the last byte of the seconds.
    clock: u8,
}

impl Log {
    /// A new cluster's: RAFT's own configuration and the first leader's noop.
    pub fn new() -> Log {
        Log::of_servers(&[])
    }

    /// The same with these nodes in the configuration.
    pub fn of_servers(names: &[&str]) -> Log {
        let mut servers = b"\x81\xa7Servers".to_vec();
        servers.push(0x90 | u8::try_from(names.len()).unwrap());
        for name in names {
            servers.extend(b"\x83\xa7Address\xaelocalhost:8300\xa2ID");
            servers.extend(raw(name.as_bytes()));
            servers.extend(b"\xa8Suffrage\x00");
        }
        let log = Log { entries: Vec::new(), term: 2, clock: 0x90 };
        log.entry(5, Some(&servers)).entry(1, None)
    }

    /// The entries that follow are of another term.
    pub fn in_term(self, term: u8) -> Log {
        Log { term, ..self }
    }

    /// The entries that follow were appended at another time.
    pub fn at_time(self, clock: u8) -> Log {
        Log { clock, ..self }
    }

    /// The number of entries, which is the RAFT index of the last one.
    pub fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Appends an entry of RAFT.
    pub fn entry(mut self, kind: u8, data: Option<&[u8]>) -> Log {
        let index = u8::try_from(self.entries.len() + 1).unwrap();
        let mut entry = vec![0x86];
        entry.extend(raw(b"AppendedAt"));
        let mut appended_at = *b"\x01\0\0\0\x0e\xe2\x95\xb8\x00\x18\xdfFj\xff\xff";
        appended_at[8] = self.clock;
        entry.extend(raw(&appended_at));
        entry.extend(raw(b"Data"));
        entry.extend(data.map_or_else(|| vec![0xC0], raw));
        entry.extend(raw(b"Extensions"));
        entry.push(0xC0);
        entry.extend(raw(b"Index"));
        entry.extend([0xCC, index]);
        entry.extend(raw(b"Term"));
        entry.push(self.term);
        entry.extend(raw(b"Type"));
        entry.push(kind);
        self.entries.push(entry);
        self
    }

    /// Appends a command with a payload of bytes.
    pub fn command(self, number: u64, class: &str, payload: &[u8]) -> Log {
        let mut request = integer(1, number);
        request.extend(field(2, class.as_bytes()));
        request.extend(field(4, payload));
        self.entry(0, Some(&request))
    }

    /// Appends a command with a payload of JSON.
    pub fn json(self, number: u64, class: &str, payload: &Value) -> Log {
        self.command(number, class, payload.to_string().as_bytes())
    }

    pub fn add_class(self, definition: &Value, state: &Value) -> Log {
        let name = definition["class"].as_str().unwrap().to_owned();
        self.json(1, &name, &json!({"Class": definition, "State": state}))
    }

    pub fn add_tenants(self, class: &str, nodes: &[&str], tenants: &[(&str, &str)]) -> Log {
        let mut payload: Vec<u8> =
            nodes.iter().flat_map(|node| field(1, node.as_bytes())).collect();
        payload.extend(tenants.iter().flat_map(|(name, status)| field(2, &tenant(name, status))));
        self.command(16, class, &payload)
    }

    pub fn update_tenants(self, class: &str, nodes: &[&str], tenants: &[(&str, &str)]) -> Log {
        let mut payload: Vec<u8> =
            tenants.iter().flat_map(|(name, status)| field(1, &tenant(name, status))).collect();
        payload.extend(nodes.iter().flat_map(|node| field(2, node.as_bytes())));
        self.command(17, class, &payload)
    }

    pub fn delete_tenants(self, class: &str, tenants: &[&str]) -> Log {
        let payload: Vec<u8> = tenants.iter().flat_map(|name| field(1, name.as_bytes())).collect();
        self.command(18, class, &payload)
    }

    /// `transfer`: 1 freezing, 2 unfreezing. `progress`: 1 started, 2 done, 3 aborted.
    pub fn report(
        self,
        class: &str,
        node: &str,
        transfer: u64,
        progress: u64,
        of: (&str, &str),
    ) -> Log {
        let mut report = integer(1, progress);
        report.extend(field(2, &tenant(of.0, of.1)));
        let mut payload = field(1, node.as_bytes());
        payload.extend(integer(2, transfer));
        payload.extend(field(3, &report));
        self.command(19, class, &payload)
    }

    /// `raft.db` with the entries from `first` on.
    pub fn file(&self, first: usize) -> Vec<u8> {
        let index = |number: usize| (number as u64 + 1).to_be_bytes().to_vec();
        let entries = self.entries.iter().enumerate().skip(first - 1);
        let logs = entries.map(|(number, entry)| (index(number), Node::Value(entry.clone())));
        let conf = Tree::from([(b"CurrentTerm".to_vec(), Node::Value(vec![0; 8]))]);
        let tree = Tree::from([
            (b"conf".to_vec(), Node::Bucket(conf)),
            (b"logs".to_vec(), Node::Bucket(logs.collect())),
        ]);
        bbolt_file::write(&tree, SHAPE)
    }

    pub fn try_read(&self) -> Result<ClusterSchema, SchemaError> {
        raft::read_database(&Database::from_bytes("raft/raft.db", self.file(1)).unwrap())
    }

    pub fn read(&self) -> ClusterSchema {
        self.try_read().unwrap()
    }
}

/// MessagePack's old "raw" family, which bytes and text share.
fn raw(bytes: &[u8]) -> Vec<u8> {
    let mut raw = match bytes.len() {
        length @ 0..32 => vec![0xA0 | length as u8],
        length @ 32..0x1_0000 => [&[0xDA][..], &(length as u16).to_be_bytes()].concat(),
        length => [&[0xDB][..], &u32::try_from(length).unwrap().to_be_bytes()].concat(),
    };
    raw.extend_from_slice(bytes);
    raw
}

fn tenant(name: &str, status: &str) -> Vec<u8> {
    [field(1, name.as_bytes()), field(2, status.as_bytes())].concat()
}

/// A protobuf field of bytes; left out when empty, as upstream does.
pub fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return Vec::new();
    }
    [&[number << 3 | 2][..], &varint(bytes.len() as u64), bytes].concat()
}

fn integer(number: u8, value: u64) -> Vec<u8> {
    [&[number << 3][..], &varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
