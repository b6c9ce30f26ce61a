//! A Messages request as a chat completion request.

mod blocks;
mod content;
mod messages;
mod params;

use super::TranslateError;
use super::fields::{Fields, Style, read_body};
use super::writer::Writer;
pub(super) use messages::THINKING_FORMAT;
use messages::write_messages;
use params::{write_limits, write_output, write_sampling, write_tool_choice, write_tools};

/// Translates a Messages request into the house's own format.
///
/// What has no counterpart:
/// - The results of a turn's calls become tool messages right behind the assistant's; what else
///   the user says follows. Images and documents in a result become user parts behind them, for
///   tool messages hold text only.
/// - A call without a result gets one that says so. An assistant message with OpenAI's `tool_calls` and
///   a message of role `tool` are understood too.
/// - `thinking` and `output_config.effort` also become `reasoning_effort`, `output_config.format` also
///   `response_format`.
/// - Documents of plain text become text; stored files, search results, tools that run at
///   Anthropic's and what they return are refused.
///
/// The members of the house's own that keep the rest are listed at [`crate::anthropic`].
///
/// # Errors
/// [`TranslateError`] with the parameter at fault, in the words and the notation of Anthropic's API.
pub fn to_chat_request(messages_request: &[u8]) -> Result<Vec<u8>, TranslateError> {
    translate(messages_request, write_limits)
}

/// The same for a request whose tokens are to be counted: it sets no limit of the output.
///
/// # Errors
/// As [`to_chat_request`].
pub fn to_counted_chat_request(count_request: &[u8]) -> Result<Vec<u8>, TranslateError> {
    translate(count_request, write_sampling)
}

fn translate(
    messages_request: &[u8],
    write_limits: fn(&Fields<'_, '_>, &mut Writer<'_>) -> Result<(), TranslateError>,
) -> Result<Vec<u8>, TranslateError> {
    let request = read_body(messages_request, Style::Messages)?;
    let mut out = Vec::with_capacity(messages_request.len() + 512);
    let mut w = Writer::new(&mut out);
    w.open_object().member("model", request.need("model")?.literal()?);
    write_limits(&request, &mut w)?;
    w.key("messages").open_array();
    write_messages(&request, &mut w)?;
    w.close_array();
    write_tools(&request, &mut w)?;
    write_tool_choice(&request, &mut w)?;
    write_output(&request, &mut w)?;
    w.close_object();
    Ok(out)
}

#[cfg(test)]
mod tests;
