//! Multi-tenant directories of small objects, each in the log of its tenant only.
use std::path::Path;

use offloom_encoder::{DirectoryWriter, Node, Object, ObjectOptions, WalVersion};

/// Writes the directory `to` with classes of tenants, and how many objects each tenant has.
pub fn write_classes(to: &Path, classes: &[(&str, &[(&str, u32)])]) {
    let mut directory = DirectoryWriter::create(to).unwrap();
    for (class, tenants) in classes {
        let writer = directory.class(class, true).unwrap();
        for (tenant, objects) in *tenants {
            let mut log = writer.shard(tenant).unwrap().wal(1_795_000_000_000_000_000).unwrap();
            for number in 0..*objects {
                let id = u128::from(number).saturating_add(1).to_be_bytes();
                let mut object = Object::new(id, class);
                object.doc_id = number.into();
                object.created_ms = 1_795_000_000_000;
                object.updated_ms = 1_795_000_000_000;
                object.properties = Some(format!("{{\"tenant\":\"{tenant}\"}}").into_bytes());
                let node = Node::live(&object, &ObjectOptions::default()).unwrap();
                log.append(&node, WalVersion::V1).unwrap();
            }
            log.finish().unwrap();
        }
    }
}
