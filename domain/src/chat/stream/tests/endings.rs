use super::*;

const DONE: &str = "data: [DONE]\n\n";

/// The last chunk of a choice; `more` are members of the choice.
fn last_chunk(more: &str) -> String {
    chunk("{}").replace("\"finish_reason\":null", &format!("\"finish_reason\":\"stop\"{more}"))
}

#[test]
fn a_stream_that_closes_behind_its_end_is_complete() {
    let whole = chunk(r#"{"content":"Hi"}"#) + &last_chunk("");
    let told = |input: &str| input.replace("gpt-up", "auto");
    for input in [whole.clone(), whole.clone() + USAGE, whole.clone() + ": bye\n\n"] {
        assert_eq!(run_to_end(&input, false), told(&input) + DONE);
    }
    // Its last line has no end, or is half of a `[DONE]`.
    assert_eq!(run_to_end(whole.trim_end(), false), told(&whole) + DONE);
    assert_eq!(run_to_end(&(whole.clone() + "data: [DO"), false), told(&whole) + DONE);
    let mut rewriter = StreamRewriter::new("auto", false).with_estimate(9);
    let mut out = Vec::new();
    rewriter.push(whole.as_bytes(), &mut out).unwrap();
    assert!(!rewriter.saw_done());
    rewriter.finish(StreamEnd::Eof, &mut out);
    let out = String::from_utf8(out).unwrap();
    assert!(rewriter.saw_done() && out.ends_with(DONE) && out.contains("\"prompt_tokens\":9"), "{out}");
    // Another choice has not ended, something has broken off, or there was none.
    let other = chunk(r#"{"content":"Ho"}"#).replace("\"index\":0", "\"index\":1");
    for input in [other + &whole, whole.clone() + "data: {\"choices\":[", USAGE.to_owned(), String::new()] {
        let out = run_to_end(&input, false);
        assert!(out.contains("upstream_incomplete") && !out.contains(DONE), "{out}");
    }
    let Run { mut rewriter, .. } = run(&whole, false);
    let mut out = Vec::new();
    rewriter.finish(StreamEnd::Failed { code: "c", message: "m" }, &mut out);
    assert!(!rewriter.saw_done() && !out.ends_with(DONE.as_bytes()));
}

#[test]
fn usage_that_a_choice_tells_counts_and_is_told_where_clients_look_for_it() {
    let counts = "\"prompt_tokens\":20,\"completion_tokens\":3,\"total_tokens\":23";
    let input =
        chunk(r#"{"content":"Hi"}"#) + &last_chunk(&format!(",\"usage\":{{{counts},\"cached_tokens\":16}}")) + DONE;
    let told = input.replace("gpt-up", "auto");
    let usage = Some(TokenUsage { input: 20, output: 3, cache_read: 16, cache_write: 0 });
    for (hide_usage, expected) in [
        (true, told.clone()),
        (false, {
            let event = format!(
                "data: {{\"object\":\"chat.completion.chunk\",\"id\":\"c1\",\"created\":1,\"model\":\"auto\",\"choices\":[],\
                 \"usage\":{{{counts},\"prompt_tokens_details\":{{\"cached_tokens\":16}}}}}}\n\n"
            );
            told.replace(DONE, &(event + DONE))
        }),
    ] {
        let mut rewriter = StreamRewriter::new("auto", hide_usage);
        if !hide_usage {
            rewriter = rewriter.with_estimate(9);
        }
        let mut out = Vec::new();
        rewriter.push(input.as_bytes(), &mut out).unwrap();
        assert_eq!((String::from_utf8(out).unwrap(), rewriter.usage()), (expected, usage));
    }
    // One at the top is what the upstream means.
    let both = run(&input.replace(DONE, &(USAGE.to_owned() + DONE)), false);
    assert_eq!(both.rewriter.usage(), Some(TokenUsage { input: 7, output: 3, ..TokenUsage::default() }));
}
