//! Bodies that fit a route, made of its schema.

use guildhall::api::ALL;
use guildhall::http::route::Route;
use guildhall::openapi::write_document;
use serde_json::{Map, Value, json};

/// References followed within one another.
const DEPTH_MAX: u32 = 6;

/// The document of all routes.
pub fn document() -> Value {
    serde_json::from_str(&write_document(ALL)).unwrap()
}

/// What the document says of a route.
pub fn operation<'d>(document: &'d Value, route: &Route) -> &'d Value {
    &document["paths"][route.path.replace("{*", "{")][route.method.name().to_lowercase()]
}

/// Nothing, what is required, and everything.
pub fn bodies(document: &Value, route: &Route) -> Vec<Value> {
    let content = &operation(document, route)["requestBody"]["content"];
    let schema = content.as_object().and_then(|types| types.values().next()).map(|body| &body["schema"]);
    let mut bodies = vec![json!({})];
    if let Some(schema) = schema {
        bodies.push(sample(document, schema, "", true, 0));
        bodies.push(sample(document, schema, "", false, 0));
    }
    bodies
}

fn sample(document: &Value, schema: &Value, name: &str, is_sparse: bool, depth: u32) -> Value {
    if depth > DEPTH_MAX {
        return Value::Null;
    }
    if let Some(pointer) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        return sample(document, document.pointer(pointer).unwrap(), name, is_sparse, depth + 1);
    }
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        if let Some(first) = schema[choice].as_array().and_then(|choices| choices.first()) {
            return sample(document, first, name, is_sparse, depth + 1);
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find_map(Value::as_str).unwrap_or("string"),
        kind => kind.as_str().unwrap_or("string"),
    };
    match kind {
        "object" => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let wanted = |(name, _): &(&String, &Value)| !is_sparse || required.contains(&json!(name));
            let properties = schema["properties"].as_object().into_iter().flatten().filter(wanted);
            let fill = |(name, property): (&String, &Value)| {
                (name.clone(), sample(document, property, name, is_sparse, depth + 1))
            };
            Value::Object(properties.map(fill).collect::<Map<_, _>>())
        }
        "array" => json!([sample(document, &schema["items"], name, is_sparse, depth + 1)]),
        "integer" | "number" => json!(1),
        "boolean" => json!(false),
        _ if name.contains("url") => json!("https://example.com/"),
        _ if name.contains("email") => json!("nobody@example.com"),
        _ => json!("sample"),
    }
}
