//! A history names its objects, and all kinds of changes occur in it.

use std::collections::HashSet;

use offloom_encoder::History;

#[test]
fn ids_and_numbers_name_each_other() {
    let mut ids = HashSet::new();
    for number in (0..1_000).chain([u64::from(u32::MAX), u64::MAX - 1]) {
        let id = History::id(number);
        assert_eq!(History::number(id), Some(number));
        assert!(ids.insert(id));
    }
    // Ids that no number has.
    assert_eq!(History::number([0; 16]), None);
    assert_eq!(History::number([255; 16]), None);
}

#[test]
fn nine_in_ten_objects_remain_and_every_step_leaves_some() {
    let history = History::new(10_000);
    let tenants = history.tenants();
    assert!(tenants.is_sorted() && tenants.len() == 63, "{tenants:?}");
    let objects: u64 = tenants.iter().map(|(_, objects)| objects).sum();
    let live: Vec<_> = (0..tenants.len())
        .flat_map(|tenant| (0..tenants[tenant].1).map(move |number| (tenant, number)))
        .filter_map(|(tenant, number)| history.live(tenant, number))
        .collect();
    let share = live.len() as f64 / objects as f64;
    assert!((0.88..0.93).contains(&share), "{share}");
    let steps: HashSet<i64> =
        live.iter().map(|object| object.updated_ms - object.created_ms).collect();
    assert_eq!(steps.len(), 9);
    assert!(live.iter().any(|object| object.vector.is_empty()));
}

#[test]
fn tenants_hold_the_same_ids_with_other_contents() {
    let history = History::new(10_000);
    let first = |tenant| (0..10).find_map(|number| Some((number, history.live(tenant, number)?)));
    let (number, object) = first(0).unwrap();
    let other = (1..63).find_map(|tenant| history.live(tenant, number)).unwrap();
    assert_eq!(object.uuid, other.uuid);
    assert_ne!(object.properties, other.properties);
}
