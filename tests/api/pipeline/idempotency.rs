//! `Idempotency-Key`: the same request again gets the same answer, runs once and costs once.

mod ends;
mod waiting;

use durable_objects::idempotency::protocol::Body;
use guildhall::ports::FetchError;
use serde_json::{Value, json};

use crate::support::{Answer, Call, HELLO, HELLO_MICROS, Key, Reply, TestApp, run};

fn keyed<'t>(app: &'t TestApp, key: &Key, name: &str) -> Call<'t> {
    app.hello(key).idempotency_key(name)
}

fn is_replay(answer: &Answer) -> bool {
    answer.header("idempotency-replay") == Some("true")
}

#[test]
fn the_same_request_again_gets_the_same_answer_and_costs_nothing() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.then(Reply::chat("the first answer", 10, 5));
        let first = keyed(&app, &key, "k1").send().await.expect(200);
        assert_eq!(first.header("idempotency-replay"), None);
        for isolate in [app.isolate(), app.new_isolate()] {
            let again = keyed(&app, &key, "k1").to(&isolate).send().await.expect(200);
            assert_eq!(again.body, first.body);
            for header in ["content-type", "x-tokaroo-cost", "x-tokaroo-cache"] {
                assert_eq!(again.header(header), first.header(header), "{header}");
                assert!(again.header(header).is_some(), "{header}");
            }
            assert!(is_replay(&again));
            assert_ne!(again.header("x-request-id"), first.header("x-request-id"), "each request has its own id");
        }
        assert_eq!(app.upstream.sent.borrow().len(), 1);
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - HELLO_MICROS);
        app.pass_ms(200).await;
        assert_eq!(app.assert_books_balance(&key).calls, 1);
    });
}

#[test]
fn an_issued_key_is_kept_sealed() {
    run(async |app| {
        let owner = app.provision("0").await;
        let create = |isolate| {
            let call = app.post("/v1/keys").bearer(&owner.key).idempotency_key("k1").to(isolate);
            call.json(&json!({ "name": "app" })).send()
        };
        let (here, there) = (app.isolate(), app.new_isolate());
        let other = app.new_isolate_with(&[("SEAL_KEY", &"ab".repeat(32))]);
        let first = create(&here).await.expect(200);
        let key = first.json()["key"].as_str().unwrap().to_owned();
        let again = create(&there).await.expect(200);
        assert_eq!((again.text(), is_replay(&again)), (first.text(), true));
        let kept = app.objects.dump();
        assert!(kept.contains("is_sealed"), "the answer is there");
        let as_it_is = serde_json::to_string(&Body(first.body.clone())).unwrap();
        assert!(!kept.contains(&key) && !kept.contains(as_it_is.trim_matches('"')), "nowhere in clear");
        // Under another seal it is not run again, and not told.
        let refused = create(&other).await.expect(409);
        assert!(refused.text().contains("cannot be read"), "{}", refused.text());
    });
}

#[test]
fn another_key_or_none_runs_again() {
    run(async |app| {
        let key = app.with_busy_key().await;
        keyed(&app, &key, "k1").send().await.expect(200);
        assert!(!is_replay(&keyed(&app, &key, "k2").send().await.expect(200)));
        app.hello(&key).send().await.expect(200);
        app.hello(&key).send().await.expect(200);
        assert_eq!(app.upstream.sent.borrow().len(), 4);
    });
}

#[test]
fn another_body_or_path_under_the_same_key_is_422() {
    run(async |app| {
        let key = app.with_busy_key().await;
        keyed(&app, &key, "k1").send().await.expect(200);
        let other = HELLO.replace("hello there", "hello  there");
        let refused = keyed(&app, &key, "k1").body(&other).send().await.expect(422).json();
        assert!(refused["error"].as_str().unwrap().contains("Idempotency-Key"), "{refused}");
        keyed(&app, &key, "k1").head(|head| head.query = "a=b".into()).send().await.expect(422);
        assert_eq!(app.upstream.sent.borrow().len(), 1);
        assert!(is_replay(&keyed(&app, &key, "k1").send().await.expect(200)), "the first answer is still there");

        let path = |id: &str| format!("/admin/v1/accounts/{id}/credits");
        let body = r#"{"amount_usd":1}"#;
        let call = |id: &str| app.admin("POST", &path(id)).idempotency_key("k1").body(body);
        call(&key.account_id).send().await.expect(200);
        call("none").send().await.expect(422);
    });
}

#[test]
fn accounts_do_not_see_each_others_keys() {
    run(async |app| {
        let one = app.with_busy_key().await;
        let two = app.provision("10").await;
        app.upstream.then(Reply::chat("for one", 10, 5));
        app.upstream.then(Reply::chat("for two", 10, 5));
        keyed(&app, &one, "k1").send().await.expect(200);
        let answer = keyed(&app, &two, "k1").send().await.expect(200);
        assert!(!is_replay(&answer) && answer.text().contains("for two"), "{}", answer.text());
        assert_eq!(app.balance_micros(&two).await, 10_000_000 - HELLO_MICROS);
    });
}

#[test]
fn names_that_look_alike_are_not_the_same() {
    run(async |app| {
        let key = app.with_busy_key().await;
        for name in ["k1", "K1", "k1 ", "k:1", "k/1", &"k".repeat(255)] {
            let answer = keyed(&app, &key, name).send().await.expect(200);
            assert!(!is_replay(&answer), "{name:?}");
        }
    });
}

#[test]
fn a_key_of_more_than_255_characters_is_refused() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let refused = keyed(&app, &key, &"k".repeat(256)).send().await.expect(400).json();
        assert_eq!(refused["param"], "Idempotency-Key", "{refused}");
        assert!(app.upstream.sent.borrow().is_empty());
    });
}

#[test]
fn without_a_credential_nothing_is_replayed() {
    run(async |app| {
        let key = app.with_busy_key().await;
        keyed(&app, &key, "k1").send().await.expect(200);
        let call = || app.post("/v1/chat/completions").body(HELLO).idempotency_key("k1");
        for answer in [call().send().await, call().bearer("nonsense").send().await] {
            assert_eq!(answer.status, 401);
            assert!(!is_replay(&answer));
        }
        call().bearer(crate::support::ADMIN_TOKEN).send().await.expect(403);
    });
}

#[test]
fn a_stream_is_replayed_whole() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let body = json!({
            "model": "m1", "messages": [{ "role": "user", "content": "x" }], "max_tokens": 9, "stream": true,
            "stream_options": { "include_usage": true },
        });
        app.upstream.then(Reply::stream(&["one ", "two ", "three"], Some((10, 5))));
        let call = || app.post("/v1/chat/completions").bearer(&key.key).json(&body).idempotency_key("s1");
        let first = call().send().await.expect(200);
        assert!(first.text().ends_with("data: [DONE]\n\n"), "{}", first.text());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let again = call().send().await.expect(200);
        assert!(is_replay(&again));
        assert_eq!(again.text(), first.text());
        assert_eq!(again.header("content-type"), Some("text/event-stream; charset=utf-8"));
        assert_eq!(again.header("x-tokaroo-cache"), first.header("x-tokaroo-cache"));
        let words: String = again
            .events()
            .iter()
            .filter_map(|event| serde_json::from_str::<Value>(event).ok())
            .filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(words, "one two three");
        assert_eq!(app.upstream.sent.borrow().len(), 1);
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - HELLO_MICROS);
    });
}

#[test]
fn a_stream_that_its_client_left_is_not_run_again() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let body = HELLO.replace("}],", r#"}],"stream":true,"#);
        app.upstream.then(Reply::stream(&["one ", "two ", "three"], Some((10, 5))));
        let call = || app.post("/v1/chat/completions").bearer(&key.key).body(&body).idempotency_key("s1");
        call().leave_after(2).send().await.expect(200);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let spent = app.balance_micros(&key).await;
        let again = call().send().await;
        assert_eq!(app.upstream.sent.borrow().len(), 1, "{} {}", again.status, again.text());
        assert!(!again.text().ends_with("data: [DONE]\n\n"), "it never ended well: {}", again.text());
        assert_eq!(app.balance_micros(&key).await, spent, "and is not paid twice");
    });
}

/// The client's own time-out fires, and it asks again: what was paid for is not paid twice.
#[test]
fn a_call_that_its_client_left_is_not_charged_again() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.always(Reply::chat("four", 10, 5));
        app.upstream.then(Reply::Fails(FetchError::ClientGone { was_asked: true }));
        let left = keyed(&app, &key, "c1").send().await.expect(502);
        let spent = app.balance_micros(&key).await;
        assert!(app.upstream.sent.borrow()[0].outlives_client, "the runtime does not abort it");
        let again = keyed(&app, &key, "c1").send().await.expect(502);
        assert_eq!((again.body, app.balance_micros(&key).await), (left.body, spent));
        // Nobody was asked, nothing was paid: it runs.
        app.upstream.then(Reply::Fails(FetchError::ClientGone { was_asked: false }));
        keyed(&app, &key, "c2").send().await.expect(502);
        keyed(&app, &key, "c2").send().await.expect(200);
        app.hello(&key).send().await.expect(200);
        assert!(!app.upstream.sent.borrow().last().unwrap().outlives_client, "nobody could ask for it again");
    });
}

#[test]
fn an_answer_that_was_paid_for_and_does_not_do_is_not_paid_again() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.always(Reply::chat("no json", 10, 5));
        let messages = json!([{ "role": "user", "content": "Describe" }]);
        let body = json!({ "request": { "messages": messages, "output_schema": { "type": "array" } } });
        for _ in 0..2 {
            let call = app.post("/v1/chat").bearer(&key.key).json(&body).idempotency_key("d1");
            call.send().await.expect(502);
        }
        assert_eq!(app.upstream.sent.borrow().len(), 1);
    });
}

#[test]
fn an_answer_that_was_paid_for_and_has_no_such_form_is_not_paid_again() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let usage = json!({ "prompt_tokens": 10, "completion_tokens": 5 });
        let speechless = json!({ "id": "x", "choices": [{ "index": 0, "finish_reason": "stop" }], "usage": usage });
        app.upstream.always(Reply::Whole(200, speechless.to_string(), ""));
        let messages = json!([{ "role": "user", "content": "Describe" }]);
        let message = json!({ "model": "m1", "max_tokens": 9, "messages": messages });
        for _ in 0..2 {
            app.post("/v1/messages").bearer(&key.key).json(&message).idempotency_key("m").send().await.expect(502);
        }
        assert_eq!(app.upstream.sent.borrow().len(), 1);
        let said = json!([{ "index": 0, "message": "hi" }]);
        app.upstream.always(Reply::Whole(200, json!({ "id": "x", "choices": said, "usage": usage }).to_string(), ""));
        let response = json!({ "model": "m1", "input": "Describe", "store": false });
        for _ in 0..2 {
            app.post("/v1/responses").bearer(&key.key).json(&response).idempotency_key("r").send().await.expect(502);
        }
        assert_eq!(app.upstream.sent.borrow().len(), 2);
    });
}

/// What one key of the account was answered, another may not be allowed.
#[test]
fn a_key_for_a_part_of_the_account_gets_no_answer_of_another_key() {
    run(async |app| {
        let owner = app.provision("0").await;
        let create =
            |key: &str, body: &Value| app.post("/v1/keys").bearer(key).idempotency_key("create").json(body).send();
        let scoped = json!({ "name": "scoped", "scopes": ["manage"] });
        let limited = json!({ "name": "limited", "credits": 5 });
        let mut parts = Vec::new();
        for part in [scoped, limited] {
            let made = app.post("/v1/keys").bearer(&owner.key).json(&part).send().await.expect(200).json();
            parts.push(made["key"].as_str().unwrap().to_owned());
        }
        let body = json!({ "name": "app" });
        let first = create(&owner.key, &body).await.expect(200).json();
        for part in parts {
            let answer = create(&part, &body).await;
            assert!(!is_replay(&answer), "{}", answer.text());
            assert!(!answer.text().contains(first["key"].as_str().unwrap()));
        }
    });
}

#[test]
fn only_posts_are_kept() {
    run(async |app| {
        let key = app.provision("1").await;
        let first = app.get("/v1/balance").bearer(&key.key).idempotency_key("k1").send().await.expect(200);
        app.credit(&key, "1").await;
        let again = app.get("/v1/balance").bearer(&key.key).idempotency_key("k1").send().await.expect(200);
        assert!(!is_replay(&again));
        assert_ne!(again.body, first.body);
    });
}
