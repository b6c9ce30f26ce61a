use super::*;

const DONE: &str = "data: [DONE]\n\n";

/// The last chunk of a choice; `more` are members of the choice.
fn last_chunk(more: &str) -> String {
    chunk("{}").replace("\"finish_reason\":null", &format!("\"finish_reason\":\"stop\"{more}"))
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
