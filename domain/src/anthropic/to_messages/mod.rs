//! A chat completion request as a Messages request.

mod messages;
mod params;
mod parts;
mod tools;
mod turns;

use super::TranslateError;
use super::fields::{Fields, Style, Value, read_body};
use super::generation::Generation;
use super::writer::Writer;
use messages::read_messages;
use params::{Thinking, read_json_answer, read_max_tokens, write_sampling, write_stops};
use tools::{write_tool_choice, write_tools};

/// Translates a chat completion request for Anthropic's API.
///
/// `model` is the upstream's name of the model; `default_max_tokens` is the limit on output tokens where
/// the caller set none, for Anthropic wants one.
///
/// What has no counterpart:
/// - System and developer messages become `system` wherever they stand. If nobody else speaks,
///   they are sent as the user's words.
/// - A conversation that begins with the assistant gets a user turn in front, and for models from 4.6
///   on also one at the end if it ends with the assistant.
/// - A call without a result gets one that says so. Ids that come twice in a conversation are told
///   apart; ids that Anthropic would refuse are encoded.
/// - Arguments of a call that are no JSON object are the value of a member `invalid_arguments`, as on the way back.
/// - Texts that are empty or blank are left out; Anthropic refuses them.
/// - `reasoning_effort` becomes a thinking budget of a share of `max_tokens`, or adaptive thinking with
///   that effort for models from 4.6 on. It is left out where Anthropic would refuse it: when a
///   tool is forced, or in a loop of tool calls whose thinking the caller did not send back.
///   `thinking` passes as it is, but for that last case, and but for a budget that leaves nothing of `max_tokens`:
///   it is then half of that, or left out where that is less than Anthropic takes. A type (`adaptive`,
///   `enabled`) that the model does not know is put as an effort; an `output_config.effort` that it does not know is left out.
/// - `response_format` of type `json_schema`: models from 4.6 on get a strict schema as
///   `output_config.format`. Others are made to call the tool [`JSON_ANSWER_TOOL`](super::JSON_ANSWER_TOOL),
///   whose input comes back as content. Where no tool can be forced (the caller brings tools or
///   `thinking` of its own) and for `json_object` the system text asks for JSON.
/// - `temperature` is at most 1; models from 4.1 on get no `top_p` beside it, models from 4.7 on get no `temperature`,
///   `top_p` and `top_k`, which they refuse.
/// - What neither side's model would notice (`seed`, penalties, `logprobs`, …) is dropped.
///
/// # Errors
/// [`TranslateError`] with the parameter at fault; of kind `Unsupported` for audio, custom tools, several
/// choices and the like, which other providers may serve.
pub fn to_messages_request(chat: &[u8], model: &str, default_max_tokens: u64) -> Result<Vec<u8>, TranslateError> {
    let request = read_body(chat, Style::Chat)?;
    if let Some(n) = request.get("n")
        && n.count()? != 1
    {
        return Err(request.unsupported("n", "must be 1 for this model: it gives one answer a request"));
    }
    let is_audio = |item: Result<Value<'_, '_>, _>| item.is_ok_and(|item| item.raw.bytes == b"\"audio\"");
    if request.get("modalities").is_some_and(|list| list.items().is_ok_and(|mut items| items.any(is_audio))) {
        return Err(request.unsupported("modalities", "must not hold audio for this model: it answers in text"));
    }
    let generation = Generation::of(model);
    let max_tokens = read_max_tokens(&request)?.unwrap_or(default_max_tokens);
    let conversation = read_messages(&request, generation)?;
    let answer = read_json_answer(&request, generation)?;
    let thinking = Thinking::read(&request, generation, max_tokens, &conversation, &answer)?;

    let mut out = Vec::with_capacity(chat.len() + 512);
    let mut w = Writer::new(&mut out);
    w.open_object().member_text("model", model).member_count("max_tokens", max_tokens);
    if let Some(stream) = request.get("stream")
        && stream.boolean()?
    {
        w.member("stream", b"true");
    }
    conversation.write_system(answer.instruction(), &mut w);
    w.key("messages").open_array().raw_items(&conversation.turns).close_array();
    write_tools(&request, &conversation.called, &answer, &mut w)?;
    write_tool_choice(&request, &conversation.called, &answer, &mut w)?;
    write_stops(&request, &mut w)?;
    write_sampling(&request, generation, &thinking, &mut w)?;
    thinking.write(&request, generation, &answer, &mut w);
    write_passed(&request, &mut w)?;
    w.close_object();
    Ok(out)
}

/// What both sides know under one name, or Anthropic alone.
fn write_passed(request: &Fields<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    let metadata = request.get("metadata").and_then(|metadata| metadata.object().ok());
    let user = match metadata.as_ref().and_then(|metadata| metadata.get("user_id")) {
        Some(user) => Some(user),
        None => request.get("user"),
    };
    if let Some(user) = user {
        w.key("metadata").open_object().member("user_id", user.literal()?).close_object();
    }
    match request.text("service_tier")?.as_deref() {
        Some("auto") => _ = w.member_text("service_tier", "auto"),
        Some("default" | "standard_only") => _ = w.member_text("service_tier", "standard_only"),
        _ => {}
    }
    w.member_if("cache_control", request.raw_object("cache_control"));
    Ok(())
}

#[cfg(test)]
mod tests;
