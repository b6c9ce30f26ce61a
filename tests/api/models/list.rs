//! `GET /v1/models`.

use serde_json::{Value, json};

use super::kit::add_model;
use crate::support::{Key, TestApp, run};

async fn list(app: &TestApp, key: &Key) -> Vec<Value> {
    let answer = app.get("/v1/models").bearer(&key.key).send().await.expect(200).json();
    assert_eq!(answer["object"], "list");
    assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
    answer["data"].as_array().unwrap().clone()
}

#[test]
fn the_modes_come_first_then_the_registered_models_by_name() {
    run(async |app| {
        let key = app.provision("0").await;
        let mode = |id: &str| json!({ "id": id, "object": "model", "created": 0, "owned_by": "tokaroo" });
        let modes = [mode("auto"), mode("fast"), mode("max")];
        assert_eq!(list(&app, &key).await, modes);
        app.add_provider("p2").await;
        app.add_provider("p1").await;
        add_model(&app, "z/model", "p1", json!({ "max_context_tokens": 128_000 })).await;
        add_model(&app, "a-model", "p2", json!({})).await;
        let models = list(&app, &key).await;
        assert_eq!(models[..3], modes);
        assert_eq!(models[3], json!({ "id": "a-model", "object": "model", "created": 0, "owned_by": "p2" }));
        let last =
            json!({ "id": "z/model", "object": "model", "created": 0, "owned_by": "p1", "context_length": 128_000 });
        assert_eq!(models[4..], [last]);
    });
}

#[test]
fn a_person_sees_the_modes() {
    run(async |app| {
        app.add_provider("p1").await;
        app.add_model("m1", "p1", 5).await;
        let ada = app.sign_in("ada@example.com").await;
        let list = app.get("/v1/models").bearer(&ada.token).send().await.expect(200).json();
        let mode = |id: &str| json!({ "id": id, "object": "model", "created": 0, "owned_by": "tokaroo" });
        assert_eq!(list, json!({ "object": "list", "data": [mode("auto"), mode("fast"), mode("max")] }));
        let one = app.get("/v1/models/fast").bearer(&ada.token).send().await.expect(200).json();
        assert_eq!(one, mode("fast"));
        app.get("/v1/models/m1").bearer(&ada.token).send().await.expect(404);
    });
}

#[test]
fn what_takes_no_traffic_is_not_listed() {
    run(async |app| {
        app.add_provider("p1").await;
        app.add_provider("p2").await;
        for (id, provider) in [("m1", "p1"), ("m2", "p2"), ("m3", "p2")] {
            app.add_model(id, provider, 5).await;
        }
        let key = app.provision("0").await;
        let ids = async || {
            let models = list(&app, &key).await;
            models[3..].iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(ids().await, ["m1", "m2", "m3"]);
        app.admin("PATCH", "/admin/v1/models/m2").body(r#"{"enabled":false}"#).send().await.expect(200);
        assert_eq!(ids().await, ["m1", "m3"]);
        app.admin("PATCH", "/admin/v1/providers/p1").body(r#"{"enabled":false}"#).send().await.expect(200);
        assert_eq!(ids().await, ["m3"]);
        app.admin("DELETE", "/admin/v1/providers/p2").send().await.expect(200);
        assert_eq!(ids().await, [""; 0]);
    });
}

#[test]
fn everything_listed_can_be_asked_for() {
    run(async |app| {
        app.with_model().await;
        app.add_model("org/deep/name", "p1", 5).await;
        let key = super::kit::rich_key(&app, "10").await;
        app.upstream.always(crate::support::Reply::chat("hi", 1, 1));
        for model in list(&app, &key).await {
            let id = model["id"].as_str().unwrap();
            let answer = super::kit::chat(&app, &key, &super::kit::hello(id)).send().await.expect(200).json();
            assert_eq!(answer["model"], id);
        }
    });
}

#[test]
fn upstream_names_keys_and_prices_are_not_told() {
    run(async |app| {
        app.add_provider("p1").await;
        add_model(&app, "m1", "p1", json!({ "upstream_model": "hidden-name" })).await;
        let key = app.provision("0").await;
        let answer = app.get("/v1/models").bearer(&key.key).send().await.expect(200).text();
        for secret in ["hidden-name", "sk-p1", "127.0.0.1", "0.03", "weight"] {
            assert!(!answer.contains(secret), "{secret}: {answer}");
        }
    });
}

#[test]
fn a_list_needs_a_key() {
    run(async |app| {
        let answer = app.get("/v1/models").send().await.expect(401).json();
        assert_eq!(answer["error"], "Missing Authorization header");
        let answer = app.get("/v1/models").bearer("tok_nonsense").send().await.expect(401).json();
        assert_eq!(answer["error"], "Invalid or expired credential");
    });
}

#[test]
fn one_model_is_retrieved_by_its_name() {
    run(async |app| {
        app.add_provider("p1").await;
        add_model(&app, "org/deep/name", "p1", json!({ "max_context_tokens": 128_000 })).await;
        add_model(&app, "off", "p1", json!({ "enabled": false })).await;
        let key = app.provision("0").await;
        let get = async |path: &str| app.get(&format!("/v1/models/{path}")).bearer(&key.key).send().await;
        let expected = json!({ "id": "org/deep/name", "object": "model", "created": 0, "owned_by": "p1",
            "context_length": 128_000 });
        for path in ["org/deep/name", "org%2Fdeep%2Fname"] {
            assert_eq!(get(path).await.expect(200).json(), expected, "{path}");
        }
        // Whatever is listed can be retrieved.
        for model in list(&app, &key).await {
            assert_eq!(get(model["id"].as_str().unwrap()).await.expect(200).json(), model);
        }
        for path in ["nobody", "off", "org/deep", "ORG/deep/name"] {
            let answer = get(path).await.expect(404).json();
            let text = format!("Model not found: {path}");
            let expected = json!({ "error": text, "message": text, "param": "model", "code": "model_not_found" });
            assert_eq!(answer, expected);
        }
        app.get("/v1/models/auto").send().await.expect(401);
        assert_eq!(get("catalog").await.expect(200).json()["object"], "list", "the catalogue's own path");
    });
}
