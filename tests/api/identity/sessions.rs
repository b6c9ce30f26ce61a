//! `/v1/auth/me`, `/v1/auth/sessions`, `/v1/auth/logout` and `/v1/auth/switch`.

use std::time::Duration;

use serde_json::{Value, json};

use super::people::{account_of, ask_for_link, last_token, sign_in, token_of};
use crate::support::{Answer, TestApp, run};

async fn me(app: &TestApp, token: &str) -> Answer {
    app.get("/v1/auth/me").bearer(token).send().await
}

#[test]
fn a_session_says_who_is_signed_in() {
    run(async |app| {
        let ada = sign_in(&app, "ada@example.com").await;
        let told = me(&app, token_of(&ada)).await.expect(200).json();
        assert_eq!(told["person"], ada["person"]);
        assert_eq!((&told["account"]["id"], &told["account"]["status"]), (&ada["account"]["id"], &json!("active")));
        assert_eq!(told["accounts"], json!([told["account"]]));
        let key = app.provision("0").await;
        for token in ["sess_short", &key.key] {
            let refused = me(&app, token).await;
            assert!(matches!(refused.status, 401 | 403), "{}", refused.text());
        }
    });
}

#[test]
fn of_many_accounts_all_are_found_and_those_in_use_first() {
    run(async |app| {
        let ada = sign_in(&app, "ada@example.com").await;
        for number in 0..120 {
            let status = if number < 110 { "merged" } else { "active" };
            app.database.execute(&format!(
                "INSERT INTO accounts (id, created_at_ms, owner_id, status, kind)
                 SELECT 'acc_{number}', {number}, id, '{status}', 'agent' FROM people"
            ));
        }
        let read = async |query: &str| {
            app.get(&format!("/v1/auth/me{query}")).bearer(token_of(&ada)).send().await.expect(200).json()
        };
        let ids = |page: &Value| -> Vec<String> {
            page["accounts"].as_array().unwrap().iter().map(|account| account["id"].to_string()).collect()
        };
        let first = read("").await;
        assert_eq!((ids(&first).len(), &first["has_more"]), (100, &json!(true)));
        assert_eq!(first["accounts"][10]["id"], json!(account_of(&ada)), "the youngest of those in use");
        let rest = read("?offset=100").await;
        assert_eq!((ids(&rest).len(), &rest["has_more"]), (21, &json!(false)));
        assert_eq!(rest["account"]["id"], json!(account_of(&ada)), "wherever it stands");
        let mut all = [ids(&first), ids(&rest)].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 121);
        assert_eq!(ids(&read("?limit=2&offset=1").await), ["\"acc_111\"", "\"acc_112\""]);
    });
}

#[test]
fn the_list_tells_where_one_is_signed_in() {
    run(async |app| {
        let ada = sign_in(&app, "ada@example.com").await;
        sign_in(&app, "eve@example.com").await;
        tokio::time::sleep(Duration::from_secs(120)).await;
        ask_for_link(&app, "ada@example.com").await.expect(200);
        let token = last_token(&app).await;
        let agent = format!("Browser/1 {}", "x".repeat(300));
        let verify = app.post("/v1/auth/verify").json(&json!({ "token": token }));
        let second = verify.rare(|head| head.user_agent.clone_from(&agent));
        let second = second.head(|head| head.address = "203.0.113.7".into());
        let second = second.send().await.expect(200).json();
        let list = app.get("/v1/auth/sessions").bearer(token_of(&second)).send().await.expect(200).json();
        let sessions = list["sessions"].as_array().unwrap();
        assert_eq!(sessions.len(), 2, "not Eve's: {list}");
        let current = &sessions[0];
        assert_eq!((&current["is_current"], &current["address"]), (&json!(true), &json!("203.0.113.7")));
        assert_eq!(current["user_agent"], agent[..200]);
        assert_eq!(current["account_id"], ada["account"]["id"]);
        assert_eq!(sessions[1]["is_current"], false);
        for field in ["id", "created_at", "last_used_at", "expires_at"] {
            assert!(current[field].is_string(), "{field} in {current}");
        }
        assert!(!list.to_string().contains(token_of(&second)));
        me(&app, token_of(&ada)).await.expect(200);
        app.pass_ms(100).await;
        let list = app.get("/v1/auth/sessions").bearer(token_of(&ada)).send().await.expect(200).json();
        assert_eq!(list["sessions"][0]["is_current"], true, "used last: {list}");
    });
}

#[test]
fn sessions_end_when_they_are_ended_and_after_thirty_days() {
    run(async |app| {
        let one = sign_in(&app, "ada@example.com").await;
        let two = sign_in(&app, "ada@example.com").await;
        let three = sign_in(&app, "ada@example.com").await;
        let eve = sign_in(&app, "eve@example.com").await;
        let list = app.get("/v1/auth/sessions").bearer(token_of(&one)).send().await.expect(200).json();
        let other = list["sessions"].as_array().unwrap().iter().find(|session| session["is_current"] == false).unwrap();
        let id = other["id"].as_str().unwrap();
        app.call("DELETE", &format!("/v1/auth/sessions/{id}")).bearer(token_of(&eve)).send().await.expect(404);
        app.call("DELETE", &format!("/v1/auth/sessions/{id}")).bearer(token_of(&one)).send().await.expect(200);
        app.call("DELETE", &format!("/v1/auth/sessions/{id}")).bearer(token_of(&one)).send().await.expect(404);
        let states = [me(&app, token_of(&two)).await.status, me(&app, token_of(&three)).await.status];
        assert!(states == [401, 200] || states == [200, 401], "{states:?}");
        let ended = app.call("DELETE", "/v1/auth/sessions").bearer(token_of(&one)).send().await.expect(200).json();
        assert_eq!(ended, json!({ "ok": true, "ended": 1 }));
        me(&app, token_of(&one)).await.expect(200);
        me(&app, token_of(&eve)).await.expect(200);
        let ended = app.post("/v1/auth/logout").bearer(token_of(&one)).send().await.expect(200).json();
        assert_eq!(ended["ok"], true);
        me(&app, token_of(&one)).await.expect(401);
        me(&app, token_of(&eve)).await.expect(200);
        tokio::time::sleep(Duration::from_secs(30 * 86_400)).await;
        me(&app, token_of(&eve)).await.expect(401);
        guildhall::jobs::hourly::run_hourly(&app.isolate(), &app.ports()).await;
        assert_eq!(app.database.number("SELECT COUNT(*) FROM sessions"), 0);
    });
}

#[test]
fn the_oldest_of_too_many_sessions_end() {
    run(async |app| {
        let first = sign_in(&app, "ada@example.com").await;
        for _ in 0..100 {
            sign_in(&app, "ada@example.com").await;
        }
        assert_eq!(app.database.number("SELECT COUNT(*) FROM sessions"), 100);
        me(&app, token_of(&first)).await.expect(401);
    });
}

#[test]
fn a_session_looks_after_another_account_of_its_person() {
    run(async |app| {
        let ada = sign_in(&app, "ada@example.com").await;
        let eve = sign_in(&app, "eve@example.com").await;
        let switch = |account: &str| {
            app.post("/v1/auth/switch").bearer(token_of(&ada)).json(&json!({ "account_id": account })).send()
        };
        app.database.execute(&format!(
            "INSERT INTO accounts (id, created_at_ms, owner_id) VALUES ('acc_second', 1, '{}')",
            ada["person"]["id"].as_str().unwrap()
        ));
        app.credit_account("acc_second", "3").await;
        assert_eq!(switch("acc_second").await.expect(200).json(), json!({ "ok": true, "account_id": "acc_second" }));
        let balance = app.get("/v1/balance").bearer(token_of(&ada)).send().await.expect(200).json();
        assert_eq!(balance["balance_usd"], 3.0);
        assert_eq!(me(&app, token_of(&ada)).await.json()["account"]["id"], "acc_second");
        switch(account_of(&eve)).await.expect(404);
        switch("acc_none").await.expect(404);
        switch("").await.expect(400);
        switch(account_of(&ada)).await.expect(200);
        app.database.execute("UPDATE accounts SET status = 'closed' WHERE id = 'acc_second'");
        switch("acc_second").await.expect(404);
    });
}
