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
    let document: serde_json::Value = serde_json::from_str(&write_document(ALL)).unwrap();
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
const SHAPELESS: [&str; 12] = [
    "",
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
    let document: serde_json::Value = serde_json::from_str(&write_document(ALL)).unwrap();
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
