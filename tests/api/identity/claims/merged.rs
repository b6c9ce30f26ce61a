//! A session that looks after an account that went up in another: it reads.

use serde_json::{Value, json};

use super::super::people::{account_of, sign_in, token_of};
use super::{claim, provision};
use crate::support::run;

#[test]
fn a_session_that_looks_after_a_merged_account_changes_and_pays_nothing() {
    run(async |app| {
        let (key, token) = provision(&app, "0").await;
        let ada = sign_in(&app, "ada@example.com").await;
        claim(&app, &ada, &token).await.expect(200);
        let send = async |method: &str, path: &str, body: Value| {
            app.call(method, path).bearer(token_of(&ada)).json(&body).send().await
        };
        let old = json!({ "account_id": key.account_id });
        send("POST", "/v1/auth/switch", old.clone()).await.expect(200);
        for (method, path) in [
            ("POST", "/v1/billing/charge"),
            ("POST", "/v1/billing/checkout"),
            ("POST", "/v1/billing/card"),
            ("PUT", "/v1/billing/auto-pay"),
            ("POST", "/v1/keys"),
            ("POST", "/v1/workspaces"),
            ("POST", "/v1/provider-keys"),
            ("DELETE", "/v1/cache"),
        ] {
            let refused = send(method, path, json!({ "amount_usd": 10 })).await.expect(409);
            assert!(refused.text().contains("/v1/auth/switch"), "{path}: {}", refused.text());
        }
        for path in ["/v1/usage", "/v1/billing/payments", "/v1/keys", "/v1/account/export"] {
            app.get(path).bearer(token_of(&ada)).send().await.expect(200);
        }
        send("DELETE", "/v1/billing/card", json!({})).await.expect(200);
        send("DELETE", "/v1/auth/sessions", json!({})).await.expect(200);
        send("POST", "/v1/auth/switch", json!({ "account_id": account_of(&ada) })).await.expect(200);
        send("POST", "/v1/workspaces", json!({ "workspace_id": "acme", "name": "Acme" })).await.expect(200);
        send("POST", "/v1/auth/switch", old).await.expect(200);
        send("DELETE", "/v1/account", json!({ "confirm": key.account_id })).await.expect(200);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM people"), 1, "the other account is there still");
    });
}
