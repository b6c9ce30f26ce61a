//! Repetitions, escalation, and the pauses in between.

use serde_json::json;

use super::kit::{add_ladder, add_model, assert_balanced, chat, hello, last_receipt, rich_key};
use crate::support::{Reply, TestApp, run};

#[test]
fn a_failure_that_passes_is_tried_again_after_a_pause() {
    run(async |app| {
        let key = app.with_model().await;
        for _ in 0..2 {
            app.upstream.then(Reply::error(503, "busy"));
        }
        app.upstream.then(Reply::chat("at last", 10, 5));
        let began_ms = app.now_ms();
        chat(&app, &key, &hello("m1")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["p1", "p1", "p1"]);
        let took_ms = app.now_ms() - began_ms;
        // 100 and 200 ms, each times 0.5 to 1.5.
        assert!((150..=450).contains(&took_ms), "{took_ms}");
        assert_eq!(last_receipt(&app, &key).await["receipt"]["attempts"], 3);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn others_come_first_and_an_upstream_that_asks_for_time_gets_it() {
    run(async |app| {
        add_ladder(&app, 2).await;
        let key = rich_key(&app, "10").await;
        app.upstream.always(Reply::error(503, "busy"));
        chat(&app, &key, &hello("max")).send().await.expect(502);
        assert_eq!(app.upstream.take_called(), ["p1", "p2", "p1"]);
    });
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::Whole(503, "{}".into(), "30"));
        let began_ms = app.now_ms();
        chat(&app, &key, &hello("m1")).send().await.expect(502);
        assert_eq!(app.upstream.take_called().len(), 1);
        assert!(app.now_ms() - began_ms < 50, "nobody waits half a minute");
        app.upstream.always(Reply::Whole(503, "{}".into(), "1"));
        let began_ms = app.now_ms();
        chat(&app, &key, &hello("m1")).send().await.expect(502);
        assert_eq!(app.upstream.take_called().len(), 3);
        assert!(app.now_ms() - began_ms >= 2_000, "a second before each repetition");
    });
}

#[test]
fn what_will_not_pass_is_not_repeated() {
    for reply in [
        Reply::error(401, "key"),
        Reply::error(404, "model"),
        Reply::Whole(200, "garbage".into(), ""),
        Reply::error(400, "you"),
    ] {
        run(async |app| {
            let key = app.with_model().await;
            app.upstream.always(reply);
            chat(&app, &key, &hello("m1")).send().await;
            assert_eq!(app.upstream.take_called().len(), 1);
        });
    }
}

#[test]
fn a_request_that_overflows_is_cut_and_then_goes_to_a_larger_model() {
    run(async |app| {
        app.add_provider("a").await;
        app.add_provider("b").await;
        for (name, provider, weight, context) in [("small", "a", 10, 4_000), ("large", "b", 1, 32_000)] {
            let fields = json!({ "weight": weight, "max_context_tokens": context, "max_output_tokens": 0 });
            add_model(&app, name, provider, fields).await;
        }
        let key = rich_key(&app, "10").await;
        app.upstream.always_at("a", Reply::error(400, "context_length_exceeded"));
        app.upstream.always_at("b", Reply::chat("from the large one", 10, 5));
        let body = hello("max").replace("\"max_tokens\":100", "\"max_tokens\":3990");
        let answer = chat(&app, &key, &body).send().await.expect(200).json();
        assert_eq!(answer["choices"][0]["message"]["content"], "from the large one");
        let sent: Vec<_> = app.upstream.bodies().iter().map(|body| body["max_tokens"].as_u64().unwrap()).collect();
        assert_eq!(app.upstream.take_called(), ["a", "a", "b"]);
        assert!(sent[0] == 3_990 && sent[1] < 3_800 && sent[2] == 3_990, "{sent:?}");
        // Neither provider is to blame.
        chat(&app, &key, &hello("small")).send().await.expect(400);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn a_model_asked_for_by_name_is_not_replaced_by_a_larger_one() {
    run(async |app| {
        app.add_provider("a").await;
        app.add_provider("b").await;
        add_model(&app, "small", "a", json!({ "max_context_tokens": 4_000 })).await;
        add_model(&app, "large", "b", json!({ "max_context_tokens": 32_000 })).await;
        let key = rich_key(&app, "10").await;
        app.upstream.always_at("a", Reply::error(400, "context_length_exceeded"));
        let answer = chat(&app, &key, &hello("small")).send().await.expect(400).json();
        assert!(answer["error"].as_str().unwrap().contains("context_length_exceeded"), "{answer}");
        assert_eq!(app.upstream.take_called(), ["a"]);
    });
}

/// A provider each: the model's name, weight, context, and rate per 1,000 tokens.
async fn add_sizes(app: &TestApp, models: &[(&str, u8, u64, f64)]) {
    for (name, weight, context, rate) in models {
        app.add_provider(name).await;
        let fields =
            json!({ "weight": weight, "max_context_tokens": context, "input_per_1k": rate, "output_per_1k": rate });
        add_model(app, name, name, fields).await;
    }
}

#[test]
fn a_larger_model_is_taken_only_within_the_clients_limits() {
    for (weight, rate, policy) in
        [(1, 0.001, json!({ "min_weight": 5 })), (9, 5.0, json!({ "max_budget_usd": 0.05 })), (9, 0.4, json!({}))]
    {
        run(async |app| {
            add_sizes(&app, &[("small", 10, 4_000, 0.001), ("large", weight, 32_000, rate)]).await;
            // Of four the best three are what money is set aside for.
            add_sizes(&app, &[("b", 10, 4_000, 0.001), ("c", 10, 4_000, 0.001)]).await;
            let key = rich_key(&app, "1000").await;
            app.upstream.always(Reply::error(400, "context_length_exceeded"));
            app.upstream.always_at("large", Reply::chat("from the large one", 10, 5));
            let mut policy = policy;
            policy["mode"] = json!("high_confidence");
            let request =
                json!({ "messages": [{ "role": "user", "content": "hi" }], "parameters": { "max_tokens": 100 } });
            let body = json!({ "request": request, "policy": policy });
            let answer = app.post("/v1/chat").bearer(&key.key).json(&body).send().await.expect(400).json();
            assert!(answer["error"].as_str().unwrap().contains("context_length_exceeded"), "{policy}: {answer}");
            assert!(!app.upstream.take_called().contains(&"large".to_owned()), "{policy}");
            assert_balanced(&app, &key, 1_000_000_000).await;
        });
    }
}

#[test]
fn whoever_may_be_large_enough_is_asked_after_an_overflow() {
    for context in [0, 5_000] {
        run(async |app| {
            let models = [("a", 10, 4_000, 0.01), ("same", 9, 4_000, 0.01), ("other", 5, context, 0.01)];
            add_sizes(&app, &models).await;
            let key = rich_key(&app, "10").await;
            app.upstream.always(Reply::error(400, "context_length_exceeded"));
            app.upstream.always_at("other", Reply::chat("fits", 10, 5));
            let body = hello("max").replacen("hello there", &"word ".repeat(2_200), 1);
            chat(&app, &key, &body).send().await.expect(200);
            assert_eq!(app.upstream.take_called(), ["a", "other"], "{context}");
            // When it fits nowhere, that is the client's to hear.
            app.upstream.always_at("other", Reply::error(400, "context_length_exceeded"));
            chat(&app, &key, &body).send().await.expect(400);
            assert_eq!(app.upstream.take_called(), ["a", "other"], "{context}");
            assert_balanced(&app, &key, 10_000_000).await;
        });
    }
}

#[test]
fn one_request_tries_a_provider_that_was_down() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::error(503, "busy"));
        for _ in 0..3 {
            chat(&app, &key, &hello("m1")).send().await.expect(502);
        }
        app.pass_ms(31_000).await;
        app.upstream.take_called();
        app.upstream.always(Reply::chat("well again", 1, 1));
        chat(&app, &key, &hello("m1")).send().await.expect(200);
        let simulate = json!({ "token_count": 5 });
        let simulated = app.admin("POST", "/admin/v1/routing/simulate").json(&simulate).send().await.expect(200).json();
        assert_eq!(simulated["total"], 1);
    });
}
