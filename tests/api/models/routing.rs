//! Which model a call goes to.

use serde_json::json;

use super::kit::{add_model, chat, hello, rich_key};
use crate::support::{Key, Reply, TestApp, run};

async fn called(app: &TestApp, key: &Key, body: &str) -> Vec<String> {
    chat(app, key, body).send().await.expect(200);
    app.upstream.take_called()
}

/// Providers of these names with a model each: its weight, and its rates per 1,000 tokens.
async fn with_models(app: &TestApp, models: &[(&str, u8, f64)]) -> Key {
    for (provider, weight, rate) in models {
        app.add_provider(provider).await;
        let fields = json!({ "weight": weight, "input_per_1k": rate, "output_per_1k": rate });
        add_model(app, &format!("{provider}-model"), provider, fields).await;
    }
    app.upstream.always(Reply::chat("hi", 1, 1));
    rich_key(app, "1000").await
}

#[test]
fn auto_takes_the_cheaper_of_equals_and_the_heavier_of_equal_price() {
    run(async |app| {
        let key = with_models(&app, &[("dear", 5, 0.03), ("cheap", 5, 0.01)]).await;
        for mode in ["auto", "fast", "max"] {
            assert_eq!(called(&app, &key, &hello(mode)).await, ["cheap"], "{mode}");
        }
    });
    run(async |app| {
        let key = with_models(&app, &[("light", 4, 0.01), ("heavy", 9, 0.01)]).await;
        for mode in ["auto", "fast", "max"] {
            assert_eq!(called(&app, &key, &hello(mode)).await, ["heavy"], "{mode}");
        }
    });
}

#[test]
fn max_takes_the_heavy_model_where_fast_takes_the_cheap_one() {
    run(async |app| {
        let key = with_models(&app, &[("cheap", 3, 0.001), ("strong", 10, 0.06)]).await;
        assert_eq!(called(&app, &key, &hello("max")).await, ["strong"]);
        assert_eq!(called(&app, &key, &hello("fast")).await, ["cheap"]);
    });
}

#[test]
fn fast_takes_the_quicker_one_once_it_knows() {
    run(async |app| {
        let key = with_models(&app, &[("cheap-slow", 5, 0.008), ("quick", 5, 0.01)]).await;
        assert_eq!(called(&app, &key, &hello("fast")).await, ["cheap-slow"]);
        for (provider, latency_ms) in [("cheap-slow", 2_000), ("quick", 100)] {
            app.upstream.latency_ms.set(latency_ms);
            for _ in 0..3 {
                called(&app, &key, &hello(&format!("{provider}-model"))).await;
            }
        }
        assert_eq!(called(&app, &key, &hello("fast")).await, ["quick"]);
        assert_eq!(called(&app, &key, &hello("auto")).await, ["quick"]);
        let long = hello("fast").replacen("hello there", &"word ".repeat(5_000), 1);
        assert_eq!(called(&app, &key, &long).await, ["quick"], "the share of the price does not grow with the prompt");
    });
}

#[test]
fn a_prompt_goes_only_where_it_fits_with_some_room() {
    run(async |app| {
        let key = with_models(&app, &[("small", 10, 0.001), ("large", 1, 0.03), ("unknown", 0, 0.09)]).await;
        let body = hello("max").replacen("hello there", &"word ".repeat(800), 1);
        let estimate = body.len() / 4;
        // 15 % of room beyond the estimate: 1,000 tokens need a window of 1,150.
        for (window, expected) in [(estimate * 115 / 100, "small"), (estimate * 115 / 100 - 1, "large")] {
            let path = "/admin/v1/models/small-model";
            app.admin("PATCH", path).json(&json!({ "max_context_tokens": window })).send().await.expect(200);
            assert_eq!(called(&app, &key, &body).await, [expected], "{window}");
            assert_eq!(called(&app, &key, &hello("max")).await, ["small"]);
        }
        let path = "/admin/v1/models/large-model";
        app.admin("PATCH", path).json(&json!({ "max_context_tokens": 500 })).send().await.expect(200);
        assert_eq!(called(&app, &key, &body).await, ["unknown"], "an unknown window takes everything");
    });
}

#[test]
fn a_prompt_that_fits_nowhere_is_the_clients_mistake() {
    run(async |app| {
        app.add_provider("p1").await;
        add_model(&app, "m1", "p1", json!({ "max_context_tokens": 100 })).await;
        let key = rich_key(&app, "10").await;
        app.upstream.always(Reply::chat("hi", 1, 1));
        for model in ["m1", "auto"] {
            chat(&app, &key, &hello(model)).send().await.expect(200);
            let body = hello(model).replacen("hello there", &"word ".repeat(800), 1);
            let answer = chat(&app, &key, &body).send().await.expect(400).json();
            let reserve = "tokens and a reserve of 15% do not fit the context window";
            assert!(answer["error"].as_str().unwrap().contains(reserve), "{answer}");
        }
    });
}

#[test]
fn equals_are_ordered_by_name_however_they_were_registered() {
    for order in [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]] {
        run(async |app| {
            let key = with_models(&app, &order.map(|name| (name, 5, 0.01))).await;
            for mode in ["auto", "fast", "max", "auto", "fast", "max"] {
                assert_eq!(called(&app, &key, &hello(mode)).await, ["a"], "{order:?} {mode}");
            }
            let other = app.new_isolate();
            chat(&app, &key, &hello("auto")).to(&other).send().await.expect(200);
            assert_eq!(app.upstream.take_called(), ["a"]);
        });
    }
}

#[test]
fn a_registered_name_goes_to_that_model_and_no_other() {
    run(async |app| {
        let key = with_models(&app, &[("best", 10, 0.0), ("worst", 0, 0.09)]).await;
        assert_eq!(called(&app, &key, &hello("worst-model")).await, ["worst"]);
        app.upstream.always_at("worst", Reply::error(500, "no"));
        chat(&app, &key, &hello("worst-model")).send().await.expect(502);
        assert_eq!(app.upstream.take_called(), ["worst"; 3], "nobody asked for another model");
    });
}

#[test]
fn two_models_of_one_provider_are_two_routes() {
    run(async |app| {
        app.add_provider("p1").await;
        add_model(&app, "m1", "p1", json!({ "weight": 9, "upstream_model": "strong" })).await;
        add_model(&app, "m2", "p1", json!({ "weight": 5, "upstream_model": "light" })).await;
        let key = rich_key(&app, "10").await;
        app.upstream.then(Reply::error(404, "no such model"));
        app.upstream.then(Reply::chat("hi", 1, 1));
        chat(&app, &key, &hello("max")).send().await.expect(200);
        let models: Vec<_> = app.upstream.bodies().into_iter().map(|body| body["model"].clone()).collect();
        assert_eq!(models, ["strong", "light"]);
    });
}

#[test]
fn a_limit_beyond_what_the_model_gives_goes_upstream_as_what_it_gives() {
    run(async |app| {
        app.add_provider("p1").await;
        let key = rich_key(&app, "10").await;
        app.upstream.always(Reply::chat("hi", 1, 1));
        for (known, asked, sent) in [(64_000, 100_000, 64_000), (64_000, 63_999, 63_999), (0, 100_000, 100_000)] {
            add_model(&app, "m1", "p1", json!({ "max_output_tokens": known })).await;
            let body = hello("auto").replace("\"max_tokens\":100", &format!("\"max_tokens\":{asked}"));
            chat(&app, &key, &body).send().await.expect(200);
            assert_eq!(app.upstream.bodies().pop().unwrap()["max_tokens"], sent, "{known} {asked}");
        }
        // Who sets no limit has none.
        add_model(&app, "m1", "p1", json!({ "max_output_tokens": 64_000 })).await;
        chat(&app, &key, &hello("auto").replace(",\"max_tokens\":100", "")).send().await.expect(200);
        assert_eq!(app.upstream.bodies().pop().unwrap().get("max_tokens"), None);
        // Who names a model is told by its provider.
        chat(&app, &key, &hello("m1").replace("\"max_tokens\":100", "\"max_tokens\":100000")).send().await.expect(200);
        assert_eq!(app.upstream.bodies().pop().unwrap()["max_tokens"], 100_000);
    });
}

#[test]
fn a_providers_own_name_of_a_model_that_is_not_registered_means_auto() {
    run(async |app| {
        let key = with_models(&app, &[("dear", 5, 0.03), ("cheap", 5, 0.01)]).await;
        for name in ["gpt-4o", "openai/gpt-4o"] {
            let answer = chat(&app, &key, &hello(name)).send().await.expect(200).json();
            assert_eq!(answer["model"], "auto", "which model serves is ours to know");
            assert_eq!(app.upstream.take_called(), ["cheap"]);
        }
        // Registered, the name is that model's; and no chat model is no name for a chat.
        add_model(&app, "gpt-4o", "dear", json!({})).await;
        assert_eq!(chat(&app, &key, &hello("gpt-4o")).send().await.expect(200).json()["model"], "gpt-4o");
        assert_eq!(app.upstream.take_called(), ["dear"]);
        for name in ["text-embedding-3-small", "gpt-4o-of-mine"] {
            chat(&app, &key, &hello(name)).send().await.expect(404);
        }
    });
}
