//! Who calls: missing, wrong, too little, and both headers.

use serde_json::json;

use crate::support::{ADMIN_TOKEN, Call, Fault, HELLO, run};

/// Shaped like a key, and nobody's.
const UNKNOWN: &str = "tr_live_0000000000000000000000000000000000000000000000000000000000000000";

#[test]
fn tokaroos_routes_have_tokaroos_two_texts() {
    run(async |app| {
        let call = || app.post("/v1/chat/completions").body(HELLO);
        let missing = call().send().await.expect(401).json();
        assert_eq!(missing["error"], "Missing Authorization header");
        for token in [UNKNOWN, "nonsense", "tok_short", "sess_abc"] {
            let wrong = call().bearer(token).send().await.expect(401).json();
            assert_eq!(wrong["error"], "Invalid or expired credential", "{token}");
        }
    });
}

#[test]
fn shared_routes_have_both_forms() {
    run(async |app| {
        let missing = app.get("/v1/usage").send().await.expect(401).json();
        assert_eq!((&missing["error"]["code"], &missing["error"]["type"]), (&json!("AUTH_REQUIRED"), &json!("auth")));
        assert_eq!(missing["message"], "Missing Authorization header");
        let wrong = app.get("/v1/usage").bearer(UNKNOWN).send().await.expect(401).json();
        assert_eq!((&wrong["error"]["code"], &wrong["error"]["type"]), (&json!("AUTH_FAILED"), &json!("auth")));
        assert_eq!(wrong["message"], "Invalid or expired credential");
    });
}

#[test]
fn admin_routes_have_tokenhubs_texts() {
    run(async |app| {
        let missing = app.get("/admin/v1/providers").send().await.expect(401).json();
        assert_eq!(missing, json!({ "error": "missing admin token" }));
        for token in [UNKNOWN, "nonsense", &ADMIN_TOKEN[1..], &format!("{ADMIN_TOKEN}0")] {
            let wrong = app.get("/admin/v1/providers").bearer(token).send().await.expect(401).json();
            assert_eq!(wrong, json!({ "error": "invalid admin token" }), "{token}");
        }
    });
}

#[test]
fn a_key_is_taken_from_either_header() {
    run(async |app| {
        let key = app.provision("1").await;
        let get = || app.get("/v1/balance");
        get().head(|head| head.api_key = key.key.clone()).send().await.expect(200);
        get().head(|head| head.authorization = format!("bearer {}", key.key)).send().await.expect(200);
        get().head(|head| head.authorization = format!("Bearer   {} ", key.key)).send().await.expect(200);
        get().bearer(&key.key).head(|head| head.api_key = key.key.clone()).send().await.expect(200);
        get().bearer(UNKNOWN).head(|head| head.api_key = key.key.clone()).send().await.expect(401);
        get().head(|head| head.authorization = key.key.clone()).send().await.expect(401);
        get().head(|head| head.authorization = format!("Basic {}", key.key)).send().await.expect(401);
        get().head(|head| head.authorization = "Bearer ".into()).send().await.expect(401);
        app.get("/admin/v1/providers").head(|head| head.api_key = ADMIN_TOKEN.into()).send().await.expect(200);
    });
}

#[test]
fn the_admin_token_is_no_key() {
    run(async |app| {
        for (method, path) in [("POST", "/v1/chat/completions"), ("GET", "/v1/balance"), ("GET", "/v1/usage")] {
            let refused = app.admin(method, path).body(HELLO).send().await.expect(403);
            assert!(refused.text().contains("API key"), "{path}: {}", refused.text());
        }
    });
}

#[test]
fn a_key_with_too_few_scopes_is_refused_where_they_are_needed() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let set = |scopes: &str| {
            let sql = format!("UPDATE api_keys SET scopes = '{scopes}' RETURNING id");
            app.database.text(&sql);
        };
        set(r#"["images"]"#);
        let other = app.new_isolate();
        let refused = app.hello(&key).to(&other).send().await.expect(403);
        assert_eq!(refused.json()["error"], "insufficient scope");
        app.get("/v1/balance").bearer(&key.key).to(&other).send().await.expect(200);
        assert!(app.upstream.sent.borrow().is_empty());
        set(r#"["images","chat"]"#);
        app.hello(&key).to(&app.new_isolate()).send().await.expect(200);
        set("not json");
        app.hello(&key).to(&app.new_isolate()).send().await.expect(403);
        app.get("/v1/balance").bearer(&key.key).to(&app.new_isolate()).send().await.expect(403);
    });
}

#[test]
fn a_closed_account_or_a_revoked_key_is_refused_within_two_seconds() {
    for change in ["UPDATE api_keys SET status = 'revoked'", "UPDATE accounts SET status = 'closed'"] {
        run(async |app| {
            let key = app.with_busy_key().await;
            app.hello(&key).send().await.expect(200);
            app.database.text(&format!("{change} RETURNING id"));
            app.get("/v1/balance").bearer(&key.key).to(&app.new_isolate()).send().await.expect(401);
            tokio::time::sleep(std::time::Duration::from_millis(2_001)).await;
            let refused = app.hello(&key).send().await.expect(401).json();
            assert_eq!(refused["error"], "Invalid or expired credential", "{change}");
        });
    }
}

#[test]
fn a_failing_database_is_not_a_wrong_key() {
    run(async |app| {
        let key = app.provision("1").await;
        for fault in [Fault::Before, Fault::After] {
            app.faults.fail_db(fault);
            let answer = app.get("/v1/balance").bearer(&key.key).to(&app.new_isolate()).send().await;
            assert!(matches!(answer.status, 500 | 503), "{}", answer.text());
        }
        app.get("/v1/balance").bearer(&key.key).send().await.expect(200);
    });
}

#[test]
fn a_guesser_of_keys_uses_up_its_addresss_allowance() {
    run(async |app| {
        let key = app.provision("1").await;
        let guess = |number: u32, address: &str| {
            let address = address.to_owned();
            app.get("/v1/balance").bearer(&format!("tr_live_{number:064x}")).head(|head| head.address = address)
        };
        for number in 0..1_200 {
            let refused = guess(number, "203.0.113.9").send().await;
            assert_eq!(refused.status, 401, "guess {number}");
        }
        let reads = app.faults.db_calls.get();
        let refused = guess(5_000, "203.0.113.9").send().await.expect(429);
        assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() <= 60);
        assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
        assert_eq!(app.faults.db_calls.get(), reads, "and costs no read any more");
        guess(5_001, "203.0.113.10").send().await.expect(401);
        let good = app.get("/v1/balance").bearer(&key.key).head(|head| head.address = "203.0.113.10".into());
        good.send().await.expect(200);
        tokio::time::sleep(std::time::Duration::from_secs(61)).await;
        guess(5_002, "203.0.113.9").send().await.expect(401);
    });
}

/// T70: whoever guesses at the admin token uses up an address, and neither the administrator's other addresses nor a key.
#[test]
fn a_guesser_of_the_admin_token_is_limited_and_nobody_else() {
    run(async |app| {
        let key = app.provision("1").await;
        let models = || app.get("/v1/models").bearer(&key.key);
        models().send().await.expect(200);
        for _ in 0..1_200 {
            let guess = app.get("/admin/v1/providers").bearer("not-the-token");
            assert_eq!(from(guess, "203.0.113.9").send().await.status, 401);
        }
        let guess = app.get("/admin/v1/providers").bearer("not-the-token");
        assert!(from(guess, "203.0.113.9").send().await.expect(429).header("retry-after").is_some());
        // A key that is known here; others want a read, which a guesser's address has none of.
        from(models(), "203.0.113.9").send().await.expect(200);
        from(app.admin("GET", "/admin/v1/providers"), "203.0.113.10").send().await.expect(200);
        tokio::time::sleep(std::time::Duration::from_secs(61)).await;
        let guess = app.get("/admin/v1/providers").bearer("not-the-token");
        from(guess, "203.0.113.9").send().await.expect(401);
    });
}

fn from<'t>(call: Call<'t>, address: &str) -> Call<'t> {
    call.head(|head| head.address = address.into())
}
