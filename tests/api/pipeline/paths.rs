//! Which route, which method, and in whose words the answer is no.

use std::collections::HashSet;

use serde_json::json;

use crate::support::run;

#[test]
fn an_unknown_path_is_404_in_the_words_of_its_api() {
    run(async |app| {
        for path in ["/v1/nothing", "/nothing", "/v1", "/v1/balance/", "//v1/balance"] {
            let body = app.get(path).send().await.expect(404).json();
            let error = &body["error"];
            assert_eq!((&error["code"], &error["type"]), (&json!("NOT_FOUND"), &json!("not_found")), "{path}");
            assert!(error["resolution_hint"].is_string() && error["message"].is_string(), "{path}: {body}");
            assert_eq!(body["message"], error["message"], "{path}");
        }
        for path in ["/admin/v1/nothing", "/api/nothing"] {
            let body = app.get(path).send().await.expect(404).json();
            assert!(body["error"].is_string() && body.as_object().unwrap().len() == 1, "{path}: {body}");
        }
        let body = app.get("/api/v1/nothing").send().await.expect(404).json();
        assert_eq!(body, json!({ "detail": "Not Found" }));
    });
}

#[test]
fn an_unknown_path_needs_no_credential_to_be_unknown() {
    run(async |app| {
        let key = app.provision("0").await;
        app.get("/v1/nothing").bearer(&key.key).send().await.expect(404);
        app.get("/v1/nothing").bearer("nonsense").send().await.expect(404);
    });
}

#[test]
fn another_method_is_405_and_told_which_are_allowed() {
    run(async |app| {
        for (method, path, allow) in [
            ("GET", "/v1/chat/completions", "POST"),
            ("PUT", "/v1/chat/completions", "POST"),
            ("DELETE", "/v1/balance", "GET"),
            ("POST", "/healthz", "GET"),
            ("GET", "/admin/v1/accounts/acc/limits", "PATCH"),
            ("PATCH", "/admin/v1/accounts/acc/credits", "POST"),
            ("BREW", "/v1/balance", "GET"),
            ("get", "/v1/balance", "GET"),
            ("HEAD", "/v1/chat/completions", "POST"),
        ] {
            let refused = app.call(method, path).send().await.expect(405);
            assert_eq!(refused.header("allow"), Some(allow), "{method} {path}");
        }
        let refused = app.call("PUT", "/admin/v1/providers").send().await.expect(405);
        let allow: HashSet<_> = refused.header("allow").unwrap().split(", ").map(str::to_owned).collect();
        assert_eq!(allow, HashSet::from(["GET".to_owned(), "POST".to_owned()]));
        assert!(refused.json()["error"].is_string(), "in TokenHub's words");
        let refused = app.call("DELETE", "/v1/billing/balance").send().await.expect(405).json();
        assert_eq!(refused["error"]["code"], "METHOD_NOT_ALLOWED", "in ToolRouter's words");
        for path in ["/v1/balance", "/v1/chat/completions"] {
            let refused = app.call("DELETE", path).send().await.expect(405).json();
            assert!(refused["error"].is_string() && refused["message"].is_string(), "in Tokaroo's words: {refused}");
        }
        let refused = app.call("DELETE", "/v1/messages").send().await.expect(405).json();
        assert_eq!(refused["type"], "error", "in Anthropic's words");
        let refused = app.get("/v1/models/%ff").send().await.expect(400).json();
        assert!(refused["error"].is_string(), "in the route's words: {refused}");
    });
}

#[test]
fn head_is_get_without_its_body() {
    run(async |app| {
        let key = app.provision("1").await;
        let get = app.get("/v1/balance").bearer(&key.key).send().await.expect(200);
        let head = app.call("HEAD", "/v1/balance").bearer(&key.key).send().await.expect(200);
        assert!(head.body.is_empty() && !get.body.is_empty());
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert!(app.call("HEAD", "/healthz").send().await.expect(503).body.is_empty());
        assert!(app.call("HEAD", "/v1/balance").send().await.expect(401).body.is_empty());
        assert!(app.call("HEAD", "/nothing").send().await.expect(404).body.is_empty());
    });
}

#[test]
fn every_response_has_a_request_id_of_its_own() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let other = app.new_isolate();
        let mut seen = HashSet::new();
        let calls = || {
            [
                app.hello(&key),
                app.get("/v1/balance"),
                app.get("/v1/balance").bearer(&key.key),
                app.get("/nothing"),
                app.call("DELETE", "/healthz"),
                app.call("OPTIONS", "/v1/balance"),
                app.call("HEAD", "/"),
                app.get("/openapi.json"),
            ]
        };
        for call in calls().into_iter().chain(calls().map(|call| call.to(&other))) {
            let answer = call.send().await;
            let id = answer.header("x-request-id").unwrap().to_owned();
            assert!(id.starts_with("req_") && id.len() >= 20, "{id}");
            assert_eq!(answer.headers.iter().filter(|(name, _)| *name == "x-request-id").count(), 1);
            assert!(seen.insert(id), "twice");
        }
    });
}

#[test]
fn a_path_parameter_is_decoded_and_must_be_text() {
    run(async |app| {
        let key = app.provision("0").await;
        app.get("/v1/usage/req%5Fnone").bearer(&key.key).send().await.expect(404);
        let refused = app.get("/v1/usage/%FF%FE").bearer(&key.key).send().await.expect(400).json();
        assert_eq!(refused["error"]["code"], "INVALID_INPUT");
    });
}

#[test]
fn what_fails_inside_is_told_by_its_id_only() {
    run(async |app| {
        let key = app.provision("0").await;
        app.faults.fail_db(crate::support::Fault::Before);
        let failed = app.get("/v1/balance").bearer(&key.key).to(&app.new_isolate()).send().await.expect(500);
        let id = failed.header("x-request-id").unwrap();
        assert!(!failed.text().contains("test: failed"), "{}", failed.text());
        assert_eq!(failed.json()["request_id"], id);
        assert!(app.log.borrow().iter().any(|line| line.contains(id) && line.contains("test: failed before")));
    });
}
