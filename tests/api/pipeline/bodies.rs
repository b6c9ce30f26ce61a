//! Bodies: too long, not JSON, not of the right types.

use std::time::Duration;

use guildhall::http::request::{BodyError, BodySource};
use guildhall::ports::Pending;
use serde_json::Value;

use crate::support::{Answer, HELLO, Key, TestApp, run};

const CREDITS: &str = "/admin/v1/accounts/none/credits";

async fn chat(app: &TestApp, key: &Key, body: &[u8]) -> Answer {
    app.post("/v1/chat/completions").bearer(&key.key).bytes(body).send().await
}

fn padded(bytes: usize) -> Vec<u8> {
    let mut body = HELLO.as_bytes().to_vec();
    body.resize(bytes, b' ');
    body
}

#[test]
fn a_body_over_the_routes_limit_is_413_told_by_its_length_or_not() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let limit = 10 << 20;
        app.credit(&key, "1000").await;
        for told in [true, false] {
            let call = app.post("/v1/chat/completions").bearer(&key.key).bytes(&padded(limit + 1));
            let call = if told { call } else { call.head(|head| head.content_length.clear()) };
            let refused = call.send().await.expect(413).json();
            assert_eq!(refused["max_bytes"], limit, "told {told}: {refused}");
            assert!(refused["error"].is_string(), "in Tokaroo's words: {refused}");
            let call = app.post("/v1/chat/completions").bearer(&key.key).bytes(&padded(limit));
            let call = if told { call } else { call.head(|head| head.content_length.clear()) };
            call.send().await.expect(200);
        }
        let call = app.admin("POST", CREDITS).bytes(&vec![b' '; (1 << 20) + 1]);
        let refused = call.send().await.expect(413).json();
        assert_eq!(refused["max_bytes"], 1 << 20, "the usual limit");
    });
}

#[test]
fn a_list_is_not_taken_for_the_fields_in_their_order() {
    run(async |app| {
        let key = app.provision("1").await;
        for (path, list) in [("credits", r#"[1,"x"]"#), ("limits", " [100000,1000000,500]")] {
            let method = if path == "credits" { "POST" } else { "PATCH" };
            let call = app.admin(method, &format!("/admin/v1/accounts/{}/{path}", key.account_id));
            let refused = call.body(list).send().await.expect(400).json();
            assert_eq!(refused["error"], "The request body must be a JSON object", "{path}");
        }
        app.post("/v1/keys").bearer(&key.key).body(r#"["nm"]"#).send().await.expect(400);
        assert_eq!(app.balance_micros(&key).await, 1_000_000);
    });
}

#[test]
fn a_length_that_is_told_is_refused_before_anything_is_read_or_asked() {
    run(async |app| {
        let calls = (app.faults.db_calls.get(), app.faults.object_calls.get());
        let huge = |head: &mut guildhall::http::request::Head| head.content_length = "99999999999999".into();
        app.post("/v1/chat/completions").bearer("tok_x").head(huge).send().await.expect(413);
        assert_eq!((app.faults.db_calls.get(), app.faults.object_calls.get()), calls);
        // More than any number holds, and a number that is none.
        for length in ["999999999999999999999999999", "-1", "ten"] {
            let key = app.provision("0").await;
            let call = app.post("/v1/chat/completions").bearer(&key.key).body("{}");
            let answer = call.head(|head| head.content_length = length.into()).send().await;
            assert!(matches!(answer.status, 400 | 413), "{length}: {}", answer.status);
        }
    });
}

#[test]
fn json_that_breaks_is_400_with_the_place() {
    run(async |app| {
        for body in
            ["{", "{\"amount_usd\":5", "{\"amount_usd\":}", "{'amount_usd':5}", "nonsense", "{\"amount_usd\":5,}"]
        {
            let refused = app.admin("POST", CREDITS).body(body).send().await.expect(400).json();
            let text = refused["error"].as_str().unwrap();
            assert!(text.contains("invalid JSON") && text.contains("line 1 column"), "{body}: {text}");
        }
    });
}

#[test]
fn what_follows_the_json_is_refused() {
    run(async |app| {
        for body in [r#"{"amount_usd":5} x"#, r#"{"amount_usd":5}{"amount_usd":6}"#, "{} {}"] {
            app.admin("POST", CREDITS).body(body).send().await.expect(400);
        }
        // White space may follow.
        app.admin("POST", CREDITS).body("{\"amount_usd\":5}\r\n ").send().await.expect(404);
    });
}

#[test]
fn an_empty_body_is_an_empty_object() {
    run(async |app| {
        for body in ["", " \n", "{}"] {
            let refused = app.admin("POST", CREDITS).body(body).send().await.expect(400).text();
            assert!(refused.contains("amount_usd"), "{body:?}: {refused}");
        }
        app.admin("POST", CREDITS).send().await.expect(400);
    });
}

#[test]
fn another_kind_of_json_is_refused() {
    run(async |app| {
        for body in ["[]", "null", "5", "\"x\"", "true"] {
            app.admin("POST", CREDITS).body(body).send().await.expect(400);
        }
    });
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let body = b"{\"model\":\"m1\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\xfe\"}]}";
        chat(&app, &key, body).await.expect(400);
        let body = b"{\"amount_usd\":5,\"reason\":\"\xff\"}";
        app.admin("POST", CREDITS).bytes(body).send().await.expect(400);
        assert!(app.upstream.sent.borrow().is_empty());
    });
}

#[test]
fn a_wrong_type_is_named_by_its_path() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let message = r#"{"role":"user","content":"x"}"#;
        for (body, param) in [
            (r#"{"model":5,"messages":[MESSAGE]}"#, "model"),
            (r#"{"messages":"hello"}"#, "messages"),
            (r#"{"messages":[MESSAGE,{"role":5}]}"#, "messages[1].role"),
            (r#"{"messages":[MESSAGE],"max_tokens":"ten"}"#, "max_tokens"),
            (r#"{"messages":[MESSAGE],"temperature":3}"#, "temperature"),
            (r#"{"model":"m1"}"#, "messages"),
        ] {
            let body = body.replace("MESSAGE", message);
            let refused = chat(&app, &key, body.as_bytes()).await.expect(400).json();
            assert_eq!(refused["param"], param, "{refused}");
            assert!(refused["error"].as_str().unwrap().contains(param.split(['[', '.']).next().unwrap()), "{refused}");
        }
        let refused = chat(&app, &key, b"{\"messages\": [").await.expect(400).json();
        assert_eq!(refused["param"], Value::Null, "{refused}");
        assert!(app.upstream.sent.borrow().is_empty());
    });
}

#[test]
fn depth_is_bounded() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let deep = "[".repeat(200_000);
        app.admin("POST", CREDITS).body(&deep).send().await.expect(400);
        chat(&app, &key, deep.as_bytes()).await.expect(400);
        let inside = format!(r#"{{"messages":[{{"role":"user","content":"x"}}],"metadata":{deep}}}"#);
        chat(&app, &key, inside.as_bytes()).await.expect(400);
    });
}

/// A body whose connection breaks.
struct BrokenBody;

impl BodySource for BrokenBody {
    fn read(self: Box<Self>, _: u32) -> Pending<'static, Result<Vec<u8>, BodyError>> {
        Box::pin(std::future::ready(Err(BodyError::Broken)))
    }
}

#[test]
fn a_body_that_ends_early_is_400_and_goes_nowhere() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let refused = app.post("/v1/chat/completions").bearer(&key.key).source(BrokenBody).send().await.expect(400);
        assert!(refused.text().contains("ended early"), "{}", refused.text());
        assert!(app.upstream.sent.borrow().is_empty());
    });
}

#[test]
fn large_bodies_wait_for_each_other_and_small_ones_for_nobody() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.credit(&key, "1000").await;
        let large = padded(10 << 20);
        let untold =
            app.post("/v1/chat/completions").bearer(&key.key).bytes(&large).head(|head| head.content_length.clear());
        app.upstream.latency_ms.set(15_000);
        let third = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let (refused, small) = tokio::join!(chat(&app, &key, &large), chat(&app, &key, HELLO.as_bytes()));
            assert_eq!(small.expect(200).status, 200, "it has room");
            let refused = refused.expect(503);
            assert_eq!(refused.header("retry-after"), Some("1"));
            assert!(refused.json()["error"].as_str().unwrap().contains("large requests"), "{}", refused.text());
        };
        let fourth = async {
            tokio::time::sleep(Duration::from_secs(8)).await;
            chat(&app, &key, &large).await.expect(200);
        };
        let (first, second, (), ()) = tokio::join!(chat(&app, &key, &large), untold.send(), third, fourth);
        assert_eq!((first.status, second.status), (200, 200));
        assert_eq!(app.upstream.sent.borrow().len(), 4, "the refused one was not sent");
    });
}
