//! `POST /v1/images/generations`.

use serde_json::json;

use super::kit::{assert_balanced, last_receipt, micros};
use super::media::{with_sandbox, with_upstream};
use crate::support::{Reply, run};

const PATH: &str = "/v1/images/generations";

#[test]
fn images_are_charged_by_their_number_size_and_quality() {
    run(async |app| {
        let key = with_sandbox(&app).await;
        for (body, expected) in [
            (json!({ "prompt": "a cat" }), 40_000),
            (json!({ "prompt": "a cat", "model": "draw", "n": 2, "response_format": "b64_json" }), 80_000),
            (json!({ "prompt": "a cat", "quality": "hd", "size": "1024x1792" }), 120_000),
        ] {
            let answer = app.post("/v1/images/generations").bearer(&key.key).json(&body).send().await.expect(200);
            let data = answer.json()["data"].as_array().unwrap().clone();
            assert_eq!(data.len() as u64, body["n"].as_u64().unwrap_or(1));
            let field = if body["response_format"] == "b64_json" { "b64_json" } else { "url" };
            assert!(data[0][field].is_string() && data[0]["revised_prompt"] == "a cat");
            let record = last_receipt(&app, &key).await;
            assert_eq!(micros(&record["charged_usd"]), expected);
            assert_eq!(record["receipt"]["price"]["unit"], "image");
        }
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn fewer_images_than_asked_for_cost_less() {
    run(async |app| {
        let key = with_upstream(&app).await;
        app.upstream.always(Reply::Whole(200, r#"{"created":1,"data":[{"url":"https://x/1"}]}"#.to_owned(), ""));
        let body = r#"{"prompt":"a","n":3,"user":"kept"}"#;
        let answer = app.post(PATH).bearer(&key.key).body(body).send().await.expect(200);
        assert_eq!(answer.header("x-tokaroo-cost"), Some("0.04"));
        assert!(app.upstream.last_body().contains("\"user\":\"kept\""));
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn faults_are_named_before_money_moves() {
    run(async |app| {
        let key = with_sandbox(&app).await;
        for (body, word) in
            [("{}", "prompt"), (r#"{"prompt":"a","n":11}"#, "n must"), (r#"{"prompt":"a","size":"x"}"#, "size")]
        {
            let answer = app.post(PATH).bearer(&key.key).body(body).send().await.expect(400);
            assert!(answer.text().contains(word), "{}", answer.text());
        }
        let body = r#"{"prompt":"a","n":10,"quality":"hd","size":"1792x1024"}"#;
        let answer = app.post(PATH).bearer(&key.key).body(body).send().await.expect(402);
        assert_eq!(answer.json()["required_usd"], json!(1.2));
    });
}
