//! What a model says otherwise than a chat completion would, and how that is put right.

use std::borrow::Cow;
use std::rc::Rc;

use super::choices::{Edit, EditedStream, FilteredChoices};
use super::gemma::GemmaFilter;
use super::tool_names::ToolNames;

/// What is peculiar to a model. Most have nothing of this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Its own names for tools.
    pub tool_names: Option<ToolNames>,
    /// Whether it writes thoughts and calls as Gemma's tokens.
    pub is_gemma4: bool,
}

/// A stream that is put right.
pub type QuirkStream = EditedStream<QuirkEdit>;

/// Puts one answer right.
#[derive(Clone, Debug)]
pub struct QuirkEdit {
    quirks: Rc<Quirks>,
    gemma: Option<FilteredChoices<GemmaFilter>>,
}

impl Quirks {
    /// A request as the model wants it.
    #[must_use]
    pub fn edit_request<'b>(&self, request: &'b [u8]) -> Cow<'b, [u8]> {
        self.tool_names.as_ref().map_or(Cow::Borrowed(request), |names| names.to_model(request))
    }
}

impl QuirkEdit {
    /// For one answer, which `seed` tells from all others.
    #[must_use]
    pub fn new(quirks: &Rc<Quirks>, seed: &str) -> Self {
        let gemma = quirks.is_gemma4.then(|| FilteredChoices::new(seed));
        Self { quirks: Rc::clone(quirks), gemma }
    }
}

impl Edit for QuirkEdit {
    fn edit<'d>(&mut self, data: &'d [u8]) -> Cow<'d, [u8]> {
        let data = self.gemma.as_mut().map_or(Cow::Borrowed(data), |gemma| gemma.edit(data));
        let Some(names) = &self.quirks.tool_names else { return data };
        match data {
            Cow::Borrowed(data) => names.to_client(data),
            Cow::Owned(data) => Cow::Owned(names.to_client(&data).into_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_gemma_calls_by_its_own_name_the_client_knows_by_another() {
        let map = BTreeMap::from([("search".to_owned(), "web_search".to_owned())]);
        let quirks = Rc::new(Quirks { tool_names: Some(ToolNames::new(&map).unwrap()), is_gemma4: true });
        let content = "<|tool_call>call:web_search{q:<|\"|>x<|\"|>}<tool_call|>";
        let answer = json!({ "choices": [{ "message": { "content": content }, "finish_reason": "stop" }] }).to_string();
        let out: Value = serde_json::from_slice(&QuirkEdit::new(&quirks, "r").edit(answer.as_bytes())).unwrap();
        assert_eq!(out["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "search");
    }
}
