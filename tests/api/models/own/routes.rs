//! Where calls go that have upstreams of their own.

use serde_json::json;

use super::{ENDPOINTS, STAND_IN, add_workspace, bring_endpoint, bring_key, own, owner};
use crate::api::models::kit::{add_model, chat, hello, hello_stream, micros, rich_key};
use crate::api::models::media::{FORM, form};
use crate::support::{Key, Reply, run, run_with};

#[test]
fn an_endpoint_goes_before_the_platform_for_its_models_and_the_modes() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        app.answer_hello();
        bring_endpoint(&app, &session, &["qwen3:8b", "zephyr"], json!({ "model_map": { "max": "zephyr" } })).await;
        for (asked, served) in [("auto", "qwen3:8b"), ("fast", "qwen3:8b"), ("max", "zephyr"), ("zephyr", "zephyr")] {
            let answer = chat(&app, &key, &hello(asked)).send().await.expect(200);
            assert_eq!(answer.json()["choices"][0]["message"]["content"], "from home");
            assert_eq!(answer.json()["model"], asked, "what serves is not told");
            assert_eq!(app.upstream.bodies().pop().unwrap()["model"], served);
            assert_eq!(app.upstream.take_called(), ["home"]);
            let row = app.last_usage(&key).await;
            assert_eq!((&row["provider"], &row["billing_mode"]), (&json!("local"), &json!("local")));
        }
        // It has no such model.
        chat(&app, &key, &hello("m1")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["p1"]);
        let answer = chat(&app, &key, &hello("unheard-of")).send().await.expect(404);
        assert_eq!(answer.json()["error"], "Model not found: unheard-of");
    });
}

#[test]
fn a_stream_comes_from_an_endpoint_too() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        bring_endpoint(&app, &session, &["qwen3:8b"], json!({})).await;
        app.upstream.always_at("home", Reply::stream(&["from ", "home"], Some((10, 5))));
        let answer = chat(&app, &key, &hello_stream("auto")).send().await.expect(200);
        assert_eq!(answer.events().last().unwrap(), "[DONE]");
        assert!(answer.text().contains("home") && !answer.text().contains("qwen"), "{}", answer.text());
        assert_eq!(app.last_usage(&key).await["billing_mode"], "local");
    });
}

#[test]
fn a_key_serves_its_providers_models() {
    run_with(STAND_IN, async |app| {
        let (key, session) = owner(&app).await;
        app.upstream.always(Reply::chat("hi", 10, 5));
        add_model(&app, "llama", "p1", json!({ "upstream_model": "llama-3.3-70b-versatile" })).await;
        bring_key(&app, &session, json!({ "provider": "groq", "secret": "gsk_1" })).await;
        // A model of the platform's that Groq has too, by its name and for a mode; one that only Groq has.
        for (asked, served) in [
            ("llama", "llama-3.3-70b-versatile"),
            ("auto", "llama-3.3-70b-versatile"),
            ("llama-3.1-8b-instant", "llama-3.1-8b-instant"),
        ] {
            chat(&app, &key, &hello(asked)).send().await.expect(200);
            let sent = app.upstream.sent.borrow().last().unwrap().clone();
            assert_eq!(sent.url, "http://127.0.0.1:9/groq/v1/chat/completions", "{asked}");
            assert!(sent.headers.contains(&("authorization", "Bearer gsk_1".into())));
            assert_eq!(app.upstream.bodies().pop().unwrap()["model"], served);
            assert_eq!(app.last_usage(&key).await["billing_mode"], "byok");
        }
        app.upstream.take_called();
        chat(&app, &key, &hello("m1")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["p1"]);
    });
}

#[test]
fn every_provider_is_spoken_to_in_its_own_way() {
    run_with(STAND_IN, async |app| {
        let (key, session) = owner(&app).await;
        for (provider, model, path, header) in [
            ("openai", "gpt-4o", "/openai/v1/chat/completions", ("authorization", "Bearer k-openai")),
            ("anthropic", "claude-3-haiku-20240307", "/anthropic/v1/messages", ("x-api-key", "k-anthropic")),
            ("google", "gemini-2.5-flash", "/google/chat/completions", ("authorization", "Bearer k-google")),
        ] {
            bring_key(&app, &session, json!({ "provider": provider, "secret": format!("k-{provider}") })).await;
            let message = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": model, "stop_reason": "end_turn",
                "content": [{ "type": "text", "text": "hi" }], "usage": { "input_tokens": 10, "output_tokens": 5 } });
            let is_anthropic = provider == "anthropic";
            let reply =
                if is_anthropic { Reply::Whole(200, message.to_string(), "") } else { Reply::chat("hi", 10, 5) };
            app.upstream.always_at(provider, reply);
            let answer = chat(&app, &key, &hello(model)).send().await.expect(200).json();
            // A provider's own name stands for `auto`.
            assert_eq!((&answer["model"], &answer["choices"][0]["message"]["content"]), (&json!("auto"), &json!("hi")));
            let sent = app.upstream.sent.borrow().last().unwrap().clone();
            assert_eq!(sent.url, format!("http://127.0.0.1:9{path}"));
            assert!(sent.headers.contains(&(header.0, header.1.to_owned())), "{:?}", sent.headers);
        }
    });
}

#[test]
fn an_endpoint_goes_before_a_key() {
    run_with(STAND_IN, async |app| {
        let (key, session) = owner(&app).await;
        add_model(&app, "llama", "p1", json!({ "upstream_model": "llama-3.3-70b-versatile" })).await;
        bring_key(&app, &session, json!({ "provider": "groq", "secret": "gsk_1" })).await;
        let body = json!({ "model_map": { "llama": "qwen3:8b" } });
        let endpoint = bring_endpoint(&app, &session, &["qwen3:8b"], body).await;
        app.upstream.always_at("groq", Reply::chat("from groq", 10, 5));
        chat(&app, &key, &hello("llama")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["home"]);
        // What is turned off takes no traffic, at once.
        let path = format!("/v1/local-endpoints/{}", endpoint["id"].as_str().unwrap());
        app.call("PATCH", &path).bearer(&session).body(r#"{"enabled":false}"#).send().await.expect(200);
        chat(&app, &key, &hello("llama")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["groq"]);
    });
}

#[test]
fn of_two_endpoints_the_preferred_one_goes_first() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        let first = bring_endpoint(&app, &session, &["a"], json!({ "priority": 1 })).await;
        let body = json!({ "base_url": "http://127.0.0.1:9/home/two", "priority": 9 });
        app.upstream.always_at("home", super::models(&["b"]));
        app.post(ENDPOINTS).bearer(&session).json(&body).send().await.expect(200);
        app.upstream.always_at("home", Reply::chat("hi", 10, 5));
        app.upstream.take_called();
        chat(&app, &key, &hello("auto")).send().await.expect(200);
        assert_eq!(app.upstream.bodies().pop().unwrap()["model"], "b");
        app.call("PATCH", &format!("/v1/local-endpoints/{}", first["id"].as_str().unwrap()))
            .bearer(&session)
            .body(r#"{"priority":10}"#)
            .send()
            .await
            .expect(200);
        chat(&app, &key, &hello("auto")).send().await.expect(200);
        assert_eq!(app.upstream.bodies().pop().unwrap()["model"], "a");
    });
}

#[test]
fn nobody_elses_calls_go_there() {
    run_with(STAND_IN, async |app| {
        let (key, session) = owner(&app).await;
        app.answer_hello();
        bring_endpoint(&app, &session, &["qwen3:8b"], json!({})).await;
        bring_key(&app, &session, json!({ "provider": "groq", "secret": "gsk_1" })).await;
        let stranger = rich_key(&app, "10").await;
        own(&app, &stranger).await;
        chat(&app, &stranger, &hello("auto")).send().await.expect(200);
        chat(&app, &stranger, &hello("qwen3:8b")).send().await.expect(404);
        assert_eq!(app.upstream.take_called(), ["p1"]);
        chat(&app, &key, &hello("auto")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["home"]);
    });
}

#[test]
fn what_is_a_workspaces_serves_its_keys_alone() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        app.answer_hello();
        add_workspace(&app, &key.account_id, "acme");
        bring_endpoint(&app, &session, &["qwen3:8b"], json!({ "workspace_id": "acme" })).await;
        chat(&app, &key, &hello("auto")).send().await.expect(200);
        chat(&app, &key, &hello("qwen3:8b")).send().await.expect(404);
        assert_eq!(app.upstream.take_called(), ["p1"]);
        let of_acme = rich_key(&app, "0").await;
        app.database.execute(&format!(
            "UPDATE api_keys SET account_id = '{}', workspace_id = 'acme' WHERE account_id = '{}'",
            key.account_id, of_acme.account_id
        ));
        let of_acme = Key { account_id: key.account_id.clone(), ..of_acme };
        app.pass_ms(3_000).await;
        chat(&app, &of_acme, &hello("auto")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["home"]);
    });
}

#[test]
fn vectors_come_from_an_endpoint_that_embeds() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        let price = json!({ "kind": "embedding", "input_per_1k": 0.01 });
        add_model(&app, "vectors", "p1", price).await;
        bring_endpoint(&app, &session, &["nomic-embed-text", "qwen3:8b"], json!({})).await;
        let vectors = json!({ "object": "list", "model": "x", "data": [{ "object": "embedding", "index": 0, "embedding": [0.5] }],
            "usage": { "prompt_tokens": 100, "total_tokens": 100 } });
        app.upstream.always_at("home", Reply::Whole(200, vectors.to_string(), ""));
        let body = r#"{"model":"auto","input":"hello"}"#;
        app.post("/v1/embeddings").bearer(&key.key).body(body).send().await.expect(200);
        let sent = app.upstream.sent.borrow().last().unwrap().url.clone();
        assert_eq!(sent, "http://127.0.0.1:9/home/v1/embeddings");
        // 100 tokens at $10 a million, five percent of it.
        let row = app.last_usage(&key).await;
        assert_eq!(
            (&row["billing_mode"], &row["charged_usd"], &row["baseline_usd"]),
            (&json!("local"), &json!(0.00005), &json!(0.001))
        );
        // It says that a long text was nothing: 2,000 tokens are measured.
        let body = json!({ "model": "auto", "input": "word".repeat(2_000) });
        let little = vectors.to_string().replace("100", "1");
        app.upstream.always_at("home", Reply::Whole(200, little, ""));
        app.post("/v1/embeddings").bearer(&key.key).json(&body).send().await.expect(200);
        let row = app.last_usage(&key).await;
        assert_eq!((&row["charged_usd"], &row["baseline_usd"]), (&json!(0.001), &json!(0.02)));
    });
}

/// Silence in the form of WAV: 8,000 samples a second, of a byte each.
fn twenty_seconds() -> Vec<u8> {
    let mut file = b"RIFF\x24\x71\x02\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x40\x1f\x00\x00\x01\x00\x08\x00data\x00\x71\x02\x00".to_vec();
    file.resize(file.len() + 160_000, 0x80);
    file
}

#[test]
fn a_recording_is_as_long_as_it_is() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        let price = json!({ "kind": "transcription", "unit_price_usd": 0.6 });
        add_model(&app, "ears", "p1", price).await;
        bring_endpoint(&app, &session, &["whisper-large-v3"], json!({})).await;
        for (told, seconds) in [(1, 20), (5, 5), (40, 40)] {
            let text = json!({ "text": "hello", "duration": told }).to_string();
            app.upstream.always_at("home", Reply::Whole(200, text, ""));
            let asked =
                app.post("/v1/audio/transcriptions").bearer(&key.key).bytes(&form(&[], Some(&twenty_seconds())));
            asked.rare(|head| head.content_type = FORM.into()).send().await.expect(200);
            let row = app.last_usage(&key).await;
            assert_eq!(micros(&row["baseline_usd"]), seconds * 10_000, "{told}: {row}");
        }
    });
}

#[test]
fn another_isolate_knows_within_two_seconds() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        app.answer_hello();
        let other = app.new_isolate();
        chat(&app, &key, &hello("auto")).to(&other).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["p1"]);
        bring_endpoint(&app, &session, &["qwen3:8b"], json!({})).await;
        app.pass_ms(2_100).await;
        chat(&app, &key, &hello("auto")).to(&other).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["home"]);
    });
}

#[test]
fn what_can_be_asked_for_is_listed_for_its_owner_alone() {
    run_with(STAND_IN, async |app| {
        let (key, session) = owner(&app).await;
        let stranger = rich_key(&app, "1").await;
        add_model(&app, "gpt-4o", "p1", json!({})).await;
        add_workspace(&app, &key.account_id, "team");
        bring_endpoint(
            &app,
            &session,
            &["qwen3:8b"],
            json!({ "model_map": { "max": "qwen3:8b", "house": "qwen3:8b", "x": "gone" } }),
        )
        .await;
        bring_key(&app, &session, json!({ "provider": "openai", "secret": "sk-1" })).await;
        bring_key(&app, &session, json!({ "provider": "groq", "secret": "gsk-1", "workspace_id": "team" })).await;
        let list = async |key: &Key| {
            app.get("/v1/models").bearer(&key.key).send().await.expect(200).json()["data"].as_array().unwrap().clone()
        };
        let models = list(&key).await;
        let owners = |id: &str| -> Vec<_> {
            models.iter().filter(|model| model["id"] == id).map(|model| model["owned_by"].as_str().unwrap()).collect()
        };
        for (id, owned_by) in [
            ("auto", &["tokaroo"][..]),
            ("max", &["tokaroo"]),
            ("m1", &["p1"]),
            ("gpt-4o", &["p1"]),
            ("gpt-4o-mini", &["openai"]),
            ("qwen3:8b", &["local"]),
            ("house", &["local"]),
            ("x", &[]),
            ("llama-3.1-8b-instant", &[]),
        ] {
            assert_eq!(owners(id), owned_by, "{id}");
        }
        // Whatever is listed can be retrieved, and asked for.
        app.upstream.always(Reply::chat("hi", 1, 1));
        app.upstream.always_at("openai", Reply::chat("hi", 1, 1));
        for id in ["qwen3:8b", "house", "gpt-4o-mini"] {
            let one = app.get(&format!("/v1/models/{id}")).bearer(&key.key).send().await.expect(200).json();
            assert_eq!(Some(&one), models.iter().find(|model| model["id"] == id));
            chat(&app, &key, &hello(id)).send().await.expect(200);
            app.get(&format!("/v1/models/{id}")).bearer(&stranger.key).send().await.expect(404);
        }
        assert_eq!(list(&stranger).await.len(), 5, "the modes and the platform's two");
    });
}
