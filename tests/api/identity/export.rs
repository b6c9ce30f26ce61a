//! `/v1/account/export`: everything that is the account's, and nothing else.

use guildhall::ports::LiveStream;
use guildhall_domain::credential::KeyPrefix;
use serde_json::{Value, json};

use crate::support::{Fault, Reply, TestApp, run};

async fn read_all(mut stream: Box<dyn LiveStream>) -> Vec<Value> {
    let mut text = Vec::new();
    while let Some(piece) = stream.next().await {
        assert!(piece.len() < 1 << 20, "piece by piece");
        text.extend(piece);
    }
    String::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn export(app: &TestApp, token: &str) -> Vec<Value> {
    let answer = app.get("/v1/account/export").bearer(token).leave_after(0).send().await.expect(200);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    read_all(app.get("/v1/account/export").bearer(token).listen().await).await
}

fn kinds(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["type"].as_str().unwrap()).collect()
}

#[test]
fn it_has_all_that_is_the_accounts() {
    run(async |app| {
        app.with_busy_key().await;
        let person = app.sign_in("ada@example.com").await;
        app.credit_account(&person.account_id, "1").await;
        app.open_workspace(&person.account_id, "acme");
        let key = app.issue(&person.account_id, KeyPrefix::Tokaroo, "key_a", Some("acme"));
        app.upstream.always(Reply::chat("Hi!", 10, 5));
        let body = json!({ "model": "m1", "input": "Hello" });
        app.post("/v1/responses").bearer(&key.key).json(&body).send().await.expect(200);
        // Still on its way.
        let made = app.hello(&key).send().await.expect(200);
        let lines = export(&app, &person.token).await;
        let expected = ["person", "account", "workspace", "key", "usage", "usage", "response", "end"];
        assert_eq!(kinds(&lines), expected);
        assert_eq!((&lines[0]["email"], &lines[1]["id"]), (&json!("ada@example.com"), &json!(person.account_id)));
        assert_eq!(
            (&lines[2]["workspace_id"], &lines[3]["metadata"]),
            (&json!("acme"), &json!({ "made_for": "key_a" }))
        );
        assert_eq!(lines[5]["id"], made.header("x-request-id").unwrap());
        assert_eq!((&lines[5]["charged_micros"], &lines[5]["receipt"]["cost_micros"]), (&json!(250), &json!(250)));
        assert!(lines[6]["turn"].to_string().contains("Hello") && lines[6]["turn"].to_string().contains("Hi!"));
        assert_eq!(lines[7]["lines"], 7);
        let text = format!("{lines:?}");
        let hash = app.database.text("SELECT hash FROM api_keys WHERE id = 'key_a'");
        for secret in [&key.key, &hash, "upstream-name", "routed"] {
            assert!(!text.contains(secret), "{secret}");
        }
    });
}

#[test]
fn more_than_a_page_of_anything_comes_once_and_in_order() {
    run(async |app| {
        let key = app.provision("0").await;
        for at in 0..450 {
            app.issue(&key.account_id, KeyPrefix::Tokaroo, &format!("key_{at:03}"), None);
            app.database.execute(&format!(
                "INSERT INTO responses (account_id, id, created_at_ms, turn) VALUES ('{}', 'resp_{at:03}', 1, '{{}}')",
                key.account_id
            ));
        }
        let lines = export(&app, &key.key).await;
        for (kind, wanted) in [("key", 451), ("response", 450), ("person", 0), ("end", 1)] {
            let ids: Vec<_> =
                lines.iter().filter(|line| line["type"] == kind).map(|line| line["id"].to_string()).collect();
            let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
            assert_eq!((ids.len(), distinct.len()), (wanted, wanted.min(ids.len())), "{kind}");
        }
    });
}

#[test]
fn it_is_each_accounts_own_and_for_its_owner() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        let stranger = app.sign_in("eve@example.com").await;
        let lines = export(&app, &stranger.token).await;
        assert_eq!(kinds(&lines), ["person", "account", "end"]);
        let own = app.issue(&key.account_id, KeyPrefix::Tokaroo, "key_tok", None);
        app.get("/v1/account/export").bearer(&own.key).send().await.expect(403);
        app.get("/v1/account/export").send().await.expect(401);
    });
}

#[test]
fn a_hiccup_is_bridged_and_a_failure_leaves_no_end() {
    run(async |app| {
        let key = app.provision("0").await;
        let stream = app.get("/v1/account/export").bearer(&key.key).listen().await;
        app.faults.fail_db(Fault::Before);
        let lines = read_all(stream).await;
        assert_eq!(kinds(&lines), ["account", "key", "end"]);
        let stream = app.get("/v1/account/export").bearer(&key.key).listen().await;
        for _ in 0..3 {
            app.faults.fail_db_after(1, Fault::Before);
        }
        app.faults.clear();
        for _ in 0..3 {
            app.faults.fail_db(Fault::Before);
        }
        assert_eq!(kinds(&read_all(stream).await), [] as [&str; 0]);
        assert!(app.log.borrow().iter().any(|line| line.contains("export")));
    });
}
