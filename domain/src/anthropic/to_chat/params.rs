//! Limits, tools, thinking and the rest of the parameters.

use sha2::{Digest as _, Sha256};

use crate::anthropic::fields::{Fields, Value};
use crate::anthropic::writer::Writer;
use crate::anthropic::{JSON_ANSWER_TOOL, TranslateError};
use crate::hex::to_hex;
use crate::json::Kind;

/// Budgets up to which thinking counts as of low or medium effort, in tokens.
const LOW_EFFORT_TOKENS: u64 = 4_096;
const MEDIUM_EFFORT_TOKENS: u64 = 16_384;
/// Longest `user` that `OpenAI` takes.
const MAX_USER_BYTES: usize = 64;

pub(super) fn write_limits(request: &Fields<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    let max_tokens = request.need("max_tokens")?;
    if max_tokens.count()? == 0 {
        return Err(max_tokens.path.invalid("Input should be greater than or equal to 1"));
    }
    // Either name would do: it goes out under the one that the provider knows.
    w.member("max_completion_tokens", max_tokens.raw.bytes);
    write_sampling(request, w)
}

/// All of them but the limit of the output.
pub(super) fn write_sampling(request: &Fields<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    if let Some(stream) = request.get("stream")
        && stream.boolean()?
    {
        w.member("stream", b"true").member("stream_options", b"{\"include_usage\":true}");
    }
    for name in ["temperature", "top_p"] {
        if let Some(value) = request.get(name) {
            let number = serde_json::from_slice::<f64>(value.raw.bytes).ok();
            if !number.is_some_and(|number| (0.0..=1.0).contains(&number)) {
                return Err(value.path.invalid("Input should be a number from 0 to 1"));
            }
            w.member(name, value.raw.bytes);
        }
    }
    if let Some(top_k) = request.get("top_k") {
        top_k.count()?;
        w.member("top_k", top_k.raw.bytes);
    }
    if let Some(stops) = request.get("stop_sequences") {
        let mut literals = Vec::new();
        let mut inner = Writer::new(&mut literals);
        for stop in stops.items()? {
            inner.raw(stop?.literal()?);
        }
        if !literals.is_empty() {
            w.key("stop").open_array().raw(&literals).close_array();
        }
    }
    Ok(())
}

pub(super) fn write_tools(request: &Fields<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    if let Some(servers) = request.get("mcp_servers")
        && servers.items()?.next().is_some()
    {
        return Err(request.unsupported("mcp_servers", "MCP servers can't be called from here"));
    }
    let Some(tools) = request.get("tools") else {
        return Ok(());
    };
    let mut written = Vec::new();
    let mut inner = Writer::new(&mut written);
    for tool in tools.items()? {
        write_tool(&tool?.object()?, &mut inner)?;
    }
    if !written.is_empty() {
        w.key("tools").open_array().raw(&written).close_array();
    }
    Ok(())
}

fn write_tool(tool: &Fields<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    if let Some(kind) = tool.text("type")?
        && kind != "custom"
    {
        let kind: String = kind.chars().take(64).collect();
        return Err(tool
            .unsupported("type", format_args!("tools of type {kind:?} are not supported here; send 'custom' tools")));
    }
    let name = tool.need("name")?;
    if name.text()? == JSON_ANSWER_TOOL {
        return Err(name.path.invalid("is reserved"));
    }
    let schema = tool.need("input_schema")?;
    if schema.kind() != Kind::Object {
        return Err(schema.path.invalid("Input should be a valid dictionary"));
    }
    w.open_object().member_text("type", "function").key("function").open_object();
    w.member("name", name.raw.bytes);
    if let Some(description) = tool.get("description") {
        w.member("description", description.literal()?);
    }
    w.member("parameters", schema.raw.bytes).close_object();
    // Beside the function, for Anthropic's models alone: OpenAI's `strict` refuses schemas that Anthropic's takes.
    let strict = tool.get("strict").filter(|strict| strict.raw.to_bool().is_some());
    w.member_if("strict", strict.map(|strict| strict.raw.bytes));
    w.member_if("cache_control", tool.raw_object("cache_control")).close_object();
    Ok(())
}

pub(super) fn write_tool_choice(request: &Fields<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    let Some(value) = request.get("tool_choice") else {
        return Ok(());
    };
    let choice = value.object()?;
    match choice.need("type")?.text()?.as_ref() {
        "auto" => _ = w.member_text("tool_choice", "auto"),
        "any" => _ = w.member_text("tool_choice", "required"),
        "none" => _ = w.member_text("tool_choice", "none"),
        "tool" => {
            w.key("tool_choice").open_object().member_text("type", "function").key("function").open_object();
            w.member("name", choice.need("name")?.literal()?).close_object().close_object();
        }
        _ => return Err(choice.invalid("type", "Input should be 'auto', 'any', 'tool' or 'none'")),
    }
    if let Some(is_serial) = choice.get("disable_parallel_tool_use")
        && is_serial.boolean()?
    {
        w.member("parallel_tool_calls", b"false");
    }
    Ok(())
}

/// Writes how the model is to think and to answer, and for whom.
pub(super) fn write_output(request: &Fields<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    let mut effort = None;
    if let Some(value) = request.get("thinking") {
        let thinking = value.object()?;
        match thinking.need("type")?.text()?.as_ref() {
            "enabled" => effort = Some(effort_of(thinking.need("budget_tokens")?.count()?)),
            "adaptive" | "disabled" => {}
            _ => return Err(thinking.invalid("type", "Input should be 'enabled', 'adaptive' or 'disabled'")),
        }
        w.member("thinking", value.raw.bytes);
    }
    if let Some(value) = request.get("output_config") {
        let config = value.object()?;
        effort = match config.text("effort")?.as_deref() {
            Some("low") => Some("low"),
            Some("medium") => Some("medium"),
            Some("high") => Some("high"),
            Some("xhigh" | "max") => Some("xhigh"),
            None => effort,
            Some(_) => {
                return Err(config.invalid("effort", "Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"));
            }
        };
        if let Some(format) = config.get("format") {
            write_format(format, w)?;
        }
        w.member("output_config", value.raw.bytes);
    }
    if let Some(effort) = effort {
        w.member_text("reasoning_effort", effort);
    }
    if let Some(metadata) = request.get("metadata") {
        write_user(metadata, w)?;
    }
    if request.text("service_tier")?.as_deref() == Some("standard_only") {
        w.member_text("service_tier", "default");
    }
    w.member_if("cache_control", request.raw_object("cache_control"));
    Ok(())
}

/// Writes whom the answer is for: a text too long for others as its digest, and itself for Anthropic alone.
fn write_user(metadata: Value<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    let fields = metadata.object()?;
    let Some(user_id) = fields.get("user_id") else {
        return Ok(());
    };
    let user = user_id.text()?;
    if user.len() <= MAX_USER_BYTES {
        w.member("user", user_id.raw.bytes);
    } else {
        w.member_text("user", &to_hex(&Sha256::digest(user.as_bytes()))).member("metadata", metadata.raw.bytes);
    }
    Ok(())
}

const fn effort_of(budget_tokens: u64) -> &'static str {
    if budget_tokens <= LOW_EFFORT_TOKENS {
        "low"
    } else if budget_tokens <= MEDIUM_EFFORT_TOKENS {
        "medium"
    } else {
        "high"
    }
}

fn write_format(format: Value<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    let fields = format.object()?;
    if fields.need("type")?.text()? != "json_schema" {
        return Err(fields.invalid("type", "Input should be 'json_schema'"));
    }
    let schema = fields.need("schema")?;
    if schema.kind() != Kind::Object {
        return Err(schema.path.invalid("Input should be a valid dictionary"));
    }
    w.key("response_format").open_object().member_text("type", "json_schema");
    w.key("json_schema").open_object().member_text("name", "answer").member("schema", schema.raw.bytes);
    w.close_object().close_object();
    Ok(())
}
