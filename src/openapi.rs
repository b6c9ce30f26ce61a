//! The `OpenAPI` 3.1 document, written from the lists of routes. Native only: the committed `openapi.json` is what is served.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::app::Cx;
use crate::error::ApiError;
use crate::http::dialect::Dialect;
use crate::http::input::{ContentType, Form, IfNoneMatch, Json, Path, Query, Raw, RawForm, RawJson, UserAgent};
use crate::http::output::{Created, EventStream, Film, Lines, NoStore, Output, PlainText, Reply, Shaped, Sound};
use crate::http::route::{Access, Method, Route};

/// The usual type of a body.
const JSON: &str = "application/json";
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
    /// The status of a success.
    status: &'static str,
}

/// What a handler takes.
struct Body {
    schema: Value,
    media: &'static str,
    /// An empty one counts as `{}`.
    is_required: bool,
}

impl Operation {
    fn take<T: JsonSchema>(&mut self, media: &'static str) {
        let root = self.reads.root_schema_for::<T>().to_value();
        let is_required = root["required"].as_array().is_some_and(|fields| !fields.is_empty());
        self.body = Some(Body { schema: self.reads.subschema_for::<T>().to_value(), media, is_required });
    }

    fn give(&mut self, media: &str, schema: Value) {
        self.replies.insert(media.to_owned(), json!({ "schema": schema }));
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
        operation.parameters.push(json!({
            "name": "If-None-Match",
            "in": "header",
            "required": false,
            "description": "The `etag` of an answer that is known already: 304 if it still holds.",
            "schema": { "type": "string" },
        }));
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

impl<T: JsonSchema> Describe for Json<T> {
    fn describe(operation: &mut Operation) {
        operation.take::<T>(JSON);
    }
}

impl<T: JsonSchema> Describe for RawJson<T> {
    fn describe(operation: &mut Operation) {
        operation.take::<T>(JSON);
    }
}

impl<T: JsonSchema> Describe for RawForm<T> {
    fn describe(operation: &mut Operation) {
        operation.take::<T>("multipart/form-data");
    }
}

impl<T: JsonSchema> Describe for Form<T> {
    fn describe(operation: &mut Operation) {
        operation.take::<T>("application/x-www-form-urlencoded");
    }
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

/// What is no JSON, and the types that it has.
macro_rules! describe_media {
    ($($name:ident: $($media:literal),+;)+) => {$(
        impl Describe for $name {
            fn describe(operation: &mut Operation) {
                for media in [$($media),+] {
                    operation.give(media, json!({ "type": "string" }));
                }
            }
        }
    )+};
}

describe_media! {
    EventStream: "text/event-stream";
    Lines: "application/x-ndjson", "text/csv";
    PlainText: "text/plain", "text/vtt";
    Sound: "audio/*", "application/octet-stream";
    Film: "video/*", "application/octet-stream";
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
        status: OK,
    };
    for route in &routes {
        (operation.parameters, operation.body, operation.replies) = (Vec::new(), None, Map::new());
        operation.status = OK;
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
    if route.method == Method::Post && route.is_kept {
        parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "required": false,
            "description": "A retry with the same key and body gets the first answer, and nothing runs twice.",
            "schema": { "type": "string", "maxLength": 255 },
        }));
    }
    let mut success = json!({ "description": "Success." });
    if !operation.replies.is_empty() {
        success["content"] = operation.replies.clone().into();
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
        "security": match route.access {
            Access::Public | Access::Signed => json!([]),
            Access::Visitor => json!([{}, { "session": [] }]),
            Access::Key(_) | Access::Agent | Access::AgentPayouts => json!([{ "api_key": [] }]),
            Access::Account(_) | Access::Owner | Access::Keeper => json!([{ "api_key": [] }, { "session": [] }]),
            Access::Session => json!([{ "session": [] }]),
            Access::AgentOrAdmin => json!([{ "api_key": [] }, { "admin_token": [] }]),
            Access::Admin => json!([{ "admin_token": [] }]),
        },
    });
    if let (Some(body), Some(fields)) = (&operation.body, written.as_object_mut()) {
        let Body { schema, media, is_required } = body;
        let content = json!({ "required": is_required, "content": { *media: { "schema": schema } } });
        fields.insert("requestBody".to_owned(), content);
    }
    written
}

/// What an error looks like in a dialect, under its name.
fn error_of(dialect: Dialect) -> (String, Value) {
    let text = || json!({ "type": "string" });
    let object = |properties: Value, required: &[&str]| json!({ "type": "object", "properties": properties, "required": required });
    let of_toolrouter = || {
        let error = json!({ "code": text(), "type": text(), "message": text(), "resolution_hint": text() });
        object(
            json!({ "error": object(error, &["code", "message"]), "message": text(), "request_id": text() }),
            &["error"],
        )
    };
    let of_tokaroo = || object(json!({ "error": text(), "message": text(), "param": text() }), &["error"]);
    let (name, schema) = match dialect {
        Dialect::Tokaroo => ("TokarooError", of_tokaroo()),
        Dialect::ToolRouter => ("ToolRouterError", of_toolrouter()),
        Dialect::Shared => ("SharedError", json!({ "anyOf": [of_tokaroo(), of_toolrouter()] })),
        Dialect::Toku => ("TokuError", object(json!({ "error": text() }), &["error"])),
        Dialect::TokenHub => ("TokenHubError", object(json!({ "error": text() }), &["error"])),
        Dialect::FastApi => ("FastApiError", object(json!({ "detail": {} }), &["detail"])),
        Dialect::OpenAi => {
            let nullable = || json!({ "type": ["string", "null"] });
            let error = json!({ "message": text(), "type": text(), "param": nullable(), "code": nullable() });
            (
                "OpenAiError",
                object(json!({ "error": object(error, &["message", "type", "param", "code"]) }), &["error"]),
            )
        }
        Dialect::Anthropic => {
            let error = object(json!({ "type": text(), "message": text() }), &["type", "message"]);
            let properties = json!({ "type": { "const": "error" }, "error": error, "request_id": text() });
            ("AnthropicError", object(properties, &["type", "error", "request_id"]))
        }
    };
    (name.to_owned(), schema)
}

/// The handler's name, and its path where two routes share a handler.
fn operation_id(route: &Route, routes: &[&Route]) -> String {
    let shared = routes.iter().filter(|other| other.operation == route.operation).count() > 1;
    let path = route.path.replace(['/', '{', '}', '*', '.', '-'], "_");
    if shared { format!("{}_at{path}", route.operation) } else { route.operation.to_owned() }
}
