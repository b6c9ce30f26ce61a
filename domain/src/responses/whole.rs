//! A whole chat completion as a Response.

use super::assemble::Assembler;
use super::completion::Completion;
use super::echo::Echo;
use crate::answer::InvalidAnswer;
use crate::ids::ResponseId;

/// A chat completion as a Response object. `created_at_s` is Unix time in seconds.
///
/// # Errors
/// [`InvalidAnswer`] for what is no chat completion with a choice.
pub fn to_response(
    chat_completion: &[u8],
    echo: &Echo,
    id: ResponseId,
    created_at_s: u64,
) -> Result<Vec<u8>, InvalidAnswer> {
    let completion = Completion::read(chat_completion)?;
    if completion.choices.is_empty() {
        return Err(InvalidAnswer::UpstreamError);
    }
    let mut assembler = Assembler::new_silent(echo.clone(), id, created_at_s);
    let mut no_events = Vec::new();
    // Unbounded: the whole answer is in memory already.
    let _ = assembler.take(&completion, &mut no_events);
    assembler.end(&mut no_events);
    Ok(assembler.to_json())
}
