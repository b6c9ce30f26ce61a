//! The committed document is the one that the routes give. After a change of a route:
//! `GUILDHALL_BLESS=1 cargo nextest run openapi`.

use guildhall::api::ALL;
use guildhall::openapi::write_document;

#[test]
fn the_committed_document_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let written = write_document(ALL);
    if std::env::var_os("GUILDHALL_BLESS").is_some() {
        std::fs::write(path, &written).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(committed == written, "openapi.json is not current: GUILDHALL_BLESS=1 cargo nextest run openapi");
}

#[test]
fn every_operation_has_a_name_of_its_own_and_a_text() {
    let document = read_document();
    let mut names = std::collections::BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap().to_owned();
            assert!(names.insert(name.clone()), "{method} {path}: {name} is used twice");
            assert!(operation["summary"].as_str().unwrap().len() > 3, "{method} {path} has no summary");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let text = write_document(ALL);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    for reference in text.split("\"$ref\": \"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

/// What has no shape: pages, redirections, and this document.
const SHAPELESS: [&str; 11] = [
    "/admin",
    "/admin/console/{file}",
    "/auth/verify",
    "/billing",
    "/claim",
    "/docs",
    "/openapi.json",
    "/sandbox/connect/{id}",
    "/sandbox/outbox",
    "/sandbox/pay/{id}",
    "/sandbox/portal/{id}",
];

#[test]
fn every_answer_has_a_shape() {
    let document = read_document();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let is_shapeless = SHAPELESS.contains(&path.trim_end_matches('/'));
        for (method, operation) in methods.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            let has_shape = |(status, response): (&String, &serde_json::Value)| {
                status != "default" && response["content"].is_object()
            };
            assert_eq!(responses.iter().any(has_shape), !is_shapeless, "{method} {path}");
            assert!(responses["default"]["content"].is_object(), "{method} {path}: its errors");
        }
    }
}

/// The document as it is written.
fn read_document() -> serde_json::Value {
    serde_json::from_str(&write_document(ALL)).unwrap()
}

#[test]
fn an_idempotency_key_is_offered_where_it_has_an_effect() {
    let document = read_document();
    let offer = |path: &str| {
        let parameters = document["paths"][path]["post"]["parameters"].as_array().unwrap();
        let found = parameters.iter().find(|parameter| parameter["name"] == "Idempotency-Key");
        found.map(|parameter| parameter["description"].as_str().unwrap().to_owned())
    };
    for public in ["/v1/auth/provision", "/v1/auth/login", "/api/agents/register", "/webhooks/stripe"] {
        assert_eq!(offer(public), None, "{public}");
    }
    assert!(offer("/v1/auth/claim").unwrap().starts_with("With a credential, "));
    assert!(offer("/v1/chat/completions").unwrap().starts_with("A retry "));
}

#[test]
fn what_is_bytes_says_so() {
    let document = read_document();
    let bytes = |schema: &serde_json::Value| {
        assert_eq!(schema["format"], "binary", "{schema}");
        assert_eq!(schema["contentMediaType"], "application/octet-stream", "{schema}");
    };
    bytes(&document["components"]["schemas"]["TranscriptionRequest"]["properties"]["file"]);
    for (path, method) in [("/v1/audio/speech", "post"), ("/v1/videos/{id}/content", "get")] {
        let content = document["paths"][path][method]["responses"]["200"]["content"].as_object().unwrap();
        content.values().for_each(|media| bytes(&media["schema"]));
    }
}

#[test]
fn what_differs_from_the_usual_is_told() {
    let document = read_document();
    let paths = &document["paths"];
    let media = |path: &str, method: &str, status: &str| -> Vec<String> {
        let content = &paths[path][method]["responses"][status]["content"];
        content.as_object().into_iter().flatten().map(|(media, _)| media.clone()).collect()
    };
    assert_eq!(media("/v1/account/export", "get", "200"), ["application/x-ndjson"]);
    assert_eq!(media("/v1/account/ledger", "get", "200"), ["application/x-ndjson", "text/csv"]);
    assert_eq!(media("/metrics", "get", "200"), ["text/plain"]);
    assert_eq!(media("/healthz", "get", "503"), ["application/json"]);
    let form: Vec<_> = paths["/v1/videos"]["post"]["requestBody"]["content"].as_object().unwrap().keys().collect();
    assert_eq!(form, ["application/json", "multipart/form-data"]);
    for path in ["/", "/v1/videos/{id}/content"] {
        assert!(paths[path]["get"]["responses"]["302"].is_object(), "{path}");
    }
    assert!(paths["/v1/account/ledger"]["get"]["responses"]["200"]["headers"]["x-next-after"].is_object());
    let events = &paths["/admin/v1/events"]["get"];
    assert_eq!(events["parameters"][0]["name"], "Last-Event-ID");
    assert!(events["security"].as_array().unwrap().contains(&serde_json::json!({ "admin_query": [] })));
    assert_eq!(paths["/metrics"]["get"]["security"], serde_json::json!([{}, { "metrics_token": [] }]));
}

#[test]
fn every_credential_is_described() {
    let document = read_document();
    let schemes = &document["components"]["securitySchemes"];
    for operation in document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
    {
        for way in operation["security"].as_array().unwrap() {
            assert!(way.as_object().unwrap().keys().all(|scheme| schemes[scheme].is_object()), "{way}");
        }
    }
}

#[test]
fn a_typed_client_can_send_what_is_passed_on_and_read_what_an_error_tells() {
    let document = read_document();
    let schemas = &document["components"]["schemas"];
    for (name, members) in [
        ("ChatCompletionRequest", ["tool_choice", "response_format", "stop"]),
        ("ResponseRequest", ["tool_choice", "temperature", "top_p"]),
    ] {
        assert_eq!(schemas[name]["additionalProperties"], true, "{name}");
        assert!(members.iter().all(|member| schemas[name]["properties"].get(member).is_some()), "{name}");
    }
    for name in ["TokarooError", "ToolRouterError", "OpenAiError", "AnthropicError", "TokenHubError", "TokuError"] {
        for member in ["balance_usd", "required_usd", "payment_url", "claim_url", "budget_usd", "limit", "max_bytes"] {
            assert!(schemas[name]["properties"][member].is_object(), "{name} has no {member}");
        }
    }
}
