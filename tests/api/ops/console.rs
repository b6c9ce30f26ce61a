//! The console: its page, its files, and that it asks for nothing that is not served.

use std::collections::BTreeSet;

use crate::support::{TestApp, run};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api/ops/console");

/// The files as they lie in the repository.
fn files() -> Vec<(String, String)> {
    let mut files: Vec<_> = std::fs::read_dir(FOLDER)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// What stands between a beginning and the next end, each time.
fn between<'a>(text: &'a str, begin: &'a str, end: char) -> impl Iterator<Item = &'a str> {
    text.split(begin).skip(1).map(move |rest| rest.split(end).next().unwrap())
}

#[test]
fn the_page_is_html_that_no_stranger_can_use() {
    run(async |app| {
        for path in ["/admin", "/admin/"] {
            let page = app.get(path).send().await.expect(200);
            assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
            assert_eq!(page.header("cache-control"), Some("no-cache, must-revalidate"));
            assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
            let policy = page.header("content-security-policy").unwrap();
            for part in [
                "default-src 'none'",
                "script-src 'self';",
                "style-src 'self';",
                "connect-src 'self';",
                "frame-ancestors 'none'",
                "base-uri 'none'",
                "require-trusted-types-for 'script'",
            ] {
                assert!(policy.contains(part), "{part} in {policy}");
            }
            assert!(!policy.contains("unsafe"), "{policy}");
            assert!(page.text().starts_with("<!doctype html>"), "{}", page.text());
            for inline in ["<style", "style=", "<script>", "onclick=", "http:", "https:"] {
                assert!(!page.text().contains(inline), "{inline} in {}", page.text());
            }
        }
    });
}

#[test]
fn each_file_is_served_as_what_it_is() {
    run(async |app| {
        for (name, text) in files() {
            let answer = app.get(&format!("/admin/console/{name}")).send().await.expect(200);
            let wanted = match name.rsplit_once('.').unwrap().1 {
                "html" => "text/html; charset=utf-8",
                "css" => "text/css; charset=utf-8",
                "svg" => "image/svg+xml",
                "js" => "text/javascript; charset=utf-8",
                other => panic!("{name}: nobody knows what {other} is"),
            };
            assert_eq!(answer.header("content-type"), Some(wanted), "{name}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(answer.text(), text, "{name}");
        }
    });
}

#[test]
fn what_the_page_and_its_modules_load_is_there() {
    run(async |app| {
        let page = app.get("/admin/").send().await.expect(200).text();
        assert_eq!(app.get("/admin").send().await.expect(200).text(), page);
        let loaded = between(&page, "href=\"/admin", '"').chain(between(&page, "src=\"/admin", '"'));
        for rest in loaded {
            app.get(&format!("/admin{rest}")).send().await.expect(200);
        }
        for (name, text) in files().iter().filter(|(name, _)| name.ends_with(".js")) {
            for module in between(text, "from \"./", '"') {
                assert!(files().iter().any(|(name, _)| name == module), "{name} imports {module}");
            }
        }
    });
}

#[test]
fn who_has_this_version_gets_no_other() {
    run(async |app| {
        for path in ["/admin/", "/admin/console/main.js"] {
            let first = app.get(path).send().await.expect(200);
            let etag = first.header("etag").unwrap().to_owned();
            let known = app.get(path).rare(|head| head.if_none_match = etag.clone()).send().await.expect(304);
            assert!(known.body.is_empty());
            assert_eq!(known.header("etag"), Some(etag.as_str()));
            app.get(path).rare(|head| head.if_none_match = "\"other\"".into()).send().await.expect(200);
        }
    });
}

#[test]
fn nothing_else_is_there() {
    run(async |app: TestApp| {
        for name in ["none.js", "Main.js", "..%2Fdocs.html", "%2e%2e", "main.js/", "main.js/more"] {
            app.get(&format!("/admin/console/{name}")).send().await.expect(404);
        }
        for path in ["/admin/console", "/admin/console/", "/admin/none"] {
            app.get(path).send().await.expect(404);
        }
        app.call("POST", "/admin/console/main.js").send().await.expect(405);
    });
}

/// Every operation that the modules name, such as `GET /admin/v1/models`.
fn operations() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, text) in files() {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            found.extend(between(&text, &format!("\"{method} "), '"').map(|path| format!("{method} {path}")));
        }
    }
    found
}

#[test]
fn it_asks_for_operations_that_are_served() {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json")).unwrap();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let asked = operations();
    for operation in &asked {
        let (method, path) = operation.split_once(' ').unwrap();
        assert!(document["paths"][path][method.to_lowercase()].is_object(), "{operation} is not served");
    }
    // What an operator has in the API is in the console too, but for what the lists show already and the cookies of others.
    let left_out = [
        "GET /admin/v1/aliases/{name}",
        "GET /admin/v1/engine/models",
        "GET /admin/v1/events",
        "GET /admin/v1/tsdb/metrics",
        "GET /admin/v1/workflows/{id}",
        "POST /admin/v1/session",
        "DELETE /admin/v1/session",
    ];
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().filter(|_| path.starts_with("/admin/v1/")) {
            let operation = format!("{} {path}", method.to_uppercase());
            let known = asked.contains(&operation) || left_out.contains(&operation.as_str());
            assert!(known, "nobody can do {operation} in the console");
        }
    }
}

#[test]
fn text_of_others_never_becomes_html() {
    for (name, text) in files() {
        for sink in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "localStorage"]
        {
            assert!(!text.contains(sink), "{sink} in {name}");
        }
        // No address is written into a page but those of its own pages.
        assert!(!text.contains("?token="), "{name}: the token stays out of addresses");
    }
}
