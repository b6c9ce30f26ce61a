//! `/admin/v1/logs`.

use guildhall::ports::{FetchError, StreamEnd};
use serde_json::{Value, json};

use crate::support::{Reply, TestApp, run};

async fn list(app: &TestApp, query: &str) -> Value {
    app.admin("GET", &format!("/admin/v1/logs{query}")).send().await.expect(200).json()
}

#[test]
fn an_empty_log_is_a_list() {
    run(async |app| {
        app.get("/admin/v1/logs").send().await.expect(401);
        let page = app.admin("GET", "/admin/v1/logs").send().await.expect(200).json();
        assert_eq!(page, json!({ "logs": [], "total": 0, "limit": 100, "offset": 0 }));
    });
}

#[test]
fn a_request_shows_with_everything_as_soon_as_it_has_ended() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.latency_ms.set(38);
        let answer = app.hello(&key).send().await.expect(200);
        let page = list(&app, "").await;
        let row = &page["logs"][0];
        assert!(
            row["latency_ms"].as_i64().unwrap() >= 38 && row["timestamp"].as_str().unwrap().ends_with('Z'),
            "{row}"
        );
        let mut told = row.clone();
        for varying in ["timestamp", "latency_ms"] {
            told.as_object_mut().unwrap().remove(varying);
        }
        let expected = json!({
            "id": 1, "model_id": "m1", "provider_id": "p1", "mode": "auto", "estimated_cost_usd": 0.00025, "status_code": 200,
            "outcome": "completed", "request_id": answer.header("x-request-id").unwrap(), "api_key_id": app.key_id(&key),
            "api_key_name": "first key", "input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "requested_model": "m1",
        });
        assert_eq!(told, expected);
        assert_eq!(page["total"], 1);
        app.pass_ms(3_000).await;
        assert_eq!(list(&app, "").await, page, "the queue brings it again, and it counts once");
        app.assert_books_rest(&key);
    });
}

#[test]
fn every_ending_has_its_class() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.then(Reply::error(400, "no"));
        app.hello(&key).send().await.expect(400);
        app.upstream.then(Reply::Whole(502, "garbage".into(), "30"));
        app.hello(&key).send().await.expect(502);
        let chunks: Vec<_> = Reply::chunks(&["a", "b"], None).into_iter().take(2).collect();
        app.upstream.then(Reply::Stream(chunks, StreamEnd::Broken));
        let stream = r#"{"model":"m1","messages":[{"role":"user","content":"x"}],"stream":true}"#;
        app.post("/v1/chat/completions").bearer(&key.key).body(stream).send().await.expect(200);
        app.upstream.then(Reply::Fails(FetchError::ClientGone { was_asked: true }));
        app.hello(&key).send().await;
        let page = list(&app, "").await;
        let told: Vec<_> =
            page["logs"].as_array().unwrap().iter().map(|row| (&row["status_code"], &row["error_class"])).collect();
        let expected = [(499, "client_gone"), (502, "stream_error"), (502, "routing_failure"), (400, "client_error")];
        let expected = expected.map(|(status, class)| (json!(status), json!(class)));
        assert_eq!(told, expected.iter().map(|(status, class)| (status, class)).collect::<Vec<_>>());
        assert!(page["logs"].as_array().unwrap().iter().all(|row| row["mode"] == "auto"), "the mode that held: {page}");
    });
}

#[test]
fn it_pages_newest_first_over_all_accounts() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let other = app.provision("5").await;
        let mut made = Vec::new();
        for at in 0..6 {
            let answer = app.hello(if at % 2 == 0 { &key } else { &other }).send().await.expect(200);
            made.push(answer.header("x-request-id").unwrap().to_owned());
            app.pass_ms(100).await;
        }
        let page = list(&app, "?limit=2&offset=1").await;
        let ids: Vec<_> =
            page["logs"].as_array().unwrap().iter().map(|row| row["request_id"].as_str().unwrap()).collect();
        assert_eq!(ids, [&made[4], &made[3]]);
        assert_eq!((&page["total"], &page["limit"]), (&json!(6), &json!(2)));
        assert_eq!(list(&app, "?offset=99").await["logs"], json!([]));
        assert_eq!(list(&app, "?limit=99999").await["limit"], 1_000);
    });
}

#[test]
fn a_record_of_an_older_version_is_filed() {
    run(async |app| {
        let old = json!([{
            "wallet": "acc_old", "id": "c", "record": json!([{
                "id": "req_old", "account_id": "acc_old", "api_key_id": "key_old", "created_at_ms": 1_800_000_000_000_i64,
                "request_type": "chat", "mode": "fast", "model": "m", "routed_model": "m", "routed_provider": "p", "status": 200,
                "outcome": "completed", "input_tokens": 1, "output_tokens": 2, "cost_micros": 3, "charged_micros": 3, "latency_ms": 4,
                "receipt": "{}",
            }]).to_string(),
        }]);
        guildhall::jobs::usage::file_usage(&app.ports(), &[old.to_string()]).await.unwrap();
        let page = list(&app, "").await;
        assert_eq!((&page["logs"][0]["request_id"], page["logs"][0].get("alias_from")), (&json!("req_old"), None));
        assert_eq!(app.admin("GET", "/admin/v1/rewards").send().await.expect(200).json()["total"], 0);
    });
}
