//! Every way in which a call that is no chat can end badly, and who pays what (`docs/MONEY.md`).

use guildhall::ports::{FetchError, StreamEnd};
use serde_json::json;

use super::kit::{assert_balanced, last_receipt, micros, usage_rows};
use super::media::{FORM, form, with_upstream};
use crate::support::{Call, Key, Reply, TestApp, run};

/// A call of a kind, and what it costs when the upstream has done what was asked of it.
struct Case {
    path: &'static str,
    content_type: &'static str,
    body: Vec<u8>,
    done: Reply,
    full_micros: i64,
}

fn cases() -> Vec<Case> {
    let json = |body: &str| body.as_bytes().to_vec();
    let whole = |body: &str| Reply::Whole(200, body.to_owned(), "");
    let sound = vec![b"\xff\xf3one".to_vec(), b"two".to_vec()];
    vec![
        // Two tokens at $20 a million: 8 bytes, as nobody counts them.
        Case {
            path: "/v1/embeddings",
            content_type: "",
            body: json(r#"{"input":"12345678"}"#),
            done: whole(r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1.0]}]}"#),
            full_micros: 40,
        },
        // Two images at $0.04.
        Case {
            path: "/v1/images/generations",
            content_type: "",
            body: json(r#"{"prompt":"a","n":2}"#),
            done: whole(r#"{"created":1,"data":[{"url":"https://x/1"},{"url":"https://x/2"}]}"#),
            full_micros: 80_000,
        },
        // Ten characters at $15 a million.
        Case {
            path: "/v1/audio/speech",
            content_type: "",
            body: json(r#"{"input":"1234567890"}"#),
            done: Reply::Relay("audio/mpeg", sound, StreamEnd::Eof),
            full_micros: 150,
        },
        // A recording that does not tell its length may be a hundred seconds long, at $0.006 a minute.
        Case {
            path: "/v1/audio/transcriptions",
            content_type: FORM,
            body: form(&[("model", "hear")], Some(&vec![0xff; 75_000])),
            done: whole(r#"{"text":"hi"}"#),
            full_micros: 10_000,
        },
    ]
}

impl Case {
    fn call<'t>(&self, app: &'t TestApp, key: &Key) -> Call<'t> {
        let call = app.post(self.path).bearer(&key.key).bytes(&self.body);
        call.rare(|head| head.content_type = self.content_type.into())
    }
}

#[test]
fn whoever_leaves_pays_for_what_was_asked_and_failures_cost_nothing() {
    for case in cases() {
        run(async |app| {
            let key = with_upstream(&app).await;
            let mut spent = 0;
            for (reply, status, outcome, charged) in [
                (case.done.clone(), 200, "completed", case.full_micros),
                (Reply::Fails(FetchError::ClientGone { was_asked: true }), 502, "client_gone", case.full_micros),
                (Reply::Fails(FetchError::ClientGone { was_asked: false }), 502, "client_gone", 0),
                (Reply::Fails(FetchError::TimedOut), 502, "upstream_failed", 0),
                (Reply::Fails(FetchError::Broken("reset".into())), 502, "upstream_failed", 0),
                (Reply::error(500, "no"), 502, "upstream_failed", 0),
                (Reply::error(400, "not this"), 400, "rejected", 0),
                (Reply::Whole(200, "garbage".into(), ""), 502, "upstream_failed", 0),
            ] {
                // Sound is whatever is no JSON.
                if case.path.ends_with("speech") && matches!(reply, Reply::Whole(200, ..)) {
                    continue;
                }
                app.upstream.always(reply);
                // Nothing that was answered before: embeddings are kept.
                let call = case.call(&app, &key).head(|head| head.cache_control = "no-store".to_owned());
                call.send().await.expect(status);
                let record = last_receipt(&app, &key).await;
                assert_eq!(
                    (&record["outcome"], micros(&record["charged_usd"])),
                    (&json!(outcome), charged),
                    "{}",
                    case.path
                );
                spent += charged;
                // Its provider is well again.
                app.pass_ms(31_000).await;
            }
            assert_eq!(app.balance_micros(&key).await, 1_000_000 - spent, "{}", case.path);
            assert_balanced(&app, &key, 1_000_000).await;
        });
    }
}

#[test]
fn a_repetition_under_the_same_key_costs_nothing() {
    for case in cases() {
        run(async |app| {
            let key = with_upstream(&app).await;
            app.upstream.always(case.done.clone());
            let first = case.call(&app, &key).idempotency_key("k").send().await.expect(200);
            app.pass_ms(100).await;
            let again = case.call(&app, &key).idempotency_key("k").send().await.expect(200);
            assert_eq!((again.header("idempotency-replay"), &again.body), (Some("true"), &first.body), "{}", case.path);
            assert_eq!((usage_rows(&app, &key).await.len(), app.upstream.sent.borrow().len()), (1, 1), "{}", case.path);
            assert_eq!(app.balance_micros(&key).await, 1_000_000 - case.full_micros, "{}", case.path);
        });
    }
}

#[test]
fn sound_that_its_client_leaves_is_paid_and_sound_that_breaks_off_is_not() {
    run(async |app| {
        let key = with_upstream(&app).await;
        let sound = || vec![b"\xff\xf3one".to_vec(), b"two".to_vec(), b"three".to_vec()];
        for (end, leaves, outcome, charged) in [
            (StreamEnd::Eof, true, "client_gone", 150),
            (StreamEnd::Stalled, false, "stream_broken", 0),
            (StreamEnd::Broken, false, "stream_broken", 0),
        ] {
            app.upstream.then(Reply::Relay("audio/mpeg", sound(), end));
            let mut call = app.post("/v1/audio/speech").bearer(&key.key).body(r#"{"input":"1234567890"}"#);
            if leaves {
                call = call.leave_after(1);
            }
            call.send().await.expect(200);
            let record = last_receipt(&app, &key).await;
            assert_eq!((&record["outcome"], micros(&record["charged_usd"])), (&json!(outcome), charged));
        }
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

/// A budget is a limit to every kind of call.
#[test]
fn a_spent_budget_refuses_all_kinds() {
    for case in cases() {
        run(async |app| {
            let owner = with_upstream(&app).await;
            app.upstream.always(case.done.clone());
            let body = json!({ "name": "small", "scopes": "", "account_id": owner.account_id, "monthly_budget_usd": 0.000_001 });
            let made = app.admin("POST", "/admin/v1/apikeys").json(&body).send().await.expect(200).json();
            let key = Key { key: made["key"].as_str().unwrap().to_owned(), account_id: owner.account_id.clone() };
            let refused = case.call(&app, &key).send().await.expect(429).json();
            assert_eq!(refused["error"], "monthly budget exceeded", "{}: {refused}", case.path);
            assert!(app.upstream.sent.borrow().is_empty(), "{}", case.path);
            assert_balanced(&app, &owner, 1_000_000).await;
        });
    }
}
