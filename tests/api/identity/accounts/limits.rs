//! `PATCH /admin/v1/accounts/{id}/limits`.

use serde_json::json;

use crate::support::{Answer, Key, TestApp, run};

async fn patch(app: &TestApp, account_id: &str, body: &str) -> Answer {
    app.admin("PATCH", &format!("/admin/v1/accounts/{account_id}/limits")).body(body).send().await
}

/// What the next response of the key says of its limit.
async fn shown_limit(app: &TestApp, key: &Key) -> String {
    let answer = app.get("/v1/balance").bearer(&key.key).send().await;
    answer.header("x-ratelimit-limit").unwrap().to_owned()
}

#[test]
fn what_is_left_out_stays_as_it_is() {
    run(async |app| {
        let key = app.provision("0").await;
        for (body, expected) in [
            ("{}", [60, 1_000, 5]),
            ("", [60, 1_000, 5]),
            (r#"{"requests_per_minute":100}"#, [100, 1_000, 5]),
            (r#"{"concurrent":7}"#, [100, 1_000, 7]),
            (r#"{"requests_per_hour":2000,"requests_per_minute":null}"#, [100, 2_000, 7]),
            (r#"{"requests_per_minute":1,"requests_per_hour":1,"concurrent":1}"#, [1, 1, 1]),
        ] {
            let answer = patch(&app, &key.account_id, body).await.expect(200).json();
            let [per_minute, per_hour, concurrent] = expected;
            let expected = json!({
                "ok": true, "account_id": key.account_id, "requests_per_minute": per_minute,
                "requests_per_hour": per_hour, "concurrent": concurrent,
            });
            assert_eq!(answer, expected, "{body}");
        }
    });
}

#[test]
fn a_value_that_is_none_is_refused_by_name_and_changes_nothing() {
    run(async |app| {
        let key = app.provision("0").await;
        for field in ["requests_per_minute", "requests_per_hour", "concurrent"] {
            for value in ["0", "-1", "1.5", "\"5\"", "4294967296", "true", "[]"] {
                let body = format!(r#"{{"{field}":{value}}}"#);
                let refused = patch(&app, &key.account_id, &body).await.expect(400).json();
                let text = refused["error"].as_str().unwrap();
                assert!(text.contains(field), "{body}: {text}");
            }
        }
        // One good value beside a bad one is not set either.
        patch(&app, &key.account_id, r#"{"requests_per_minute":9,"concurrent":0}"#).await.expect(400);
        let kept = patch(&app, &key.account_id, "{}").await.expect(200).json();
        assert_eq!((&kept["requests_per_minute"], &kept["concurrent"]), (&json!(60), &json!(5)));
    });
}

#[test]
fn an_unknown_account_is_404() {
    run(async |app| {
        let refused = patch(&app, "prov_nobody", r#"{"concurrent":5}"#).await.expect(404);
        assert_eq!(refused.json(), json!({ "error": "account not found" }));
    });
}

#[test]
fn new_limits_hold_at_once_where_they_were_set() {
    run(async |app| {
        let key = app.provision("0").await;
        assert_eq!(shown_limit(&app, &key).await, "60");
        app.set_limits(&key, 3, 1_000, 5).await;
        assert_eq!(shown_limit(&app, &key).await, "3");
        assert_eq!(shown_limit(&app, &key).await, "3");
        let refused = app.get("/v1/balance").bearer(&key.key).send().await;
        assert_eq!(refused.status, 429, "what was used before counts");
        app.set_limits(&key, 100, 1_000, 5).await;
        app.get("/v1/balance").bearer(&key.key).send().await.expect(200);
        app.set_limits(&key, 100_000, 1_000_000, 1_000).await;
        assert_eq!(shown_limit(&app, &key).await, "100000");
        app.set_limits(&key, 70, 1_000, 5).await;
        assert_eq!(shown_limit(&app, &key).await, "70", "from leased back to exact");
    });
}

#[test]
fn new_limits_hold_within_two_seconds_in_another_isolate() {
    run(async |app| {
        let other = app.new_isolate();
        for calls_between in [0, 1, 4] {
            let key = app.provision("0").await;
            let call = async || {
                let answer = app.get("/v1/balance").bearer(&key.key).to(&other).send().await;
                answer.header("x-ratelimit-limit").unwrap().to_owned()
            };
            assert_eq!(call().await, "60");
            app.set_limits(&key, 30, 1_000, 5).await;
            // An isolate that is busy learns of it as soon as one that is not.
            for _ in 0..calls_between {
                tokio::time::sleep(std::time::Duration::from_millis(2_000 / (calls_between + 1))).await;
                call().await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2_001 / (calls_between + 1))).await;
            assert_eq!(call().await, "30", "with {calls_between} calls between");
        }
    });
}

#[test]
fn the_limits_of_one_account_are_not_anothers() {
    run(async |app| {
        let (one, two) = (app.provision("0").await, app.provision("0").await);
        app.set_limits(&one, 7, 1_000, 5).await;
        assert_eq!(shown_limit(&app, &one).await, "7");
        assert_eq!(shown_limit(&app, &two).await, "60");
    });
}
