//! Provider keys in the vault, and the traffic that needs them.

use std::rc::Rc;

use guildhall::app::App;
use guildhall::store::models::providers::put_provider;
use guildhall_domain::seal::seal;
use serde_json::{Value, json};

use super::{PASSWORD, assert_error, info, lock, restart, run_by_hand, unlock};
use crate::support::{Answer, Fault, Key, TestApp, run};

const PROVIDERS: &str = "/admin/v1/providers";

/// One provider with a key in the vault, which is unlocked.
async fn with_traffic(app: &TestApp) -> Key {
    unlock(app, PASSWORD).await.expect(200);
    with_leased_key(app).await
}

async fn with_leased_key(app: &TestApp) -> Key {
    let key = app.with_model().await;
    app.set_limits(&key, 1_000_000, 10_000_000, 10_000).await;
    app.answer_hello();
    key
}

/// The key that the upstream is called with.
async fn sent_key(app: &TestApp, key: &Key) -> Option<String> {
    app.hello(key).send().await.expect(200);
    let sent = app.upstream.sent.borrow_mut().pop().unwrap();
    sent.headers.into_iter().find(|(name, _)| *name == "authorization").map(|(_, value)| value)
}

async fn patch(app: &TestApp, fields: Value) -> Answer {
    app.admin("PATCH", "/admin/v1/providers/p1").json(&fields).send().await
}

#[test]
fn after_a_restart_and_an_unlock_the_upstream_gets_the_key() {
    run_by_hand(async |app| {
        let key = with_traffic(&app).await;
        assert_eq!(sent_key(&app, &key).await.as_deref(), Some("Bearer sk-p1"));
        restart(&app);
        assert_eq!(info(&app).await, (true, true));
        app.hello(&key).send().await.expect(503);
        // Providers, models and keys have survived.
        let listed = app.admin("GET", PROVIDERS).send().await.expect(200).json();
        assert_eq!((&listed["total"], &listed["items"][0]["cred_store"]), (&json!(1), &json!("vault")));
        unlock(&app, PASSWORD).await.expect(200);
        assert_eq!(sent_key(&app, &key).await.as_deref(), Some("Bearer sk-p1"));
        assert_eq!(app.upstream.sent.borrow().len(), 0, "nothing was sent without the key");
    });
}

#[test]
fn a_key_needs_an_unlocked_vault() {
    run_by_hand(async |app| {
        let fields = json!({ "id": "p1", "base_url": "https://api.example.com", "api_key": "sk-1" });
        assert_error(app.admin("POST", PROVIDERS).json(&fields).send().await, 503, "vault is locked");
        assert_error(patch(&app, fields.clone()).await, 503, "vault is locked");
        assert_eq!(app.admin("GET", PROVIDERS).send().await.json()["total"], 0, "nothing was stored");
        // Without a key there is nothing to keep.
        let keyless = json!({ "id": "p2", "base_url": "https://api.example.com" });
        let stored = app.admin("POST", PROVIDERS).json(&keyless).send().await.expect(200).json();
        assert_eq!(stored, json!({ "ok": true, "cred_store": "none" }));
        unlock(&app, PASSWORD).await.expect(200);
        let stored = app.admin("POST", PROVIDERS).json(&fields).send().await.expect(200).json();
        assert_eq!(stored, json!({ "ok": true, "cred_store": "vault" }));
        // What is wrong is refused before anything is kept.
        let wrong = json!({ "id": "p3", "base_url": "http://10.0.0.1", "api_key": "sk-3" });
        app.admin("POST", PROVIDERS).json(&wrong).send().await.expect(400);
        assert!(!app.objects.dump().contains("provider:p3"));
        assert_error(app.admin("POST", PROVIDERS).json(&json!({})).send().await, 400, "provider id required");
    });
}

#[test]
fn a_change_that_does_not_speak_of_the_key_keeps_it_even_while_it_is_locked() {
    run_by_hand(async |app| {
        let key = with_traffic(&app).await;
        lock(&app).await;
        for enabled in [false, true] {
            let changed = patch(&app, json!({ "enabled": enabled })).await.expect(200).json();
            assert_eq!(changed["provider"]["cred_store"], "vault");
        }
        let fields = json!({ "id": "p1", "type": "openai", "base_url": "http://127.0.0.1:9/p1" });
        let stored = app.admin("POST", PROVIDERS).json(&fields).send().await.expect(200).json();
        assert_eq!(stored["cred_store"], "vault");
        unlock(&app, PASSWORD).await.expect(200);
        assert_eq!(sent_key(&app, &key).await.as_deref(), Some("Bearer sk-p1"));
    });
}

#[test]
fn a_key_goes_with_its_provider_even_while_it_is_locked() {
    run_by_hand(async |app| {
        with_traffic(&app).await;
        assert!(app.objects.dump().contains("provider:p1:api_key"));
        lock(&app).await;
        app.admin("DELETE", "/admin/v1/providers/p1").send().await.expect(200);
        assert!(!app.objects.dump().contains("provider:p1:api_key"));
        unlock(&app, PASSWORD).await.expect(200);
        app.add_provider("p1").await;
        patch(&app, json!({ "cred_store": "none" })).await.expect(200);
        assert!(!app.objects.dump().contains("provider:p1:api_key"), "forgotten on request");
    });
}

#[test]
fn a_failure_half_way_leaves_what_can_be_repeated() {
    run_by_hand(async |app| {
        let key = with_traffic(&app).await;
        for fault in [Fault::Before, Fault::After] {
            app.faults.fail_object("VAULT", fault);
            patch(&app, json!({ "api_key": "sk-new" })).await.expect(500);
            assert_eq!(patch(&app, json!({})).await.expect(200).json()["provider"]["cred_store"], "vault");
            patch(&app, json!({ "api_key": "sk-new" })).await.expect(200);
            assert_eq!(sent_key(&app, &key).await.as_deref(), Some("Bearer sk-new"));
        }
        app.faults.fail_object("VAULT", Fault::After);
        app.admin("DELETE", "/admin/v1/providers/p1").send().await.expect(500);
        assert_eq!(app.admin("GET", PROVIDERS).send().await.json()["total"], 1);
        app.hello(&key).to(&app.new_isolate()).send().await.expect(503);
        app.admin("DELETE", "/admin/v1/providers/p1").send().await.expect(200);
        assert_eq!(app.admin("GET", PROVIDERS).send().await.json()["total"], 0);
    });
}

#[test]
fn a_lock_stops_traffic_here_at_once_and_an_unlock_resumes_it() {
    run_by_hand(async |app| {
        let key = with_traffic(&app).await;
        for _ in 0..2 {
            app.hello(&key).send().await.expect(200);
            lock(&app).await;
            let answer = app.hello(&key).send().await.expect(503);
            assert!(!answer.text().contains("vault") && !answer.text().contains("sk-p1"), "{}", answer.text());
            unlock(&app, PASSWORD).await.expect(200);
        }
        app.hello(&key).send().await.expect(200);
    });
}

/// How long after `happens` another isolate, called every `pause_ms`, answers with `status`.
async fn seen_after_ms(app: &TestApp, key: &Key, other: &Rc<App>, pause_ms: u64, status: u16) -> i64 {
    let began_ms = app.now_ms();
    while app.hello(key).to(other).send().await.status != status {
        app.pass_ms(pause_ms).await;
        assert!(app.now_ms() - began_ms <= 120_000, "never seen");
    }
    app.now_ms() - began_ms
}

#[test]
fn a_lock_reaches_every_isolate_within_a_minute() {
    for pause_ms in [40, 900, 5_000, 9_900, 15_000, 29_000, 59_000] {
        run_by_hand(async |app| {
            let key = with_traffic(&app).await;
            let other = app.new_isolate();
            // Keys of every age.
            for age_ms in [0, 7_000, 28_000] {
                app.hello(&key).to(&other).send().await.expect(200);
                app.pass_ms(age_ms).await;
                lock(&app).await;
                let lock_ms = seen_after_ms(&app, &key, &other, pause_ms, 503).await;
                assert!(lock_ms <= 60_000, "{lock_ms} ms, called every {pause_ms}");
                unlock(&app, PASSWORD).await.expect(200);
                seen_after_ms(&app, &key, &other, pause_ms, 200).await;
            }
        });
    }
}

#[test]
fn an_unlock_reaches_a_busy_isolate_within_seconds() {
    run_by_hand(async |app| {
        let key = with_traffic(&app).await;
        let other = app.new_isolate();
        lock(&app).await;
        app.hello(&key).to(&other).send().await.expect(503);
        app.pass_ms(20_000).await;
        app.hello(&key).to(&other).send().await.expect(503);
        unlock(&app, PASSWORD).await.expect(200);
        let unlock_ms = seen_after_ms(&app, &key, &other, 100, 200).await;
        assert!(unlock_ms <= 5_000, "{unlock_ms} ms");
    });
}

#[test]
fn keys_are_used_for_a_minute_at_most_while_the_vault_does_not_answer() {
    run_by_hand(async |app| {
        let key = with_traffic(&app).await;
        app.hello(&key).send().await.expect(200);
        (0..2_000).for_each(|_| app.faults.fail_object("VAULT", Fault::Before));
        let isolate = app.isolate();
        let lost_ms = seen_after_ms(&app, &key, &isolate, 400, 503).await;
        assert!((45_000..=60_000).contains(&lost_ms), "{lost_ms}");
        app.faults.clear();
        let found_ms = seen_after_ms(&app, &key, &isolate, 400, 200).await;
        assert!(found_ms <= 5_000, "{found_ms}");
    });
}

#[test]
fn a_busy_isolate_asks_the_vault_twice_a_minute_and_never_waits_for_it() {
    run(async |app| {
        let key = with_leased_key(&app).await;
        for _ in 0..10 {
            app.hello(&key).send().await.expect(200);
        }
        // Were it waited for, a call would take this long.
        app.faults.slow_object("VAULT", 3_000);
        let (start_ms, before) = (app.now_ms(), app.faults.calls_of("VAULT"));
        for _ in 0..1_200 {
            let began_ms = app.now_ms();
            app.hello(&key).send().await.expect(200);
            assert!(app.now_ms() - began_ms < 1_000);
            app.pass_ms(100).await;
        }
        let asked = i64::try_from(app.faults.calls_of("VAULT") - before).unwrap();
        let minutes = (app.now_ms() - start_ms) / 60_000;
        assert!((1..=2 * (minutes + 1)).contains(&asked), "{asked} times in {minutes} minutes");
    });
}

#[test]
fn providers_without_a_key_do_not_need_the_vault() {
    run_by_hand(async |app| {
        let fields = json!({ "id": "p1", "type": "vllm", "base_url": "http://127.0.0.1:9/p1" });
        app.admin("POST", PROVIDERS).json(&fields).send().await.expect(200);
        app.add_model("m1", "p1", 5).await;
        let key = app.provision("10").await;
        app.answer_hello();
        (0..100).for_each(|_| app.faults.fail_object("VAULT", Fault::Before));
        assert_eq!(sent_key(&app, &key).await, None);
    });
}

#[test]
fn a_key_from_before_the_vault_works_until_it_is_replaced() {
    run_by_hand(async |app| {
        let sealed = seal(&[0x5e; 32], [9; 12], "provider:p1:api_key", b"sk-old").unwrap();
        let row = put_provider("p1", "openai", "http://127.0.0.1:9/p1", true, "vault", Some(&sealed), app.now_ms());
        app.database.run(&[row.statement]).unwrap();
        app.add_model("m1", "p1", 5).await;
        let key = app.provision("10").await;
        app.answer_hello();
        assert_eq!(sent_key(&app, &key).await.as_deref(), Some("Bearer sk-old"));
        let changed = patch(&app, json!({ "enabled": true })).await.expect(200).json();
        assert_eq!(changed["provider"]["cred_store"], "vault");
        assert_eq!(sent_key(&app, &key).await.as_deref(), Some("Bearer sk-old"));
        unlock(&app, PASSWORD).await.expect(200);
        patch(&app, json!({ "api_key": "sk-new" })).await.expect(200);
        assert_eq!(sent_key(&app, &key).await.as_deref(), Some("Bearer sk-new"));
        assert_eq!(app.database.number("SELECT COUNT(*) FROM providers WHERE sealed_key IS NOT NULL"), 0);
        lock(&app).await;
        app.hello(&key).send().await.expect(503);
    });
}

/// G15: the admin token is the deployment's, and the vault's salt is the vault's: the same password opens it.
#[test]
fn everything_but_the_open_vault_survives_a_restart() {
    run_by_hand(async |app| {
        let key = with_traffic(&app).await;
        let issued = json!({ "name": "app", "monthly_budget_usd": 3, "rotation_days": 9 });
        app.admin("POST", "/admin/v1/apikeys").json(&issued).send().await.expect(200);
        let alias = json!({ "variants": [{ "model_id": "m1", "weight": 1 }] });
        app.admin("PUT", "/admin/v1/aliases/best").json(&alias).send().await.expect(200);
        let routing = json!({ "default_mode": "cheap", "default_max_budget_usd": 2 });
        app.admin("PUT", "/admin/v1/routing-config").json(&routing).send().await.expect(200);
        let read_all = async || {
            let mut told = Vec::new();
            for resource in ["providers", "models", "apikeys", "aliases", "routing-config"] {
                told.push(app.admin("GET", &format!("/admin/v1/{resource}")).send().await.expect(200).text());
            }
            told
        };
        let before = read_all().await;
        assert!(
            before[2].contains("acc_house") && before[3].contains("best") && before[4].contains("cheap"),
            "{before:?}"
        );
        restart(&app);
        assert_eq!(info(&app).await, (true, true), "the vault is locked");
        for (now, before) in read_all().await.into_iter().zip(before) {
            assert_eq!(now, before);
        }
        unlock(&app, PASSWORD).await.expect(200);
        assert_eq!(sent_key(&app, &key).await.as_deref(), Some("Bearer sk-p1"));
    });
}
