//! The house rules that the compiler does not check.

use std::path::{Path, PathBuf};

const LINES_MAX: usize = 420;

fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The file's code, without comments and without its tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// What a room may not name, and why.
const WALLS: &[(&str, &[&str], &str)] = &[
    ("src/http", &["crate::api::", "crate::gateway::", "crate::store::", "crate::platform"], "http is below api"),
    (
        "src/store",
        &["crate::api", "crate::http", "crate::gateway", "crate::meter", "crate::auth"],
        "store knows SQL alone",
    ),
    ("src/gateway", &["crate::api", "crate::platform", "crate::jobs"], "api calls the gateway, not the other way"),
    (
        "src/observe",
        &["crate::api", "crate::http", "crate::gateway", "crate::jobs", "crate::platform"],
        "what is kept knows nothing of what serves",
    ),
    (
        "src/payments",
        &["crate::api", "crate::gateway", "crate::jobs", "crate::platform"],
        "payments know who pays, not for what",
    ),
    ("src/meter", &["crate::api", "crate::http", "crate::gateway", "crate::platform"], "the meter knows no model"),
    (
        "src/auth",
        &["crate::api", "crate::gateway", "crate::jobs", "crate::platform", "crate::payments"],
        "auth knows who, not what for",
    ),
    (
        "src/api",
        &["crate::platform", "crate::http::serve", "crate::http::table"],
        "handlers know no pipeline and no runtime",
    ),
    ("src/jobs", &["crate::api", "crate::http", "crate::platform"], "a job serves nobody"),
    ("durable_objects/src", &["guildhall::"], "objects know nothing of the Worker"),
    ("domain/src", &["worker::", "durable_objects", "guildhall::", "rusqlite"], "the domain has no I/O"),
];

#[test]
fn arrows_point_down() {
    for (folder, forbidden, why) in WALLS {
        for path in files(folder) {
            let code = code(&path);
            for name in *forbidden {
                assert!(!code.contains(name), "{} names {name}: {why}", path.display());
            }
        }
    }
}

#[test]
fn only_the_platform_knows_the_runtime() {
    for path in files("src") {
        if path.components().any(|part| part.as_os_str() == "platform") {
            continue;
        }
        let code = code(&path);
        for name in ["worker::", "wasm_bindgen::", "js_sys::"] {
            assert!(!code.contains(name), "{} names {name}", path.display());
        }
    }
}

#[test]
fn an_object_shell_is_short() {
    for path in files("durable_objects/src").iter().filter(|path| path.ends_with("object.rs")) {
        let lines = std::fs::read_to_string(path).unwrap().lines().count();
        assert!(lines <= 120, "{} has {lines} lines", path.display());
    }
}

#[test]
fn no_handler_file_calls_another() {
    for path in files("src/api") {
        if path.file_name().unwrap() == "mod.rs" {
            continue;
        }
        let code = code(&path);
        let other = code.lines().find(|line| line.trim_start().starts_with("use crate::api::"));
        assert_eq!(other, None, "{}: share through gateway, domain or store", path.display());
        for name in names_after_super(&code) {
            let named = path.with_file_name(format!("{name}.rs"));
            let has_routes = named.exists() && self::code(&named).contains("routes! {");
            assert!(!has_routes, "{} names {name}.rs: share through a file without routes", path.display());
        }
    }
}

/// Each `x` of `super::x` and of `super::{x::…, …}`.
fn names_after_super(code: &str) -> Vec<&str> {
    let is_letter = |c: char| c.is_alphanumeric() || c == '_';
    let mut names = Vec::new();
    for rest in code.split("super::").skip(1) {
        let group = rest.strip_prefix('{').map(|rest| rest.split(';').next().unwrap());
        let entries = group.map_or_else(|| vec![rest], |group| group.split([',', '{']).collect());
        names.extend(entries.iter().map(|entry| entry.trim_start().split(|c| !is_letter(c)).next().unwrap()));
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn what_stands_behind_super_is_seen() {
    let code = "use super::keys::Key;\nuse super::{\n    fields::{Name, read},\n    keys,\n};\nlet x = super::run();";
    assert_eq!(names_after_super(code), ["keys", "fields", "Name", "read", "keys", "run"]);
}

#[test]
fn files_stay_readable() {
    for folder in ["src", "domain/src", "durable_objects/src", "tests"] {
        for path in files(folder) {
            let lines = std::fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= LINES_MAX, "{} has {lines} lines: give a part of it its own room", path.display());
        }
    }
}

#[test]
fn every_query_list_is_registered() {
    let registry = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/mod.rs")).unwrap();
    for path in files("src/store").iter().filter(|path| code(path).contains("queries! {")) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name != "statement" {
            assert!(registry.contains(&format!("{name}::QUERIES")), "{} is not in store::ALL", path.display());
        }
    }
}

#[test]
fn every_route_list_is_registered() {
    let registry = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/mod.rs")).unwrap();
    for path in files("src/api").iter().filter(|path| code(path).contains("routes! {")) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(registry.contains(&format!("{name}::ROUTES")), "{} is not in api::ALL", path.display());
    }
}
