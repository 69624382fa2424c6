//! A running Weaviate and this program decide the same, for random roles that are made over Weaviate's own
//! interface.
use std::collections::BTreeMap;

use offloom_authz::{Action, AuthzConfig, Credentials, Opened, Policy};
use offloom_encoder::scale;
use offloom_fixtures::unpack;
use offloom_test_parts::{Weaviate, WeaviateSettings};
use serde_json::{Value, json};
use ureq::Agent;

use crate::random::Random;

/// The same roles in each run.
const SEED: u64 = 0x726f_6c65_735f_3133;

/// The user who makes roles.
const ROOT: (&str, &str) = ("root", "key-root");

/// What is asked for: the classes of the fixture, and the tenants of the one that has some. No pattern of
/// an object below has this id.
const PLACES: [(&str, Option<&str>); 6] = [
    ("Public", None),
    ("Secret", None),
    ("Reports_2025", None),
    ("Reports_2026", None),
    ("Tenanted", Some("alpha")),
    ("Tenanted", Some("beta")),
];
const OBJECT: &str = "fedcba98-7654-4321-8fed-cba987654321";

const COLLECTIONS: [&str; 18] = [
    "*",
    "Public",
    "Secret",
    "Tenanted",
    "Reports_2025",
    "Reports_*",
    "Reports_.*",
    "R*",
    "P.*",
    "T*",
    "Public|Secret",
    "Reports_202[56]",
    "Reports_202(5|6)",
    "Se?cret",
    "S[a-z]+",
    "Publi",
    "Public2",
    "Nowhere",
];

const TENANTS: [&str; 11] =
    ["*", "*", "alpha", "beta", "al*", "b.*", "alpha|beta", "alph[a-c]", "bet", ".*a", "gamma"];

const OBJECTS: [&str; 4] = ["*", "*", "*", "00000000-0000-4000-8000-000000000001"];

/// A permission about data, or one that says nothing about data.
fn permission(random: &mut Random) -> Value {
    let mut of = |choices: &[&str]| choices[random.below(choices.len())].to_owned();
    let (collection, tenant, object) = (of(&COLLECTIONS), of(&TENANTS), of(&OBJECTS));
    let data = |action: &str| {
        let resource = json!({ "collection": collection, "tenant": tenant, "object": object });
        json!({ "action": action, "data": resource })
    };
    match random.below(12) {
        0..6 => data("read_data"),
        6 => data("create_data"),
        7 => data("update_data"),
        8 => data("delete_data"),
        9 => json!({ "action": "read_collections", "collections": { "collection": collection } }),
        10 => json!({ "action": "manage_backups", "backups": { "collection": collection } }),
        _ => {
            let resource = json!({ "collection": collection, "tenant": tenant });
            json!({ "action": "read_tenants", "tenants": resource })
        }
    }
}

/// A Weaviate over a copy of the fixture, and its REST service as one of its users sees it.
struct Rest {
    agent: Agent,
    address: String,
}

impl Rest {
    fn post(&self, path: &str, body: &Value) {
        let request = self.agent.post(format!("{}{path}", self.address));
        let request = request.header("authorization", format!("Bearer {}", ROOT.1));
        let answer = request.send_json(body).unwrap();
        assert!(answer.status().is_success(), "{path} {body}: {answer:#?}");
    }

    /// Whether the user with this key may read the object, which is not there.
    fn permits(&self, key: &str, class: &str, tenant: Option<&str>) -> bool {
        let tenant = tenant.map(|tenant| format!("?tenant={tenant}")).unwrap_or_default();
        let request =
            self.agent.get(format!("{}/v1/objects/{class}/{OBJECT}{tenant}", self.address));
        let answer = request.header("authorization", format!("Bearer {key}")).call().unwrap();
        match answer.status().as_u16() {
            404 => true,
            403 => false,
            other => panic!("{class}{tenant}: {other}"),
        }
    }
}

/// What this program decides about one of [`PLACES`].
fn decided(policy: &dyn Policy, opened: &Opened, key: &str) -> Vec<bool> {
    let authorization = format!("Bearer {key}");
    let credentials =
        Credentials { authorization: Some(&authorization), client: [127, 0, 0, 1].into() };
    let principal = futures::executor::block_on(opened.authenticator.authenticate(credentials));
    let principal = principal.unwrap();
    let of_place = |(class, tenant): (&str, Option<&str>)| match tenant {
        Some(tenant) => policy.permits_tenants(&principal, Action::Export, class, &[tenant])[0],
        None => policy.permits(&principal, Action::Export, class),
    };
    PLACES.into_iter().map(of_place).collect()
}

#[test]
fn a_running_weaviate_decides_the_same_for_random_roles() {
    let count = scale(500, 2_000);
    let names: Vec<(String, String)> =
        (0..count).map(|number| (format!("user-{number}"), format!("key-{number}"))).collect();
    let mut users = vec![ROOT];
    users.extend(names.iter().map(|(user, key)| (user.as_str(), key.as_str())));
    let settings = WeaviateSettings::with_users(&users, ROOT.0);
    let fixture = unpack("rbac").unwrap();
    let weaviate = Weaviate::start(&fixture.data_dir(), &settings);
    let agent = Agent::config_builder().http_status_as_error(false).build().new_agent();
    let rest = Rest { agent, address: format!("http://127.0.0.1:{}", weaviate.rest_port()) };

    let mut random = Random::of(SEED, 0);
    let mut roles: Vec<(String, Vec<Value>)> = Vec::new();
    for (number, (user, _)) in names.iter().enumerate() {
        let name = format!("random-{number}");
        let permissions: Vec<Value> =
            (0..=random.below(3)).map(|_| permission(&mut random)).collect();
        rest.post("/v1/authz/roles", &json!({ "name": name, "permissions": permissions }));
        roles.push((name.clone(), permissions));
        // Its own role, and often one of another user.
        let mut assigned = vec![name];
        if random.once_in(3) {
            assigned.push(format!("random-{}", random.below(number + 1)));
        }
        assigned.dedup();
        let body = json!({ "roles": assigned, "userType": "db" });
        rest.post(&format!("/v1/authz/users/{user}/assign"), &body);
    }

    let variables: BTreeMap<&str, &str> =
        settings.variables().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let variable = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let config = AuthzConfig::from_variables(&variable).unwrap();
    let listen = ([127, 0, 0, 1], 0).into();
    let opened = offloom_authz::open(&config, &[fixture.data_dir()], listen).unwrap();
    let policy = opened.authorizer.policy();
    let (mut allowed, mut differences) = (0, Vec::new());
    for ((user, key), role) in names.iter().zip(&roles) {
        let ours = decided(&*policy, &opened, key);
        for ((class, tenant), ours) in PLACES.into_iter().zip(ours) {
            let theirs = rest.permits(key, class, tenant);
            allowed += usize::from(theirs);
            if ours != theirs {
                differences.push(format!(
                    "{user} {class} {tenant:?}: {ours}, Weaviate {theirs}; {role:?}"
                ));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let decisions = names.len() * PLACES.len();
    // Roles that allow all or nothing would compare nothing.
    assert!(allowed > decisions / 10 && allowed < decisions * 9 / 10, "{allowed} of {decisions}");
    println!(
        "soak: {decisions} decisions of {count} random roles, {allowed} allowed, none differs"
    );
}
