//! `/admin/v1/models`.

use serde_json::{Value, json};

use super::kit::{MODELS, add_model, chat, hello, rich_key};
use crate::support::{Reply, TestApp, run};

async fn post(app: &TestApp, fields: Value) -> (u16, Value) {
    let answer = app.admin("POST", "/admin/v1/models").json(&fields).send().await;
    (answer.status, answer.json())
}

async fn patch(app: &TestApp, id: &str, fields: Value) -> (u16, Value) {
    let answer = app.admin("PATCH", &format!("/admin/v1/models/{id}")).json(&fields).send().await;
    (answer.status, answer.json())
}

async fn delete(app: &TestApp, id: &str) -> Value {
    app.admin("DELETE", &format!("/admin/v1/models/{id}")).send().await.expect(200).json()
}

async fn list(app: &TestApp, query: &str) -> Value {
    app.admin("GET", &format!("/admin/v1/models{query}")).send().await.expect(200).json()
}

#[test]
fn a_model_is_stored_listed_changed_and_deleted() {
    run(async |app| {
        app.add_provider("p1").await;
        let fields = json!({ "id": "m1", "provider_id": "p1", "weight": 7, "max_context_tokens": 128_000, "max_output_tokens": 4_096,
            "input_per_1k": 0.00015, "output_per_1k": 0.0006, "cache_read_per_1k": 0.000075, "enabled": true });
        assert_eq!(post(&app, fields.clone()).await, (200, json!({ "ok": true })));
        let mut stored = fields;
        stored["upstream_model"] = "m1".into();
        stored["pricing_source"] = "manual".into();
        stored["kind"] = "chat".into();
        stored["price_version"] = 1.into();
        assert_eq!(list(&app, "").await, json!({ "items": [stored], "total": 1, "limit": 1000, "offset": 0 }));
        let (status, answer) = patch(
            &app,
            "m1",
            json!({ "weight": 0, "enabled": false, "upstream_model": "other", "input_per_1k": 0.000000001 }),
        )
        .await;
        for (name, value) in [
            ("weight", json!(0)),
            ("enabled", json!(false)),
            ("upstream_model", json!("other")),
            ("input_per_1k", json!(0.000000001)),
            ("price_version", json!(2)),
        ] {
            stored[name] = value;
        }
        assert_eq!((status, answer), (200, json!({ "ok": true, "model": stored })));
        assert_eq!(delete(&app, "m1").await, json!({ "ok": true }));
        assert_eq!(delete(&app, "m1").await, json!({ "ok": true }));
        assert_eq!(list(&app, "").await["total"], 0);
    });
}

#[test]
fn what_is_left_out_takes_its_default() {
    run(async |app| {
        app.add_provider("p1").await;
        assert_eq!(post(&app, json!({ "id": "m1", "provider_id": "p1" })).await.0, 200);
        let stored = list(&app, "").await["items"][0].clone();
        for (name, value) in [
            ("enabled", json!(false)),
            ("weight", json!(5)),
            ("upstream_model", json!("m1")),
            ("max_context_tokens", json!(0)),
            ("input_per_1k", Value::Null),
        ] {
            assert_eq!(stored[name], value, "{name}");
        }
        let key = rich_key(&app, "1").await;
        chat(&app, &key, &hello("m1")).send().await.expect(503);
    });
}

#[test]
fn a_list_comes_in_pages() {
    run(async |app| {
        assert_eq!(list(&app, "").await, json!({ "items": [], "total": 0, "limit": 1000, "offset": 0 }));
        app.add_provider("p1").await;
        for id in ["m5", "m2", "m4", "m1", "m3"] {
            app.add_model(id, "p1", 5).await;
        }
        for (query, expected, limit, offset) in [
            ("?limit=2&offset=1", "m2m3", 2, 1),
            ("?limit=2", "m1m2", 2, 0),
            ("", "m1m2m3m4m5", 1000, 0),
            ("?offset=5", "", 1000, 5),
            ("?limit=-7&offset=x", "m1m2m3m4m5", 1000, 0),
        ] {
            let page = list(&app, query).await;
            let ids: String =
                page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
            assert_eq!(ids, expected, "{query}");
            assert_eq!(
                (&page["total"], &page["limit"], &page["offset"]),
                (&json!(5), &json!(limit), &json!(offset)),
                "{query}"
            );
        }
    });
}

#[test]
fn wrong_fields_are_refused_by_name_and_change_nothing() {
    run(async |app| {
        app.add_provider("p1").await;
        add_model(&app, "m1", "p1", json!({ "weight": 5 })).await;
        let before = list(&app, "").await;
        let wrong = [
            (json!({ "weight": 11 }), "weight must be between 0 and 10"),
            (json!({ "weight": -1 }), "weight must be between 0 and 10"),
            (json!({ "weight": 5.5 }), "weight"),
            (json!({ "weight": "5" }), "weight"),
            (json!({ "input_per_1k": -0.01 }), "input_per_1k must be >= 0"),
            (json!({ "output_per_1k": -1 }), "output_per_1k must be >= 0"),
            (json!({ "cache_read_per_1k": -1e-9 }), "cache_read_per_1k must be >= 0"),
            (json!({ "input_per_1k": 0.0000000001 }), "input_per_1k"),
            (json!({ "input_per_1k": 1e300 }), "input_per_1k"),
            (json!({ "output_per_1k": "0.01" }), "output_per_1k"),
            (json!({ "max_context_tokens": -1 }), "max_context_tokens"),
            (json!({ "max_context_tokens": 100_000_001 }), "max_context_tokens"),
            (json!({ "max_output_tokens": -1 }), "max_output_tokens"),
            (json!({ "max_output_tokens": 1.5 }), "max_output_tokens"),
            (json!({ "enabled": "true" }), "enabled"),
            (json!({ "provider_id": "nobody" }), "provider nobody"),
            (json!({ "provider_id": 7 }), "provider_id"),
            (json!({ "upstream_model": {} }), "upstream_model"),
        ];
        for (fields, text) in wrong {
            for id in ["m1", "new"] {
                let mut whole = json!({ "id": id, "provider_id": "p1", "input_per_1k": 0, "output_per_1k": 0 });
                for (name, value) in fields.as_object().unwrap() {
                    whole[name] = value.clone();
                }
                let (status, answer) = post(&app, whole).await;
                assert_eq!(status, 400, "{fields}: {answer}");
                assert!(answer["error"].as_str().unwrap().contains(text), "{fields}: {answer}");
            }
            let (status, answer) = patch(&app, "m1", fields.clone()).await;
            assert_eq!(status, 400, "{fields}: {answer}");
            assert!(answer["error"].as_str().unwrap().contains(text), "{fields}: {answer}");
        }
        assert_eq!(list(&app, "").await, before);
    });
}

#[test]
fn ids_that_cannot_be_asked_for_are_refused() {
    run(async |app| {
        app.add_provider("p1").await;
        let long = "x".repeat(201);
        for id in [
            "",
            "auto",
            "fast",
            "max",
            "*",
            "with space",
            "tab\t",
            "line\n",
            "zero\u{200b}width",
            "right\u{202e}left",
            &long,
        ] {
            let (status, answer) = post(&app, json!({ "id": id, "provider_id": "p1" })).await;
            assert_eq!(status, 400, "{id:?}: {answer}");
        }
        for (fields, text) in [
            (json!({ "provider_id": "p1" }), "model id required"),
            (json!({ "id": "m1" }), "provider_id required"),
            (json!({ "id": "m1", "provider_id": "" }), "provider_id required"),
            (json!({ "id": "m1", "provider_id": "unknown" }), "unknown"),
        ] {
            let (status, answer) = post(&app, fields).await;
            assert_eq!((status, answer["error"].as_str().unwrap().contains(text)), (400, true), "{answer}");
        }
        for body in ["", "garbage", "[]", "null", "{", "{}{}"] {
            app.admin("POST", MODELS).body(body).send().await.expect(400);
        }
        assert_eq!(list(&app, "").await["total"], 0);
    });
}

#[test]
fn ids_with_slashes_are_found_written_out_or_escaped() {
    run(async |app| {
        app.add_provider("p1").await;
        for id in ["Qwen/Qwen2.5-Coder-32B-Instruct", "a/b/c", "x%y", "ünï", "a?b#c", "@cf/meta/llama-3:fp8"] {
            add_model(&app, id, "p1", json!({})).await;
        }
        for (path, id) in [
            ("Qwen/Qwen2.5-Coder-32B-Instruct", "Qwen/Qwen2.5-Coder-32B-Instruct"),
            ("Qwen%2FQwen2.5-Coder-32B-Instruct", "Qwen/Qwen2.5-Coder-32B-Instruct"),
            ("a/b/c", "a/b/c"),
            ("a%2Fb/c", "a/b/c"),
            ("a%2fb%2fc", "a/b/c"),
            ("x%25y", "x%y"),
            ("%C3%BCn%C3%AF", "ünï"),
            ("a%3Fb%23c", "a?b#c"),
            ("@cf/meta/llama-3:fp8", "@cf/meta/llama-3:fp8"),
        ] {
            let (status, answer) = patch(&app, path, json!({ "weight": 8 })).await;
            assert_eq!((status, &answer["model"]["id"]), (200, &json!(id)), "{path}: {answer}");
        }
        for path in ["a/b", "a//b/c", "a/b/c/", "A/B/C", "a%2Fb", "%2Fa/b/c"] {
            assert_eq!(
                patch(&app, path, json!({ "weight": 8 })).await,
                (404, json!({ "error": "model not found" })),
                "{path}"
            );
        }
        assert_eq!(patch(&app, "%FF%FE", json!({})).await.0, 400);
        for path in ["Qwen%2FQwen2.5-Coder-32B-Instruct", "a/b/c"] {
            delete(&app, path).await;
        }
        assert_eq!(list(&app, "").await["total"], 4);
    });
}

#[test]
fn a_model_is_enabled_only_with_a_price() {
    run(async |app| {
        app.add_provider("p1").await;
        for fields in [json!({}), json!({ "input_per_1k": 0.01 }), json!({ "output_per_1k": 0.01 })] {
            let mut whole = json!({ "id": "m1", "provider_id": "p1", "enabled": true });
            for (name, value) in fields.as_object().unwrap() {
                whole[name] = value.clone();
            }
            let (status, answer) = post(&app, whole).await;
            assert_eq!(status, 400, "{fields}: {answer}");
            assert!(answer["error"].as_str().unwrap().contains("per_1k"), "{answer}");
        }
        assert_eq!(
            post(
                &app,
                json!({ "id": "m1", "provider_id": "p1", "enabled": true, "input_per_1k": 0, "output_per_1k": 0 })
            )
            .await
            .0,
            200
        );
        // What was registered without a price is not free by the back door.
        assert_eq!(post(&app, json!({ "id": "m2", "provider_id": "p1" })).await.0, 200);
        assert_eq!(patch(&app, "m2", json!({ "enabled": true })).await.0, 400);
        assert_eq!(post(&app, json!({ "id": "m2", "provider_id": "p1", "enabled": true })).await.0, 400);
        assert_eq!(
            patch(&app, "m2", json!({ "enabled": true, "input_per_1k": 0.01, "output_per_1k": 0.02 })).await.0,
            200
        );
        assert_eq!(patch(&app, "m2", json!({ "enabled": false })).await.0, 200);
        assert_eq!(patch(&app, "m2", json!({ "enabled": true })).await.0, 200);
    });
}

#[test]
fn only_a_changed_rate_raises_the_price_version() {
    run(async |app| {
        app.add_provider("p1").await;
        add_model(&app, "m1", "p1", json!({})).await;
        for (fields, version) in [
            (json!({ "weight": 9, "enabled": false, "max_context_tokens": 5 }), 1),
            (json!({ "input_per_1k": 0.01 }), 1),
            (json!({ "input_per_1k": 1e-2, "output_per_1k": 0.030 }), 1),
            (json!({ "input_per_1k": 0.02 }), 2),
            (json!({ "output_per_1k": 0.04, "input_per_1k": 0.05 }), 3),
            (json!({ "cache_read_per_1k": 0.0 }), 4),
            (json!({ "cache_read_per_1k": 0 }), 4),
            (json!({ "input_per_1k": 0.01 }), 5),
        ] {
            assert_eq!(patch(&app, "m1", fields.clone()).await.1["model"]["price_version"], version, "{fields}");
        }
        add_model(&app, "m1", "p1", json!({ "input_per_1k": 0.07 })).await;
        assert_eq!(list(&app, "").await["items"][0]["price_version"], 6);
    });
}

#[test]
fn a_post_of_a_known_model_changes_what_it_names() {
    run(async |app| {
        app.add_provider("p1").await;
        app.add_provider("p2").await;
        add_model(&app, "m1", "p1", json!({ "weight": 9, "max_context_tokens": 77 })).await;
        assert_eq!(post(&app, json!({ "id": "m1", "provider_id": "p2", "weight": 1 })).await.0, 200);
        let stored = list(&app, "").await["items"][0].clone();
        assert_eq!((&stored["provider_id"], &stored["weight"]), (&json!("p2"), &json!(1)));
        assert_eq!((&stored["max_context_tokens"], &stored["enabled"]), (&json!(77), &json!(true)));
    });
}

#[test]
fn a_change_holds_at_once_here_and_within_seconds_in_other_isolates() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::chat("hi", 10, 5));
        let other = app.new_isolate();
        for isolate in [&app.isolate(), &other] {
            chat(&app, &key, &hello("m1")).to(isolate).send().await.expect(200);
        }
        assert_eq!(patch(&app, "m1", json!({ "input_per_1k": 0.02, "upstream_model": "second" })).await.0, 200);
        let answer = chat(&app, &key, &hello("m1")).send().await.expect(200);
        assert_eq!(answer.header("x-tokaroo-cost"), Some("0.00035"));
        assert_eq!(app.upstream.bodies().last().unwrap()["model"], "second");
        let mut waited_ms = 0;
        loop {
            let answer = chat(&app, &key, &hello("m1")).to(&other).send().await.expect(200);
            if answer.header("x-tokaroo-cost") == Some("0.00035") {
                break;
            }
            app.pass_ms(250).await;
            waited_ms += 250;
            assert!(waited_ms <= 3_000, "the other isolate still has the old price");
        }
        // The first call after a long silence is served from fresh knowledge.
        app.pass_ms(60_000).await;
        app.admin("DELETE", "/admin/v1/models/m1").send().await.expect(200);
        chat(&app, &key, &hello("m1")).send().await.expect(404);
        chat(&app, &key, &hello("m1")).to(&other).send().await.expect(404);
        app.add_model("m2", "p1", 5).await;
        chat(&app, &key, &hello("m2")).send().await.expect(200);
    });
}
