//! Nobody sees, changes, or even notices what is another's.
//!
//! Generated from `api::ALL`: every route of a tenant that takes an id, in its path or its query, is called with another
//! tenant's ids and with ids that nobody has. The answers must be the same, to the byte and to the number of questions that
//! are asked of the database and the objects: neither text nor time tells which of the two it was.

mod lists;
mod sample;
mod tenants;

use guildhall::http::route::{Access, Method, Route};
use serde_json::Value;

use crate::support::{Answer, TestApp, run};
use lists::{BODIES, Fate, QUERY_IDS, fate_of};
use tenants::{Tenant, Thing};

/// A route and the place of an id in it.
struct Target {
    route: &'static Route,
    param: String,
    is_in_path: bool,
}

/// Every place where a tenant's route takes an id.
fn targets(document: &Value) -> Vec<Target> {
    let mut found = Vec::new();
    let is_tenants = |route: &&Route| !matches!(route.access, Access::Public | Access::Admin);
    for route in guildhall::api::ALL.iter().copied().flatten().filter(is_tenants) {
        for part in route.path.split('/').filter_map(|part| part.strip_prefix('{')) {
            let param = part.trim_start_matches('*').trim_end_matches('}').to_owned();
            found.push(Target { route, param, is_in_path: true });
        }
        let operation = sample::operation(document, route);
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            if parameter["in"] == "query" && (name == "id" || name.ends_with("_id")) {
                found.push(Target { route, param: name.to_owned(), is_in_path: false });
            }
        }
    }
    found
}

impl Target {
    fn label(&self) -> String {
        format!("{} {} ({})", self.route.method.name(), self.route.path, self.param)
    }

    fn fate(&self) -> Option<Fate> {
        if self.is_in_path {
            return fate_of(self.route.path);
        }
        QUERY_IDS.iter().find(|(name, _)| *name == self.param).map(|(_, kind)| Fate::Names(kind))
    }

    /// The path with this id; other parameters of the path name nothing.
    fn path(&self, id: &str) -> String {
        let parts = self.route.path.split('/').map(|part| match part.strip_prefix('{') {
            None => part,
            Some(name) if self.is_in_path && name.trim_start_matches('*').trim_end_matches('}') == self.param => id,
            Some(_) => "none",
        });
        let path = parts.collect::<Vec<_>>().join("/");
        if self.is_in_path { path } else { format!("{path}?{}={id}", self.param) }
    }

    async fn call(&self, app: &TestApp, token: &str, id: &str, body: &Value) -> Told {
        let before = (app.faults.db_calls.get(), app.faults.object_calls.get());
        let call = app.call(self.route.method.name(), &self.path(id)).bearer(token);
        let call = if self.route.method == Method::Get { call } else { call.json(body) };
        let answer = call.send().await;
        let after = (app.faults.db_calls.get(), app.faults.object_calls.get());
        Told::new(&answer, id, (after.0 - before.0, after.1 - before.1))
    }

    /// A body that gets past the first look, if one is known.
    async fn find_body(&self, app: &TestApp, document: &Value, token: &str, id: &str) -> Value {
        let listed = BODIES.iter().find(|(path, _)| *path == self.route.path);
        let listed = listed.map(|(_, body)| serde_json::from_str(body).unwrap());
        let candidates = listed.into_iter().chain(sample::bodies(document, self.route));
        let mut last = Value::Null;
        for body in candidates {
            let status = self.call(app, token, id, &body).await.status;
            last = body;
            if status != 400 && status != 422 {
                break;
            }
        }
        last
    }
}

/// What a caller learns from an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    status: u16,
    body: String,
    /// Questions to the database and to objects.
    questions: (usize, usize),
}

impl Told {
    fn new(answer: &Answer, id: &str, questions: (usize, usize)) -> Self {
        let body = answer.text().replace(id, "<id>").replace(answer.header("x-request-id").unwrap(), "<request>");
        Self { status: answer.status, body, questions }
    }

    /// The same answer, with what it costs at the least: a credential that is looked up again in between costs more.
    fn least(self, other: &Self) -> Self {
        let (db, objects) = other.questions;
        Self { questions: (self.questions.0.min(db), self.questions.1.min(objects)), ..self }
    }
}

/// An id of the same form that nobody has.
fn unknown(id: &str) -> String {
    let changed = |letter: char| match letter {
        '0'..='8' | 'a'..='e' => char::from_u32(u32::from(letter) + 1).unwrap(),
        '9' => '0',
        'f' => 'a',
        other => other,
    };
    let at = id.rfind('_').map_or(0, |at| at + 1);
    let (prefix, rest) = id.split_at(at);
    format!("{prefix}{}", rest.chars().map(changed).collect::<String>())
}

#[test]
fn every_id_that_a_route_takes_is_known_or_excused() {
    let document = sample::document();
    for target in targets(&document) {
        let text = "say in tests/tenancy/lists.rs what it names, or why it is nobody's";
        assert!(target.fate().is_some(), "{}: {text}", target.label());
    }
    lists::assert_current(&targets(&document).iter().map(|target| target.route.path).collect::<Vec<_>>());
}

#[test]
fn anothers_ids_are_nobodys_ids() {
    run(async |app| {
        let document = sample::document();
        let (ada, eve) = tenants::open(&app).await;
        for target in targets(&document) {
            if matches!(target.fate(), Some(Fate::Nobodys)) {
                continue;
            }
            for token in eve.tokens() {
                for thing in &ada.things {
                    check(&app, &document, &target, token, thing).await;
                }
            }
        }
        assert_unharmed(&app, &document, &ada).await;
    });
}

/// Stays within the limits of a session.
async fn rest(token: &str) {
    if token.starts_with("sess_") {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    }
}

async fn check(app: &TestApp, document: &Value, target: &Target, token: &str, thing: &Thing) {
    let what = format!("{} with another's {} {}", target.label(), thing.kind, thing.id);
    let nobodys = unknown(&thing.id);
    assert_ne!(nobodys, thing.id);
    rest(token).await;
    let body = target.find_body(app, document, token, &nobodys).await;
    let mut least: Option<(Told, Told)> = None;
    for _ in 0..3 {
        let anothers = target.call(app, token, &thing.id, &body).await;
        let unknown = target.call(app, token, &nobodys, &body).await;
        least = Some(match least {
            None => (anothers, unknown),
            Some((one, other)) => (anothers.least(&one), unknown.least(&other)),
        });
    }
    let (anothers, unknown) = least.unwrap();
    assert_eq!(anothers, unknown, "{what}: as for an id that nobody has");
    let is_its_kind = matches!(target.fate(), Some(Fate::Names(kind)) if kind == thing.kind);
    let is_refused = matches!(anothers.status, 403 | 404);
    assert!(is_refused || (!is_its_kind && anothers.status == 400), "{what}: {anothers:?}");
    if anothers.status == 400 {
        assert!(!anothers.body.contains("required"), "{what}: give it a body in tests/tenancy/lists.rs: {anothers:?}");
    }
}

/// What was tried has changed nothing, and the owner does get there: the scenario is not about routes that refuse everybody.
async fn assert_unharmed(app: &TestApp, document: &Value, ada: &Tenant) {
    for target in targets(document).iter().filter(|target| target.route.method == Method::Get) {
        let Some(Fate::Names(kind)) = target.fate() else { continue };
        for thing in ada.things.iter().filter(|thing| thing.kind == kind && thing.is_live) {
            let mut statuses = Vec::new();
            for token in ada.tokens() {
                rest(token).await;
                statuses.push(target.call(app, token, &thing.id, &Value::Null).await.status);
            }
            let is_reached = statuses.iter().any(|status| matches!(status, 200..=399));
            assert!(is_reached, "{}: its owner gets {statuses:?} for {}", target.label(), thing.id);
        }
    }
}
