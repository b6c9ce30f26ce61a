//! What calls at upstreams of the caller's own are charged.

use guildhall::ports::StreamEnd;
use serde_json::json;

use super::{STAND_IN, bring_endpoint, bring_key, own, owner};
use crate::api::models::kit::{add_model, assert_balanced, chat, hello, hello_stream, last_receipt, micros, rich_key};
use crate::support::{HELLO_MICROS, Reply, run, run_with};

/// Five percent of what a hello costs, rounded up.
const OWN_HELLO_MICROS: i64 = 13;

#[test]
fn an_endpoints_answer_is_charged_five_percent_of_the_platforms_price() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        add_model(&app, "dear", "p1", json!({ "input_per_1k": 0.1, "output_per_1k": 0.3 })).await;
        bring_endpoint(&app, &session, &["qwen3:8b"], json!({ "model_map": { "dear": "qwen3:8b" } })).await;
        // A mode: the cheapest of the platform's models that could have served is `m1`.
        let answer = chat(&app, &key, &hello("auto")).send().await.expect(200);
        assert_eq!(answer.header("x-tokaroo-cost"), Some("0.000013"));
        let receipt = last_receipt(&app, &key).await;
        assert_eq!(
            (micros(&receipt["charged_usd"]), micros(&receipt["baseline_usd"])),
            (OWN_HELLO_MICROS, HELLO_MICROS)
        );
        assert_eq!(micros(&receipt["actual_cost_usd"]), OWN_HELLO_MICROS);
        // The receipt says all that the charge is computed from, and nothing of the endpoint.
        let receipt = &receipt["receipt"];
        assert_eq!((&receipt["rule"], &receipt["price"]["model"]), (&json!("reported"), &json!("m1")));
        let tokens = |name: &str| receipt["usage"][name].as_i64().unwrap();
        let rate = |name: &str| receipt["price"][name].as_i64().unwrap();
        let pico =
            tokens("input") * rate("input_pico_usd_per_token") + tokens("output") * rate("output_pico_usd_per_token");
        let baseline = (pico + 999_999) / 1_000_000;
        assert_eq!(receipt["baseline_micros"], baseline);
        assert_eq!(receipt["cost_micros"], (baseline * receipt["percent_of_baseline"].as_i64().unwrap() + 99) / 100);
        assert!(!receipt.to_string().contains("qwen3"));
        // A name: that model's price.
        chat(&app, &key, &hello("dear")).send().await.expect(200);
        assert_eq!(micros(&app.last_usage(&key).await["baseline_usd"]), 10 * HELLO_MICROS);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

/// What a client says of its prompt chooses the model; it makes nothing cheaper.
#[test]
fn a_prompt_that_is_said_to_fit_nowhere_is_charged_all_the_same() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        let context = json!({ "max_context_tokens": 8_000 });
        app.admin("PATCH", "/admin/v1/models/m1").json(&context).send().await.expect(200);
        bring_endpoint(&app, &session, &["qwen3:8b"], json!({})).await;
        let request = json!({ "id": "r1", "messages": [{ "role": "user", "content": "hi" }],
            "estimated_input_tokens": 20_000 });
        let call = app.post("/v1/chat").bearer(&key.key).json(&json!({ "request": request }));
        call.send().await.expect(200);
        let row = app.last_usage(&key).await;
        assert_eq!((micros(&row["charged_usd"]), micros(&row["baseline_usd"])), (OWN_HELLO_MICROS, HELLO_MICROS));
    });
}

#[test]
fn a_keys_answer_is_charged_five_percent_of_the_same_models_price() {
    run_with(STAND_IN, async |app| {
        let (key, session) = owner(&app).await;
        add_model(&app, "llama", "p1", json!({ "upstream_model": "llama-3.3-70b-versatile" })).await;
        bring_key(&app, &session, json!({ "provider": "groq", "secret": "gsk_1" })).await;
        app.upstream.always_at("groq", Reply::chat("hi", 10, 5));
        chat(&app, &key, &hello("llama")).send().await.expect(200);
        let row = app.last_usage(&key).await;
        assert_eq!((micros(&row["charged_usd"]), micros(&row["baseline_usd"])), (OWN_HELLO_MICROS, HELLO_MICROS));
        assert_eq!((&row["provider"], &row["execution_source"]), (&json!("byok"), &json!("byok")));
        // One that the platform does not have: its list price. 1,000 × $0.05/M + 1,000 × $0.08/M.
        app.upstream.always_at("groq", Reply::chat("hi", 1_000, 1_000));
        chat(&app, &key, &hello("llama-3.1-8b-instant")).send().await.expect(200);
        let row = app.last_usage(&key).await;
        assert_eq!((micros(&row["charged_usd"]), micros(&row["baseline_usd"])), (7, 130));
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn every_ending_of_an_endpoint_has_its_charge() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        bring_endpoint(&app, &session, &["qwen3:8b"], json!({})).await;
        let stream = |end| Reply::Stream(Reply::chunks(&["hello", " there"], None)[..3].to_vec(), end);
        // It breaks, it ends early: what was delivered is paid, at the same part.
        for end in [StreamEnd::Broken, StreamEnd::Eof] {
            app.upstream.always_at("home", stream(end));
            chat(&app, &key, &hello_stream("auto")).send().await.expect(200);
            let row = app.last_usage(&key).await;
            assert_eq!((&row["outcome"], &row["billing_mode"]), (&json!("stream_broken"), &json!("local")));
            let (charged, baseline) = (micros(&row["charged_usd"]), micros(&row["baseline_usd"]));
            assert!(baseline > 0 && charged == (baseline * 5 + 99) / 100, "{row}");
        }
        // The client leaves.
        app.upstream.always_at("home", Reply::stream(&["hello", " there"], None));
        chat(&app, &key, &hello_stream("auto")).leave_after(1).send().await.expect(200);
        let row = app.last_usage(&key).await;
        assert_eq!((&row["outcome"], &row["billing_mode"]), (&json!("client_gone"), &json!("local")));
        assert!(micros(&row["charged_usd"]) > 0);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn an_endpoint_is_not_its_own_judge() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        bring_endpoint(&app, &session, &["qwen3:8b"], json!({})).await;
        let words = "word ".repeat(100);
        // It says that it did nothing for a long answer.
        app.upstream.always_at("home", Reply::chat(&words, 0, 0));
        chat(&app, &key, &hello("auto")).send().await.expect(200);
        let receipt = last_receipt(&app, &key).await;
        assert_eq!(receipt["receipt"]["rule"], "estimated");
        assert_eq!(receipt["output_tokens"], 125);
        app.upstream.always_at("home", Reply::stream(&[&words], Some((0, 0))));
        chat(&app, &key, &hello_stream("auto")).send().await.expect(200);
        assert_eq!(app.last_usage(&key).await["output_tokens"], 125);
        // A count that may be true is taken.
        app.upstream.always_at("home", Reply::chat(&words, 20, 101));
        chat(&app, &key, &hello("auto")).send().await.expect(200);
        let row = app.last_usage(&key).await;
        assert_eq!((&row["input_tokens"], &row["output_tokens"]), (&json!(20), &json!(101)));
    });
}

#[test]
fn the_hold_covers_the_platforms_route_and_little_money_goes_home() {
    run(async |app| {
        app.add_provider("p1").await;
        app.add_model("m1", "p1", 5).await;
        app.answer_hello();
        // A hello at `m1` may cost 3,850 micro-dollars and needs 3,210 at least; five percent of it is there.
        let key = rich_key(&app, "0.0003").await;
        let session = own(&app, &key).await;
        bring_endpoint(&app, &session, &["qwen3:8b"], json!({})).await;
        chat(&app, &key, &hello("auto")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["home"]);
        app.upstream.always_at("home", Reply::error(500, "x"));
        chat(&app, &key, &hello("auto")).send().await.expect(502);
        assert_eq!(app.upstream.take_called(), ["home"], "the platform's route is not paid for");
        app.pass_ms(3_000).await;
        let answer = chat(&app, &key, &hello("auto")).send().await.expect(402);
        assert!(answer.json()["required_usd"].is_number());
        let rich = rich_key(&app, "10").await;
        let session = own(&app, &rich).await;
        bring_endpoint(&app, &session, &["qwen3:8b"], json!({})).await;
        chat(&app, &rich, &hello("auto")).send().await.expect(200);
        let held = last_receipt(&app, &rich).await["receipt"]["held_micros"].as_i64().unwrap();
        assert!(held >= 3_000, "a fall back must be paid for: {held}");
    });
}

#[test]
fn where_the_platform_has_no_route_there_is_nothing_to_charge_a_part_of() {
    run(async |app| {
        let key = rich_key(&app, "1").await;
        let session = own(&app, &key).await;
        bring_endpoint(&app, &session, &["qwen3:8b"], json!({})).await;
        chat(&app, &key, &hello("auto")).send().await.expect(200);
        let row = app.last_usage(&key).await;
        assert_eq!(
            (&row["charged_usd"], &row["baseline_usd"], &row["billing_mode"]),
            (&json!(0.0), &json!(0.0), &json!("local"))
        );
    });
}
