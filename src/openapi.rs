//! The `OpenAPI` 3.1 document, written from the lists of routes. Native only: the committed `openapi.json` is what is served.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::app::Cx;
use crate::error::ApiError;
use crate::http::input::{ContentType, Form, IfNoneMatch, Json, Path, Query, Raw, RawForm, RawJson, UserAgent};
use crate::http::output::{Created, NoStore, Output, RawReply, Reply};
use crate::http::route::{Access, Method, Route};

/// The usual type of a body.
const JSON: &str = "application/json";
/// The usual status.
const OK: &str = "200";

/// What a handler takes and gives.
pub struct Operation {
    generator: SchemaGenerator,
    parameters: Vec<Value>,
    body: Option<Value>,
    body_type: &'static str,
    reply: Option<Value>,
    /// The status of a success.
    status: &'static str,
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
        let schema = operation.generator.root_schema_for::<T>().to_value();
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
        operation.body = Some(operation.generator.subschema_for::<T>().to_value());
    }
}

impl<T: JsonSchema> Describe for RawJson<T> {
    fn describe(operation: &mut Operation) {
        operation.body = Some(operation.generator.subschema_for::<T>().to_value());
    }
}

impl<T: JsonSchema> Describe for RawForm<T> {
    fn describe(operation: &mut Operation) {
        operation.body = Some(operation.generator.subschema_for::<T>().to_value());
        operation.body_type = "multipart/form-data";
    }
}

impl<T: JsonSchema> Describe for Form<T> {
    fn describe(operation: &mut Operation) {
        operation.body = Some(operation.generator.subschema_for::<T>().to_value());
        operation.body_type = "application/x-www-form-urlencoded";
    }
}

impl<T: JsonSchema> Describe for Reply<T> {
    fn describe(operation: &mut Operation) {
        operation.reply = Some(operation.generator.subschema_for::<T>().to_value());
    }
}

impl<T: JsonSchema> Describe for RawReply<T> {
    fn describe(operation: &mut Operation) {
        Reply::<T>::describe(operation);
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
    let mut operation = Operation {
        generator: SchemaSettings::draft2020_12()
            .with(|s| s.definitions_path = "/components/schemas".into())
            .into_generator(),
        parameters: Vec::new(),
        body: None,
        body_type: JSON,
        reply: None,
        status: OK,
    };
    for route in &routes {
        (operation.parameters, operation.body, operation.reply) = (Vec::new(), None, None);
        (operation.body_type, operation.status) = (JSON, OK);
        (route.describe)(&mut operation);
        let path = route.path.replace("{*", "{");
        let method = route.method.name().to_lowercase();
        paths.entry(path).or_default().insert(method, write_operation(route, &operation, &routes));
    }
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
            "schemas": operation.generator.take_definitions(true),
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
    let mut written = json!({
        "operationId": operation_id(route, routes),
        "tags": [route.tag],
        "summary": summary,
        "description": description,
        "parameters": parameters,
        "responses": {
            operation.status: operation.reply.as_ref().map_or_else(
                || json!({ "description": "Success." }),
                |schema| json!({ "description": "Success.", "content": { "application/json": { "schema": schema } } }),
            ),
            "default": { "description": "An error in the API's own form; docs/API.md lists them." },
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
    if let (Some(schema), Some(fields)) = (&operation.body, written.as_object_mut()) {
        let content = Map::from_iter([(operation.body_type.to_owned(), json!({ "schema": schema }))]);
        let body = json!({ "required": true, "content": content });
        fields.insert("requestBody".to_owned(), body);
    }
    written
}

/// The handler's name, and its path where two routes share a handler.
fn operation_id(route: &Route, routes: &[&Route]) -> String {
    let shared = routes.iter().filter(|other| other.operation == route.operation).count() > 1;
    let path = route.path.replace(['/', '{', '}', '*', '.', '-'], "_");
    if shared { format!("{}_at{path}", route.operation) } else { route.operation.to_owned() }
}
