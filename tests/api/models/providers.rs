//! `/admin/v1/providers`.

use guildhall::ports::Outbound;
use serde_json::{Value, json};

use super::kit::{PROVIDERS, chat, hello, rich_key};
use crate::support::{Reply, TestApp, run, run_with};

/// Registers a provider; gives the status and the answer.
async fn post(app: &TestApp, fields: Value) -> (u16, Value) {
    let answer = app.admin("POST", "/admin/v1/providers").json(&fields).send().await;
    (answer.status, answer.json())
}

async fn patch(app: &TestApp, id: &str, fields: Value) -> (u16, Value) {
    let answer = app.admin("PATCH", &format!("/admin/v1/providers/{id}")).json(&fields).send().await;
    (answer.status, answer.json())
}

async fn list(app: &TestApp, query: &str) -> Value {
    app.admin("GET", &format!("/admin/v1/providers{query}")).send().await.expect(200).json()
}

/// What the upstream is called with now.
async fn last_sent(app: &TestApp, key: &crate::support::Key) -> Outbound {
    chat(app, key, &hello("m1")).send().await.expect(200);
    app.upstream.sent.borrow_mut().pop().unwrap()
}

#[test]
fn a_provider_is_stored_listed_changed_and_deleted() {
    run(async |app| {
        let fields =
            json!({ "id": "p1", "type": "openai", "base_url": "https://api.example.com/v1/", "api_key": "sk-1" });
        assert_eq!(post(&app, fields).await, (200, json!({ "ok": true, "cred_store": "vault" })));
        let stored = json!({ "id": "p1", "type": "openai", "enabled": true, "base_url": "https://api.example.com", "cred_store": "vault" });
        let page = list(&app, "").await;
        assert_eq!(page, json!({ "items": [stored], "total": 1, "limit": 1000, "offset": 0 }));
        let changed = json!({ "id": "p1", "type": "vllm", "enabled": false, "base_url": "https://other.example.com", "cred_store": "vault" });
        let fields = json!({ "type": "vllm", "enabled": false, "base_url": "https://other.example.com" });
        assert_eq!(patch(&app, "p1", fields).await, (200, json!({ "ok": true, "provider": changed })));
        assert_eq!(patch(&app, "p1", json!({})).await, (200, json!({ "ok": true, "provider": changed })));
        for _ in 0..2 {
            let path = "/admin/v1/providers/p1";
            assert_eq!(app.admin("DELETE", path).send().await.expect(200).json(), json!({ "ok": true }));
        }
        assert_eq!(list(&app, "").await["total"], 0);
    });
}

#[test]
fn a_list_comes_in_pages() {
    run(async |app| {
        assert_eq!(list(&app, "").await, json!({ "items": [], "total": 0, "limit": 1000, "offset": 0 }));
        for id in ["c", "a", "e", "b", "d"] {
            app.add_provider(id).await;
        }
        let ids = |page: &Value| {
            page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect::<String>()
        };
        for (query, expected, limit, offset) in [
            ("", "abcde", 1000, 0),
            ("?limit=2", "ab", 2, 0),
            ("?limit=2&offset=1", "bc", 2, 1),
            ("?limit=2&offset=4", "e", 2, 4),
            ("?limit=2&offset=5", "", 2, 5),
            ("?offset=9999999999", "", 1000, 9_999_999_999_i64),
            ("?limit=0", "abcde", 1000, 0),
            ("?limit=-1&offset=-5", "abcde", 1000, 0),
            ("?limit=1001", "abcde", 1000, 0),
            ("?limit=x&offset=y", "abcde", 1000, 0),
            ("?limit=99999999999999999999&offset=1e3", "abcde", 1000, 0),
            ("?limit=&offset=", "abcde", 1000, 0),
            ("?unknown=1", "abcde", 1000, 0),
        ] {
            let page = list(&app, query).await;
            assert_eq!(ids(&page), expected, "{query}");
            assert_eq!(
                (&page["total"], &page["limit"], &page["offset"]),
                (&json!(5), &json!(limit), &json!(offset)),
                "{query}"
            );
        }
    });
}

#[test]
fn a_key_stays_until_it_is_replaced_or_forgotten() {
    run(async |app| {
        app.add_provider("p1").await;
        app.add_model("m1", "p1", 5).await;
        let key = rich_key(&app, "1").await;
        app.upstream.always(Reply::chat("hi", 1, 1));
        let authorization = async || {
            let sent = last_sent(&app, &key).await;
            sent.headers.into_iter().find(|(name, _)| *name == "authorization").map(|(_, value)| value)
        };
        let base_url = "http://127.0.0.1:9/p1";
        assert_eq!(authorization().await.as_deref(), Some("Bearer sk-p1"));
        // An update that does not speak of the key.
        assert_eq!(post(&app, json!({ "id": "p1", "base_url": base_url })).await.1["cred_store"], "vault");
        assert_eq!(patch(&app, "p1", json!({ "enabled": true })).await.1["provider"]["cred_store"], "vault");
        assert_eq!(post(&app, json!({ "id": "p1", "api_key": "" })).await.1["cred_store"], "vault");
        assert_eq!(post(&app, json!({ "id": "p1", "cred_store": "vault" })).await.1["cred_store"], "vault");
        assert_eq!(authorization().await.as_deref(), Some("Bearer sk-p1"));
        assert_eq!(patch(&app, "p1", json!({ "api_key": "sk-new" })).await.0, 200);
        assert_eq!(authorization().await.as_deref(), Some("Bearer sk-new"));
        assert_eq!(post(&app, json!({ "id": "p1", "cred_store": "none" })).await.1["cred_store"], "none");
        assert_eq!(authorization().await, None);
        assert_eq!(patch(&app, "p1", json!({ "cred_store": "vault" })).await.1["provider"]["cred_store"], "none");
        assert_eq!(authorization().await, None);
        // A deleted provider's key does not come back with its name.
        patch(&app, "p1", json!({ "api_key": "sk-third" })).await;
        app.admin("DELETE", "/admin/v1/providers/p1").send().await.expect(200);
        post(&app, json!({ "id": "p1", "base_url": base_url })).await;
        app.add_model("m1", "p1", 5).await;
        assert_eq!(authorization().await, None);
    });
}

#[test]
fn a_key_stands_nowhere_in_clear() {
    run(async |app| {
        let secret = "sk-very-secret-0123456789";
        let (_, created) =
            post(&app, json!({ "id": "p1", "base_url": "https://api.example.com", "api_key": secret })).await;
        let (_, changed) = patch(&app, "p1", json!({ "api_key": secret })).await;
        let (_, refused) = post(&app, json!({ "id": "p1", "base_url": "http://10.0.0.1", "api_key": secret })).await;
        let listed = list(&app, "").await;
        let log = app.log.borrow().join("\n");
        let stored = app.database.dump() + &app.objects.dump();
        for text in [created.to_string(), changed.to_string(), refused.to_string(), listed.to_string(), stored, log] {
            assert!(!text.contains("very-secret"), "{text}");
        }
        // The same key sealed twice looks different.
        post(&app, json!({ "id": "p2", "base_url": "https://api.example.com", "api_key": secret })).await;
        let dump = app.objects.dump();
        let sealed =
            |id: &str| dump.split(&format!("\"sealed:provider:{id}:api_key\": ")).nth(1).unwrap()[..80].to_owned();
        assert_ne!(sealed("p1"), sealed("p2"));
    });
}

#[test]
fn addresses_that_lead_inside_are_refused() {
    let always = [
        "",
        "api.example.com",
        "/v1",
        "//api.example.com",
        "ftp://api.example.com",
        "file:///etc/passwd",
        "file://localhost/etc/passwd",
        "javascript:alert(1)",
        "data:text/plain,x",
        "gopher://x.example.com",
        "https://",
        "https://user@api.example.com",
        "https://user:pass@api.example.com",
        "https://:pass@api.example.com",
        "http://10.0.0.1",
        "http://10.1.2.3:8000/v1",
        "http://172.16.0.1",
        "http://172.31.255.255",
        "http://192.168.1.1",
        "http://169.254.169.254/latest/meta-data/",
        "http://0xa9fea9fe",
        "http://2852039166",
        "http://0251.0376.0251.0376",
        "http://metadata.google.internal/computeMetadata/v1",
        "http://METADATA.GOOGLE.INTERNAL.",
        "http://100.100.100.200",
        "http://168.63.129.16",
        "http://100.64.0.1",
        "http://0.0.0.0",
        "http://0",
        "http://224.0.0.1",
        "http://255.255.255.255",
        "http://[::]",
        "http://[fe80::1]",
        "http://[fd00:ec2::254]",
        "http://[::ffff:169.254.169.254]",
        "http://[::ffff:a00:1]",
        "http://[64:ff9b::a9fe:a9fe]",
        "http://[2002:a9fe:a9fe::]",
        "http://db.internal",
        "http://printer.local",
        "http://router.lan",
        "http://%31%30.0.0.1",
        "http://１０.0.0.1",
        "http://10。0.0.1",
        "http://exa mple.com",
        "http://api.example.com:99999",
    ];
    let in_live_mode = [
        "http://127.0.0.1",
        "http://127.0.0.1:8000/v1",
        "http://localhost:11434",
        "http://LOCALHOST.",
        "http://api.localhost",
        "http://[::1]:8000",
        "http://127.1",
        "http://0x7f.1",
        "http://2130706433",
        "http://[::ffff:127.0.0.1]",
        "http://ollama:11434",
    ];
    run(async |app| {
        for base_url in always {
            let (status, answer) = post(&app, json!({ "id": "p1", "base_url": base_url })).await;
            assert_eq!(status, 400, "{base_url}: {answer}");
            assert!(answer["error"].as_str().unwrap().starts_with("base_url"), "{base_url}: {answer}");
        }
        for base_url in in_live_mode {
            assert_eq!(post(&app, json!({ "id": "p1", "base_url": base_url })).await.0, 200, "{base_url}");
        }
        for base_url in ["http://10.0.0.1", "file:///etc/passwd"] {
            assert_eq!(patch(&app, "p1", json!({ "base_url": base_url })).await.0, 400);
        }
        // What was refused has changed nothing.
        assert_eq!(list(&app, "").await["items"][0]["base_url"], "http://ollama:11434");
    });
    run_with(&[("MODE", "live"), ("ALLOW_LOOPBACK", "true")], async |app| {
        for base_url in in_live_mode.iter().chain(&always) {
            let (status, answer) = post(&app, json!({ "id": "p1", "base_url": base_url })).await;
            assert_eq!(status, 400, "{base_url}: {answer}");
        }
        assert_eq!(list(&app, "").await["total"], 0);
        assert_eq!(post(&app, json!({ "id": "p1", "base_url": "https://api.example.com/v1" })).await.0, 200);
    });
    run_with(&[("ALLOW_LOOPBACK", "false")], async |app| {
        assert_eq!(post(&app, json!({ "id": "p1", "base_url": "http://127.0.0.1:8000" })).await.0, 400);
    });
}

#[test]
fn an_address_that_paths_cannot_be_added_to_is_refused() {
    run(async |app| {
        for base_url in [
            "https://api.example.com/?key=1",
            "https://api.example.com/v1?",
            "https://api.example.com/#v1",
            "https://api.example.com#",
        ] {
            let (status, answer) = post(&app, json!({ "id": "p1", "base_url": base_url })).await;
            assert_eq!(status, 400, "{base_url}: {answer}");
        }
    });
}

#[test]
fn wrong_fields_are_refused_by_name() {
    run(async |app| {
        let good = |changed: Value| {
            let mut fields = json!({ "id": "p1", "base_url": "https://api.example.com" });
            for (name, value) in changed.as_object().unwrap() {
                fields[name] = value.clone();
            }
            fields
        };
        for (fields, name) in [
            (json!({ "base_url": "https://api.example.com" }), "id"),
            (good(json!({ "id": "" })), "id"),
            (good(json!({ "id": null })), "id"),
            (good(json!({ "id": "with space" })), "id"),
            (good(json!({ "id": "line\nbreak" })), "id"),
            (good(json!({ "id": "x".repeat(201) })), "id"),
            (good(json!({ "id": 7 })), "id"),
            (good(json!({ "type": "anthropic-typo" })), "type"),
            (good(json!({ "type": "OPENAI" })), "type"),
            (good(json!({ "type": 5 })), "type"),
            (good(json!({ "enabled": "yes" })), "enabled"),
            (good(json!({ "base_url": 5 })), "base_url"),
            (json!({ "id": "p1" }), "base_url"),
            (good(json!({ "cred_store": "keychain" })), "cred_store"),
            (good(json!({ "api_key": "with space" })), "api_key"),
            (good(json!({ "api_key": "line\r\nx-evil: 1" })), "api_key"),
            (good(json!({ "api_key": "schlüssel" })), "api_key"),
            (good(json!({ "api_key": "x".repeat(4_097) })), "api_key"),
            (good(json!({ "api_key": ["sk"] })), "api_key"),
        ] {
            let (status, answer) = post(&app, fields.clone()).await;
            assert_eq!(status, 400, "{fields}: {answer}");
            assert!(answer["error"].as_str().unwrap().contains(name), "{fields}: {answer}");
        }
        for body in ["", "nonsense", "[]", "{", "null", "\"p1\"", "{}{}"] {
            let answer = app.admin("POST", PROVIDERS).body(body).send().await.expect(400).json();
            assert!(answer["error"].is_string(), "{body}: {answer}");
        }
        assert_eq!(list(&app, "").await["total"], 0);
    });
}

#[test]
fn a_patch_creates_what_is_not_there_yet() {
    run(async |app| {
        let (status, answer) = patch(&app, "new%2Fone", json!({ "base_url": "https://api.example.com" })).await;
        let provider = json!({ "id": "new/one", "type": "openai", "enabled": true, "base_url": "https://api.example.com", "cred_store": "none" });
        assert_eq!((status, answer), (200, json!({ "ok": true, "provider": provider })));
        assert_eq!(
            patch(&app, "p2", json!({ "enabled": false })).await.0,
            400,
            "without an address there is nothing to call"
        );
        // The path names the provider, whatever the body says.
        let (_, answer) = patch(&app, "new%2Fone", json!({ "id": "other", "enabled": false })).await;
        assert_eq!((&answer["provider"]["id"], &answer["provider"]["enabled"]), (&json!("new/one"), &json!(false)));
        assert_eq!(list(&app, "").await["total"], 1);
    });
}

#[test]
fn deleting_a_provider_takes_its_models_along() {
    run(async |app| {
        for (model, provider) in [("m1", "p1"), ("m1b", "p1"), ("m2", "p2")] {
            app.add_provider(provider).await;
            app.add_model(model, provider, 5).await;
        }
        let key = rich_key(&app, "1").await;
        app.upstream.always(Reply::chat("hi", 1, 1));
        app.admin("DELETE", "/admin/v1/providers/p1").send().await.expect(200);
        chat(&app, &key, &hello("m1")).send().await.expect(404);
        chat(&app, &key, &hello("m2")).send().await.expect(200);
        let models = app.admin("GET", "/admin/v1/models").send().await.expect(200).json();
        assert_eq!((&models["total"], &models["items"][0]["id"]), (&json!(1), &json!("m2")));
    });
}

#[test]
fn a_change_holds_at_once_here_and_within_seconds_in_other_isolates() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::chat("hi", 1, 1));
        let other = app.new_isolate();
        chat(&app, &key, &hello("m1")).to(&other).send().await.expect(200);
        last_sent(&app, &key).await;
        patch(&app, "p1", json!({ "api_key": "sk-rotated" })).await;
        let rotated = ("authorization", "Bearer sk-rotated".to_owned());
        assert!(last_sent(&app, &key).await.headers.contains(&rotated));
        let mut waited_ms = 0;
        loop {
            chat(&app, &key, &hello("m1")).to(&other).send().await.expect(200);
            if app.upstream.sent.borrow_mut().pop().unwrap().headers.contains(&rotated) {
                break;
            }
            app.pass_ms(250).await;
            waited_ms += 250;
            assert!(waited_ms <= 3_000, "the other isolate still uses the old key");
        }
        patch(&app, "p1", json!({ "enabled": false })).await;
        chat(&app, &key, &hello("m1")).send().await.expect(503);
        app.pass_ms(11_000).await;
        chat(&app, &key, &hello("m1")).to(&other).send().await.expect(503);
    });
}

#[test]
fn the_sandbox_model_is_for_the_sandbox_only() {
    run_with(&[("MODE", "live")], async |app| {
        let (status, answer) = post(&app, json!({ "id": "s", "type": "sandbox" })).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains("sandbox"));
        assert_eq!(post(&app, json!({ "id": "p1", "base_url": "https://api.example.com" })).await.0, 200);
        assert_eq!(patch(&app, "p1", json!({ "type": "sandbox" })).await.0, 400);
    });
    run(async |app| {
        assert_eq!(
            post(&app, json!({ "id": "s", "type": "sandbox" })).await,
            (200, json!({ "ok": true, "cred_store": "none" }))
        );
    });
}
