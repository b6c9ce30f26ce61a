//! `POST /v1/chat/completions`: what the client sees of a whole answer.

use durable_objects::wallet::protocol::{Command, Wallet};
use guildhall::ports::FetchError;
use guildhall_domain::money::MicroUsd;
use serde_json::json;

use super::kit::{add_model, assert_balanced, chat, hello, join_all, micros, rich_key, usage_rows};
use crate::support::{Reply, run};

const HELLO: &str = r#"{"model":"m1","messages":[{"role":"user","content":"hello there"}],"max_tokens":100}"#;

#[test]
fn an_answer_is_priced_settled_and_recorded() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.then(Reply::chat("hi", 10, 5));
        let answer = app.post("/v1/chat/completions").bearer(&key.key).body(HELLO).send().await.expect(200);
        assert_eq!(answer.json()["model"], "m1");
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "hi");
        // 10 × $10/M + 5 × $30/M
        assert_eq!(answer.header("x-tokaroo-cost"), Some("0.00025"));
        assert_eq!(answer.header("x-tokaroo-cache"), Some("miss"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - 250);
        let usage = app.last_usage(&key).await;
        assert_eq!(usage["charged_usd"], 0.00025);
        assert_eq!(usage["outcome"], "completed");
        assert_eq!(usage["input_tokens"], 10);
        assert_eq!(usage["output_tokens"], 5);
        assert_eq!(usage["provider"], "tokaroo");
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn the_model_is_echoed_as_it_was_asked_for() {
    run(async |app| {
        app.add_provider("p1").await;
        for id in ["m1", "org/name-1.5:free", "a/b/c", "模型"] {
            app.add_model(id, "p1", 5).await;
        }
        let key = rich_key(&app, "10").await;
        app.upstream.always(Reply::chat("hi", 1, 1));
        for asked in ["auto", "fast", "max", "m1", "org/name-1.5:free", "a/b/c", "模型"] {
            let answer = chat(&app, &key, &hello(asked)).send().await.expect(200);
            assert_eq!(answer.json()["model"], asked);
            let usage = app.last_usage(&key).await;
            assert_eq!(usage["model"], asked);
            let tier = if ["fast", "max"].contains(&asked) { asked } else { "auto" };
            assert_eq!(usage["tier"], tier, "{asked}");
        }
        let unnamed = r#"{"messages":[{"role":"user","content":"hi"}]}"#;
        assert_eq!(chat(&app, &key, unnamed).send().await.expect(200).json()["model"], "auto");
    });
}

#[test]
fn everything_else_in_an_answer_stays_as_the_upstream_wrote_it() {
    run(async |app| {
        let key = app.with_model().await;
        for upstream in [
            // Order, white space, numbers, unknown fields, a model inside the text and inside other objects.
            "{ \"z\" : 1.0 , \"model\":\"upstream-name\",\"choices\":[ {\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"{\\\"model\\\":\\\"x\\\"} é\\u00e9🦀\",\"reasoning_content\":\"hm\"},\"finish_reason\":\"stop\",\"logprobs\":{\"content\":[{\"logprob\":-1e-3}]}}],\n\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"new\":{\"model\":\"y\"}},\"e\":1E+3 }\r\n",
            r#"{"id":"x","object":"chat.completion","created":1,"model":"upstream-name","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{ \"a\": 1.0 }"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":1},"service_tier":"default","system_fingerprint":null}"#,
        ] {
            app.upstream.then(Reply::Whole(200, upstream.to_owned(), ""));
            let answer = chat(&app, &key, HELLO).undocumented().send().await.expect(200);
            assert_eq!(answer.text(), upstream.replacen("\"upstream-name\"", "\"m1\"", 1));
        }
        let usage = r#""usage":{"prompt_tokens":1,"completion_tokens":1}"#;
        app.upstream.then(Reply::Whole(200, format!(r#"{{"choices":[{{}}],{usage}}}"#), ""));
        let answer = chat(&app, &key, HELLO).undocumented().send().await.expect(200).text();
        assert_eq!(answer, format!(r#"{{"model":"m1","choices":[{{}}],{usage}}}"#));
    });
}

#[test]
fn upstream_and_provider_are_never_named() {
    run(async |app| {
        app.add_provider("secret-provider").await;
        add_model(&app, "m1", "secret-provider", json!({ "upstream_model": "secret-model" })).await;
        let key = rich_key(&app, "10").await;
        app.upstream.then(Reply::chat("hi", 1, 1));
        let good = chat(&app, &key, HELLO).undocumented().send().await.expect(200);
        app.upstream.always(Reply::error(500, "secret-model at secret-provider with sk-secret-provider failed"));
        let bad = chat(&app, &key, HELLO).undocumented().send().await.expect(502);
        let usage = app.get("/v1/usage").bearer(&key.key).send().await.expect(200);
        for answer in [good, bad, usage] {
            assert!(!answer.text().contains("secret") && !answer.text().contains("upstream-name"), "{}", answer.text());
            assert!(!format!("{:?}", answer.headers).contains("secret"));
        }
    });
}

#[test]
fn an_unknown_model_is_not_found_and_costs_nothing() {
    run(async |app| {
        let key = app.with_model().await;
        for asked in ["gpt-unknown", "M1", "m1 ", "auto/", "AUTO", "m", "m1/x"] {
            let answer = chat(&app, &key, &hello(asked)).send().await.expect(404).json();
            assert_eq!(answer["error"], format!("Model not found: {asked}"));
        }
        assert!(app.upstream.take_called().is_empty());
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn without_any_model_there_is_no_provider() {
    run(async |app| {
        let key = app.provision("1").await;
        for asked in ["auto", "fast", "max"] {
            let answer = chat(&app, &key, &hello(asked)).send().await.expect(503);
            assert_eq!(answer.json()["error"], format!("No provider configured for {asked}"));
            assert!(answer.header("retry-after").is_some());
        }
        chat(&app, &key, &hello("m1")).send().await.expect(404);
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn disabled_models_and_providers_take_no_traffic() {
    run(async |app| {
        app.add_provider("p1").await;
        app.add_provider("p2").await;
        app.add_model("m1", "p1", 10).await;
        app.add_model("m2", "p2", 1).await;
        let key = rich_key(&app, "10").await;
        app.upstream.always(Reply::chat("hi", 1, 1));
        let called = async |model: &str| {
            let status = chat(&app, &key, &hello(model)).send().await.status;
            (status, app.upstream.take_called())
        };
        let (p1, p2) = (vec!["p1".to_owned()], vec!["p2".to_owned()]);
        assert_eq!(called("max").await, (200, p1.clone()));
        for (what, off, on) in [
            ("/admin/v1/models/m1", json!({ "enabled": false }), json!({ "enabled": true })),
            ("/admin/v1/providers/p1", json!({ "enabled": false }), json!({ "enabled": true })),
        ] {
            app.admin("PATCH", what).json(&off).send().await.expect(200);
            assert_eq!(called("max").await, (200, p2.clone()), "{what}");
            assert_eq!(called("m1").await, (503, vec![]), "{what}");
            app.admin("PATCH", what).json(&on).send().await.expect(200);
            assert_eq!(called("m1").await, (200, p1.clone()), "{what}");
        }
    });
}

#[test]
fn an_empty_wallet_is_told_what_is_missing_and_where_to_pay() {
    run(async |app| {
        app.with_model().await;
        let poor = app.provision("0").await;
        let answer = chat(&app, &poor, HELLO).send().await.expect(402).json();
        assert_eq!(answer["error"], "billing_required");
        assert_eq!(answer["balance_usd"], 0.0);
        assert_eq!(answer["payment_url"], "http://guildhall.test/billing");
        // At least a token per 8 bytes at 10, and the 100 tokens asked for at 30 micro-dollars.
        let least = i64::try_from(HELLO.len()).unwrap() / 8 * 10 + 100 * 30;
        assert_eq!(micros(&answer["required_usd"]), least);
        let words = format!("needs at least ${}", MicroUsd(least).to_usd_string());
        assert!(answer["message"].as_str().unwrap().contains(&words), "{answer}");
        assert!(app.upstream.take_called().is_empty());
        // One micro-dollar less than required is refused too, and required is enough.
        app.credit(&poor, &MicroUsd(least - 1).to_usd_string()).await;
        let answer = chat(&app, &poor, HELLO).send().await.expect(402).json();
        assert_eq!(micros(&answer["balance_usd"]), least - 1);
        app.credit(&poor, "0.000001").await;
        app.upstream.then(Reply::chat("hi", 1, 1));
        chat(&app, &poor, HELLO).send().await.expect(200);
        assert_balanced(&app, &poor, least).await;
    });
}

/// However many paid models rank before it.
#[test]
fn without_money_a_free_model_is_found() {
    run(async |app| {
        app.add_provider("p1").await;
        for number in 0..5 {
            add_model(&app, &format!("paid-{number}"), "p1", json!({ "weight": 8 })).await;
        }
        add_model(&app, "gift", "p1", json!({ "weight": 1, "free": true, "input_per_1k": 0, "output_per_1k": 0 }))
            .await;
        let key = app.provision("0").await;
        app.upstream.always(Reply::chat("Hi!", 1, 1));
        for model in ["auto", "fast"] {
            chat(&app, &key, &hello(model)).send().await.expect(200);
        }
        assert!(app.upstream.bodies().iter().all(|body| body["model"] == "gift"));
    });
}

/// Images are most of what such a call costs: a cent does not buy them.
#[test]
fn little_money_buys_no_more_input_than_it_pays_for() {
    run(async |app| {
        let key = app.with_model().await;
        app.ask::<Wallet>(
            &key.account_id,
            &Command::Debit { id: "all-but-a-cent".into(), amount: MicroUsd(9_990_000), reason: String::new() },
        );
        let image = json!({ "type": "image_url", "image_url": { "url": "https://images.example/a.png" } });
        let body = json!({ "model": "m1", "messages": [{ "role": "user", "content": vec![image; 50] }] });
        let refused = chat(&app, &key, &body.to_string()).send().await.expect(402).json();
        assert_eq!(refused["balance_usd"], 0.01, "{refused}");
        assert!(app.upstream.bodies().is_empty());
    });
}

#[test]
fn a_client_that_leaves_before_the_first_byte_pays_for_the_prompt() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.then(Reply::Fails(FetchError::ClientGone { was_asked: true }));
        chat(&app, &key, HELLO).send().await;
        assert_eq!(app.upstream.take_called(), ["p1"]);
        let rows = usage_rows(&app, &key).await;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["outcome"], "client_gone");
        let estimate = HELLO.len() / 4;
        assert_eq!((&rows[0]["input_tokens"], &rows[0]["output_tokens"]), (&json!(estimate), &json!(0)));
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - 10 * i64::try_from(estimate).unwrap());
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn a_client_that_leaves_before_anybody_is_asked_pays_nothing() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.then(Reply::Fails(FetchError::ClientGone { was_asked: false }));
        chat(&app, &key, HELLO).send().await;
        let rows = usage_rows(&app, &key).await;
        assert_eq!((rows.len(), &rows[0]["outcome"]), (1, &json!("client_gone")));
        assert_eq!(app.balance_micros(&key).await, 10_000_000);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn every_call_of_many_has_its_own_record_and_id() {
    run(async |app| {
        app.with_model().await;
        let key = rich_key(&app, "1").await;
        app.upstream.always(Reply::chat("hi", 10, 5));
        app.upstream.latency_ms.set(50);
        let calls = (0..100).map(async |_| {
            let answer = chat(&app, &key, HELLO).send().await.expect(200);
            answer.header("x-request-id").unwrap().to_owned()
        });
        let mut ids = join_all(calls).await;
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 100);
        let rows = usage_rows(&app, &key).await;
        let mut recorded: Vec<_> = rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
        recorded.sort();
        assert_eq!(recorded, ids);
        assert!(rows.iter().all(|row| row["charged_usd"] == 0.00025));
        assert_balanced(&app, &key, 1_000_000).await;
    });
}
