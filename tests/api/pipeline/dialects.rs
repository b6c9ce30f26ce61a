//! Paths that two products share: each client is refused in its own words.

use serde_json::{Value, json};

use crate::support::{Call, TestApp, run};

/// Shaped like credentials, and nobody's.
const NOBODYS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What Tokaroo says where error and message are one text.
fn plain(text: &str) -> Value {
    json!({ "error": text, "message": text })
}

fn object(code: &str, kind: &str, text: &str, hint: &str) -> Value {
    json!({ "error": { "code": code, "type": kind, "message": text, "resolution_hint": hint }, "message": text })
}

async fn refusal(call: Call<'_>, status: u16) -> Value {
    call.send().await.expect(status).json()
}

fn shared(app: &TestApp) -> [Call<'_>; 9] {
    [
        app.post("/v1/keys").body("{}"),
        app.get("/v1/keys"),
        app.get("/v1/keys/key_1"),
        app.call("DELETE", "/v1/keys/key_1"),
        app.get("/v1/usage"),
        app.get("/v1/usage/req_1"),
        app.get("/v1/usage/history"),
        app.get("/v1/billing/balance"),
        app.post("/v1/billing/checkout").body(r#"{"amount_usd":5}"#),
    ]
}

#[test]
fn the_form_of_a_credential_decides_though_it_is_nobodys() {
    run(async |app| {
        let wrong = "Invalid or expired credential";
        for prefix in ["tok_", "sess_"] {
            for call in shared(&app) {
                assert_eq!(refusal(call.bearer(&format!("{prefix}{NOBODYS}")), 401).await, plain(wrong), "{prefix}");
            }
        }
        let hint = "Check the key, or get one with POST /v1/auth/provision";
        for prefix in ["tr_live_", "tokenhub_", "clx"] {
            let failed = object("AUTH_FAILED", "auth", wrong, hint);
            for call in shared(&app) {
                assert_eq!(refusal(call.bearer(&format!("{prefix}{NOBODYS}")), 401).await, failed, "{prefix}");
            }
        }
        let hint = "Send Authorization: Bearer <key>; POST /v1/auth/provision gives a free key";
        for call in shared(&app) {
            let missing = object("AUTH_REQUIRED", "auth", "Missing Authorization header", hint);
            assert_eq!(refusal(call, 401).await, missing, "with Tokaroo's text beside ToolRouter's object");
        }
    });
}

#[test]
fn a_person_is_answered_as_tokaroo_documents() {
    run(async |app| {
        let ada = app.sign_in("ada@example.com").await;
        let activation = json!({
            "error": "billing_required",
            "message": "The first API key needs a payment, a saved card, auto pay and accepted terms",
            "balance_usd": 0.0,
            "payment_url": "http://guildhall.test/billing",
            "missing_requirements": ["payment", "saved_card", "auto_pay", "terms_acceptance"],
        });
        let create = || app.post("/v1/keys").bearer(&ada.token);
        assert_eq!(refusal(create().body("{}"), 402).await, activation);
        assert_eq!(refusal(app.get("/v1/keys/key_1").bearer(&ada.token), 404).await, plain("API key not found"));
        let mut named = plain("name must be a non-empty string");
        named["param"] = json!("name");
        for replay in [None, Some("true")] {
            let answer = create().body(r#"{"name":""}"#).idempotency_key("1").send().await.expect(400);
            assert_eq!((answer.json(), answer.header("idempotency-replay")), (named.clone(), replay));
        }
    });
}

#[test]
fn a_runtime_key_is_answered_as_tokaroo_documents() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        let created = app.post("/v1/keys").bearer(&ada.token).body("{}").send().await.expect(200).json();
        let (key, id) = (created["key"].as_str().unwrap(), created["id"].as_str().unwrap());
        let session = "Session authentication required";
        assert_eq!(refusal(app.post("/v1/keys").bearer(key).body("{}"), 403).await, plain(session));
        let checkout = app.post("/v1/billing/checkout").bearer(key).body(r#"{"amount_usd":5}"#);
        assert_eq!(refusal(checkout, 403).await, plain(session));
        let change = json!({ "requests_per_minute": 1 });
        app.call("PATCH", &format!("/v1/keys/{id}")).bearer(&ada.token).json(&change).send().await.expect(200);
        app.get("/v1/usage").bearer(key).send().await;
        let refused = app.get("/v1/usage").bearer(key).send().await.expect(429);
        let text = format!("Too many requests; try again in {} s", refused.header("retry-after").unwrap());
        assert_eq!(refused.json(), json!({ "error": "Rate limit exceeded", "message": text, "limit": 1 }));
    });
}

#[test]
fn toolrouters_keys_are_answered_with_its_object() {
    run(async |app| {
        let key = app.provision("0").await;
        let hint = "Check the path and the id; GET /openapi.json lists every route";
        let missing = object("KEY_NOT_FOUND", "not_found", "API key not found", hint);
        assert_eq!(refusal(app.get("/v1/keys/key_1").bearer(&key.key), 404).await, missing);
        let hint = "Correct the named field and send the request again";
        let mut wrong = object("INVALID_INPUT", "validation", "period must be day, week, month or all", hint);
        wrong["error"]["param"] = json!("period");
        assert_eq!(refusal(app.get("/v1/usage?period=year").bearer(&key.key), 400).await, wrong);
    });
}

#[test]
fn what_is_tokaroos_alone_speaks_to_everybody_as_tokaroo() {
    run(async |app| {
        let key = app.provision("0").await;
        for path in ["/v1/balance", "/v1/stats", "/v1/usage/breakdown", "/v1/usage/grouped", "/v1/models"] {
            let missing = refusal(app.get(path), 401).await;
            assert_eq!(missing, plain("Missing Authorization header"), "{path}");
        }
        for path in ["/v1/stats", "/v1/usage/breakdown", "/v1/usage/grouped"] {
            let mut wrong = plain("days must be between 1 and 365");
            wrong["param"] = json!("days");
            assert_eq!(refusal(app.get(&format!("{path}?days=0")).bearer(&key.key), 400).await, wrong, "{path}");
        }
    });
}
