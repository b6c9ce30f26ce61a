//! How a prompt begins: providers keep the beginnings of prompts, so the next turn of a conversation is cheaper where the
//! last one was.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;

use super::ChatRequest;
use crate::json::{JsonError, Reader};

/// Shorter beginnings are kept by no provider: about 1,024 tokens, in bytes of JSON.
const PREFIX_LEAST_BYTES: usize = 4_096;
/// Most beginnings of one request, counted from its end: a conversation grows by a few messages a turn.
const PREFIXES_MAX: usize = 16;

impl ChatRequest<'_> {
    /// Names of the prompt's beginnings, the longest first: its tools and first messages, up to each of its last ones.
    /// `scope` is what else must be the same. None for a prompt too short to be kept anywhere.
    #[must_use]
    pub fn prefixes(&self, scope: &str) -> Vec<u64> {
        if self.body.len() < PREFIX_LEAST_BYTES {
            return Vec::new();
        }
        // The body was read before: it has no fault.
        self.read_prefixes(scope).unwrap_or_default()
    }

    fn read_prefixes(&self, scope: &str) -> Result<Vec<u64>, JsonError> {
        let mut hasher = DefaultHasher::new();
        hasher.write(scope.as_bytes());
        let mut bytes = 0;
        let mut prefixes = Vec::new();
        // Tools stand before the messages in a prompt, wherever they stand in the request.
        hasher.write(&self.body[self.tools.clone()]);
        bytes += self.tools.len();
        let mut reader = Reader::new(&self.body[self.messages.clone()]);
        reader.enter_array()?;
        while reader.next_item()? {
            let message = reader.read_value()?;
            hasher.write(message.bytes);
            // So that two messages are not one.
            hasher.write_u8(0xff);
            bytes += message.bytes.len();
            if bytes >= PREFIX_LEAST_BYTES {
                prefixes.push(hasher.finish());
            }
        }
        prefixes.reverse();
        prefixes.truncate(PREFIXES_MAX);
        Ok(prefixes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(messages: &[&str], scope: &str) -> Vec<u64> {
        let long = "x".repeat(PREFIX_LEAST_BYTES);
        let mut list = vec![format!(r#"{{"role":"system","content":"{long}"}}"#)];
        list.extend(messages.iter().map(|text| format!(r#"{{"role":"user","content":"{text}"}}"#)));
        let body = format!(r#"{{"messages":[{}],"model":"m"}}"#, list.join(","));
        ChatRequest::parse(body.as_bytes()).unwrap().prefixes(scope)
    }

    #[test]
    fn a_conversation_that_goes_on_begins_as_it_was() {
        let (before, after) = (prefixes(&["a"], "s"), prefixes(&["a", "b", "c"], "s"));
        assert_eq!((before.len(), after.len()), (2, 4));
        assert_eq!(after[2..], before[..], "the longest first");
        assert_eq!(prefixes(&["a", "z"], "s")[1..], before[..]);
    }

    #[test]
    fn other_beginnings_and_other_scopes_have_other_names() {
        let known = prefixes(&["a"], "s");
        assert!(prefixes(&["a"], "t").iter().all(|prefix| !known.contains(prefix)));
        assert!(!known.contains(&prefixes(&["b"], "s")[0]));
        let many: Vec<&str> = vec!["a"; 100];
        assert_eq!(prefixes(&many, "s").len(), PREFIXES_MAX);
    }

    #[test]
    fn tools_are_part_of_the_beginning_and_short_prompts_have_none() {
        let long = "x".repeat(PREFIX_LEAST_BYTES);
        let of = |tools: &str| {
            let body = format!(r#"{{"messages":[{{"role":"user","content":"{long}"}}]{tools}}}"#);
            ChatRequest::parse(body.as_bytes()).unwrap().prefixes("s")
        };
        assert_ne!(of(""), of(r#","tools":[{}]"#));
        let short = ChatRequest::parse(br#"{"messages":[{"role":"user","content":"hi"}]}"#).unwrap().prefixes("s");
        assert!(short.is_empty());
    }
}
