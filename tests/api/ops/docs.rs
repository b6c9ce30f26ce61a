//! The front door: `/`, `/openapi.json`, `/docs`.

use serde_json::json;

use crate::support::{Answer, TestApp, run};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn get_as(app: &TestApp, path: &str, accept: &str) -> Answer {
    app.get(path).rare(|head| head.accept = accept.into()).send().await
}

#[test]
fn a_browser_is_sent_to_the_console() {
    run(async |app| {
        let answer = app.get("/").rare(|head| head.accept = BROWSER.into()).send().await.expect(302);
        assert_eq!(answer.header("location"), Some("/admin/"));
        assert!(answer.body.is_empty());
    });
}

#[test]
fn everybody_else_gets_an_index() {
    run(async |app| {
        for accept in ["", "*/*", "application/json"] {
            let answer = get_as(&app, "/", accept).await.expect(200);
            assert_eq!(answer.header("content-type"), Some("application/json"), "{accept}");
            let index = answer.json();
            assert_eq!((&index["name"], &index["openapi"]), (&json!("Guildhall"), &json!("/openapi.json")));
            // What it points at is there.
            for field in ["openapi", "docs"] {
                app.get(index[field].as_str().unwrap()).send().await.expect(200);
            }
            app.get(index["health"].as_str().unwrap()).send().await.expect(503);
            for field in ["provision", "chat"] {
                let (method, path) = index[field].as_str().unwrap().split_once(' ').unwrap();
                assert_ne!(app.call(method, path).send().await.status, 404, "{field}");
            }
        }
    });
}

#[test]
fn the_document_is_the_file() {
    run(async |app| {
        let answer = app.get("/openapi.json").send().await.expect(200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.body, std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json")).unwrap());
        assert!(answer.json()["openapi"].as_str().unwrap().starts_with("3."));
    });
}

#[test]
fn pages_are_html_that_loads_nothing_from_elsewhere() {
    run(async |app| {
        let pages = [app.get("/docs"), app.get("/docs/")];
        for page in pages {
            let page = page.send().await.expect(200);
            assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
            assert!(page.text().starts_with("<!doctype html>"), "{}", page.text());
            let policy = page.header("content-security-policy").unwrap();
            for part in ["default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
                assert!(policy.contains(part), "{part} in {policy}");
            }
            assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
            for elsewhere in ["src=\"http", "href=\"http", "src='http", "@import", "url(http"] {
                assert!(!page.text().contains(elsewhere), "{elsewhere}");
            }
        }
    });
}

#[test]
fn the_reference_reads_the_document() {
    run(async |app| {
        let page = get_as(&app, "/docs", BROWSER).await.expect(200).text();
        assert!(page.contains("/openapi.json"));
        assert!(page.contains("op.security?.map"), "of several credentials it shows all");
    });
}
