//! `TokenHub`'s own chat: the envelope, policies, directives, schemas and shapes, streams.

use guildhall::ports::FetchError;
use serde_json::{Value, json};

use super::kit::{add_ladder, add_model, assert_balanced, rich_key, usage_rows};
use crate::support::{Answer, Call, Key, Reply, TestApp, run};

const ALIASES: &str = "/admin/v1/aliases";

pub fn send<'t>(app: &'t TestApp, key: &Key, body: &Value) -> Call<'t> {
    app.post("/v1/chat").bearer(&key.key).json(body)
}

/// A request with one user message, and other members beside it.
pub fn ask(text: &str, members: Value) -> Value {
    let mut body = json!({ "request": { "messages": [{ "role": "user", "content": text }] } });
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn content(answer: &Answer) -> String {
    answer.json()["response"]["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

pub async fn error(app: &TestApp, key: &Key, body: &Value, status: u16) -> String {
    send(app, key, body).send().await.expect(status).json()["error"].as_str().unwrap().to_owned()
}

/// T18: the envelope, its headers, and the money.
#[test]
fn an_answer_says_who_gave_it_and_what_it_cost() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::chat("Hi!", 100, 10));
        let answer = send(&app, &key, &ask("Hello", json!({}))).send().await.expect(200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!((answer.header("x-negotiated-model"), answer.header("x-alias-from")), (Some("m1"), None));
        let envelope = answer.json();
        let keys: Vec<_> = envelope.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys.len(), 4, "{keys:?}");
        assert_eq!(
            (&envelope["negotiated_model"], &envelope["routing_reason"]),
            (&json!("m1"), &json!("routed-weight-5"))
        );
        // 100 tokens in at $0.01 and 10 out at $0.03 a thousand.
        assert_eq!(envelope["estimated_cost_usd"], 0.0013);
        assert_eq!((&envelope["response"]["id"], content(&answer).as_str()), (&json!("chatcmpl-up"), "Hi!"));
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - 1_300);
        let row = app.last_usage(&key).await;
        assert_eq!(row["charged_usd"], 0.0013);
    });
}

#[test]
fn only_keys_that_may_chat() {
    run(async |app| {
        let key = app.with_model().await;
        let body = ask("Hello", json!({}));
        app.post("/v1/chat").json(&body).send().await.expect(401);
        app.post("/v1/chat").bearer("gh_wrong").json(&body).send().await.expect(401);
        app.database.text("UPDATE api_keys SET scopes = '[\"plan\"]' RETURNING id");
        app.crash_isolate();
        send(&app, &key, &body).send().await.expect(403);
        assert!(app.upstream.bodies().is_empty());
    });
}

/// A key's calls are nobody else's.
#[test]
fn a_stranger_sees_nothing_of_a_call() {
    run(async |app| {
        let key = app.with_model().await;
        let stranger = app.provision("1").await;
        app.upstream.always(Reply::chat("Hi!", 1, 1));
        send(&app, &key, &ask("Hello", json!({}))).send().await.expect(200);
        assert_eq!((usage_rows(&app, &key).await.len(), usage_rows(&app, &stranger).await.len()), (1, 0));
        assert_eq!(app.balance_micros(&stranger).await, 1_000_000);
    });
}

#[test]
fn what_is_sent_is_the_request_and_its_parameters() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::chat("Hi!", 1, 1));
        let parts = json!([{ "type": "text", "text": "What is it?" }, { "type": "image_url", "image_url": { "url": "data:," } }]);
        let body = json!({ "request": { "messages": [{ "role": "user", "content": parts }], "parameters": { "top_p": 0.5 },
            "meta": { "secret": 1 }, "output_schema": { "type": "string" }, "id": "r" } });
        error(&app, &key, &body, 502).await;
        let sent = &app.upstream.bodies()[0];
        assert_eq!((&sent["messages"][0]["content"], &sent["top_p"]), (&parts, &json!(0.5)));
        assert_eq!((sent.get("meta"), sent.get("output_schema"), sent.get("id")), (None, None, None));
        let smuggled =
            json!({ "request": { "messages": body["request"]["messages"], "parameters": { "stream": true } } });
        let text = error(&app, &key, &smuggled, 400).await;
        assert_eq!(text, "request.parameters must not set stream: use request.stream");
    });
}

#[test]
fn a_schema_keeps_the_order_of_its_properties() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::chat("Hi!", 1, 1));
        let schema =
            r#"{"type":"object","properties":{"reasoning":{"type":"string"},"answer":{"type":"string"},"a":{}}}"#;
        let parameters =
            format!(r#"{{"tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}],"n":1}}"#);
        let request = format!(r#"{{"messages":[{{"role":"user","content":"x"}}],"parameters":{parameters}}}"#);
        let chat = format!(r#"{{"request":{request}}}"#);
        app.post("/v1/chat").bearer(&key.key).body(&chat).send().await.expect(200);
        let plan = format!(r#"{{"request":{request},"orchestration":{{"mode":"planning"}}}}"#);
        app.post("/v1/plan").bearer(&key.key).body(&plan).send().await.expect(200);
        assert!(app.upstream.bodies().len() > 1);
        for body in &*app.upstream.sent.borrow() {
            let body = String::from_utf8_lossy(body.body.as_deref().unwrap_or_default()).into_owned();
            assert!(body.contains(schema), "{body}");
        }
    });
}

#[test]
fn wrong_requests_are_refused_before_anything_is_spent() {
    run(async |app| {
        let key = app.with_model().await;
        for (body, text) in [
            (json!([]), "bad json"),
            (json!({}), "messages required"),
            (json!({ "request": { "messages": [] } }), "messages required"),
            (ask("a", json!({ "policy": { "max_budget_usd": 101 } })), "max_budget_usd must be between 0 and 100"),
            (ask("a", json!({ "policy": { "max_latency_ms": -1 } })), "max_latency_ms must be between 0 and 300000"),
            (ask("a", json!({ "policy": { "min_weight": 11 } })), "min_weight must be between 0 and 10"),
            // T19.
            (ask("@@tokenhub output_schema={bad}\nHi", json!({})), "invalid output_schema directive JSON"),
        ] {
            assert_eq!(error(&app, &key, &body, 400).await, text);
        }
        let garbage = app.post("/v1/chat").bearer(&key.key).body("{").send().await.expect(400).json();
        assert_eq!(garbage["error"], "bad json");
        assert!(app.upstream.bodies().is_empty());
        assert_eq!(app.balance_micros(&key).await, 10_000_000);
    });
}

/// The policy routes; a directive overrides it and never leaves the house (G12).
#[test]
fn policies_and_directives_route() {
    run(async |app| {
        // m1 weighs most and m3 least, and costs least.
        add_ladder(&app, 3).await;
        let cheap = json!({ "input_per_1k": 0.001, "output_per_1k": 0.001 });
        app.admin("PATCH", "/admin/v1/models/m3").json(&cheap).send().await.expect(200);
        let key = rich_key(&app, "10").await;
        app.upstream.always(Reply::chat("Hi!", 1, 1));
        let best = json!({ "policy": { "mode": "high_confidence" } });
        send(&app, &key, &ask("Hello", best.clone())).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["p1"]);
        let refused = error(&app, &key, &ask("Hello", json!({ "policy": { "max_budget_usd": 0.000_001 } })), 502).await;
        assert!(refused.starts_with("no eligible models registered"), "{refused}");
        let text = "@@tokenhub\nmode=cheap\nbudget=0.000001\n@@end\nHello";
        error(&app, &key, &ask(text, best.clone()), 502).await;
        assert!(app.upstream.take_called().is_empty());
        send(&app, &key, &ask("@@tokenhub mode=cheap\nHello", best)).send().await.expect(200);
        assert_eq!(app.upstream.bodies()[0]["messages"][0]["content"], "Hello");
        assert_eq!(app.upstream.take_called(), ["p3"]);
        let row = app.last_usage(&key).await;
        assert_eq!(row["routing_method"], "cheap", "{row}");
    });
}

#[test]
fn hints_and_aliases() {
    run(async |app| {
        add_ladder(&app, 3).await;
        let key = rich_key(&app, "10").await;
        app.upstream.always(Reply::chat("Hi!", 1, 1));
        let alias = json!({ "variants": [{ "model_id": "m2", "weight": 1 }] });
        app.admin("PUT", &format!("{ALIASES}/smart")).json(&alias).send().await.expect(200);
        for (hint, model, alias_from) in
            [("m3", "m3", None), (" acme/m3 ", "m3", None), ("nobody", "m1", None), ("smart", "m2", Some("smart"))]
        {
            let mut body = ask("Hello", json!({ "policy": { "mode": "high_confidence" } }));
            body["request"]["model_hint"] = json!(hint);
            let answer = send(&app, &key, &body).send().await.expect(200);
            assert_eq!(answer.json()["negotiated_model"], model, "{hint}");
            assert_eq!(answer.header("x-negotiated-model"), Some(model), "{hint}");
            assert_eq!(answer.header("x-alias-from"), alias_from, "{hint}");
        }
    });
}

/// T20, T21.
#[test]
fn answers_are_held_against_their_schema() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::chat("```json\n{\"name\":\"A\"}\n```", 10, 10));
        let with = |required: &str| {
            ask(
                &format!("@@tokenhub output_schema={{\"type\":\"object\",\"required\":{required}}}\nDescribe"),
                json!({}),
            )
        };
        send(&app, &key, &with("[\"name\"]")).send().await.expect(200);
        assert_eq!(error(&app, &key, &with("[\"name\",\"age\"]"), 502).await, "missing required field \"age\"");
        // The model has worked all the same.
        assert_eq!(app.last_usage(&key).await["charged_usd"], 0.0004);
        let mut body = ask("Describe", json!({}));
        body["request"]["output_schema"] = json!({ "type": "array" });
        assert_eq!(error(&app, &key, &body, 502).await, "expected JSON array but got something else");
        body["request"]["output_schema"] = json!({ "type": "array", "contains": {} });
        assert_eq!(error(&app, &key, &body, 400).await, "schema at #: keyword \"contains\" can't be checked");
    });
}

#[test]
fn answers_are_shaped_and_keep_the_rest() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::chat("<think>hm</think>\n```json\n{\"a\":1}\n```", 10, 10));
        let format =
            json!({ "output_format": { "type": "json", "strip_think": true, "schema": "{\"type\":\"object\"}" } });
        let answer = send(&app, &key, &ask("Hello", format)).send().await.expect(200);
        assert_eq!(content(&answer), "{\"a\":1}");
        let response = &answer.json()["response"];
        assert_eq!((&response["usage"]["total_tokens"], &response["id"]), (&json!(20), &json!("chatcmpl-up")));
        assert_eq!(response["choices"][0]["finish_reason"], "stop");
    });
}

#[test]
fn nobody_and_nobody_who_answers() {
    run(async |app| {
        let key = app.provision("10").await;
        let body = ask("Hello", json!({}));
        assert_eq!(error(&app, &key, &body, 502).await, "no eligible models registered");
        app.add_provider("p1").await;
        app.add_model("m1", "p1", 5).await;
        app.upstream.always(Reply::error(500, "secret words of the upstream"));
        assert_eq!(error(&app, &key, &body, 502).await, "all providers failed");
        assert_eq!(app.balance_micros(&key).await, 10_000_000);
        let poor = app.provision("0").await;
        send(&app, &poor, &body).send().await.expect(402);
    });
}

#[test]
fn streams_are_the_providers_chunks() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::stream(&["<think>", "Hi"], Some((10, 10))));
        let mut body = ask("Hello", json!({ "output_format": { "type": "json" } }));
        body["request"]["stream"] = json!(true);
        let answer = send(&app, &key, &body).send().await.expect(200);
        assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
        assert_eq!(
            (answer.header("x-negotiated-model"), answer.header("cache-control")),
            (Some("m1"), Some("no-cache"))
        );
        let events = answer.events();
        assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
        assert!(answer.text().contains("<think>") && answer.text().contains("Hi"));
        assert_eq!(app.upstream.bodies()[0]["stream"], true);
        assert_eq!(app.last_usage(&key).await["charged_usd"], 0.0004);
    });
}

/// The one shape that streams have, whatever the upstream's chunks.
#[test]
fn streams_without_thoughts() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::stream(&["<thi", "nk>secret", "</think>\n", "\nHi", " <b"], Some((10, 10))));
        let mut body = ask("Hello", json!({ "output_format": { "strip_think": true } }));
        body["request"]["stream"] = json!(true);
        let answer = send(&app, &key, &body).send().await.expect(200);
        let events = answer.events();
        let texts = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
        let text: String =
            texts.filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect();
        assert_eq!((text.as_str(), events.last().map(String::as_str)), ("Hi <b", Some("[DONE]")));
        assert_eq!(app.last_usage(&key).await["charged_usd"], 0.0004);
    });
}

#[test]
fn one_idempotency_key_is_one_request() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::chat("Hi!", 10, 10));
        let body = ask("Hello", json!({}));
        let first = send(&app, &key, &body).idempotency_key("k").send().await.expect(200);
        let second = send(&app, &key, &body).idempotency_key("k").send().await.expect(200);
        assert_eq!((first.text(), app.upstream.bodies().len()), (second.text(), 1));
        send(&app, &key, &ask("Other", json!({}))).idempotency_key("k").send().await.expect(422);
    });
}

/// G6, G8: why the model that answered was asked.
#[test]
fn the_reason_tells_of_repetitions_cuts_and_escalations() {
    run(async |app| {
        let key = app.with_model().await;
        for _ in 0..2 {
            app.upstream.then(Reply::error(503, "busy"));
        }
        app.upstream.then(Reply::chat("at last", 10, 5));
        let answer = send(&app, &key, &ask("Hello", json!({}))).send().await.expect(200).json();
        assert_eq!(answer["routing_reason"], "retried-transient");
        assert_eq!(app.upstream.take_called(), ["p1"; 3]);
    });
    run(async |app| {
        for (provider, model, weight, window) in [("a", "small", 10, 4_000), ("b", "large", 1, 32_000)] {
            app.add_provider(provider).await;
            add_model(
                &app,
                model,
                provider,
                json!({ "weight": weight, "max_context_tokens": window, "max_output_tokens": 0 }),
            )
            .await;
        }
        let key = rich_key(&app, "10").await;
        let mut body = ask("Hello", json!({ "policy": { "mode": "high_confidence", "max_budget_usd": 1 } }));
        body["request"]["parameters"] = json!({ "max_tokens": 3_990 });
        let too_long = || Reply::error(400, "context_length_exceeded");
        app.upstream.then(too_long());
        app.upstream.then(Reply::chat("cut", 10, 5));
        let answer = send(&app, &key, &body).send().await.expect(200).json();
        assert_eq!(
            (&answer["routing_reason"], &answer["negotiated_model"]),
            (&json!("reduced-max-tokens"), &json!("small"))
        );
        app.upstream.always_at("a", too_long());
        app.upstream.always_at("b", Reply::chat("large", 10, 5));
        let answer = send(&app, &key, &body).send().await.expect(200).json();
        assert_eq!(
            (&answer["routing_reason"], &answer["negotiated_model"]),
            (&json!("escalated-context-overflow"), &json!("large"))
        );
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn an_answer_that_is_too_late_costs_nothing() {
    run(async |app| {
        add_ladder(&app, 2).await;
        let key = rich_key(&app, "10").await;
        app.upstream.latency_ms.set(2_000);
        app.upstream.always(Reply::Fails(FetchError::TimedOut));
        let late = error(&app, &key, &ask("Hello", json!({ "policy": { "max_latency_ms": 1_000 } })), 502).await;
        assert_eq!(late, "max_latency_ms passed before a model answered");
        assert_eq!(app.upstream.sent.borrow().len(), 1, "nobody is asked after that");
        assert!(app.upstream.sent.borrow()[0].first_byte_ms <= 1_000);
        assert_eq!(app.last_usage(&key).await["outcome"], "upstream_failed");
        assert_balanced(&app, &key, 10_000_000).await;
        // Nor does it say anything about the model or its provider.
        let told = async |path: &str| app.admin("GET", path).send().await.expect(200).json();
        assert_eq!(told("/admin/v1/rewards").await["total"], 0);
        let health = told("/admin/v1/health").await["providers"][0].clone();
        assert_eq!((&health["total_requests"], &health["total_errors"]), (&json!(0), &json!(0)), "{health}");
    });
}
