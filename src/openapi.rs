//! The `OpenAPI` 3.1 document, written from the lists of routes. Native only: the committed `openapi.json` is what is served.

mod errors;

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::app::Cx;
use crate::error::ApiError;
use crate::http::input::{
    ContentType, Form, IfNoneMatch, Json, Path, Query, Raw, RawFields, RawForm, RawJson, UserAgent,
};
use crate::http::output::{
    Captions, Created, EventStream, Film, Lines, NoStore, Output, PlainText, Reply, Shaped, Sound, Table, Under,
};
use crate::http::route::{Access, Method, Route};
use errors::error_of;

/// The usual type of a body.
const JSON: &str = "application/json";
const FORM: &str = "multipart/form-data";
/// The usual status.
const OK: &str = "200";

/// What a handler takes and gives.
pub struct Operation {
    /// Of what is read: members with a default may be left out.
    reads: SchemaGenerator,
    /// Of what is written: members that are always there are required, though they may be null.
    writes: SchemaGenerator,
    parameters: Vec<Value>,
    body: Option<Body>,
    /// The types that a success may have, with their schemas.
    replies: Map<String, Value>,
    /// Headers of a success.
    headers: Map<String, Value>,
    /// The status of a success.
    status: &'static str,
    /// What answers with another status look like.
    others: Map<String, Value>,
    /// A credential that opens it where the deployment asks for one, beside what the route's access says.
    credential: Option<&'static str>,
}

/// What a handler takes.
struct Body {
    schema: Value,
    /// The types that it may have.
    media: &'static [&'static str],
    /// An empty one counts as `{}`.
    is_required: bool,
}

impl Operation {
    fn take<T: JsonSchema>(&mut self, media: &'static [&'static str]) {
        let root = self.reads.root_schema_for::<T>().to_value();
        let is_required = root["required"].as_array().is_some_and(|fields| !fields.is_empty());
        self.body = Some(Body { schema: self.reads.subschema_for::<T>().to_value(), media, is_required });
    }

    fn give(&mut self, media: &str, schema: Value) {
        self.replies.insert(media.to_owned(), json!({ "schema": schema }));
    }

    /// Takes a header.
    pub fn take_header(&mut self, name: &str, description: &str) {
        self.parameters.push(json!({
            "name": name, "in": "header", "required": false, "description": description, "schema": { "type": "string" },
        }));
    }

    /// Gives a header.
    pub fn give_header(&mut self, name: &str, description: &str) {
        let header = json!({ "description": description, "schema": { "type": "string" } });
        self.headers.insert(name.to_owned(), header);
    }

    /// Takes a credential that the pipeline does not know.
    pub const fn add_credential(&mut self, scheme: &'static str) {
        self.credential = Some(scheme);
    }
}

/// What can be described: everything that handlers take and give.
pub trait Describe {
    /// Adds itself.
    fn describe(operation: &mut Operation);
}

/// Describes a handler by its types.
pub fn describe<A, R, F, Fut>(_: &F, operation: &mut Operation)
where
    A: Describe,
    R: Describe,
    F: Fn(Cx, A) -> Fut,
    Fut: Future<Output = Result<R, ApiError>>,
{
    A::describe(operation);
    R::describe(operation);
}

impl Describe for () {
    fn describe(_: &mut Operation) {}
}

// Path parameters are read off the route's path.
impl Describe for Path {
    fn describe(_: &mut Operation) {}
}

impl Describe for ContentType {
    fn describe(_: &mut Operation) {}
}

impl Describe for UserAgent {
    fn describe(_: &mut Operation) {}
}

impl Describe for Raw {
    fn describe(_: &mut Operation) {}
}

impl Describe for Output {
    fn describe(_: &mut Operation) {}
}

impl Describe for IfNoneMatch {
    fn describe(operation: &mut Operation) {
        operation.take_header("If-None-Match", "The `etag` of an answer that is known already: 304 if it still holds.");
    }
}

impl<T: JsonSchema> Describe for Query<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.reads.root_schema_for::<T>().to_value();
        let required: Vec<_> = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let mut property = property.clone();
            let description = property.as_object_mut().and_then(|p| p.shift_remove("description"));
            operation.parameters.push(json!({
                "name": name,
                "in": "query",
                "required": required.contains(&Value::from(name.as_str())),
                "description": description,
                "schema": property,
            }));
        }
    }
}

/// Bodies, and the types that they may have.
macro_rules! describe_bodies {
    ($($name:ident: $($media:expr),+;)+) => {$(
        impl<T: JsonSchema> Describe for $name<T> {
            fn describe(operation: &mut Operation) {
                operation.take::<T>(&[$($media),+]);
            }
        }
    )+};
}

describe_bodies! {
    Json: JSON;
    RawJson: JSON;
    RawForm: FORM;
    RawFields: JSON, FORM;
    Form: "application/x-www-form-urlencoded";
}

impl<T: JsonSchema> Describe for Reply<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.writes.subschema_for::<T>().to_value();
        operation.give(JSON, schema);
    }
}

impl<S: Describe> Describe for Shaped<S> {
    fn describe(operation: &mut Operation) {
        S::describe(operation);
    }
}

/// A text.
fn text() -> Value {
    json!({ "type": "string" })
}

/// Bytes, in the words of `OpenAPI` 3.1 and, for the many generators that know only those, of 3.0.
fn bytes() -> Value {
    json!({ "type": "string", "format": "binary", "contentMediaType": "application/octet-stream" })
}

/// What is no JSON, and the types that it has.
macro_rules! describe_media {
    ($($name:ident: $schema:ident, $($media:literal),+;)+) => {$(
        impl Describe for $name {
            fn describe(operation: &mut Operation) {
                for media in [$($media),+] {
                    operation.give(media, $schema());
                }
            }
        }
    )+};
}

describe_media! {
    EventStream: text, "text/event-stream";
    Lines: text, "application/x-ndjson";
    Table: text, "text/csv";
    PlainText: text, "text/plain";
    Captions: text, "text/vtt";
    Sound: bytes, "audio/*", "application/octet-stream";
    Film: bytes, "video/*", "application/octet-stream";
}

impl<const STATUS: u16, S: Describe> Describe for Under<STATUS, S> {
    fn describe(operation: &mut Operation) {
        let of_success = std::mem::take(&mut operation.replies);
        S::describe(operation);
        let content = std::mem::replace(&mut operation.replies, of_success);
        let description = match STATUS {
            302 => "A redirect: `location` says where to.",
            503 => "It cannot serve now.",
            _ => "Another outcome.",
        };
        operation.others.insert(STATUS.to_string(), write_response(description, content));
    }
}

impl<T: JsonSchema> Describe for Created<T> {
    fn describe(operation: &mut Operation) {
        Reply::<T>::describe(operation);
        operation.status = "201";
    }
}

impl<T: JsonSchema> Describe for NoStore<T> {
    fn describe(operation: &mut Operation) {
        Reply::<T>::describe(operation);
    }
}

impl<A: Describe, B: Describe> Describe for (A, B) {
    fn describe(operation: &mut Operation) {
        A::describe(operation);
        B::describe(operation);
    }
}

/// Writes the document of these routes.
#[must_use]
pub fn write_document(routes: &[&[Route]]) -> String {
    let routes: Vec<&Route> = routes.iter().copied().flatten().collect();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let settings = SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut operation = Operation {
        writes: settings.clone().for_serialize().into_generator(),
        reads: settings.into_generator(),
        parameters: Vec::new(),
        body: None,
        replies: Map::new(),
        headers: Map::new(),
        status: OK,
        others: Map::new(),
        credential: None,
    };
    for route in &routes {
        (operation.parameters, operation.body, operation.replies) = (Vec::new(), None, Map::new());
        (operation.headers, operation.others) = (Map::new(), Map::new());
        (operation.status, operation.credential) = (OK, None);
        (route.describe)(&mut operation);
        let path = route.path.replace("{*", "{");
        let method = route.method.name().to_lowercase();
        paths.entry(path).or_default().insert(method, write_operation(route, &operation, &routes));
    }
    let mut schemas = operation.writes.take_definitions(true);
    for (name, schema) in operation.reads.take_definitions(true) {
        let written = schemas.entry(&name).or_insert_with(|| schema.clone());
        assert_eq!(*written, schema, "{name} is read in one form and written in another: call one of them otherwise");
    }
    schemas.extend(routes.iter().map(|route| error_of(route.dialect)));
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Guildhall",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The edge platform that AI agents live on: one origin, one key, one wallet.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "api_key": { "type": "http", "scheme": "bearer", "description": "An API key, also read from `x-api-key`." },
                "session": { "type": "http", "scheme": "bearer", "description": "The token of a person's session (`sess_…`)." },
                "admin_token": { "type": "http", "scheme": "bearer", "description": "The admin token." },
                "admin_session": { "type": "apiKey", "in": "cookie", "name": "th_admin_session",
                    "description": "A browser's session: the cookie of `POST /admin/v1/session`." },
                "admin_query": { "type": "apiKey", "in": "query", "name": "token",
                    "description": "The admin token, for browsers' `EventSource`, which sends no headers." },
                "metrics_token": { "type": "http", "scheme": "bearer",
                    "description": "`METRICS_TOKEN`, where the deployment has one." },
            },
        },
    });
    // Pretty-printing a value cannot fail.
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

fn write_operation(route: &Route, operation: &Operation, routes: &[&Route]) -> Value {
    let doc: Vec<_> = route.doc.lines().map(str::trim).collect();
    let summary = doc.first().copied().unwrap_or_default().trim_end_matches('.');
    let description = doc.get(1..).unwrap_or_default().join("\n").trim().to_owned();
    let mut parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name.trim_start_matches('*'), "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    parameters.extend(operation.parameters.iter().cloned());
    parameters.extend(idempotency_key(route));
    let mut success = write_response("Success.", operation.replies.clone());
    if !operation.headers.is_empty() {
        success["headers"] = operation.headers.clone().into();
    }
    let mut written = json!({
        "operationId": operation_id(route, routes),
        "tags": [route.tag],
        "summary": summary,
        "description": description,
        "parameters": parameters,
        "responses": {
            operation.status: success,
            "default": {
                "description": "An error in the API's own form; docs/API.md lists them.",
                "content": { JSON: { "schema": { "$ref": format!("#/components/schemas/{}", error_of(route.dialect).0) } } },
            },
        },
        "security": write_security(route, operation.credential),
    });
    if let Some(responses) = written["responses"].as_object_mut() {
        responses.extend(operation.others.clone());
    }
    if let (Some(body), Some(fields)) = (&operation.body, written.as_object_mut()) {
        let Body { schema, media, is_required } = body;
        let content: Map<_, _> = media.iter().map(|media| ((*media).to_owned(), json!({ "schema": schema }))).collect();
        fields.insert("requestBody".to_owned(), json!({ "required": is_required, "content": content }));
    }
    written
}

fn write_response(description: &str, content: Map<String, Value>) -> Value {
    if content.is_empty() {
        json!({ "description": description })
    } else {
        json!({ "description": description, "content": content })
    }
}

/// The header, on routes that know who calls: for nobody nothing is kept.
fn idempotency_key(route: &Route) -> Option<Value> {
    let given_again = "with the same key and body gets the first answer, and nothing runs twice.";
    let description = match route.access {
        Access::Public | Access::Signed => return None,
        Access::Visitor => format!("With a credential, a retry {given_again}"),
        _ => format!("A retry {given_again}"),
    };
    (route.method == Method::Post && route.is_kept).then(|| {
        json!({
            "name": "Idempotency-Key",
            "in": "header",
            "required": false,
            "description": description,
            "schema": { "type": "string", "maxLength": 255 },
        })
    })
}

/// The credentials of which a route wants one; `{}` is none.
fn write_security(route: &Route, of_deployment: Option<&str>) -> Value {
    let schemes: &[&str] = match route.access {
        Access::Public | Access::Signed => &[],
        Access::Visitor => return json!([{}, { "session": [] }]),
        Access::Key(_) | Access::Agent | Access::AgentPayouts => &["api_key"],
        Access::Account(_) | Access::Owner | Access::Keeper => &["api_key", "session"],
        Access::Session => &["session"],
        Access::AgentOrAdmin => &["api_key", "admin_token"],
        Access::Admin if route.method == Method::Get => &["admin_token", "admin_session", "admin_query"],
        Access::Admin => &["admin_token", "admin_session"],
    };
    let ways = schemes.iter().map(|scheme| json!({ *scheme: [] }));
    ways.chain(of_deployment.into_iter().flat_map(|scheme| [json!({}), json!({ scheme: [] })])).collect()
}

/// The handler's name, and its path where two routes share a handler.
fn operation_id(route: &Route, routes: &[&Route]) -> String {
    let shared = routes.iter().filter(|other| other.operation == route.operation).count() > 1;
    let path = route.path.replace(['/', '{', '}', '*', '.', '-'], "_");
    if shared { format!("{}_at{path}", route.operation) } else { route.operation.to_owned() }
}
