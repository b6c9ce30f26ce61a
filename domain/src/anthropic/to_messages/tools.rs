//! Tools and the choice among them.

use super::params::{JsonAnswer, has_tools};
use crate::anthropic::fields::{Fields, Value};
use crate::anthropic::writer::Writer;
use crate::anthropic::{JSON_ANSWER_TOOL, TranslateError};
use crate::json::{Kind, Reader};

/// A schema for any input.
const ANY_INPUT: &[u8] = b"{\"type\":\"object\",\"properties\":{}}";

/// Writes the `tools` member.
///
/// Tools that were called before but are not offered any more are declared too, for a conversation
/// that has calls and no tools is refused; the choice then is `none`.
pub(super) fn write_tools(
    request: &Fields<'_, '_>,
    called: &[Vec<u8>],
    answer: &JsonAnswer<'_>,
    w: &mut Writer<'_>,
) -> Result<(), TranslateError> {
    let mut tools = Vec::new();
    let mut inner = Writer::new(&mut tools);
    if let Some(value) = request.get("tools") {
        for tool in value.items()? {
            let tool = tool?.object()?;
            if tool.need("type")?.text()? != "function" {
                return Err(tool.unsupported("type", "must be function for this model"));
            }
            let extras = Extras { strict: tool.get("strict"), cache: tool.raw_object("cache_control") };
            write_function(tool.need("function")?, &extras, &mut inner)?;
        }
    }
    if let Some(functions) = request.get("functions") {
        for function in functions.items()? {
            write_function(function?, &Extras::default(), &mut inner)?;
        }
    }
    if let JsonAnswer::Tool { schema, description } = answer {
        inner.open_object().member_text("name", JSON_ANSWER_TOOL);
        inner.member("description", description.unwrap_or(b"\"Gives the answer to the user.\""));
        write_schema(schema, &mut inner);
        inner.close_object();
    }
    if tools.is_empty() {
        let mut inner = Writer::new(&mut tools);
        for name in called {
            inner.open_object().member("name", name).member("input_schema", ANY_INPUT).close_object();
        }
    }
    if !tools.is_empty() {
        w.key("tools").open_array().raw_items(&tools).close_array();
    }
    Ok(())
}

/// What Anthropic's own callers say of a tool beside its function.
#[derive(Default)]
struct Extras<'a, 'p> {
    strict: Option<Value<'a, 'p>>,
    cache: Option<&'a [u8]>,
}

fn write_function(value: Value<'_, '_>, extras: &Extras<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    let function = value.object()?;
    let name = function.need("name")?;
    if name.text()? == JSON_ANSWER_TOOL {
        return Err(name.path.invalid("is reserved"));
    }
    w.open_object().member("name", name.literal()?);
    if let Some(description) = function.get("description") {
        w.member("description", description.literal()?);
    }
    match function.get("parameters") {
        Some(schema) if schema.kind() == Kind::Object => write_schema(schema.raw.bytes, w),
        Some(schema) => return Err(schema.path.invalid("must be an object")),
        None => _ = w.member("input_schema", ANY_INPUT),
    }
    w.member_if("strict", extras.strict.filter(|strict| strict.raw.to_bool().is_some()).map(|strict| strict.raw.bytes));
    w.member_if("cache_control", extras.cache).close_object();
    Ok(())
}

/// Anthropic insists on a `type` at the top of a schema.
fn write_schema(schema: &[u8], w: &mut Writer<'_>) {
    if has_type(schema) {
        w.member("input_schema", schema);
        return;
    }
    let members = schema.get(1..).unwrap_or_default().trim_ascii_start();
    w.key("input_schema").open_object().member_text("type", "object");
    // The rest of the schema, its closing brace included.
    if members == b"}" {
        w.close_object();
    } else {
        w.raw(members);
    }
}

fn has_type(schema: &[u8]) -> bool {
    let mut reader = Reader::new(schema);
    let mut has_type = false;
    if reader.enter_object() == Ok(true) {
        while let Ok(Some(member)) = reader.next_member() {
            has_type |= member.key.as_ref() == b"type";
            if reader.read_value().is_err() {
                break;
            }
        }
    }
    has_type
}

/// Writes the `tool_choice` member.
pub(super) fn write_tool_choice(
    request: &Fields<'_, '_>,
    called: &[Vec<u8>],
    answer: &JsonAnswer<'_>,
    w: &mut Writer<'_>,
) -> Result<(), TranslateError> {
    if matches!(answer, JsonAnswer::Tool { .. }) {
        w.key("tool_choice").open_object().member_text("type", "tool").member_text("name", JSON_ANSWER_TOOL);
        w.member("disable_parallel_tool_use", b"true").close_object();
        return Ok(());
    }
    if !has_tools(request) {
        if !called.is_empty() {
            w.member("tool_choice", b"{\"type\":\"none\"}");
        }
        return Ok(());
    }
    let is_serial = request.get("parallel_tool_calls").is_some_and(|flag| flag.raw.to_bool() == Some(false));
    let choice = request.get("tool_choice").or_else(|| request.get("function_call"));
    let Some(choice) = choice else {
        if is_serial {
            w.member("tool_choice", b"{\"type\":\"auto\",\"disable_parallel_tool_use\":true}");
        }
        return Ok(());
    };
    w.key("tool_choice").open_object();
    let is_none = write_choice(choice, w)?;
    if is_serial && !is_none {
        w.member("disable_parallel_tool_use", b"true");
    }
    w.close_object();
    Ok(())
}

/// Writes the members of a choice; tells whether it is `none`.
fn write_choice(choice: Value<'_, '_>, w: &mut Writer<'_>) -> Result<bool, TranslateError> {
    if choice.is_string() {
        let kind = match choice.text()?.as_ref() {
            "auto" => "auto",
            "none" => "none",
            "required" => "any",
            _ => return Err(choice.path.invalid("must be auto, none, required or a function")),
        };
        w.member_text("type", kind);
        return Ok(kind == "none");
    }
    let fields = choice.object()?;
    if fields.text("type")?.is_some_and(|kind| kind != "function") {
        return Err(fields.unsupported("type", "must be function for this model"));
    }
    // `function_call` of old names its function directly.
    let name = match fields.get("function") {
        Some(function) => function.object()?.need("name")?.literal()?,
        None => fields.need("name")?.literal()?,
    };
    w.member_text("type", "tool").member("name", name);
    Ok(false)
}
