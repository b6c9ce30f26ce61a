use super::*;

mod endings;

fn chunk(delta: &str) -> String {
    format!(
        "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-up\",\
         \"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":null}}]}}\n\n"
    )
}

const USAGE: &str = "data: {\"id\":\"c1\",\"model\":\"gpt-up\",\"choices\":[],\
                     \"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n";

struct Run {
    out: String,
    rewriter: StreamRewriter,
    result: Result<(), StreamFault>,
}

fn run(input: &str, hide_usage: bool) -> Run {
    let mut rewriter = StreamRewriter::new("auto", hide_usage);
    let mut out = Vec::new();
    let result = rewriter.push(input.as_bytes(), &mut out);
    Run { out: String::from_utf8(out).unwrap(), rewriter, result }
}

fn run_to_end(input: &str, hide_usage: bool) -> String {
    let Run { out, mut rewriter, .. } = run(input, hide_usage);
    let mut out = out.into_bytes();
    rewriter.finish(StreamEnd::Eof, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_whole_stream_passes_with_the_model_asked_for() {
    let input = [
        ": hello\n\n",
        &chunk(r#"{"role":"assistant","content":""}"#),
        &chunk(r#"{"content":"Hello"}"#),
        &chunk(r#"{"content":" \"model\":\"gpt-up\""}"#),
        &chunk(r#"{"tool_calls":[{"function":{"arguments":"{\"model\":\"gpt-up\"}"},"model":"gpt-up"}]}"#),
        USAGE,
        "data: [DONE]\n\n",
    ]
    .concat();
    let Run { out, mut rewriter, result } = run(&input, false);
    assert_eq!(result, Ok(()));
    assert_eq!(
        out,
        input
            .replace("\"created\":1,\"model\":\"gpt-up\"", "\"created\":1,\"model\":\"auto\"")
            .replace("\"c1\",\"model\":\"gpt-up\"", "\"c1\",\"model\":\"auto\"")
    );
    assert_eq!(rewriter.usage(), Some(TokenUsage { input: 7, output: 3, ..TokenUsage::default() }));
    assert!(rewriter.saw_done() && rewriter.has_begun());
    assert_eq!(rewriter.bytes_in(), input.len() as u64);
    let mut end = Vec::new();
    rewriter.finish(StreamEnd::Eof, &mut end);
    assert!(end.is_empty());
}

#[test]
fn hidden_usage_leaves_no_trace() {
    let hello = chunk(r#"{"content":"a"}"#);
    let with_null = hello.replace("}]}", "}],\"usage\":null}");
    let input = format!("{with_null}{USAGE}data: [DONE]\n\n");
    let Run { out, rewriter, .. } = run(&input, true);
    assert_eq!(out, format!("{}data: [DONE]\n\n", hello.replace("gpt-up", "auto")));
    assert_eq!(rewriter.usage().map(|usage| usage.total()), Some(10));
    // Asked for: everything stays.
    assert_eq!(run(&input, false).out, input.replace("gpt-up", "auto"));
}

#[test]
fn usage_is_cut_out_wherever_it_stands() {
    let cases = [
        (r#"{"usage":null,"choices":[{}]}"#, r#"{"choices":[{}]}"#),
        (r#"{"usage":null , "a":1,"choices":[{}]}"#, r#"{"a":1,"choices":[{}]}"#),
        (r#"{"a":1, "usage":null, "choices":[{}]}"#, r#"{"a":1, "choices":[{}]}"#),
        (r#"{"choices":[{}],"usage":null}"#, r#"{"choices":[{}]}"#),
        (r#"{ "usage":null}"#, "{}"),
        (r#"{"usage":null,"usage":null,"model":"x"}"#, r#"{"model":"auto"}"#),
        (
            r#"{"usage":{"prompt_tokens":1,"completion_tokens":1},"model":"x","choices":[{"delta":{"content":"a"}}]}"#,
            r#"{"model":"auto","choices":[{"delta":{"content":"a"}}]}"#,
        ),
        (r#"{"choices":[],"usage":null,"prompt_filter_results":[]}"#, r#"{"choices":[],"prompt_filter_results":[]}"#),
        (r#"{"choices":[{"usage":null}]}"#, r#"{"choices":[{"usage":null}]}"#),
    ];
    for (json, expected) in cases {
        assert_eq!(run(&format!("data: {json}\n\n"), true).out, format!("data: {expected}\n\n"), "{json}");
    }
}

#[test]
fn model_is_replaced_wherever_it_stands() {
    let cases = [
        (
            r#"{"choices":[{"model":"m"}],"model":"m","id":"m"}"#,
            r#"{"choices":[{"model":"m"}],"model":"auto","id":"m"}"#,
        ),
        (r#"{ "model" : null }"#, r#"{ "model" : "auto" }"#),
        (r#"{"mod\u0065l":"m"}"#, r#"{"mod\u0065l":"auto"}"#),
        // Once, however often: an answer does not grow by it.
        (r#"{"model":"m","choices":[],"model":"m","model":1}"#, r#"{"model":"auto","choices":[]}"#),
    ];
    for (json, expected) in cases {
        // Twice: the second time by the remembered beginning.
        let out = run(&format!("data: {json}\n\ndata: {json}\n\n"), false).out;
        assert_eq!(out, format!("data: {expected}\n\ndata: {expected}\n\n"), "{json}");
    }
}

#[test]
fn a_changed_beginning_is_read_anew() {
    let one = chunk(r#"{"content":"a"}"#);
    let two = one.replace("\"created\":1", "\"created\":2");
    let three = one.replace("gpt-up", "gpt-up-2");
    // The beginning ends in a number, and the next line's number only begins with it.
    let four = r#"data: {"model":"gpt-up","n":1,"choices":[]}"#.to_owned() + "\n\n";
    let five = four.replace(":1,", ":12,");
    let input = [one.as_str(), &two, &three, &one, &four, &five, &four].concat();
    let expected = input.replace("gpt-up-2", "auto").replace("gpt-up", "auto");
    assert_eq!(run(&input, false).out, expected);
}

#[test]
fn line_ends_of_all_kinds_are_kept() {
    for end in ["\n", "\r\n", "\r"] {
        let input = format!("\u{feff}{}data: [DONE]\n\n", chunk(r#"{"content":"é"}"#)).replace('\n', end);
        let expected = input.trim_start_matches('\u{feff}').replace("gpt-up", "auto");
        let Run { out, rewriter, .. } = run(&input, true);
        assert_eq!(out, expected, "{end:?}");
        assert!(rewriter.saw_done());
    }
}

#[test]
fn other_lines_pass_as_they_are_but_ids() {
    let input = ": comment\nevent: ping\nretry: 10\ndata: plain\ndata\ndata:\n\n\n: comment\n\n";
    assert_eq!(run(input, true).out, input);
    for id in ["id: 7\n", "id:\n", "id\n"] {
        let with_id = input.replace("event:", &format!("{id}event:")).replace("data\n", &format!("data\n{id}"));
        assert_eq!(run(&with_id, true).out, input);
    }
}

#[test]
fn an_upstream_error_is_a_fault_and_not_forwarded() {
    let cases = [
        (r#"{"error":{"message":"boom","type":"server_error","code":null}}"#, "boom", Some("server_error")),
        (r#"{"error":{"message":"boom","code":503}}"#, "boom", Some("503")),
        (r#"{"error":"boom","choices":[]}"#, "boom", None),
        (r#"{"object":"error","message":"boom","code":400}"#, "boom", None),
    ];
    for (json, message, code) in cases {
        let first = chunk(r#"{"content":"a"}"#);
        let Run { out, mut rewriter, result } = run(&format!("{first}data: {json}\n\n{first}"), false);
        let fault = StreamFault::UpstreamError { message: message.into(), code: code.map(Into::into) };
        assert_eq!(result, Err(fault.clone()), "{json}");
        assert_eq!(out, first.replace("gpt-up", "auto"));
        assert_eq!(rewriter.push(b"data: {}\n\n", &mut Vec::new()), Err(fault));
    }
    assert_eq!(run("data: {\"error\":null,\"choices\":[]}\n\n", false).result, Ok(()));
}

#[test]
fn a_broken_object_or_an_endless_line_is_a_fault() {
    assert_eq!(run("data: {\"a\":}\n\n", false).result, Err(StreamFault::InvalidJson));
    assert_eq!(run("data: {} {}\n\n", false).result, Err(StreamFault::InvalidJson));
    let long = format!("data: {}", "x".repeat(MAX_LINE_BYTES));
    assert_eq!(run(&long, false).result, Err(StreamFault::LineTooLong));
    assert_eq!(run(&format!("{long}\n"), false).result, Err(StreamFault::LineTooLong));
    let most = format!("data: {}\n", "x".repeat(MAX_LINE_BYTES - 6));
    assert_eq!(run(&most, false).out, most);
}

#[test]
fn an_early_end_is_an_error_event_and_never_done() {
    let first = chunk(r#"{"content":"a"}"#);
    let event = "data: {\"error\":{\"message\":\"The model's provider ended the stream before it was complete.\",\
                 \"type\":\"upstream_error\",\"param\":null,\"code\":\"upstream_incomplete\"}}\n\n";
    let seen = first.replace("gpt-up", "auto");
    assert_eq!(run_to_end("", false), event);
    assert_eq!(run_to_end(&first, false), format!("{seen}{event}"));
    // Half an object is not forwarded; an event left open is closed first.
    assert_eq!(run_to_end(&format!("{first}data: {{\"id\":\"c"), false), format!("{seen}{event}"));
    assert_eq!(run_to_end(first.trim_end(), false), format!("{seen}{event}"));
    assert_eq!(run_to_end(&format!("{first}event: x\n"), false), format!("{seen}{event}"));
    assert_eq!(run_to_end("data: [DON", false), event);
}

#[test]
fn a_failure_is_told_in_the_words_given() {
    let mut rewriter = StreamRewriter::new("auto", false);
    let mut out = Vec::new();
    rewriter.finish(StreamEnd::Failed { code: "timeout", message: "Too \"slow\"." }, &mut out);
    let text = String::from_utf8(out).unwrap();
    let json: serde_json::Value = serde_json::from_str(text.trim_start_matches("data: ")).unwrap();
    assert_eq!(json["error"]["message"], "Too \"slow\".");
    assert_eq!(json["error"]["code"], "timeout");
}

#[test]
fn done_without_its_blank_line_is_completed() {
    let hello = chunk(r#"{"content":"a"}"#);
    for (end, expected) in [
        ("data: [DONE]", "data: [DONE]\n\n"),
        ("data:[DONE]\n", "data:[DONE]\n\n"),
        ("data: [DONE] \r\n", "data: [DONE] \r\n\n"),
    ] {
        let out = run_to_end(&format!("{hello}{end}"), true);
        assert_eq!(out, format!("{}{expected}", hello.replace("gpt-up", "auto")));
    }
}

#[test]
fn a_usage_chunk_cut_off_at_the_end_still_counts() {
    let Run { mut rewriter, .. } = run(USAGE.trim_end(), true);
    let mut out = Vec::new();
    rewriter.finish(StreamEnd::Eof, &mut out);
    assert_eq!(rewriter.usage().map(|usage| usage.total()), Some(10));
    assert!(!String::from_utf8(out).unwrap().contains("prompt_tokens"));
}

#[test]
fn output_is_estimated_by_deltas_or_bytes() {
    let short = chunk(r#"{"content":"a"}"#).repeat(5);
    assert_eq!(run(&short, false).rewriter.output_tokens_seen(), 5);
    let long = chunk(&format!(r#"{{"content":"{}"}}"#, "x".repeat(400)));
    assert_eq!(run(&long, false).rewriter.output_tokens_seen(), 100);
    let role = chunk(r#"{"role":"assistant","content":""}"#);
    assert!(run(&role, false).rewriter.has_begun());
    for nothing in
        [": hello\n\n", "event: ping\ndata: {\"type\":\"ping\"}\n\n", "data: {\"choices\":[]}\n\n", "oops\n\n"]
    {
        assert!(!run(nothing, false).rewriter.has_begun(), "{nothing}");
    }
}

/// What the client gets of a stream that is cut at every place, and byte by byte; always the same.
#[track_caller]
fn run_cut(input: &str, hide_usage: bool) -> String {
    let bytes = input.as_bytes();
    let run = |pieces: &[&[u8]]| {
        let mut rewriter = StreamRewriter::new("auto", hide_usage);
        let mut out = Vec::new();
        let failed = pieces.iter().any(|piece| rewriter.push(piece, &mut out).is_err());
        let end = if failed { StreamEnd::Failed { code: "fault", message: "" } } else { StreamEnd::Eof };
        rewriter.finish(end, &mut out);
        String::from_utf8(out).unwrap()
    };
    let whole = run(&[bytes]);
    assert_eq!(run(&bytes.chunks(1).collect::<Vec<_>>()), whole);
    for at in 0..bytes.len() {
        assert_eq!(run(&[&bytes[..at], &bytes[at..]]), whole, "cut at {at}");
    }
    whole
}

#[test]
fn an_event_whose_data_is_hidden_vanishes_as_a_whole() {
    let named = |event: &str| format!("event: message\nretry: 7\n{event}");
    let hello = chunk(r#"{"content":"a"}"#);
    let late = USAGE.replace("\n\n", "\nevent: message\nretry: 8\n\n");
    for end in ["\n", "\r\n", "\r"] {
        for hidden in [named(USAGE), late.clone(), USAGE.into(), named("\n"), named("data:\n\n"), "data\n\n".into()] {
            let around = [named(&hello), named("data: [DONE]\n\n")];
            let input = around.join(&hidden).replace('\n', end);
            let expected = around.concat().replace("gpt-up", "auto").replace('\n', end);
            assert_eq!(run_cut(&input, true), expected, "{hidden:?}");
        }
        // Asked for, it stays whole.
        let input = [named(&hello), named(USAGE), "data: [DONE]\n\n".into()].concat().replace('\n', end);
        assert_eq!(run_cut(&input, false), input.replace("gpt-up", "auto"));
    }
}

#[test]
fn an_event_that_is_called_an_error_is_one_whatever_its_data() {
    let hello = chunk(r#"{"content":"a"}"#);
    for (data, message, code) in [
        (r#"data: {"message":"secret"}"#, r#"{"message":"secret"}"#, None),
        (r#"data: {"error":{"message":"secret","code":"c"}}"#, "secret", Some("c")),
        ("data: secret", "secret", None),
        ("data: {\ndata: \"message\":\"secret\"}", "{", None),
        ("id: 7", "", None),
    ] {
        for name in ["event: error", "event:error"] {
            for end in ["\n", "\r\n"] {
                let input = format!("{hello}{name}\n{data}\n\n").replace('\n', end);
                let fault = StreamFault::UpstreamError { message: message.into(), code: code.map(Into::into) };
                assert_eq!(run(&input, false).result, Err(fault), "{data}");
                let out = run_cut(&input, false);
                assert!(out.starts_with(&hello.replace("gpt-up", "auto").replace('\n', end)), "{out}");
                assert!(!out.contains("secret") && !out.contains("event:"), "{out}");
                // Nor does it need its end.
                let out = run_to_end(input.trim_end(), false);
                assert!(!out.contains("secret") && out.contains("upstream_error"), "{data} {out}");
            }
        }
    }
    assert_eq!(run("event: errors\ndata: {}\n\n", false).result, Ok(()));
}

#[test]
fn done_without_an_answer_is_a_fault() {
    let role = chunk(r#"{"role":"assistant","content":""}"#);
    let done = "data: [DONE]\n\n";
    for before in ["", ": hello\n\n", "event: ping\n\n", &role, USAGE, &role.replace("null}]", "\"\"}]")] {
        let Run { out, rewriter, result } = run(&format!("{before}{done}"), false);
        assert_eq!(result, Err(StreamFault::Empty), "{before}");
        assert!(rewriter.gave_nothing() && !rewriter.saw_done() && !out.contains("[DONE]"), "{out}");
        let out = run_to_end(&format!("{before}data: [DONE]"), false);
        assert!(!out.contains("[DONE]") && out.contains("upstream_incomplete"), "{out}");
    }
    // A model may have nothing to say.
    let stop = role.replace("null}]", "\"stop\"}]");
    assert_eq!(run(&format!("{stop}{done}"), false).out, format!("{stop}{done}").replace("gpt-up", "auto"));
    let call = chunk(r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}"#);
    assert!(run(&format!("{call}{done}"), false).rewriter.saw_done());
}

#[test]
fn an_object_in_several_lines_of_data_is_one_event() {
    let lines = |event: &str| {
        event.trim_end().replace(",\"", ",\ndata: \"").replace("data: {", "data:{\ndata:\ndata:  ") + "\n\n"
    };
    let hello = chunk(r#"{"content":"a, \"b"}"#);
    for end in ["\n", "\r\n", "\r"] {
        let input = format!("retry: 1\n{}{}data: [DONE]\n\n", lines(&hello), lines(USAGE)).replace('\n', end);
        for hide_usage in [true, false] {
            let out = run_cut(&input, hide_usage).replace(end, "\n");
            let objects: Vec<serde_json::Value> = out
                .lines()
                .filter_map(|line| line.strip_prefix("data:"))
                .filter_map(|data| serde_json::from_str(data).ok())
                .collect();
            let told = |event: &str| {
                let event = event.replace("gpt-up", "auto");
                serde_json::from_str::<serde_json::Value>(event.strip_prefix("data: ").unwrap()).unwrap()
            };
            let expected = if hide_usage { vec![told(&hello)] } else { vec![told(&hello), told(USAGE)] };
            assert_eq!(objects, expected, "{out}");
            assert!(out.starts_with("retry: 1\ndata: {") && out.ends_with("}\n\ndata: [DONE]\n\n"), "{out}");
        }
    }
    assert_eq!(
        run("data: {\ndata: \"error\":{\"message\":\"a\"}}\n\n", false).result.unwrap_err().code(),
        "upstream_error"
    );
    assert_eq!(run("data: {\"a\":\ndata: }\n\n", false).result, Err(StreamFault::InvalidJson));
    assert_eq!(run("data: {\"a\":\"b\ndata: c\"}\n\n", false).result, Err(StreamFault::InvalidJson));
    // The last one lacks its end, or half of itself.
    assert!(run_to_end("data: {\ndata: \"a\":1}", false).starts_with("data: { \"a\":1}\n\ndata: {\"error\""));
    assert!(run_to_end("data: {\ndata: \"a\":", false).starts_with("data: {\"error\""));
}

#[test]
fn what_an_event_gathers_has_a_bound() {
    for line in
        ["event: x\n", "data: {\n"].map(|line| format!("{}\n", line.trim_end().to_owned() + &" x".repeat(1 << 19)))
    {
        let mut rewriter = StreamRewriter::new("auto", false);
        let mut out = Vec::new();
        let pushed = (0..20).map(|_| rewriter.push(line.as_bytes(), &mut out)).find(Result::is_err);
        assert_eq!(pushed, Some(Err(StreamFault::LineTooLong)));
        assert!(out.is_empty());
    }
}

#[test]
fn usage_that_nobody_told_is_estimated_before_done() {
    let run = |input: &str| {
        let mut rewriter = StreamRewriter::new("auto", false).with_estimate(9);
        let mut out = Vec::new();
        rewriter.push(input.as_bytes(), &mut out).unwrap();
        assert!(rewriter.saw_done());
        (String::from_utf8(out).unwrap(), rewriter.usage())
    };
    let hello = chunk(r#"{"content":"a text of twenty-odd bytes"}"#);
    let told = hello.replace("gpt-up", "auto");
    let estimate = |known: &str| {
        format!(
            "data: {{\"object\":\"chat.completion.chunk\",{known}\"model\":\"auto\",\"choices\":[],\
             \"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":7,\"total_tokens\":16}}}}\n\n"
        )
    };
    let known = estimate("\"id\":\"c1\",\"created\":1,");
    for done in ["data: [DONE]\n\n", "event: message\ndata:[DONE]\n\n"] {
        assert_eq!(run(&format!("{hello}{done}")), (format!("{told}{known}{done}"), None));
    }
    let done = "data: [DONE]\n\n";
    // What can't be believed is not passed on.
    for usage in [r#"{"prompt_tokens":-1,"completion_tokens":2}"#, "{}", "\"7\"", "null"] {
        let absurd = format!("data: {{\"usage\" : {usage} ,\"choices\":[]}}\n\n");
        let nothing = "data: {\"usage\" : null ,\"choices\":[]}\n\n";
        assert_eq!(run(&format!("{hello}{absurd}{done}")).0, format!("{told}{nothing}{known}{done}"));
    }
    let nameless = "data: {\"choices\":[{\"delta\":{\"content\":\"a text of twenty-odd bytes\"}}]}\n\n";
    let empty = "data: {\"id\":\"\",\"created\":0,\"choices\":[]}\n\n";
    assert_eq!(run(&format!("{nameless}{done}")).0, format!("{nameless}{}{done}", estimate("")));
    assert_eq!(run(&format!("{empty}{hello}{done}")).0, format!("{empty}{told}{known}{done}"));
    let reported = format!("{hello}{USAGE}{done}");
    assert_eq!(run(&reported).0, reported.replace("gpt-up", "auto"));
}
