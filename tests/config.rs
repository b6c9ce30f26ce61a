//! `wrangler.toml` and the code name the same things.

use std::cell::RefCell;
use std::collections::BTreeSet;

use durable_objects::events::protocol::Events;
use durable_objects::idempotency::protocol::Idempotency;
use durable_objects::job::protocol::Job;
use durable_objects::protocol::{Protocol, QUEUE_BINDING};
use durable_objects::provider_health::protocol::ProviderHealth;
use durable_objects::rate_limiter::protocol::RateLimiter;
use durable_objects::vault::protocol::Vault;
use durable_objects::vector_index::protocol::VectorIndex;
use durable_objects::wallet::protocol::Wallet;
use guildhall::bindings;
use guildhall::config::Config;
use toml::Value;

fn wrangler() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/wrangler.toml");
    std::fs::read_to_string(path).unwrap().parse::<toml::Table>().unwrap().into()
}

fn names<'v>(list: &'v Value, field: &str) -> Vec<&'v str> {
    let mut names: Vec<_> = list.as_array().unwrap().iter().map(|entry| entry[field].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn the_objects_are_bound() {
    let config = wrangler();
    let bound = &config["durable_objects"]["bindings"];
    let mut expected = [
        RateLimiter::BINDING,
        Wallet::BINDING,
        Idempotency::BINDING,
        ProviderHealth::BINDING,
        Vault::BINDING,
        Events::BINDING,
        Job::BINDING,
        VectorIndex::BINDING,
    ];
    expected.sort_unstable();
    assert_eq!(names(bound, "name"), expected);
    let classes = names(bound, "class_name");
    let declared: Vec<_> = config["migrations"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|m| m["new_sqlite_classes"].as_array().unwrap())
        .collect();
    for class in classes {
        assert!(declared.iter().any(|declared| declared.as_str() == Some(class)), "{class} has no migration");
    }
}

#[test]
fn the_entry_exports_every_object_class() {
    let shim = include_str!("../src/platform/shim.js");
    for class in names(&wrangler()["durable_objects"]["bindings"], "class_name") {
        let export = format!("export const {class} = durableObject(\"{class}\");");
        assert!(shim.contains(&export), "src/platform/shim.js does not export {class}");
    }
}

#[test]
fn an_object_has_an_alarm_where_its_machine_asks_for_one() {
    let objects = concat!(env!("CARGO_MANIFEST_DIR"), "/durable_objects/src");
    let mut with_alarm = 0;
    for directory in std::fs::read_dir(objects).unwrap().map(|entry| entry.unwrap().path()) {
        let read = |file: &str| std::fs::read_to_string(directory.join(file)).unwrap_or_default();
        let asks = read("state.rs").contains("fn next_alarm_ms");
        assert_eq!(read("object.rs").contains("#[durable_object(alarm)]"), asks, "{}", directory.display());
        with_alarm += usize::from(asks);
    }
    assert_eq!(with_alarm, 6);
}

#[test]
fn the_object_classes_are_linked_in() {
    let lib = include_str!("../src/lib.rs");
    assert!(lib.contains("use durable_objects as _;"), "without it the classes are silently absent");
}

#[test]
fn the_database_and_the_queue_are_bound() {
    let config = wrangler();
    assert_eq!(names(&config["d1_databases"], "binding"), [bindings::DB]);
    assert_eq!(names(&config["queues"]["producers"], "binding"), [QUEUE_BINDING]);
    let produced = names(&config["queues"]["producers"], "queue");
    assert_eq!(names(&config["queues"]["consumers"], "queue"), produced, "what is sent is consumed");
}

#[test]
fn the_cache_is_bound_and_provisioned() {
    let config = wrangler();
    assert_eq!(names(&config["kv_namespaces"], "binding"), [bindings::CACHE]);
    let live = include_str!("../scripts/lib/live.mjs");
    let placeholder = config["kv_namespaces"][0]["id"].as_str().unwrap();
    assert!(
        live.contains(&format!("/^id = \"{placeholder}\"$/m")),
        "scripts/lib/live.mjs puts the real id in its place"
    );
    // What is bound in a live deployment alone: `wrangler dev` has no Vectorize.
    assert!(config.get("vectorize").is_none(), "`npm run deploy -- --vectors vectorize` binds it");
    assert!(live.contains(&format!("binding = \"{}\"", bindings::VECTORIZE)));
    assert!(live.contains(&format!("{} = \"", bindings::VECTORS)));
}

#[test]
fn the_jobs_have_their_time() {
    let config = wrangler();
    let crons = config["triggers"]["crons"].as_array().unwrap();
    let crons: Vec<_> = crons.iter().map(|cron| cron.as_str().unwrap()).collect();
    assert_eq!(crons, [guildhall::jobs::HOURLY, guildhall::jobs::NIGHTLY]);
    let shim = include_str!("../src/platform/shim.js");
    assert!(shim.contains("scheduled("), "nobody would hear of it");
}

/// The settings without which nothing serves, and Stripe's.
fn setting(name: &str) -> Option<String> {
    match name {
        bindings::MODE => Some("sandbox".to_owned()),
        bindings::SEAL_KEY => Some("ab".repeat(32)),
        bindings::ADMIN_TOKEN
        | bindings::KEY_PEPPER
        | bindings::METRICS_TOKEN
        | bindings::STRIPE_SECRET_KEY
        | bindings::STRIPE_WEBHOOK_SECRETS => Some("0123456789abcdef".to_owned()),
        _ => None,
    }
}

/// The names of all variables and secrets that a deployment with every part reads.
fn settings_read() -> BTreeSet<String> {
    let read = RefCell::new(BTreeSet::new());
    let whole = Config::read(|name| {
        read.borrow_mut().insert(name.to_owned());
        setting(name)
    });
    assert!(whole.is_ok_and(|config| config.faults.is_empty() && config.stripe.is_some()));
    read.into_inner()
}

#[test]
fn every_variable_is_read_by_the_code_and_every_setting_explained() {
    let config = wrangler();
    let read = settings_read();
    for name in config["vars"].as_table().unwrap().keys() {
        assert!(read.contains(name), "{name} is read by nobody");
    }
    // A variable, or a comment where there is none.
    let words: BTreeSet<_> =
        include_str!("../wrangler.toml").split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let untold: Vec<_> = read.iter().filter(|name| !words.contains(name.as_str())).collect();
    assert!(untold.is_empty(), "wrangler.toml says nothing of {untold:?}");
}

#[test]
fn live_mode_gives_no_money_of_its_own_accord() {
    let gifts = |changed: &[(&str, &str)]| {
        let get = |name: &str| match changed.iter().find(|(changed, _)| *changed == name) {
            Some((_, value)) => Some((*value).to_owned()),
            None => setting(name),
        };
        Config::read(get).map(|config| (config.free_balance.0, config.house_credit.0))
    };
    let live = (bindings::MODE, "live");
    assert_eq!(gifts(&[]), Ok((0, 1_000_000_000_000)));
    assert_eq!(gifts(&[live]), Ok((0, 0)));
    let set = [live, (bindings::FREE_BALANCE_USD, "1"), (bindings::HOUSE_CREDIT_USD, "2")];
    assert_eq!(gifts(&set), Ok((1_000_000, 2_000_000)));
}

#[test]
fn no_secret_is_committed() {
    let config = wrangler();
    for secret in [
        bindings::ADMIN_TOKEN,
        bindings::METRICS_TOKEN,
        bindings::KEY_PEPPER,
        bindings::SEAL_KEY,
        bindings::VAULT_PASSWORD,
        bindings::STRIPE_SECRET_KEY,
        bindings::STRIPE_WEBHOOK_SECRETS,
        bindings::MAIL_API_KEY,
    ] {
        assert!(config["vars"].get(secret).is_none(), "{secret} is a secret, not a variable");
    }
}
