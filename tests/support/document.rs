//! `openapi.json` against what is really answered: every answer of every scenario is held against it.

use std::cell::OnceCell;

use serde_json::{Map, Value};

use super::Answer;

const DOCUMENT: &str = include_str!("../../openapi.json");

thread_local! {
    static PARSED: OnceCell<Value> = const { OnceCell::new() };
}

/// Fails when an answer is not what the document says of its operation: its status, its type, its JSON.
pub fn check(method: &str, path: &str, answer: &Answer) {
    if answer.body.is_empty() || !(200..600).contains(&answer.status) || (300..400).contains(&answer.status) {
        return;
    }
    PARSED.with(|parsed| {
        let document = parsed.get_or_init(|| serde_json::from_str(DOCUMENT).unwrap());
        let Some(operation) = find_operation(document, method, path) else { return };
        let responses = operation["responses"].as_object().unwrap();
        let told = responses.get(&answer.status.to_string());
        let outcome = match told.or_else(|| responses.get("default").filter(|_| answer.status >= 400)) {
            None => Err("no such status".to_owned()),
            Some(response) => fit_content(document, &response["content"], answer),
        };
        // A page says in HTML what is wrong with it.
        let is_page =
            media_of(answer) == "text/html" && responses.get("200").is_some_and(|page| page["content"].is_null());
        if let (Err(error), false) = (outcome, is_page) {
            panic!("{method} {path} ({}): openapi.json says otherwise: {error}\n{}", answer.status, answer.text());
        }
    });
}

/// The operation of a path; of several that fit, the one with the most of it written out.
fn find_operation<'d>(document: &'d Value, method: &str, path: &str) -> Option<&'d Value> {
    let method = if method == "HEAD" { "get".to_owned() } else { method.to_lowercase() };
    let asked: Vec<_> = path.split('/').collect();
    let fits = |known: &str| {
        let known: Vec<_> = known.split('/').collect();
        let is_alike = known.len() == asked.len()
            && known.iter().zip(&asked).all(|(known, asked)| known == asked || known.starts_with('{'));
        is_alike.then(|| known.iter().filter(|part| !part.starts_with('{')).count())
    };
    let paths = document["paths"].as_object()?;
    let (_, operations) =
        paths.iter().filter_map(|(known, path)| Some((fits(known)?, path))).max_by_key(|(n, _)| *n)?;
    operations.get(&method)
}

fn media_of(answer: &Answer) -> &str {
    answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default()
}

fn fit_content(document: &Value, content: &Value, answer: &Answer) -> Result<(), String> {
    if content.is_null() {
        return Ok(());
    }
    let media = media_of(answer);
    let range = format!("{}/*", media.split('/').next().unwrap_or_default());
    let told =
        content.get(media).or_else(|| content.get(&range)).ok_or_else(|| format!("{media} is none of {content}"))?;
    let body = match media {
        "application/json" => serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?,
        _ => answer.text().into(),
    };
    fit(document, &told["schema"], &body, "it")
}

fn fit(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Some(schema) = schema.as_object() else { return Ok(()) };
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = document.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference}"));
        fit(document, target, value, at)?;
    }
    for any in ["anyOf", "oneOf"] {
        let Some(options) = schema.get(any).and_then(Value::as_array) else { continue };
        let errors: Vec<_> = options.iter().filter_map(|option| fit(document, option, value, at).err()).collect();
        if errors.len() == options.len() {
            return Err(errors.join("; or "));
        }
    }
    if let Some(kind) = schema.get("type") {
        let kinds = kind.as_array().map_or_else(|| vec![kind], |kinds| kinds.iter().collect());
        if !kinds.iter().any(|kind| is_of_type(kind.as_str().unwrap(), value)) {
            return Err(format!("{at} is no {kind}: {value}"));
        }
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return Err(format!("{at} is not {}: {value}", schema["const"]));
    }
    if schema.get("enum").and_then(Value::as_array).is_some_and(|values| !values.contains(value)) {
        return Err(format!("{at} is none of {}: {value}", schema["enum"]));
    }
    if let Some(object) = value.as_object() {
        fit_members(document, schema, object, at)?;
    }
    if let (Some(items), Some(array)) = (schema.get("items"), value.as_array()) {
        for (index, item) in array.iter().enumerate() {
            fit(document, items, item, &format!("{at}[{index}]"))?;
        }
    }
    Ok(())
}

fn fit_members(
    document: &Value,
    schema: &Map<String, Value>,
    object: &Map<String, Value>,
    at: &str,
) -> Result<(), String> {
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if !object.contains_key(name.as_str().unwrap()) {
            return Err(format!("{at} has no {name}"));
        }
    }
    let known = schema.get("properties").and_then(Value::as_object);
    for (name, value) in object {
        let of_its_own = known.and_then(|known| known.get(name));
        if let Some(schema) = of_its_own.or_else(|| schema.get("additionalProperties")) {
            fit(document, schema, value, &format!("{at}.{name}"))?;
        }
    }
    Ok(())
}

fn is_of_type(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("type {other}"),
    }
}
