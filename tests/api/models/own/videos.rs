//! Videos that callers' own upstreams make.

use serde_json::{Value, json};

use super::{ENDPOINTS, STAND_IN, bring_endpoint, bring_key, own};
use crate::api::models::kit::{add_model, assert_balanced, last_receipt, micros, rich_key, usage_rows};
use crate::support::{Key, Reply, TestApp, run, run_with};

/// A key with so much money; the platform makes videos at `p1` for $0.10 a second, and the account's endpoint too.
async fn with_endpoint(app: &TestApp, amount_usd: &str) -> (Key, String, Value) {
    app.add_provider("p1").await;
    add_model(app, "film", "p1", json!({ "kind": "video", "unit_price_usd": 0.1 })).await;
    let key = rich_key(app, amount_usd).await;
    let session = own(app, &key).await;
    let endpoint =
        bring_endpoint(app, &session, &["wan2-secret"], json!({ "model_map": { "film": "wan2-secret" } })).await;
    (key, session, endpoint)
}

fn state(status: &str) -> Reply {
    Reply::Whole(200, json!({ "id": "vid1", "object": "video", "status": status, "seconds": "4" }).to_string(), "")
}

async fn ask_for(app: &TestApp, key: &Key) -> String {
    let body = json!({ "model": "film", "prompt": "waves", "seconds": 4 });
    let video = app.post("/v1/videos").bearer(&key.key).json(&body).send().await.expect(200).json();
    video["id"].as_str().unwrap().to_owned()
}

async fn look_at(app: &TestApp, key: &Key, id: &str) -> Value {
    app.get(&format!("/v1/videos/{id}")).bearer(&key.key).send().await.expect(200).json()
}

#[test]
fn an_endpoint_is_followed_to_the_end_and_charged_its_part() {
    run(async |app| {
        let (key, ..) = with_endpoint(&app, "10").await;
        app.upstream.always_at("home", state("queued"));
        let id = ask_for(&app, &key).await;
        let sent = app.upstream.sent.borrow().last().unwrap().clone();
        assert_eq!(sent.url, "http://127.0.0.1:9/home/v1/videos");
        assert_eq!(app.upstream.bodies()[0]["model"], "wan2-secret");
        // Nobody asks, and another isolate follows it.
        app.crash_isolate();
        app.upstream.always_at("home", state("completed"));
        app.pass_ms(120_000).await;
        let done = look_at(&app, &key, &id).await;
        assert_eq!((&done["status"], micros(&done["cost_usd"])), (&json!("completed"), 20_000));
        app.upstream.always_at("home", Reply::Whole(200, "a film".into(), ""));
        let file =
            app.get(&format!("/v1/videos/{id}/content")).bearer(&key.key).undocumented().send().await.expect(200);
        assert_eq!(file.text(), "a film");
        assert!(app.upstream.take_called().iter().all(|provider| provider == "home"));
        let receipt = last_receipt(&app, &key).await;
        assert_eq!(
            (&receipt["billing_mode"], micros(&receipt["baseline_usd"])),
            (&json!("local"), 400_000),
            "{receipt}"
        );
        assert_eq!((micros(&receipt["charged_usd"]), &receipt["receipt"]["percent_of_baseline"]), (20_000, &json!(5)));
        assert!(!receipt.to_string().contains("secret"), "an endpoint's names are for its owner's lists: {receipt}");
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn a_key_has_its_provider_make_it() {
    run_with(STAND_IN, async |app| {
        app.add_provider("p1").await;
        add_model(&app, "sora", "p1", json!({ "kind": "video", "unit_price_usd": 0.1, "upstream_model": "sora-2" }))
            .await;
        let key = rich_key(&app, "10").await;
        let session = own(&app, &key).await;
        bring_key(&app, &session, json!({ "provider": "openai", "secret": "sk-own" })).await;
        app.upstream.always_at("openai", state("completed"));
        let body = json!({ "model": "sora", "prompt": "waves", "seconds": 4 });
        app.post("/v1/videos").bearer(&key.key).json(&body).send().await.expect(200);
        app.pass_ms(120_000).await;
        for sent in app.upstream.sent.borrow().iter() {
            assert!(sent.url.starts_with("http://127.0.0.1:9/openai/v1/videos"), "{}", sent.url);
            assert!(sent.headers.contains(&("authorization", "Bearer sk-own".into())));
        }
        let receipt = last_receipt(&app, &key).await;
        assert_eq!((&receipt["billing_mode"], micros(&receipt["charged_usd"])), (&json!("byok"), 20_000), "{receipt}");
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn what_an_endpoint_does_not_take_the_platform_makes() {
    run(async |app| {
        let (key, ..) = with_endpoint(&app, "10").await;
        app.upstream.always_at("home", Reply::error(400, "no films here"));
        app.upstream.always_at("p1", state("completed"));
        let id = ask_for(&app, &key).await;
        assert_eq!(app.upstream.take_called(), ["home", "p1"]);
        app.pass_ms(120_000).await;
        assert_eq!(micros(&look_at(&app, &key, &id).await["cost_usd"]), 400_000);
        assert_eq!(last_receipt(&app, &key).await["billing_mode"], "managed");
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn an_endpoint_that_is_taken_away_leaves_a_video_that_is_never_done() {
    run(async |app| {
        let (key, session, endpoint) = with_endpoint(&app, "10").await;
        app.upstream.always_at("home", state("queued"));
        let id = ask_for(&app, &key).await;
        let path = format!("{ENDPOINTS}/{}", endpoint["id"].as_str().unwrap());
        app.call("DELETE", &path).bearer(&session).send().await.expect(200);
        app.upstream.take_called();
        app.pass_ms(2 * 60 * 60 * 1_000).await;
        assert_eq!(look_at(&app, &key, &id).await["status"], "failed");
        assert!(app.upstream.take_called().is_empty(), "its address is not called any more");
        assert_eq!(usage_rows(&app, &key).await.len(), 1);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn little_money_goes_home() {
    run(async |app| {
        // The platform's route costs $0.40, five percent of it are there.
        let (key, ..) = with_endpoint(&app, "0.03").await;
        app.upstream.always_at("home", state("completed"));
        let id = ask_for(&app, &key).await;
        app.pass_ms(120_000).await;
        assert_eq!(look_at(&app, &key, &id).await["status"], "completed");
        app.upstream.always_at("home", Reply::error(400, "no"));
        let body = json!({ "model": "film", "prompt": "waves", "seconds": 4 });
        app.post("/v1/videos").bearer(&key.key).json(&body).send().await.expect(402);
        assert_balanced(&app, &key, 30_000).await;
    });
}
