//! `/v1/cache`: settings, what was saved, forgetting.

use std::time::Duration;

use serde_json::json;

use super::{CALL_MICROS, ask, hits, micros, question};
use crate::support::{Key, TestApp, run};

const SETTINGS: &str = "/v1/cache/settings";

async fn set(app: &TestApp, key: &Key, settings: serde_json::Value) -> serde_json::Value {
    app.call("PUT", "/v1/cache/settings").bearer(&key.key).json(&settings).send().await.expect(200).json()
}

#[test]
fn owners_read_and_change_their_settings() {
    run(async |app| {
        let key = app.provision("1").await;
        let got = app.get("/v1/cache/settings").bearer(&key.key).send().await.expect(200).json();
        let fresh = json!({ "exact": "deterministic", "semantic": false, "threshold": 0.95, "ttl_seconds": 3600 });
        assert_eq!(got, fresh);
        let wanted = json!({ "exact": "all", "semantic": true, "threshold": 0.8, "ttl_seconds": 60 });
        assert_eq!(set(&app, &key, wanted.clone()).await, wanted);
        // What is left out stays.
        let got = set(&app, &key, json!({ "exact": "off", "threshold": 1 })).await;
        assert_eq!(got, json!({ "exact": "off", "semantic": true, "threshold": 1.0, "ttl_seconds": 60 }));
        assert_eq!(app.get(SETTINGS).bearer(&key.key).send().await.expect(200).json(), got);
        let other = app.provision("1").await;
        assert_eq!(app.get(SETTINGS).bearer(&other.key).send().await.expect(200).json(), fresh, "each account its own");
        let session = app.sign_in("ada@example.com").await;
        assert_eq!(app.get(SETTINGS).bearer(&session.token).send().await.expect(200).json(), fresh);
    });
}

#[test]
fn faults_are_named() {
    run(async |app| {
        let key = app.provision("1").await;
        for (field, value) in [
            ("threshold", json!(0.79)),
            ("threshold", json!(1.01)),
            ("threshold", json!(-1)),
            ("ttl_seconds", json!(59)),
            ("ttl_seconds", json!(604_801)),
            ("exact", json!("some")),
            ("semantic", json!("yes")),
        ] {
            let call = app.call("PUT", SETTINGS).bearer(&key.key).json(&json!({ field: value }));
            let answer = call.send().await.expect(400);
            assert!(answer.text().contains(field), "{}", answer.text());
        }
        let fresh = app.get(SETTINGS).bearer(&key.key).send().await.expect(200).json();
        assert_eq!(fresh["threshold"], 0.95, "nothing has changed");
    });
}

#[test]
fn keys_that_may_not_manage_are_refused() {
    run(async |app| {
        let body = json!({ "name": "k", "scopes": "[\"chat\"]" });
        let issued = app.admin("POST", "/admin/v1/apikeys").json(&body).send().await.expect(200).json();
        let key = issued["key"].as_str().unwrap();
        for (method, path) in [
            ("GET", "/v1/cache/settings"),
            ("PUT", "/v1/cache/settings"),
            ("GET", "/v1/cache/stats"),
            ("DELETE", "/v1/cache"),
        ] {
            app.call(method, path).send().await.expect(401);
            app.call(method, path).bearer(key).body("{}").send().await.expect(403);
        }
    });
}

#[test]
fn settings_hold_at_once() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let plain = json!({ "model": "m1", "messages": [{ "role": "user", "content": "a" }] });
        set(&app, &key, json!({ "exact": "all" })).await;
        assert!(!hits(&app, ask(&app, &key, &plain)).await && hits(&app, ask(&app, &key, &plain)).await);
        set(&app, &key, json!({ "exact": "off" })).await;
        assert!(!hits(&app, ask(&app, &key, &plain)).await && !hits(&app, ask(&app, &key, &question("a"))).await);
        set(&app, &key, json!({ "exact": "all", "ttl_seconds": 60 })).await;
        app.pass_ms(61_000).await;
        assert!(!hits(&app, ask(&app, &key, &plain)).await, "older than a minute");
        assert!(hits(&app, ask(&app, &key, &plain)).await);
    });
}

#[test]
fn what_is_forgotten_is_not_given_again() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let other = app.provision("1").await;
        for key in [&key, &other] {
            assert!(!hits(&app, ask(&app, key, &question("a"))).await);
        }
        let isolate = app.new_isolate();
        let elsewhere = || ask(&app, &key, &question("a")).to(&isolate);
        assert!(hits(&app, elsewhere()).await);
        let answer = app.call("DELETE", "/v1/cache").bearer(&key.key).send().await.expect(200);
        assert_eq!(answer.json(), json!({ "ok": true }));
        assert!(!hits(&app, ask(&app, &key, &question("a"))).await);
        assert!(hits(&app, ask(&app, &other, &question("a"))).await, "others keep theirs");
        app.pass_ms(2_100).await;
        app.cache.lose();
        assert!(!hits(&app, elsewhere()).await, "within two seconds everywhere");
    });
}

#[test]
fn the_stats_say_what_was_saved() {
    run(async |app| {
        let key = app.with_busy_key().await;
        for (text, times) in [("a", 3), ("b", 1)] {
            for _ in 0..times {
                _ = hits(&app, ask(&app, &key, &question(text))).await;
            }
        }
        let stats = app.get("/v1/cache/stats").bearer(&key.key).send().await.expect(200).json();
        for window in ["day", "week", "month", "all"] {
            let window = &stats[window];
            assert_eq!((&window["hits"], &window["misses"]), (&json!(2), &json!(2)), "{window}");
            assert_eq!(micros(&window["saved_usd"]), 2 * CALL_MICROS);
        }
        tokio::time::sleep(Duration::from_secs(90_000)).await;
        let stats = app.get("/v1/cache/stats").bearer(&key.key).send().await.expect(200).json();
        assert_eq!((&stats["day"]["hits"], &stats["week"]["hits"]), (&json!(0), &json!(2)));
        let other = app.provision("1").await;
        let stats = app.get("/v1/cache/stats").bearer(&other.key).send().await.expect(200).json();
        assert_eq!((&stats["all"]["hits"], &stats["questions"]), (&json!(0), &json!(0)));
    });
}
