//! What models do and how they are priced, as administrators say it.

use serde_json::json;

use super::kit::MODELS;
use crate::support::run;

#[test]
fn a_model_needs_the_price_of_its_kind() {
    run(async |app| {
        app.add_provider("p1").await;
        let put = async |fields: serde_json::Value| {
            let mut model = json!({ "id": "m", "provider_id": "p1", "enabled": true });
            for (name, value) in fields.as_object().unwrap() {
                model[name] = value.clone();
            }
            app.admin("POST", "/admin/v1/models").json(&model).send().await
        };
        for (fields, word) in [
            (json!({ "kind": "image" }), "unit_price_usd per image"),
            (json!({ "kind": "image", "input_per_1k": 1, "output_per_1k": 1 }), "unit_price_usd"),
            (json!({ "kind": "embedding" }), "input_per_1k"),
            (
                json!({ "kind": "chat", "unit_price_usd": 1, "input_per_1k": 1, "output_per_1k": 1 }),
                "priced by the token",
            ),
            (json!({ "kind": "video", "unit_price_usd": -1 }), "unit_price_usd"),
            (json!({ "kind": "video", "unit_price_usd": 1001 }), "at most 1000"),
            (json!({ "kind": "dance" }), "kind"),
        ] {
            let answer = put(fields.clone()).await.expect(400);
            assert!(answer.text().contains(word), "{fields}: {}", answer.text());
        }
        put(json!({ "kind": "transcription", "unit_price_usd": 0.006 })).await.expect(200);
        let list = app.admin("GET", MODELS).send().await.expect(200).json();
        let model = &list["items"][0];
        assert_eq!(
            (&model["kind"], &model["unit"], &model["unit_price_usd"]),
            (&json!("transcription"), &json!("minute"), &json!(0.006))
        );
        let version = model["price_version"].as_i64().unwrap();
        let patched = app
            .admin("PATCH", "/admin/v1/models/m")
            .body(r#"{"unit_price_usd":0.007}"#)
            .send()
            .await
            .expect(200)
            .json();
        assert_eq!(patched["model"]["price_version"], version + 1);
        // A price per minute is none per image.
        app.admin("PATCH", "/admin/v1/models/m").body(r#"{"kind":"image"}"#).send().await.expect(400);
    });
}
