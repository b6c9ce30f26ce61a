//! No route without a test, and none that anybody may call by accident.
//!
//! A route counts as tested when its path stands in a scenario under `tests/api/`; the scenario of a route with a
//! credential is also run here without one, and with a wrong one.

use std::collections::BTreeSet;
use std::path::Path;

use guildhall::api::ALL;
use guildhall::http::route::{Access, Method, Route};
use guildhall::http::table::{Found, RouteTable};

use crate::support::run;

fn routes() -> impl Iterator<Item = &'static Route> {
    ALL.iter().copied().flatten()
}

fn scenarios() -> String {
    let mut text = String::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                text += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    text
}

/// A path of the route with something for each parameter.
fn sample_path(route: &Route) -> String {
    route.path.split('/').map(|part| if part.starts_with('{') { "none" } else { part }).collect::<Vec<_>>().join("/")
}

#[test]
fn the_table_builds() {
    RouteTable::build(ALL).unwrap_or_else(|clash| panic!("{clash}"));
}

#[test]
fn every_route_has_a_scenario() {
    let scenarios = scenarios();
    let table = RouteTable::build(ALL).unwrap();
    let called: BTreeSet<_> = scenarios.lines().flat_map(|line| routes_called(&table, line)).collect();
    let untested: Vec<_> =
        routes().map(|route| (route.method.name(), route.path)).filter(|route| !called.contains(route)).collect();
    assert!(untested.is_empty(), "no scenario calls {untested:#?}");
}

/// The routes that a line calls: it names a method, and a path that the table gives to them and to no other.
fn routes_called(table: &RouteTable, line: &str) -> Vec<(&'static str, &'static str)> {
    let says = |method: &str| {
        line.contains(&format!("\"{method}\"")) || line.contains(&format!(".{}(", method.to_lowercase()))
    };
    let mut called = Vec::new();
    for text in line.split('"').skip(1).step_by(2).filter(|text| text.starts_with('/')) {
        let path = text.split('?').next().unwrap();
        for method in Method::ALL.into_iter().map(|method| method.name()).filter(|method| says(method)) {
            if let Found::Route(route, _) = table.find(method, path) {
                called.push((method, route.path));
            }
        }
    }
    called
}

#[test]
fn a_longer_path_is_no_scenario_of_a_shorter_one() {
    let table = RouteTable::build(ALL).unwrap();
    let called = |line: &str| routes_called(&table, line);
    assert_eq!(called(r#"app.call("GET", "/v1/models?limit=1")"#), [("GET", "/v1/models")]);
    assert_eq!(called(r#"app.call("GET", "/v1/models/catalog")"#), [("GET", "/v1/models/catalog")]);
    assert_eq!(called(r#"app.call("GET", "/v1/usage/one/more")"#), []);
    assert_eq!(called(r#"app.call("GET", &format!("/v1/usage/{id}"))"#), [("GET", "/v1/usage/{id}")]);
}

#[test]
fn no_route_answers_without_its_credential() {
    run(async |app| {
        for route in routes().filter(|route| route.access != Access::Public) {
            let path = sample_path(route);
            // A visitor may come with nothing, and with nothing wrong.
            if route.access != Access::Visitor {
                let answer = app.call(route.method.name(), &path).body("{}").send().await;
                assert_eq!(
                    answer.status,
                    401,
                    "{} {path} without a credential: {}",
                    route.method.name(),
                    answer.text()
                );
            }
            let answer = app.call(route.method.name(), &path).bearer("nonsense").body("{}").send().await;
            assert_eq!(answer.status, 401, "{} {path} with a wrong one: {}", route.method.name(), answer.text());
        }
    });
}

#[test]
fn each_credential_enters_its_own_routes_only() {
    run(async |app| {
        for route in routes() {
            // A new one each time: some of the routes end it.
            let session = app.sign_in("ada@example.com").await;
            let path = sample_path(route);
            let call = |token: &str| app.call(route.method.name(), &path).bearer(token).body("{}").send();
            let what = format!("{} {path}", route.method.name());
            let by_session = call(&session.token).await;
            match route.access {
                Access::Key(_) | Access::Agent | Access::AgentPayouts | Access::AgentOrAdmin => {
                    assert_eq!(by_session.status, 403, "{what}: {}", by_session.text())
                }
                Access::Admin => assert_eq!(by_session.status, 401, "{what}: {}", by_session.text()),
                Access::Public
                | Access::Signed
                | Access::Visitor
                | Access::Account(_)
                | Access::Owner
                | Access::Keeper
                | Access::Session => {}
            }
            if matches!(
                route.access,
                Access::Visitor
                    | Access::Key(_)
                    | Access::Account(_)
                    | Access::Owner
                    | Access::Keeper
                    | Access::Session
                    | Access::Agent
                    | Access::AgentPayouts
            ) {
                let by_admin = call(crate::support::ADMIN_TOKEN).await;
                assert_eq!(by_admin.status, 403, "{what} with the admin token: {}", by_admin.text());
            }
        }
    });
}

#[test]
fn no_key_looks_after_people() {
    run(async |app| {
        let key = app.provision("0").await;
        for route in routes().filter(|route| {
            matches!(route.access, Access::Session | Access::Agent | Access::AgentPayouts | Access::AgentOrAdmin)
        }) {
            app.set_limits(&key, 10_000, 100_000, 100).await;
            let path = sample_path(route);
            let answer = app.call(route.method.name(), &path).bearer(&key.key).body("{}").send().await;
            assert_eq!(answer.status, 403, "{} {path} with a key: {}", route.method.name(), answer.text());
        }
    });
}

#[test]
fn no_key_enters_an_admin_route() {
    run(async |app| {
        let key = app.provision("0").await;
        for route in routes().filter(|route| route.access == Access::Admin) {
            app.set_limits(&key, 10_000, 100_000, 100).await;
            let path = sample_path(route);
            let answer = app.call(route.method.name(), &path).bearer(&key.key).body("{}").send().await;
            assert_eq!(answer.status, 401, "{} {path} with a key: {}", route.method.name(), answer.text());
        }
    });
}

/// Changes by administrators that no audit row tells of, with the reason.
const UNAUDITED: &[(&str, &str)] = &[
    ("/admin/v1/session", "coming and going changes nothing"),
    ("/admin/v1/routing/simulate", "nothing is sent and nothing is changed"),
];

#[test]
fn every_change_by_an_administrator_is_audited() {
    let by_admin = |route: &&Route| matches!(route.access, Access::Admin | Access::AgentOrAdmin);
    for route in routes().filter(by_admin).filter(|route| route.method != Method::Get) {
        let is_exempt = UNAUDITED.iter().any(|(path, _)| *path == route.path);
        let (method, path) = (route.method.name(), route.path);
        assert!(route.audit.is_some() != is_exempt, "{method} {path} needs `audit = \"…\"`, or a reason here");
    }
    for route in routes().filter(|route| route.audit.is_some()) {
        let may_be_admin = matches!(route.access, Access::Admin | Access::AgentOrAdmin);
        assert!(may_be_admin && route.method != Method::Get, "{} changes nothing", route.path);
    }
}

#[test]
fn every_text_begins_with_a_summary() {
    for route in routes() {
        let summary = route.doc.lines().next().unwrap().trim();
        assert!(summary.ends_with('.') && summary.len() < 80, "{}: {summary}", route.path);
    }
}
