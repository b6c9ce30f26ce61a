use super::*;

/// The same whole, in halves at every place, and a character at a time.
#[track_caller]
fn assert_reads(text: &str, expected_text: &str, expected_calls: &[(&str, &str)]) {
    let whole: &[&str] = &[text];
    let halves = (0..=text.len()).filter_map(|at| text.split_at_checked(at)).map(|(a, b)| vec![a, b]);
    let single = text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect();
    for pieces in [whole.to_vec(), single].into_iter().chain(halves) {
        let mut filter = GemmaFilter::default();
        let mut out = Written::default();
        for piece in &pieces {
            filter.take(piece, &mut out);
        }
        filter.end(&mut out);
        assert_eq!(out.text, expected_text, "{pieces:?}");
        let calls: Vec<_> = out.calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
        assert_eq!(calls, expected_calls, "{pieces:?}");
    }
}

#[test]
fn thoughts_go_and_calls_are_calls() {
    assert_reads("Hello, <b>world</b> < 3", "Hello, <b>world</b> < 3", &[]);
    assert_reads("<|channel>thought\nHm <|tool_call>.<channel|>Yes.", "Yes.", &[]);
    assert_reads(
        "Look.<|tool_call>call:get_weather{city:<|\"|>Zürich<|\"|>,days:3}<tool_call|>\n",
        "Look.\n",
        &[("get_weather", r#"{"city":"Zürich","days":3}"#)],
    );
    assert_reads(
        "<|channel>thought\n<channel|><|tool_call>call:a{}<tool_call|><|tool_call> call:b.c-d {x:[1]} <tool_call|><|tool_response>",
        "",
        &[("a", "{}"), ("b.c-d", r#"{"x":[1]}"#)],
    );
    assert_reads("done<turn|>", "done", &[]);
}

#[test]
fn a_text_in_a_call_may_hold_anything_but_its_quote() {
    assert_reads(
        "<|tool_call>call:sh{cmd:<|\"|>echo {a} }} <tool_call|> <|channel> \"q\"<|\"|>}<tool_call|>!",
        "!",
        &[("sh", r#"{"cmd":"echo {a} }} <tool_call|> <|channel> \"q\""}"#)],
    );
}

#[test]
fn what_never_ends_is_not_lost() {
    // The server took the last token for the answer's end.
    assert_reads("<|tool_call>call:a{b:1}", "", &[("a", r#"{"b":1}"#)]);
    assert_reads("<|tool_call>call:a{b:", "<|tool_call>call:a{b:", &[]);
    assert_reads("<|tool_call>call:a{b:<|\"|>c}<tool_call|> d", "<|tool_call>call:a{b:<|\"|>c}<tool_call|> d", &[]);
    assert_reads("a<|tool_c", "a<|tool_c", &[]);
    assert_reads("a<|channel>thought\nb <chan", "a", &[]);
}

#[test]
fn what_is_no_call_stays_text() {
    for text in [
        "<|tool_call>get_weather{}<tool_call|>",
        "<|tool_call>call:<tool_call|>",
        "<|tool_call>call:{}<tool_call|>",
        "<|tool_call>call:two words{}<tool_call|>",
        "<|tool_call>call:a{b:1}c<tool_call|>",
        "<|tool_call>{call:<tool_call|>",
        "<tool_call|>",
    ] {
        assert_reads(text, text, &[]);
    }
}

#[test]
fn text_goes_on_as_it_comes() {
    let mut filter = GemmaFilter::default();
    let mut seen = Vec::new();
    for piece in ["one ", "two <", "b> <|", "x <|tool", "_call>call:a{}", "<tool_call|> three"] {
        let mut out = Written::default();
        filter.take(piece, &mut out);
        seen.push(out.text);
    }
    assert_eq!(seen, ["one ", "two ", "<b> ", "<|x ", "", " three"]);
}

#[test]
fn a_call_is_not_waited_for_without_bound() {
    let mut filter = GemmaFilter::default();
    let mut out = Written::default();
    filter.take(CALL_OPEN, &mut out);
    let piece = "x".repeat(1_000);
    for _ in 0..1_000 {
        filter.take(&piece, &mut out);
    }
    assert_eq!(out.text.len(), CALL_OPEN.len() + 1_000_000, "all of it is text");
    assert!(out.calls.is_empty());
}

/// A model that repeats itself, in an answer that comes whole: each token may not cost a look at all that follows.
#[test]
fn tokens_without_end_are_read_in_one_pass() {
    let count = 100_000;
    let mut out = Written::default();
    GemmaFilter::default().take(&"a<|channel><channel|>".repeat(count), &mut out);
    assert_eq!(out.text.len(), count);
}
