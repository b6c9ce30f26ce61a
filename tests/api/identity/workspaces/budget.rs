//! Monthly budgets of workspaces, accounts and keys: hard limits, which count what the month has spent already.

use std::rc::Rc;
use std::time::Duration;

use guildhall::app::App;
use guildhall::meter::money::flush;
use guildhall::store::identity::accounts::set_account_limit;
use guildhall_domain::money::MicroUsd;
use serde_json::{Value, json};

use super::super::keys::{create, patch as patch_key, read};
use super::{get, patch, put};
use crate::support::{Answer, Key, Reply, Session, TestApp, join_all, run};

/// A `HELLO` costs $0.00025 and holds more than $0.003: this is too little for one after four others.
const FOUR_USD: f64 = 0.004;

async fn begin(app: &TestApp) -> Session {
    app.with_model().await;
    app.answer_hello();
    let ada = app.sign_in_activated("ada@example.com").await;
    app.credit_account(&ada.account_id, "10").await;
    put(app, &ada, json!({ "workspace_id": "acme", "name": "Acme" })).await.expect(200);
    ada
}

async fn key_of_acme(app: &TestApp, ada: &Session) -> (Key, Value) {
    let body = json!({ "workspace_id": "acme", "requests_per_minute": 6_000, "requests_per_hour": 100_000,
        "concurrent": 100 });
    create(app, &ada.token, body).await
}

/// As billing sets it.
async fn limit_account(app: &TestApp, account_id: &str, limit: Option<f64>) {
    let usd = limit.map(|usd| MicroUsd::from_usd_str(&usd.to_string()).unwrap().0);
    let (isolate, ports) = (app.isolate(), app.ports());
    set_account_limit(account_id, usd).run(&*ports.db).await.unwrap();
    isolate.credentials.forget_account(account_id);
    flush(&isolate, &ports, account_id).await.unwrap();
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[test]
fn many_keys_over_many_isolates_spend_a_budget_to_the_last() {
    for (latency_ms, of_account) in [(0, false), (40, false), (40, true)] {
        run(async |app| {
            let ada = begin(&app).await;
            // 10 output tokens at $100/M: a call costs $0.001, and holds no more.
            let model = json!({ "id": "m2", "provider_id": "p1", "max_output_tokens": 1000, "input_per_1k": 0,
                "output_per_1k": 0.1, "enabled": true });
            app.admin("POST", "/admin/v1/models").json(&model).send().await.expect(200);
            app.upstream.latency_ms.set(latency_ms);
            app.upstream.always(Reply::chat("x", 7, 10));
            if of_account {
                limit_account(&app, &ada.account_id, Some(0.2)).await;
            } else {
                patch(&app, &ada, "acme", json!({ "monthly_budget_usd": 0.2 })).await.expect(200);
            }
            let mut keys = Vec::new();
            for at in 0..5 {
                let (key, answer) = key_of_acme(&app, &ada).await;
                let id = answer["id"].as_str().unwrap();
                // Some have more budgets, and so leases of their own.
                let budget = if at % 2 == 0 { 0 } else { 1 };
                patch_key(&app, &ada.token, id, json!({ "monthly_budget_usd": budget })).await.expect(200);
                let path = format!("/admin/v1/apikeys/{id}");
                app.admin("PATCH", &path)
                    .json(&json!({ "rate_limit_rps": -1, "requests_per_minute": 0,
                    "requests_per_hour": 0, "concurrent": 0 }))
                    .send()
                    .await
                    .expect(200);
                keys.push(key);
            }
            let isolates = [app.isolate(), app.new_isolate(), app.new_isolate(), app.new_isolate()];
            let body = r#"{"model":"m2","messages":[{"role":"user","content":"hello"}],"max_tokens":10}"#;
            let call = |at: usize| {
                let call = app.post("/v1/chat/completions").bearer(&keys[at % 5].key).body(body);
                call.to(&isolates[at % 4]).send()
            };
            let answers = join_all((0..500).map(call)).await;
            assert_eq!((count(&answers, 200), count(&answers, 429)), (200, 300), "at {latency_ms} ms");
            let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
            assert_eq!((refused.header("retry-after"), refused.json()["budget_usd"].clone()), (None, json!(0.2)));
            assert_eq!(refused.json()["error"], "monthly budget exceeded");
            assert_eq!(app.upstream.sent.borrow().len(), 200);
            app.pass_ms(130_000).await;
            assert_eq!(get(&app, &ada, "acme").await.expect(200).json()["current_spend_usd"], 0.2);
            assert_eq!(app.database.number("SELECT SUM(charged_micros) FROM usage"), 200_000);
        });
    }
}

/// What limits spending, as its owner sets it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Of {
    Key,
    Workspace,
    Account,
}

async fn set(app: &TestApp, ada: &Session, id: &str, of: Of, usd: Option<f64>) {
    match of {
        Of::Key => {
            let budget = json!({ "monthly_budget_usd": usd.unwrap_or(0.0) });
            drop(patch_key(app, &ada.token, id, budget).await.expect(200));
        }
        Of::Workspace => drop(patch(app, ada, "acme", json!({ "monthly_budget_usd": usd })).await.expect(200)),
        Of::Account => limit_account(app, &ada.account_id, usd).await,
    }
}

async fn hello(app: &TestApp, key: &Key, isolate: &Rc<App>, status: u16) -> Value {
    app.hello(key).to(isolate).send().await.expect(status).json()
}

#[test]
fn a_budget_that_is_set_in_the_middle_of_a_month_counts_what_the_month_has_spent() {
    for of in [Of::Key, Of::Workspace, Of::Account] {
        // The calls of another isolate, filed or not, count as much.
        for (is_elsewhere, pause_ms) in [(false, 0), (false, 5_000), (true, 50), (true, 5_000)] {
            run(async |app| {
                let ada = begin(&app).await;
                let (key, answer) = key_of_acme(&app, &ada).await;
                let id = answer["id"].as_str().unwrap();
                let here = app.isolate();
                let there = if is_elsewhere { app.new_isolate() } else { app.isolate() };
                for _ in 0..4 {
                    hello(&app, &key, &there, 200).await;
                }
                app.pass_ms(pause_ms).await;
                set(&app, &ada, id, of, Some(FOUR_USD)).await;
                let refused = hello(&app, &key, &here, 429).await;
                assert_eq!(
                    (&refused["budget_usd"], &refused["spent_usd"]),
                    (&json!(FOUR_USD), &json!(0.001)),
                    "{of:?}"
                );
                // Taken away, spent beyond, and set again: all of it counts.
                set(&app, &ada, id, of, None).await;
                hello(&app, &key, &here, 200).await;
                set(&app, &ada, id, of, Some(0.004_2)).await;
                assert_eq!(hello(&app, &key, &here, 429).await["spent_usd"], 0.001_25, "{of:?}");
                set(&app, &ada, id, of, Some(0.01)).await;
                hello(&app, &key, &here, 200).await;
                set(&app, &ada, id, of, Some(0.004_4)).await;
                assert_eq!(hello(&app, &key, &here, 429).await["spent_usd"], 0.001_5, "{of:?}");
                // Now is January: in February it begins at nothing.
                tokio::time::sleep(Duration::from_secs(20 * 86_400)).await;
                for _ in 0..5 {
                    hello(&app, &key, &here, 200).await;
                }
                hello(&app, &key, &here, 200).await;
                assert_eq!(hello(&app, &key, &here, 429).await["spent_usd"], 0.001_5, "{of:?}");
            });
        }
    }
}

#[test]
fn each_counts_its_own() {
    run(async |app| {
        let ada = begin(&app).await;
        let ((one, one_id), (two, _)) = (key_of_acme(&app, &ada).await, key_of_acme(&app, &ada).await);
        let (free, free_id) = create(&app, &ada.token, json!({})).await;
        for key in [&one, &two, &free, &one] {
            app.hello(key).send().await.expect(200);
        }
        let spent = async |id: &Value| {
            read(&app, &ada.token, id.as_str().unwrap()).await.expect(200).json()["current_spend_usd"].clone()
        };
        assert_eq!((spent(&one_id["id"]).await, spent(&free_id["id"]).await), (json!(0.000_5), json!(0.000_25)));
        assert_eq!(get(&app, &ada, "acme").await.expect(200).json()["current_spend_usd"], 0.000_75);
        limit_account(&app, &ada.account_id, Some(FOUR_USD)).await;
        for key in [&one, &free] {
            assert_eq!(app.hello(key).send().await.expect(429).json()["spent_usd"], 0.001);
        }
        limit_account(&app, &ada.account_id, None).await;
        patch(&app, &ada, "acme", json!({ "monthly_budget_usd": 0.003_75 })).await.expect(200);
        app.hello(&two).send().await.expect(429);
        app.hello(&free).send().await.expect(200);
    });
}

#[test]
fn a_budget_of_nothing_lets_only_what_is_free_through() {
    run(async |app| {
        let ada = begin(&app).await;
        let (key, _) = key_of_acme(&app, &ada).await;
        patch(&app, &ada, "acme", json!({ "monthly_budget_usd": 0 })).await.expect(200);
        app.hello(&key).send().await.expect(429);
        let free = json!({ "id": "free", "provider_id": "p1", "input_per_1k": 0, "output_per_1k": 0, "enabled": true });
        app.admin("POST", "/admin/v1/models").json(&free).send().await.expect(200);
        let body = r#"{"model":"free","messages":[{"role":"user","content":"hello"}],"max_tokens":10}"#;
        app.post("/v1/chat/completions").bearer(&key.key).body(body).send().await.expect(200);
    });
}

#[test]
fn a_budget_that_was_reset_counts_from_then_on_though_nothing_limits_it() {
    run(async |app| {
        let ada = begin(&app).await;
        let (key, answer) = key_of_acme(&app, &ada).await;
        let id = answer["id"].as_str().unwrap();
        app.hello(&key).send().await.expect(200);
        app.admin("POST", &format!("/admin/v1/apikeys/{id}/paid")).send().await.expect(200);
        for _ in 0..2 {
            app.hello(&key).send().await.expect(200);
        }
        assert_eq!(read(&app, &ada.token, id).await.expect(200).json()["current_spend_usd"], 0.000_5);
        assert_eq!(get(&app, &ada, "acme").await.expect(200).json()["current_spend_usd"], 0.000_75);
    });
}
