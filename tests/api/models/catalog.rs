//! `GET /v1/models/catalog` and its other name, `GET /v1/pricing`.

use serde_json::{Value, json};

use crate::support::{Answer, TestApp, run};

async fn read(app: &TestApp, query: &str) -> Vec<Value> {
    let answer = app.get(&format!("/v1/models/catalog{query}")).send().await.expect(200).json();
    answer["data"].as_array().unwrap().clone()
}

async fn read_known(app: &TestApp, path: &str, tag: &str) -> Answer {
    app.get(path).rare(|head| head.if_none_match = tag.into()).send().await
}

#[test]
fn anybody_reads_the_whole_catalogue() {
    run(async |app| {
        let answer = app.get("/v1/models/catalog").send().await.expect(200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=3600"));
        assert_eq!(answer.header("vary"), Some("origin"));
        let catalogue = answer.json();
        assert_eq!(catalogue.as_object().unwrap().len(), 3, "object, data, researched_at");
        assert_eq!(catalogue["object"], "list");
        assert!(catalogue["researched_at"].as_str().unwrap().ends_with("T00:00:00Z"));
        let models = catalogue["data"].as_array().unwrap();
        assert!(models.len() >= 209, "{}", models.len());
        for model in models {
            for field in ["id", "name", "provider"] {
                assert!(!model[field].as_str().unwrap().is_empty(), "{model}");
            }
            for field in ["input_per_1m", "output_per_1m", "context_window"] {
                assert!(model[field].is_number(), "{model}");
            }
            assert!(!model["capabilities"].as_array().unwrap().is_empty(), "{model}");
        }
        let find = |provider: &str, id: &str| {
            models.iter().find(|model| model["provider"] == provider && model["id"] == id).unwrap().clone()
        };
        let expected = json!({ "id": "gpt-4o-mini", "name": "GPT-4o mini", "provider": "openai", "input_per_1m": 0.15,
            "output_per_1m": 0.6, "cache_read_per_1m": 0.075, "context_window": 128_000, "max_output_tokens": 16_384,
            "capabilities": ["text", "chat", "vision", "tools", "json", "cache"] });
        assert_eq!(find("openai", "gpt-4o-mini"), expected);
        let expected = json!({ "id": "whisper-1", "name": "Whisper", "provider": "openai", "input_per_1m": 0.0,
            "output_per_1m": 0.0, "context_window": 0, "capabilities": ["audio"], "price_note": "$0.006 per minute" });
        assert_eq!(find("openai", "whisper-1"), expected);
        for provider in ["anthropic", "google", "groq"] {
            assert!(models.iter().any(|model| model["provider"] == provider), "{provider}");
        }
    });
}

#[test]
fn both_names_give_the_same_bytes() {
    run(async |app| {
        for query in ["", "?provider=groq", "?capability=embedding"] {
            let catalogue = app.get(&format!("/v1/models/catalog{query}")).send().await.expect(200);
            let pricing = app.get(&format!("/v1/pricing{query}")).send().await.expect(200);
            assert_eq!(catalogue.body, pricing.body, "{query}");
            assert_eq!(catalogue.header("etag"), pricing.header("etag"), "{query}");
        }
        let whole = app.get("/v1/pricing").send().await.expect(200);
        let other = app.get("/v1/pricing").to(&app.new_isolate()).send().await.expect(200);
        assert_eq!(whole.body, other.body);
    });
}

#[test]
fn filters_take_a_part() {
    run(async |app| {
        let whole = read(&app, "").await;
        let part =
            |keep: &dyn Fn(&Value) -> bool| whole.iter().filter(|model| keep(model)).cloned().collect::<Vec<_>>();
        let can = |model: &Value, what: &str| model["capabilities"].as_array().unwrap().contains(&json!(what));
        let groq = part(&|model| model["provider"] == "groq");
        let embedding = part(&|model| can(model, "embedding"));
        let both = part(&|model| model["provider"] == "openai" && can(model, "reasoning"));
        assert!(groq.len() > 20 && embedding.len() > 5 && both.len() > 20);
        for query in ["?provider=groq", "?provider=GROQ", "?provider=groq&unknown=1"] {
            assert_eq!(read(&app, query).await, groq, "{query}");
        }
        assert_eq!(read(&app, "?capability=embedding").await, embedding);
        assert_eq!(read(&app, "?provider=openai&capability=reasoning").await, both);
        assert_eq!(read(&app, "?provider=nobody").await, [Value::Null; 0]);
        assert_eq!(read(&app, "?provider=groq&capability=video").await, [Value::Null; 0]);
        for query in ["?capability=magic", "?capability=", "?capability=Text"] {
            let answer = app.get(&format!("/v1/models/catalog{query}")).send().await.expect(400).json();
            assert_eq!(answer["param"], "capability", "{answer}");
            assert!(answer["error"].as_str().unwrap().contains("embedding"), "the choices are told: {answer}");
        }
    });
}

#[test]
fn a_known_version_is_not_sent_again() {
    run(async |app| {
        let answer = app.get("/v1/models/catalog").send().await.expect(200);
        let tag = answer.header("etag").unwrap().to_owned();
        assert!(tag.len() == 18 && tag.starts_with('"') && tag.ends_with('"'), "a strong tag: {tag}");
        let weak = format!("W/{tag}");
        let among = format!("\"other\", {tag}");
        for known in [tag.as_str(), &weak, &among, "*"] {
            for path in ["/v1/models/catalog", "/v1/pricing", "/v1/models/catalog?provider=groq"] {
                let answer = read_known(&app, path, known).await.expect(304);
                assert!(answer.body.is_empty(), "{path}");
                assert_eq!(answer.header("etag"), Some(tag.as_str()), "{path}");
                assert_eq!(answer.header("cache-control"), Some("public, max-age=3600"), "{path}");
            }
        }
        for other in ["", "\"other\"", tag.trim_matches('"')] {
            assert!(!read_known(&app, "/v1/pricing", other).await.expect(200).body.is_empty(), "{other}");
        }
    });
}

#[test]
fn it_asks_nobody_and_needs_no_key() {
    run(async |app| {
        app.get("/v1/models/catalog").send().await.expect(200);
        app.get("/v1/pricing").bearer("nonsense").send().await.expect(200);
        assert_eq!((app.faults.db_calls.get(), app.faults.object_calls.get()), (0, 0));
        let refused = app.post("/v1/pricing").send().await.expect(405);
        assert_eq!(refused.header("allow"), Some("GET"));
    });
}
