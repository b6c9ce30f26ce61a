//! What the scenarios of embeddings, images, audio and videos share.

use serde_json::{Value, json};

use crate::support::{Key, TestApp};

/// Registers a model of a kind.
pub async fn add_kind(app: &TestApp, id: &str, provider: &str, kind: &str, price: Value) {
    let mut model = json!({ "id": id, "provider_id": provider, "upstream_model": format!("up-{id}"), "kind": kind, "enabled": true });
    for (name, value) in price.as_object().unwrap() {
        model[name] = value.clone();
    }
    app.admin("POST", "/admin/v1/models").json(&model).send().await.expect(200);
}

async fn add_kinds(app: &TestApp, provider: &str) -> Key {
    add_kind(app, "embed", provider, "embedding", json!({ "input_per_1k": 0.02 })).await;
    add_kind(app, "draw", provider, "image", json!({ "unit_price_usd": 0.04 })).await;
    add_kind(app, "speak", provider, "speech", json!({ "unit_price_usd": 15 })).await;
    add_kind(app, "hear", provider, "transcription", json!({ "unit_price_usd": 0.006 })).await;
    add_kind(app, "film", provider, "video", json!({ "unit_price_usd": 0.1 })).await;
    app.provision("1").await
}

/// A model of each kind at the scripted upstream, and a key with $1.
pub async fn with_upstream(app: &TestApp) -> Key {
    app.add_provider("p1").await;
    add_kinds(app, "p1").await
}

/// The same in the sandbox.
pub async fn with_sandbox(app: &TestApp) -> Key {
    app.admin("POST", "/admin/v1/providers").body(r#"{"id":"s","type":"sandbox"}"#).send().await.expect(200);
    add_kinds(app, "s").await
}

/// The content type of [`form`]'s bodies.
pub const FORM: &str = "multipart/form-data; boundary=B";

/// A form with fields and perhaps a file.
pub fn form(fields: &[(&str, &str)], file: Option<&[u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    if let Some(file) = file {
        body.extend_from_slice(b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n");
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--B--\r\n");
    body
}
