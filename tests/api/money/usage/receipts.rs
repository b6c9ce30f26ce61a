//! `/v1/usage/{id}`: from the receipt alone the charge can be computed again.

use serde_json::{Value, json};

use crate::support::{Key, Reply, TestApp, run};

async fn receipt(app: &TestApp, key: &Key, id: &str) -> Value {
    app.get(&format!("/v1/usage/{id}")).bearer(&key.key).send().await.expect(200).json()
}

/// What a receipt's tokens cost at its rates, rounded up to the micro-dollar once.
fn recompute(receipt: &Value) -> i64 {
    let number = |value: &Value| i128::from(value.as_i64().unwrap_or_else(|| panic!("a number in {receipt}")));
    let (usage, price) = (&receipt["usage"], &receipt["price"]);
    let cached = number(&usage["cache_read"]);
    let cache_rate = match &price["cache_read_pico_usd_per_token"] {
        Value::Null => &price["input_pico_usd_per_token"],
        rate => rate,
    };
    let pico = (number(&usage["input"]) - cached) * number(&price["input_pico_usd_per_token"])
        + cached * number(cache_rate)
        + number(&usage["output"]) * number(&price["output_pico_usd_per_token"]);
    i64::try_from((pico + 999_999) / 1_000_000).unwrap()
}

async fn register(app: &TestApp, id: &str, input_per_1k: &str, output_per_1k: &str) {
    let body = format!(
        r#"{{"id":"{id}","provider_id":"p1","weight":5,"max_context_tokens":0,"max_output_tokens":1000,
            "input_per_1k":{input_per_1k},"output_per_1k":{output_per_1k},"enabled":true}}"#
    );
    app.admin("POST", "/admin/v1/models").body(&body).send().await.expect(200);
}

#[test]
fn the_charge_is_tokens_times_rates_rounded_up() {
    run(async |app| {
        let key = app.with_busy_key().await;
        for (at, (input_per_1k, output_per_1k, input, output, micros)) in [
            ("0.01", "0.03", 10, 5, 250),
            ("0.00015", "0.0006", 7, 3, 3),
            ("0.000001", "0.000001", 1, 0, 1),
            ("0.0000375", "0.00015", 33, 7, 3),
            ("0", "0", 10, 5, 0),
            ("0.000000001", "0", 1, 0, 1),
        ]
        .into_iter()
        .enumerate()
        {
            let model = format!("model-{at}");
            register(&app, &model, input_per_1k, output_per_1k).await;
            app.upstream.then(Reply::chat("x", input, output));
            let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"x"}}],"max_tokens":99}}"#);
            let before = app.balance_micros(&key).await;
            let answer = app.post("/v1/chat/completions").bearer(&key.key).body(&body).send().await.expect(200);
            let found = receipt(&app, &key, answer.header("x-request-id").unwrap()).await;
            let receipt = &found["receipt"];
            assert_eq!(receipt["cost_micros"], micros, "{model}");
            assert_eq!(recompute(receipt), micros, "{model}");
            assert_eq!(before - app.balance_micros(&key).await, micros, "{model}");
            assert_eq!((&receipt["rule"], &receipt["attempts"]), (&json!("reported"), &json!(1)), "{model}");
            assert_eq!(
                receipt["usage"],
                json!({ "input": input, "output": output, "cache_read": 0, "cache_write": 0 }),
                "{model}"
            );
        }
    });
}

#[test]
fn cached_input_is_charged_at_its_own_rate() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let body = r#"{"id":"m2","provider_id":"p1","weight":5,"max_context_tokens":0,"max_output_tokens":100,
            "input_per_1k":0.01,"output_per_1k":0.03,"cache_read_per_1k":0.001,"enabled":true}"#;
        app.admin("POST", "/admin/v1/models").body(body).send().await.expect(200);
        let usage = json!({
            "prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010,
            "prompt_tokens_details": { "cached_tokens": 800 },
        });
        let body = json!({
            "id": "c", "object": "chat.completion", "created": 1, "model": "up", "usage": usage,
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": "x" }, "finish_reason": "stop" }],
        });
        app.upstream.then(Reply::Whole(200, body.to_string(), ""));
        let call = app.post("/v1/chat/completions").bearer(&key.key);
        let body = r#"{"model":"m2","messages":[{"role":"user","content":"x"}],"max_tokens":99}"#;
        let answer = call.body(body).send().await.expect(200);
        let found = receipt(&app, &key, answer.header("x-request-id").unwrap()).await;
        // 200 × $10/M + 800 × $1/M + 10 × $30/M
        assert_eq!((recompute(&found["receipt"]), &found["receipt"]["cost_micros"]), (3_100, &json!(3_100)));
        assert_eq!(found["charged_usd"], 0.0031);
    });
}

#[test]
fn it_names_the_price_by_its_version() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let mut charged = Vec::new();
        for (version, rate) in [(1, "0.01"), (2, "0.02")] {
            register(&app, "m2", rate, "0").await;
            let body = r#"{"model":"m2","messages":[{"role":"user","content":"x"}],"max_tokens":9}"#;
            let answer = app.post("/v1/chat/completions").bearer(&key.key).body(body).send().await.expect(200);
            let found = receipt(&app, &key, answer.header("x-request-id").unwrap()).await;
            assert_eq!(found["receipt"]["price"]["version"], version);
            assert_eq!(found["receipt"]["price"]["model"], "m2");
            charged.push(recompute(&found["receipt"]));
        }
        assert_eq!(charged, [100, 200]);
    });
}

#[test]
fn what_was_held_covers_what_was_charged() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let answer = app.hello(&key).send().await.expect(200);
        let found = receipt(&app, &key, answer.header("x-request-id").unwrap()).await;
        let held = found["receipt"]["held_micros"].as_i64().unwrap();
        // 100 output tokens at $30/M, and at most a token for each byte of the request.
        assert!((3_000 + 10 * 22..3_000 + 10 * 200).contains(&held), "{held}");
    });
}

#[test]
fn a_call_without_an_answer_has_a_receipt_of_nothing() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.then(Reply::error(400, "no"));
        let answer = app.hello(&key).send().await.expect(400);
        let found = receipt(&app, &key, answer.header("x-request-id").unwrap()).await;
        assert_eq!(
            (&found["receipt"]["rule"], &found["receipt"]["cost_micros"]),
            (&json!("nothing_delivered"), &json!(0))
        );
        assert_eq!((&found["status"], &found["outcome"]), (&json!(400), &json!("rejected")));
    });
}

#[test]
fn it_is_the_row_of_the_list_and_the_receipt() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let answer = app.hello(&key).send().await.expect(200);
        for delivered in [false, true] {
            let mut found = receipt(&app, &key, answer.header("x-request-id").unwrap()).await;
            found.as_object_mut().unwrap().remove("receipt").unwrap();
            assert_eq!(found, app.last_usage(&key).await, "delivered {delivered}");
            app.pass_ms(200).await;
        }
    });
}

#[test]
fn anothers_and_nobodys_are_the_same_404() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let other = app.provision("1").await;
        let answer = app.hello(&key).send().await.expect(200);
        let path = format!("/v1/usage/{}", answer.header("x-request-id").unwrap());
        for delivered in [false, true] {
            let anothers = app.get(&path).bearer(&other.key).send().await.expect(404);
            let nobodys = app.get("/v1/usage/req_none").bearer(&other.key).send().await.expect(404);
            assert_eq!(anothers.json(), nobodys.json(), "delivered {delivered}");
            assert_eq!(anothers.json()["error"]["code"], "NOT_FOUND");
            app.pass_ms(200).await;
        }
        assert_eq!(app.database.number("SELECT COUNT(*) FROM usage"), 1);
    });
}
