//! A simple value that fits a JSON schema: enough for tool arguments and structured answers.

use serde_json::{Map, Value, json};

/// How deep a schema is followed; also ends schemas that refer to themselves.
const MAX_DEPTH: u32 = 16;
/// Most values in an example: schemas that refer to themselves twice must not grow without bound.
const MAX_VALUES: u32 = 1_000;
/// Most items and characters that a schema can make the sandbox write at one place.
const MAX_LENGTH: u64 = 64;
/// What a string says when its schema leaves the choice.
const TEXT: &str = "sandbox";

/// An example of the schema.
pub(super) fn example(schema: &Value) -> Value {
    Builder { root: schema, values_left: MAX_VALUES }.build(schema, 0)
}

/// An example of the schema that is an object, as the arguments of a tool have to be.
pub(super) fn example_object(schema: &Value) -> Value {
    match example(schema) {
        Value::Object(members) => Value::Object(members),
        _ => json!({}),
    }
}

struct Builder<'s> {
    /// Where `$ref` points into.
    root: &'s Value,
    values_left: u32,
}

impl Builder<'_> {
    fn build(&mut self, schema: &Value, depth: u32) -> Value {
        if depth > MAX_DEPTH || self.values_left == 0 {
            return Value::Null;
        }
        self.values_left -= 1;
        if let Some(path) = schema.get("$ref").and_then(Value::as_str) {
            let target = path.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            return target.map_or(Value::Null, |target| self.build(target, depth + 1));
        }
        if let Some(value) = schema.get("const").or_else(|| schema.get("default")) {
            return value.clone();
        }
        if let Some(value) = schema.get("enum").and_then(|values| values.get(0)) {
            return value.clone();
        }
        match type_of(schema) {
            Some("object") => self.build_object(schema, depth),
            Some("array") => self.build_array(schema, depth),
            Some("string") => Value::String(build_text(schema)),
            Some("integer" | "number") => build_number(schema),
            Some("boolean") => Value::Bool(true),
            Some(_) => Value::Null,
            None => {
                let branch = ["anyOf", "oneOf", "allOf"].into_iter().find_map(|key| schema.get(key)?.get(0));
                branch.map_or_else(|| Value::String(TEXT.to_owned()), |branch| self.build(branch, depth + 1))
            }
        }
    }

    /// The required members only.
    fn build_object(&mut self, schema: &Value, depth: u32) -> Value {
        let mut members = Map::new();
        let required = schema.get("required").and_then(Value::as_array);
        for key in required.into_iter().flatten().filter_map(Value::as_str) {
            let member = schema.get("properties").and_then(|properties| properties.get(key)).unwrap_or(&Value::Null);
            members.insert(key.to_owned(), self.build(member, depth + 1));
        }
        Value::Object(members)
    }

    fn build_array(&mut self, schema: &Value, depth: u32) -> Value {
        let count = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1).min(MAX_LENGTH);
        let items = schema.get("items").unwrap_or(&Value::Null);
        (0..count).map(|_| self.build(items, depth + 1)).collect()
    }
}

/// The schema's type; of several the first that is not `null`.
fn type_of(schema: &Value) -> Option<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => Some(name),
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).find(|name| *name != "null").or(Some("null"))
        }
        _ if schema.get("properties").is_some() => Some("object"),
        _ => None,
    }
}

fn build_text(schema: &Value) -> String {
    let text = match schema.get("format").and_then(Value::as_str) {
        Some("date-time") => "2025-01-01T00:00:00Z",
        Some("date") => "2025-01-01",
        Some("time") => "00:00:00Z",
        Some("email") => "sandbox@example.com",
        Some("uri" | "url") => "https://example.com",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        Some("ipv4") => "192.0.2.1",
        _ => TEXT,
    };
    let bound = |key: &str| schema.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let min = bound("minLength").unwrap_or(0).min(usize::try_from(MAX_LENGTH).unwrap_or(usize::MAX));
    let max = bound("maxLength").unwrap_or(usize::MAX);
    text.chars().chain(std::iter::repeat('x')).take(text.len().max(min).min(max)).collect()
}

/// The least number allowed that is at least 1, or the largest allowed below that.
fn build_number(schema: &Value) -> Value {
    let bound = |key: &str| schema.get(key).filter(|value| value.is_number());
    if let Some(minimum) = bound("minimum") {
        return minimum.clone();
    }
    if let Some(minimum) = bound("exclusiveMinimum").and_then(Value::as_i64) {
        return json!(minimum.saturating_add(1));
    }
    match bound("maximum") {
        Some(maximum) if maximum.as_f64().is_some_and(|maximum| maximum < 1.0) => maximum.clone(),
        _ => json!(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_fit() {
        let cases = [
            (
                json!({"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"},"x":{}},"required":["city","days"]}),
                json!({"city":"sandbox","days":1}),
            ),
            (json!({"properties":{"unit":{"enum":["c","f"]}},"required":["unit"]}), json!({"unit":"c"})),
            (json!({"type":["null","string"]}), json!("sandbox")),
            (json!({"type":"null"}), json!(null)),
            (json!({"const":7}), json!(7)),
            (json!({"type":"string","default":"d"}), json!("d")),
            (json!({"type":"string","minLength":10}), json!("sandboxxxx")),
            (json!({"type":"string","maxLength":3}), json!("san")),
            (json!({"type":"string","format":"date"}), json!("2025-01-01")),
            (json!({"type":"number","minimum":2.5}), json!(2.5)),
            (json!({"type":"integer","exclusiveMinimum":4}), json!(5)),
            (json!({"type":"integer","maximum":-3}), json!(-3)),
            (json!({"type":"boolean"}), json!(true)),
            (json!({"type":"array","items":{"type":"integer"},"minItems":2}), json!([1, 1])),
            (json!({"anyOf":[{"type":"integer"},{"type":"null"}]}), json!(1)),
            (
                json!({"type":"object","required":["a"],"properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"type":"boolean"}}}),
                json!({"a":true}),
            ),
            (json!({"type":"object","required":["undeclared"]}), json!({"undeclared":"sandbox"})),
            (json!({}), json!("sandbox")),
            (json!({"$ref":"https://elsewhere"}), json!(null)),
        ];
        for (schema, expected) in cases {
            assert_eq!(example(&schema), expected, "{schema}");
        }
        assert_eq!(example_object(&json!(null)), json!({}));
    }

    #[test]
    fn schemas_that_refer_to_themselves_end() {
        let schema = json!({"type":"object","required":["next"],"properties":{"next":{"$ref":"#"}}});
        assert!(example(&schema).to_string().len() < 1_000);
        let nested =
            json!({"$ref":"#/$defs/A","$defs":{"A":{"type":"array","minItems":64,"items":{"$ref":"#/$defs/A"}}}});
        assert!(example(&nested).to_string().len() < 1_000_000);
    }
}
