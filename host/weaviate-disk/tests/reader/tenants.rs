//! A class that is restricted to some of its tenants.
use std::collections::BTreeSet;

use offloom_weaviate_disk::{DataDirectory, SchemaFile};

use crate::rows::{self, LIMITS};

fn named(tenants: &[&str]) -> BTreeSet<String> {
    tenants.iter().map(|tenant| (*tenant).to_owned()).collect()
}

#[test]
fn the_rows_of_named_tenants_are_those_that_they_have_in_the_whole_class() {
    let fixture = offloom_fixtures::unpack("tenants").unwrap();
    let schema =
        SchemaFile::parse(&fixture.schema_file(), std::fs::read(fixture.schema_file())).unwrap();
    let directory = DataDirectory::open(&fixture.data_dir(), Some(schema)).unwrap();
    let mut restricted = 0;
    for class in directory.classes().iter().filter(|class| class.multi_tenant) {
        let whole = rows::read(&directory, class, 32 << 20, LIMITS).unwrap().all();
        let tenants: BTreeSet<String> =
            whole.iter().map(|row| row.tenant.clone().unwrap()).collect();
        if tenants.is_empty() {
            assert_eq!(&*class.name, "EmptyMt");
            continue;
        }
        for tenant in &tenants {
            let class = class.with_tenants(&named(&[tenant])).unwrap();
            assert_eq!(class.shards.len(), 1);
            let rows = rows::read(&directory, &class, 32 << 20, LIMITS).unwrap().all();
            let of_tenant = |row: &&rows::Row| row.tenant.as_ref() == Some(tenant);
            let expected: Vec<_> = whole
                .iter()
                .filter(of_tenant)
                .map(|row| rows::Row { shard: 0, ..row.clone() })
                .collect();
            assert_eq!(rows, expected);
            restricted += rows.len();
        }
        if tenants.is_empty() {
            continue;
        }
        let all = class.with_tenants(&tenants).unwrap();
        assert_eq!(
            rows::read(&directory, &all, 32 << 20, LIMITS).unwrap().all().len(),
            whole.len()
        );
    }
    assert!(restricted > 100, "{restricted}");
}

#[test]
fn tenants_that_cannot_be_meant_are_named() {
    let fixture = offloom_fixtures::unpack("tenants").unwrap();
    let schema =
        SchemaFile::parse(&fixture.schema_file(), std::fs::read(fixture.schema_file())).unwrap();
    let directory = DataDirectory::open(&fixture.data_dir(), Some(schema)).unwrap();
    let with = directory.classes().iter().find(|class| class.multi_tenant).unwrap();
    let refused = |tenants: &[&str]| with.with_tenants(&named(tenants)).unwrap_err().to_string();
    let name = &with.name;
    assert_eq!(refused(&["no\nbody"]), format!("class {name} has no tenant 'no\\nbody'"));
    assert_eq!(
        refused(&[]),
        format!("no tenant of class {name} is named: name some, or leave the class out")
    );
    let fixture = offloom_fixtures::unpack("basic").unwrap();
    let directory = DataDirectory::open(&fixture.data_dir(), None).unwrap();
    let without = rows::class(&directory, "Note");
    let refused = without.with_tenants(&named(&["a"])).unwrap_err();
    assert_eq!(refused.to_string(), "class Note has no tenants");
}
