//! The native surface on random texts.

use guildhall_domain::json_schema::Schema;
use guildhall_domain::native::{OutputFormat, ThinkFilter, parse_chat};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::json_values::value;

/// Text out of what directives and thoughts are made of.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("@@tokenhub"),
        Just("@@tokenhub mode=cheap"),
        Just("@@token"),
        Just("hub"),
        Just("@@end"),
        Just("mode=planning"),
        Just(" "),
        Just("\n"),
        Just("\r\n"),
        Just("<think>"),
        Just("</think>"),
        Just("<th"),
        Just("ink>"),
        Just("</"),
        Just("```json\n"),
        Just("{\"a\":1}"),
        Just("é模🦀"),
        Just("word"),
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

fn read_content(text: &str, directives: bool) -> (String, bool) {
    let body = json!({"request":{"messages":[{"role":"user","content":text}]},"policy":{"directives":directives}});
    let chat = parse_chat(body.to_string().as_bytes()).unwrap();
    let content = chat.request.messages[0]["content"].as_str().unwrap().to_owned();
    (content, chat.policy.mode.is_some())
}

/// Every character of `part` in order within `whole`.
fn is_subsequence(part: &str, whole: &str) -> bool {
    let mut rest = whole.chars();
    part.chars().all(|wanted| rest.any(|c| c == wanted))
}

/// The pieces of a text, cut wherever a character ends.
fn filter_in_pieces(text: &str, cuts: &[usize]) -> String {
    let mut filter = ThinkFilter::default();
    let mut out = String::new();
    let mut from = 0;
    for cut in cuts {
        let cut = (from..=text.len()).find(|at| at - from >= *cut && text.is_char_boundary(*at)).unwrap_or(text.len());
        filter.push(&text[from..cut], &mut out);
        from = cut;
    }
    filter.push(&text[from..], &mut out);
    filter.finish(&mut out);
    out
}

proptest! {
    #[test]
    fn directives_are_taken_out_and_nothing_else(text in text()) {
        let (content, is_obeyed) = read_content(&text, true);
        prop_assert!(is_subsequence(&content, &text), "{content:?}");
        // What is left is prose: reading it again finds nothing.
        prop_assert_eq!(read_content(&content, true), (content.clone(), false));
        if !text.contains("@@tokenhub") {
            prop_assert_eq!((&content, is_obeyed), (&text, false));
        }
        prop_assert_eq!(read_content(&text, false), (text, false));
    }

    #[test]
    fn thoughts_are_the_same_however_a_text_is_cut(text in text(), cuts in prop::collection::vec(0_usize..9, 0..12)) {
        let whole = filter_in_pieces(&text, &[]);
        prop_assert_eq!(&filter_in_pieces(&text, &cuts), &whole);
        if !text.contains("<think>") {
            prop_assert_eq!(&whole, &text);
        }
    }

    #[test]
    fn a_cut_text_keeps_its_limit(text in text(), max_tokens in 1_u64..12) {
        let format = OutputFormat { max_tokens, ..OutputFormat::default() };
        let cut = format.shape_text(&text, None).unwrap();
        let max_bytes = usize::try_from(max_tokens).unwrap() * 4;
        prop_assert!(cut.len() <= max_bytes, "{cut:?}");
        prop_assert_eq!(cut == text, text.len() <= max_bytes);
        let head = if cut == text { cut.as_str() } else { cut.strip_suffix("...").unwrap() };
        prop_assert!(text.starts_with(head));
    }

    #[test]
    fn a_value_fits_itself_and_is_only_itself(one in value(), other in value()) {
        let schema = Schema::parse(json!({"const":one})).unwrap();
        prop_assert!(schema.check(&one).is_ok());
        let not = Schema::parse(json!({"allOf":[{"not":{"const":one}}]})).unwrap();
        prop_assert!(not.check(&one).is_err());
        prop_assert_eq!(schema.check(&other).is_ok(), not.check(&other).is_err());
        prop_assert_eq!(schema.check_text(&other.to_string()).is_ok(), schema.check(&other).is_ok());
    }

    #[test]
    fn any_value_is_a_schema_or_refused_and_checks_end(source in value(), instance in value()) {
        if let Ok(schema) = Schema::parse(source) {
            let _ = schema.check(&instance);
            let stored: Value = schema.clone().into();
            prop_assert_eq!(Schema::parse(stored).unwrap(), schema);
        }
    }

    #[test]
    fn any_body_is_read_or_refused(body in value(), inner in value()) {
        for body in [body, json!({"request":inner}), json!({"request":{"messages":inner},"policy":inner})] {
            let text = body.to_string();
            if let Ok(chat) = parse_chat(text.as_bytes()) {
                prop_assert!(!chat.request.messages.is_empty());
            }
        }
    }
}
