//! `POST /admin/v1/admin-token/rotate`.

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Answer, Fault, TestApp, run};

const NEXT: &str = "another-token-of-the-administrator";

async fn rotate(app: &TestApp, by: &str, body: &Value) -> Answer {
    app.post("/admin/v1/admin-token/rotate").bearer(by).json(body).send().await
}

async fn read(app: &TestApp, token: &str) -> u16 {
    app.get("/admin/v1/providers").bearer(token).send().await.status
}

#[test]
fn the_new_token_holds_everywhere_at_once() {
    run(async |app| {
        let other = app.new_isolate();
        app.get("/admin/v1/providers").bearer(ADMIN_TOKEN).to(&other).send().await.expect(200);
        let rotated = rotate(&app, ADMIN_TOKEN, &json!({ "token": NEXT })).await.expect(200);
        assert_eq!(
            (rotated.json(), rotated.header("cache-control")),
            (json!({ "ok": true, "token": NEXT }), Some("no-store"))
        );
        for isolate in [app.isolate(), other, app.new_isolate()] {
            let with = |token: &str| app.get("/admin/v1/providers").bearer(token).to(&isolate).send();
            assert_eq!(with(ADMIN_TOKEN).await.expect(401).json(), json!({ "error": "invalid admin token" }));
            with(NEXT).await.expect(200);
        }
        app.get(&format!("/admin/v1/providers?token={NEXT}")).send().await.expect(200);
        app.get(&format!("/admin/v1/providers?token={ADMIN_TOKEN}")).send().await.expect(401);
        let third = rotate(&app, NEXT, &json!({})).await.expect(200).json();
        let third = third["token"].as_str().unwrap();
        assert!(third.len() == 64 && third.bytes().all(|byte| b"0123456789abcdef".contains(&byte)), "{third}");
        assert_eq!((read(&app, NEXT).await, read(&app, third).await), (401, 200));
        let fourth = rotate(&app, third, &json!({ "token": "" })).await.expect(200).json();
        assert_ne!(fourth["token"], third);
    });
}

#[test]
fn sessions_of_browsers_end_with_it() {
    run(async |app| {
        let opened = app.admin("POST", "/admin/v1/session").send().await.expect(200);
        let cookie = opened.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let with_cookie = || app.get("/admin/v1/providers").rare(|head| head.cookie.clone_from(&cookie)).send();
        with_cookie().await.expect(200);
        rotate(&app, ADMIN_TOKEN, &json!({ "token": NEXT })).await.expect(200);
        with_cookie().await.expect(401);
        let opened = app.post("/admin/v1/session").bearer(NEXT).send().await.expect(200);
        let cookie = opened.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        app.get("/admin/v1/providers").rare(|head| head.cookie = cookie).send().await.expect(200);
    });
}

#[test]
fn it_is_audited_and_kept_as_a_hash_alone() {
    run(async |app| {
        let call =
            app.admin("POST", "/admin/v1/admin-token/rotate").idempotency_key("once").json(&json!({ "token": NEXT }));
        call.send().await.expect(200);
        assert_eq!(app.faults.calls_of("IDEMPOTENCY"), 0, "its answer is kept nowhere");
        let logs = app.get("/admin/v1/audit").bearer(NEXT).send().await.expect(200).json();
        let entry = &logs["logs"][0];
        assert_eq!((&entry["action"], &entry["resource"]), (&json!("admin_token.rotate"), &json!("admin")));
        let stored = app.database.dump();
        assert!(!stored.contains(NEXT) && !stored.contains(ADMIN_TOKEN));
        assert!(app.log.borrow().iter().all(|line| !line.contains(NEXT)));
    });
}

#[test]
fn tokens_that_would_lock_everybody_out_are_refused() {
    run(async |app| {
        let short = rotate(&app, ADMIN_TOKEN, &json!({ "token": "fifteen-letters" })).await.expect(400).json();
        assert_eq!(short, json!({ "error": "token must be at least 16 characters" }));
        for token in [
            "sixteen letters and spaces".to_owned(),
            "sixteen-letters-é".to_owned(),
            "x".repeat(257),
            format!("tr_live_{}", "0".repeat(64)),
            format!("sess_{}", "0".repeat(64)),
        ] {
            rotate(&app, ADMIN_TOKEN, &json!({ "token": token })).await.expect(400);
        }
        rotate(&app, ADMIN_TOKEN, &json!({ "token": 5 })).await.expect(400);
        rotate(&app, NEXT, &json!({ "token": NEXT })).await.expect(401);
        app.post("/admin/v1/admin-token/rotate").send().await.expect(401);
        assert_eq!(read(&app, ADMIN_TOKEN).await, 200);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM admin_token"), 0);
    });
}

#[test]
fn a_new_secret_of_the_deployment_is_the_way_back_in() {
    run(async |app| {
        rotate(&app, ADMIN_TOKEN, &json!({ "token": NEXT })).await.expect(200);
        let secret = "a-new-secret-of-the-operator";
        let redeployed = app.new_isolate_with(&[("ADMIN_TOKEN", secret)]);
        let with = |token: &str| app.get("/admin/v1/providers").bearer(token).to(&redeployed).send();
        with(NEXT).await.expect(401);
        with(ADMIN_TOKEN).await.expect(401);
        with(secret).await.expect(200);
        app.pass_ms(100).await;
        // The old secret does not bring the lost token back.
        assert_eq!((read(&app, NEXT).await, read(&app, ADMIN_TOKEN).await), (401, 200));
    });
}

#[test]
fn a_failing_database_lets_nobody_in_and_a_key_never_asks() {
    run(async |app| {
        let key = app.provision("0").await;
        app.get("/v1/balance").bearer(&key.key).send().await.expect(200);
        app.faults.fail_db(Fault::Before);
        app.admin("GET", "/admin/v1/providers").send().await.expect(500);
        let reads = app.faults.db_calls.get();
        app.get("/v1/balance").bearer(&key.key).send().await.expect(200);
        assert_eq!(app.faults.db_calls.get(), reads);
    });
}
