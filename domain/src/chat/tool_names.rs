//! Tools that a model knows by other names than the client: renamed in what goes to the model, and back in what comes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::json::{JsonError, Kind, Raw, Reader, push_string};

/// Most names of one map.
const MAX_NAMES: usize = 512;
/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Where a request names tools. `[]` is every item, `[tool]` every message of a tool.
const IN_REQUEST: [&str; 12] = [
    "tools[].function.name",
    "tools[].custom.name",
    "tool_choice.function.name",
    "tool_choice.custom.name",
    "tool_choice.allowed_tools.tools[].function.name",
    "tool_choice.allowed_tools.tools[].custom.name",
    "messages[].tool_calls[].function.name",
    "messages[].tool_calls[].custom.name",
    "messages[].function_call.name",
    "messages[tool].name",
    "functions[].name",
    "function_call.name",
];

/// Where an answer does, whole or in chunks.
const IN_ANSWER: [&str; 6] = [
    "choices[].message.tool_calls[].function.name",
    "choices[].message.tool_calls[].custom.name",
    "choices[].message.function_call.name",
    "choices[].delta.tool_calls[].function.name",
    "choices[].delta.tool_calls[].custom.name",
    "choices[].delta.function_call.name",
];

/// A model's names for tools.
///
/// A name that only the model knows and that a client uses all the same takes the place that was left free, so that two
/// tools of a client never have one name at the model, and every name finds its way back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolNames {
    to_model: BTreeMap<String, String>,
    to_client: BTreeMap<String, String>,
}

impl ToolNames {
    /// From the model's name for each of the client's.
    ///
    /// # Errors
    /// The text for whoever wrote the map: empty or overlong names, too many, two of the client's for one of the model's.
    pub fn new(map: &BTreeMap<String, String>) -> Result<Self, String> {
        if map.len() > MAX_NAMES {
            return Err(format!("tool_name_map must have at most {MAX_NAMES} names"));
        }
        let mut names = Self::default();
        for (client, model) in map {
            for name in [client, model] {
                if name.is_empty() || name.len() > MAX_NAME_BYTES {
                    return Err(format!("names in tool_name_map must have 1 to {MAX_NAME_BYTES} bytes"));
                }
            }
            if let Some(other) = names.to_client.insert(model.clone(), client.clone()) {
                return Err(format!("tool_name_map gives both {other:?} and {client:?} the name {model:?}"));
            }
        }
        names.to_model.clone_from(map);
        // Each chain of names begins with one that the model does not know: its last one takes that.
        for first in map.keys().filter(|name| !names.to_client.contains_key(*name)) {
            let mut last = first;
            // Ends: no name stands in a chain twice, as none has two before it.
            while let Some(next) = map.get(last) {
                last = next;
            }
            names.to_model.insert(last.clone(), first.clone());
        }
        names.to_client = names.to_model.iter().map(|(client, model)| (model.clone(), client.clone())).collect();
        Ok(names)
    }

    /// A chat request as the model gets it.
    #[must_use]
    pub fn to_model<'b>(&self, request: &'b [u8]) -> Cow<'b, [u8]> {
        rename(request, &IN_REQUEST, &self.to_model)
    }

    /// A completion, or a chunk of one, as the client gets it.
    #[must_use]
    pub fn to_client<'b>(&self, answer: &'b [u8]) -> Cow<'b, [u8]> {
        rename(answer, &IN_ANSWER, &self.to_client)
    }
}

/// The same text with other names at these places. What is no JSON stays: whoever reads it next says so.
fn rename<'b>(text: &'b [u8], places: &[&'static str], names: &BTreeMap<String, String>) -> Cow<'b, [u8]> {
    let mut rename = Rename { text, names, out: Vec::new(), copied: 0 };
    if rename.visit(&mut Reader::new(text), places).is_err() || rename.copied == 0 {
        return Cow::Borrowed(text);
    }
    rename.out.extend_from_slice(text.get(rename.copied..).unwrap_or_default());
    Cow::Owned(rename.out)
}

struct Rename<'b, 'n> {
    text: &'b [u8],
    names: &'n BTreeMap<String, String>,
    out: Vec<u8>,
    /// All of the text before this is in `out`; 0 until something is renamed.
    copied: usize,
}

impl<'b> Rename<'b, '_> {
    /// Visits the value that comes next; the places are seen from it. No deeper than they are.
    fn visit(&mut self, reader: &mut Reader<'b>, places: &[&'static str]) -> Result<(), JsonError> {
        if places.contains(&"") {
            let value = reader.read_value()?;
            self.rename(value);
            return Ok(());
        }
        match reader.peek()? {
            Kind::Object if !places.is_empty() => {
                reader.enter_object()?;
                while let Some(member) = reader.next_member()? {
                    let inside: Vec<_> = places.iter().filter_map(|place| step_into(place, &member.key)).collect();
                    self.visit(reader, &inside)?;
                }
            }
            Kind::Array if !places.is_empty() => {
                reader.enter_array()?;
                while reader.next_item()? {
                    let of_tools = places.iter().filter_map(|place| place.strip_prefix("[tool]")).map(after_dot);
                    let of_all = places.iter().filter_map(|place| place.strip_prefix("[]")).map(after_dot);
                    let mut inside: Vec<_> = of_all.collect();
                    if places.iter().any(|place| place.starts_with("[tool]")) && is_of_tool(&mut reader.clone())? {
                        inside.extend(of_tools);
                    }
                    self.visit(reader, &inside)?;
                }
            }
            _ => drop(reader.read_value()?),
        }
        Ok(())
    }

    fn rename(&mut self, value: Raw<'_>) {
        let Some(name) = value.to_text().and_then(|name| self.names.get(name.as_ref())) else { return };
        self.out.extend_from_slice(self.text.get(self.copied..value.start).unwrap_or_default());
        push_string(name, &mut self.out);
        self.copied = value.end();
    }
}

/// The place as it is seen from a member's value.
fn step_into(place: &'static str, key: &[u8]) -> Option<&'static str> {
    let end = place.find(['.', '[']).unwrap_or(place.len());
    let (first, rest) = place.split_at(end);
    (first.as_bytes() == key).then(|| after_dot(rest))
}

fn after_dot(place: &'static str) -> &'static str {
    place.strip_prefix('.').unwrap_or(place)
}

/// Whether the message that comes next has the role of a tool.
fn is_of_tool(reader: &mut Reader<'_>) -> Result<bool, JsonError> {
    let mut is_of_tool = false;
    if reader.enter_object()? {
        while let Some(member) = reader.next_member()? {
            let value = reader.read_value()?;
            if member.key.as_ref() == b"role" {
                is_of_tool = matches!(value.to_text().as_deref(), Some("tool" | "function"));
            }
        }
    }
    Ok(is_of_tool)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn names(map: &[(&str, &str)]) -> Result<ToolNames, String> {
        ToolNames::new(&map.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
    }

    fn to_model(names: &ToolNames, request: &Value) -> Value {
        serde_json::from_slice(&names.to_model(request.to_string().as_bytes())).unwrap()
    }

    #[test]
    fn every_place_of_a_request_is_renamed_and_nothing_else() {
        let request = |name: &str| {
            let function = json!({ "type": "function", "function": { "name": name, "arguments": "{\"name\":\"a\"}" } });
            let custom = json!({ "type": "custom", "custom": { "name": name, "input": "a" } });
            json!({
                "model": "a", "user": "a", "name": "a", "metadata": { "name": "a", "tools": [{ "function": { "name": "a" } }] },
                "tools": [function, custom, { "type": "function", "function": { "name": "other", "parameters": {
                    "properties": { "name": { "enum": ["a"] } } } } }, 5],
                "tool_choice": { "type": "allowed_tools", "function": { "name": name }, "custom": { "name": name },
                    "allowed_tools": { "mode": "auto", "tools": [function, custom] } },
                "functions": [{ "name": name, "description": "a" }],
                "function_call": { "name": name },
                "messages": [
                    { "role": "user", "name": "a", "content": "a" },
                    { "role": "assistant", "name": "a", "tool_calls": [function, custom], "function_call": { "name": name } },
                    { "name": name, "role": "tool", "tool_call_id": "a", "content": [{ "type": "text", "text": "a" }] },
                    { "role": "function", "name": name, "content": "a" },
                ],
            })
        };
        assert_eq!(to_model(&names(&[("a", "b\"c")]).unwrap(), &request("a")), request("b\"c"));
    }

    #[test]
    fn answers_and_chunks_are_renamed_back() {
        let answer = |name: &str, at: &str| {
            json!({ "model": "b", "choices": [{ "index": 0, at: { "content": "b", "function_call": { "name": name },
                "tool_calls": [{ "index": 0, "id": "b", "function": { "name": name, "arguments": "{\"b\":1}" } },
                    { "index": 1, "custom": { "name": name, "input": "b" } }, { "index": 1, "function": { "arguments": "b" } }] } }] })
        };
        let names = names(&[("a", "b")]).unwrap();
        for at in ["message", "delta"] {
            let out: Value = serde_json::from_slice(&names.to_client(answer("b", at).to_string().as_bytes())).unwrap();
            assert_eq!(out, answer("a", at));
        }
    }

    #[test]
    fn bytes_that_do_not_change_are_the_same_bytes() {
        let names = names(&[("a", "b")]).unwrap();
        let same: [&[u8]; 5] =
            [b"", b"[DONE]", b"{\"tools\": [", b"{ \"tools\" : [ {\"function\": {\"name\":\"c\"}} ] }", b"[\"a\"]"];
        for text in same {
            assert!(matches!(names.to_model(text), Cow::Borrowed(out) if out == text));
        }
        let spaced = br#"{ "tools" : [ { "function" : { "n\u0061me" : "\u0061" , "x" : 1.0 } } ] }"#;
        let expected = br#"{ "tools" : [ { "function" : { "n\u0061me" : "b" , "x" : 1.0 } } ] }"#;
        assert_eq!(names.to_model(spaced).as_ref(), expected);
    }

    #[test]
    fn every_name_finds_its_way_back() {
        // `b` and `d` are the model's: a client that has tools of these names keeps them apart all the same.
        let names = names(&[("a", "b"), ("c", "d"), ("d", "e"), ("x", "y"), ("y", "x"), ("z", "z")]).unwrap();
        let mut seen = Vec::new();
        for name in ["a", "b", "c", "d", "e", "x", "y", "z", "other"] {
            let request = json!({ "tools": [{ "function": { "name": name } }] });
            let called = to_model(&names, &request)["tools"][0]["function"]["name"].clone();
            let answer = json!({ "choices": [{ "message": { "function_call": { "name": called } } }] }).to_string();
            let answer: Value = serde_json::from_slice(&names.to_client(answer.as_bytes())).unwrap();
            assert_eq!(answer["choices"][0]["message"]["function_call"]["name"], name);
            seen.push(called.as_str().unwrap().to_owned());
        }
        assert_eq!(seen, ["b", "a", "d", "e", "c", "y", "x", "z", "other"]);
    }

    #[test]
    fn maps_that_cannot_be_turned_round_are_refused() {
        let refuse = |map: &[(&str, &str)]| names(map).unwrap_err();
        assert_eq!(refuse(&[("a", "x"), ("b", "x")]), r#"tool_name_map gives both "a" and "b" the name "x""#);
        let long = "n".repeat(257);
        for map in [[("", "x")], [("a", "")], [(long.as_str(), "x")], [("a", long.as_str())]] {
            assert_eq!(refuse(&map), "names in tool_name_map must have 1 to 256 bytes");
        }
        let many: Vec<String> = (0..513).map(|n| n.to_string()).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), name.as_str())).collect();
        assert_eq!(refuse(&many), "tool_name_map must have at most 512 names");
        assert!(names(&many[1..]).is_ok());
    }
}
