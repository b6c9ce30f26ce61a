//! `POST /v1/embeddings`.

use serde_json::json;

use super::kit::{assert_balanced, last_receipt, micros, tokenhub_key};
use super::media::{add_kind, with_sandbox, with_upstream};
use crate::support::{Reply, run};

const PATH: &str = "/v1/embeddings";

fn list(usage: &serde_json::Value) -> Reply {
    let item = json!({ "object": "embedding", "index": 0, "embedding": [0.6, 0.8] });
    Reply::Whole(200, json!({ "object": "list", "data": [item], "model": "up-embed", "usage": usage }).to_string(), "")
}

#[test]
fn vectors_come_from_the_upstream_and_are_charged_by_the_token() {
    run(async |app| {
        let key = with_upstream(&app).await;
        app.upstream.always(list(&json!({ "prompt_tokens": 5, "total_tokens": 5 })));
        let body = r#"{"input": ["hello there"], "model": "embed", "dimensions": 2, "new_field": [1]}"#;
        let answer = app.post("/v1/embeddings").bearer(&key.key).body(body).send().await.expect(200);
        assert_eq!(answer.json()["model"], "embed");
        assert_eq!(answer.json()["data"][0]["embedding"], json!([0.6, 0.8]));
        // 5 tokens at $20 a million.
        assert_eq!(answer.header("x-tokaroo-cost"), Some("0.0001"));
        assert_eq!(app.upstream.last_body(), body.replace("\"embed\"", "\"up-embed\""));
        assert_eq!(app.upstream.sent.borrow()[0].url, "http://127.0.0.1:9/p1/v1/embeddings");
        let record = last_receipt(&app, &key).await;
        assert_eq!((&record["request_type"], &record["receipt"]["rule"]), (&json!("embedding"), &json!("reported")));
        assert_eq!(micros(&record["charged_usd"]), 100);
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn what_the_upstream_does_not_count_is_estimated() {
    run(async |app| {
        let key = with_upstream(&app).await;
        app.upstream.always(list(&json!(null)));
        app.post(PATH).bearer(&key.key).body(r#"{"input":"12345678"}"#).send().await.expect(200);
        let record = last_receipt(&app, &key).await;
        assert_eq!(record["receipt"]["rule"], "estimated");
        assert_eq!(micros(&record["charged_usd"]), 40, "two tokens");
    });
}

#[test]
fn the_sandbox_embeds_as_floats_and_base64() {
    run(async |app| {
        let key = with_sandbox(&app).await;
        for (format, is_text) in [("float", false), ("base64", true)] {
            let body = json!({ "input": ["a b c", [1, 2]], "model": "auto", "encoding_format": format });
            let answer = app.post(PATH).bearer(&key.key).json(&body).send().await.expect(200).json();
            assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &json!("auto")));
            assert_eq!(answer["usage"], json!({ "prompt_tokens": 5, "total_tokens": 5 }));
            assert_eq!(answer["data"][1]["embedding"].is_string(), is_text);
        }
    });
}

#[test]
fn a_chat_model_does_not_embed_and_an_embedding_model_does_not_chat() {
    run(async |app| {
        let key = with_upstream(&app).await;
        app.add_model("m1", "p1", 5).await;
        let answer = app.post(PATH).bearer(&key.key).body(r#"{"input":"a","model":"m1"}"#).send().await.expect(404);
        assert!(answer.text().contains("model not found: m1"), "{}", answer.text());
        let chat = r#"{"model":"embed","messages":[{"role":"user","content":"hi"}]}"#;
        app.post("/v1/chat/completions").bearer(&key.key).body(chat).send().await.expect(404);
        app.upstream.always(Reply::chat("hi", 1, 1));
        let chat = chat.replace("embed", "auto");
        app.post("/v1/chat/completions").bearer(&key.key).body(&chat).send().await.expect(200);
        assert!(app.upstream.last_body().contains("\"m1\""), "auto chats with models that chat");
    });
}

#[test]
fn faults_are_named_and_failures_are_not_charged() {
    run(async |app| {
        let key = with_upstream(&app).await;
        let answer = app.post(PATH).bearer(&key.key).body(r#"{"input":[]}"#).send().await.expect(400);
        assert!(answer.text().contains("input must not be empty"), "{}", answer.text());
        app.upstream.always(Reply::error(400, "too long"));
        let answer = app.post(PATH).bearer(&key.key).body(r#"{"input":"a"}"#).send().await.expect(400);
        assert!(answer.text().contains("too long"));
        app.upstream.always(Reply::error(500, "broken"));
        app.post(PATH).bearer(&key.key).body(r#"{"input":"a"}"#).send().await.expect(502);
        app.upstream.always(Reply::Whole(200, "{}".to_owned(), ""));
        app.post(PATH).bearer(&key.key).body(r#"{"input":"a"}"#).send().await.expect(502);
        let poor = app.provision("0").await;
        app.post(PATH).bearer(&poor.key).body(r#"{"input":"a"}"#).send().await.expect(402);
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn another_model_takes_over() {
    run(async |app| {
        let key = with_upstream(&app).await;
        app.add_provider("p2").await;
        add_kind(&app, "embed2", "p2", "embedding", json!({ "input_per_1k": 0.02 })).await;
        app.upstream.always_at("p1", Reply::error(500, "broken"));
        app.upstream.always_at("p2", list(&json!({ "prompt_tokens": 1, "total_tokens": 1 })));
        app.post(PATH).bearer(&key.key).body(r#"{"input":"a"}"#).send().await.expect(200);
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

/// T80: what the administrator's keys are told of an alias and of a choice that was left to the router.
#[test]
fn aliases_and_stars_are_resolved_and_named() {
    run(async |app| {
        with_upstream(&app).await;
        let key = tokenhub_key(&app).await;
        app.upstream.always(list(&json!({ "prompt_tokens": 1, "total_tokens": 1 })));
        let alias = json!({ "variants": [{ "model_id": "embed", "weight": 1 }] });
        app.admin("PUT", "/admin/v1/aliases/words").json(&alias).send().await.expect(200);
        for (asked, alias_from) in [("embed", None), ("words", Some("words")), ("*", None)] {
            let body = format!(r#"{{"model":"{asked}","input": "a",  "user":"u"}}"#);
            let answer = app.post(PATH).bearer(&key.key).body(&body).send().await.expect(200);
            assert_eq!(
                (answer.header("x-negotiated-model"), answer.header("x-alias-from")),
                (Some("embed"), alias_from),
                "{asked}"
            );
            assert_eq!(answer.json()["model"], "embed", "{asked}");
            assert_eq!(app.upstream.last_body(), body.replace(&format!("\"{asked}\""), "\"up-embed\""));
        }
    });
}
