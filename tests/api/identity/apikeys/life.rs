//! From its first use to its end: who is let in, and for how long after a change.

use std::rc::Rc;
use std::time::Duration;

use guildhall::app::App;
use serde_json::json;

use super::{add_model, delete, issue, item, patch, rotate};
use crate::support::{Key, TestApp, run};

async fn status(app: &TestApp, key: &Key, isolate: &Rc<App>) -> u16 {
    app.get("/v1/balance").bearer(&key.key).to(isolate).send().await.status
}

#[test]
fn scopes_are_what_a_key_may_do() {
    run(async |app| {
        add_model(&app).await;
        for (scopes, expected) in [
            (json!("[\"chat\"]"), 200),
            (json!(["plan", "embeddings"]), 403),
            (json!("[]"), 200),
            (json!(""), 200),
            (json!([]), 200),
        ] {
            let (key, _) = issue(&app, json!({ "scopes": scopes })).await;
            let answer = app.hello(&key).send().await;
            assert_eq!(answer.status, expected, "{scopes}: {}", answer.text());
            if expected == 403 {
                assert_eq!(answer.json()["error"], "insufficient scope");
            }
        }
    });
}

/// Small limits are checked by the object, large ones are leased; without a lease the cache alone decides.
#[test]
fn what_ends_a_key_ends_it_here_at_once_and_elsewhere_within_two_seconds() {
    for rate in [0, 1, -1] {
        for what in ["delete", "disable", "rotate"] {
            run(async |app| {
                let (here, there) = (app.isolate(), app.new_isolate());
                let (key, answer) = issue(&app, json!({ "rate_limit_rps": rate })).await;
                let id = answer["id"].as_str().unwrap();
                for isolate in [&here, &there] {
                    assert_eq!(status(&app, &key, isolate).await, 200);
                }
                match what {
                    "delete" => delete(&app, id).await,
                    "disable" => drop(patch(&app, id, json!({ "enabled": false })).await.expect(200)),
                    _ => drop(rotate(&app, id).await),
                }
                assert_eq!(status(&app, &key, &here).await, 401, "{what} at rate {rate}");
                tokio::time::sleep(Duration::from_millis(2_001)).await;
                for isolate in [&here, &there] {
                    assert_eq!(status(&app, &key, isolate).await, 401, "{what} at rate {rate}");
                }
                if what == "disable" {
                    patch(&app, id, json!({ "enabled": true })).await.expect(200);
                    tokio::time::sleep(Duration::from_millis(1_001)).await;
                    for isolate in [&here, &there] {
                        assert_eq!(status(&app, &key, isolate).await, 200, "enabled at rate {rate}");
                    }
                }
            });
        }
    }
}

/// A second later where a lease is out; what is read of a key is believed for two.
#[test]
fn a_rotation_ends_the_old_secret_everywhere_and_never_the_new_one() {
    for (rate, lease_ms) in [(100, 0), (-1, 1_001)] {
        run(async |app| {
            let (here, there) = (app.isolate(), app.new_isolate());
            let (old, answer) = issue(&app, json!({ "rate_limit_rps": rate })).await;
            let id = answer["id"].as_str().unwrap();
            for isolate in [&here, &there] {
                assert_eq!(status(&app, &old, isolate).await, 200);
            }
            let rotated = rotate(&app, id).await;
            let new = Key { key: rotated["key"].as_str().unwrap().to_owned(), account_id: old.account_id.clone() };
            tokio::time::sleep(Duration::from_millis(lease_ms)).await;
            assert_eq!(status(&app, &old, &there).await, 401, "rate {rate}");
            for isolate in [&there, &here, &there] {
                assert_eq!(status(&app, &new, isolate).await, 200, "rate {rate}");
                assert_eq!(status(&app, &old, isolate).await, 401, "rate {rate}");
                tokio::time::sleep(Duration::from_millis(600)).await;
            }
        });
    }
}

#[test]
fn two_rotations_in_one_moment_leave_the_last_secret_alive() {
    run(async |app| {
        let (_, answer) = issue(&app, json!({ "rate_limit_rps": 100 })).await;
        let id = answer["id"].as_str().unwrap();
        let first = rotate(&app, id).await;
        let last = rotate(&app, id).await;
        for (rotated, expected) in [(first, 401), (last, 200)] {
            let key = Key { key: rotated["key"].as_str().unwrap().to_owned(), account_id: String::new() };
            assert_eq!(status(&app, &key, &app.new_isolate()).await, expected);
        }
    });
}

#[test]
fn a_key_expires_by_the_clock_though_it_was_just_used() {
    run(async |app| {
        let (key, answer) = issue(&app, json!({ "expires_in": "1.5s" })).await;
        let here = app.isolate();
        assert_eq!(status(&app, &key, &here).await, 200);
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        assert_eq!(status(&app, &key, &here).await, 200);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(status(&app, &key, &here).await, 401);
        let id = answer["id"].as_str().unwrap();
        patch(&app, id, json!({ "expires_in": "1h" })).await.expect(200);
        assert_eq!(status(&app, &key, &here).await, 200, "its time was lengthened");
    });
}

#[test]
fn a_rotated_key_keeps_its_id_and_its_days_count_anew() {
    run(async |app| {
        let (old, answer) = issue(&app, json!({ "rotation_days": 2 })).await;
        let id = answer["id"].as_str().unwrap();
        let day = Duration::from_secs(86_400);
        tokio::time::sleep(day + day / 2).await;
        assert_eq!(status(&app, &old, &app.isolate()).await, 200);
        let rotated = rotate(&app, id).await;
        let new = Key { key: rotated["key"].as_str().unwrap().to_owned(), account_id: old.account_id.clone() };
        assert_eq!((&rotated["ok"], &rotated["prefix"]), (&json!(true), &json!(new.key[..17])));
        assert!(rotated["warning"].is_string() && !app.database.dump().contains(&new.key));
        assert_eq!(status(&app, &old, &app.isolate()).await, 401);
        assert_eq!(status(&app, &new, &app.isolate()).await, 200);
        let listed = item(&app, id).await;
        assert_eq!(listed["key_prefix"], rotated["prefix"]);
        let begins = |name: &str, text: &str| listed[name].as_str().unwrap().starts_with(text);
        assert!(begins("created_at", "2027-01-15T08:00:00") && begins("rotated_at", "2027-01-16T20:00:00"), "{listed}");
        tokio::time::sleep(day).await;
        assert_eq!(status(&app, &new, &app.isolate()).await, 200, "two days after it was issued");
        tokio::time::sleep(day).await;
        assert_eq!(status(&app, &new, &app.isolate()).await, 401, "two days after it was rotated");
        rotate(&app, id).await;
        assert_eq!(item(&app, id).await["enabled"], true, "overdue is not disabled");
    });
}

#[test]
fn the_last_use_is_written_once_a_minute_and_undoes_nothing() {
    run(async |app| {
        let (key, answer) = issue(&app, json!({ "rate_limit_rps": -1 })).await;
        let id = answer["id"].as_str().unwrap();
        assert_eq!(item(&app, id).await["last_used_at"], json!(null));
        let isolates = [app.isolate(), app.new_isolate()];
        let writes = "SELECT COALESCE(last_used_at_ms, 0) FROM api_keys WHERE id <> ''";
        let mut seen = Vec::new();
        // Busy for 150 s over two isolates; a change in between.
        for step in 0..300 {
            assert_eq!(status(&app, &key, &isolates[step % 2]).await, 200);
            if step == 100 {
                patch(&app, id, json!({ "name": "renamed", "monthly_budget_usd": 3 })).await.expect(200);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            let at_ms = app.database.number(writes);
            if seen.last() != Some(&at_ms) {
                seen.push(at_ms);
            }
        }
        assert_eq!(seen.len(), 3, "{seen:?}");
        assert!(seen.windows(2).all(|pair| pair[1] - pair[0] >= 60_000), "{seen:?}");
        let listed = item(&app, id).await;
        assert_eq!((&listed["name"], &listed["monthly_budget_usd"]), (&json!("renamed"), &json!(3.0)));
    });
}
