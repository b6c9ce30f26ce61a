use serde_json::json;

use super::super::parse_chat;
use super::*;
use crate::routing::Mode;

/// The policy of a request with these messages, and the messages as they go upstream.
fn take(messages: &Value) -> (Directive, Value) {
    let mut messages = messages.as_array().unwrap().clone();
    let directive = take_directives(&mut messages).unwrap();
    (directive, Value::Array(messages))
}

/// The same for one user message.
fn take_text(text: &str) -> (Directive, String) {
    let (directive, messages) = take(&json!([{"role":"user","content":text}]));
    (directive, messages[0]["content"].as_str().unwrap().to_owned())
}

fn policy(mode: Option<Mode>, budget: i64, latency: u64, min_weight: u8) -> Policy {
    Policy {
        mode,
        max_budget: Some(MicroUsd(budget)).filter(|budget| budget.0 > 0),
        max_latency_ms: Some(latency).filter(|latency| *latency > 0),
        min_weight,
    }
}

#[test]
fn lines_and_blocks() {
    let cheap = Some(Mode::Cheap);
    let cases = [
        ("@@tokenhub mode=cheap budget=0.01 latency=5000\nHello", policy(cheap, 10_000, 5_000, 0), "Hello"),
        ("@@tokenhub min_weight=7", policy(None, 0, 0, 7), ""),
        ("prefix @@tokenhub mode=cheap\nquestion", policy(cheap, 0, 0, 0), "prefix question"),
        ("prefix @@tokenhub mode=cheap", policy(cheap, 0, 0, 0), "prefix"),
        ("@@tokenhub mode=cheap\r\nHi", policy(cheap, 0, 0, 0), "Hi"),
        ("@@tokenhub  \nmode=cheap\n\nbudget = 0.02\n\n@@end\nHello", policy(cheap, 20_000, 0, 0), "Hello"),
        ("Before\n@@tokenhub\nmode=cheap\n@@end\nAfter", policy(cheap, 0, 0, 0), "Before\nAfter"),
        ("@@tokenhub\r\nmode=cheap\r\n@@end\r\nAfter", policy(cheap, 0, 0, 0), "After"),
        ("@@tokenhub\nmode=cheap\n@@end", policy(cheap, 0, 0, 0), ""),
        ("@@tokenhub\nmode=cheap\n  @@end What?", policy(cheap, 0, 0, 0), "What?"),
        // Nothing ends the block: nobody obeys, and the marker does not reach the model.
        ("@@tokenhub\nmode=cheap\nQuestion", policy(None, 0, 0, 0), "mode=cheap\nQuestion"),
        ("@@tokenhub\nmode=cheap\n@@ending\n", policy(None, 0, 0, 0), "mode=cheap\n@@ending\n"),
        // Prose.
        ("What is @@tokenhub for?", policy(None, 0, 0, 0), "What is @@tokenhub for?"),
        ("@@tokenhubs mode=cheap", policy(None, 0, 0, 0), "@@tokenhubs mode=cheap"),
        ("@@tokenhub =cheap", policy(None, 0, 0, 0), "@@tokenhub =cheap"),
    ];
    for (text, expected, rest) in cases {
        let (directive, kept) = take_text(text);
        assert_eq!((directive.policy, kept.as_str()), (expected, rest), "{text:?}");
    }
}

/// T87.
#[test]
fn bad_values_say_nothing() {
    for pair in [
        "mode=turbo",
        "mode=CHEAP",
        "budget=0",
        "budget=-1",
        "budget=100.01",
        "budget=x",
        "budget=1e-9",
        "latency=0",
        "latency=300001",
        "latency=1.5",
        "min_weight=11",
        "min_weight=1000",
        "min_weight=-1",
        "colour=red",
    ] {
        let (directive, kept) = take_text(&format!("@@tokenhub {pair}\nHi"));
        assert_eq!((directive, kept.as_str()), (Directive::default(), "Hi"), "{pair}");
    }
    let limits = policy(None, 100_000_000, 300_000, 10);
    assert_eq!(take_text("@@tokenhub budget=100 latency=300000 min_weight=10").0.policy, limits);
    // The good value before the bad one stays.
    assert_eq!(take_text("@@tokenhub mode=cheap mode=turbo").0.policy.mode, Some(Mode::Cheap));
}

#[test]
fn schemas_in_lines_and_blocks() {
    let schema = json!({"type":"object","required":["name"]});
    let texts = [
        "@@tokenhub output_schema={\"type\":\"object\",\"required\":[\"name\"]} mode=cheap\nHi",
        "@@tokenhub output_schema={\"type\": \"object\", \"required\": [\"name\"]} mode=cheap\nHi",
        "@@tokenhub\nmode=cheap\noutput_schema = {\"type\": \"object\", \"required\": [\"name\"]}\n@@end\nHi",
    ];
    for text in texts {
        let (directive, kept) = take_text(text);
        assert_eq!(directive.output_schema.as_ref(), Some(&schema), "{text}");
        assert_eq!((directive.policy.mode, kept.as_str()), (Some(Mode::Cheap), "Hi"), "{text}");
    }
    for text in ["@@tokenhub output_schema={bad}", "@@tokenhub\noutput_schema={\n@@end", "@@tokenhub output_schema="] {
        let error = take_directives(&mut [json!({"role":"user","content":text})]).unwrap_err();
        assert_eq!(error.message, "invalid output_schema directive JSON", "{text}");
    }
}

#[test]
fn the_first_directive_of_a_user_counts_and_none_is_left() {
    let (directive, messages) = take(&json!([
        {"role":"system","content":"@@tokenhub mode=planning\nBe brief."},
        {"role":"user","content":"@@tokenhub\nnothing ends this"},
        {"role":"assistant","content":"As you said: @@tokenhub min_weight=9"},
        {"role":"user","content":[{"type":"text","text":"@@tokenhub mode=cheap\n"},{"type":"image_url","image_url":{"url":"data:,"}},
            {"type":"text","text":"Hi @@tokenhub mode=refine\nthere"}]},
        {"role":"user","content":"@@tokenhub mode=vote\n@@tokenhub mode=vote"},
    ]));
    assert_eq!(directive.policy, policy(Some(Mode::Cheap), 0, 0, 0));
    let expected = json!([
        {"role":"system","content":"Be brief."},
        {"role":"user","content":"nothing ends this"},
        {"role":"assistant","content":"As you said:"},
        {"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,"}},{"type":"text","text":"Hi there"}]},
        {"role":"user","content":""},
    ]);
    assert_eq!(messages, expected);
}

#[test]
fn a_message_keeps_a_part() {
    let content = |parts: Value| take(&json!([{"role":"user","content":parts}])).1[0]["content"].clone();
    let directive = json!({"type":"text","text":"@@tokenhub mode=cheap"});
    assert_eq!(content(json!([directive, directive])), json!([{"type":"text","text":""}]));
    assert_eq!(content(json!([{"type":"text","text":""}, {"type":"text","text":"a"}])).as_array().unwrap().len(), 2);
}

#[test]
fn directives_count_at_the_beginning_only() {
    let far = format!("{}\n@@tokenhub mode=cheap\n", "x".repeat(MAX_OFFSET_BYTES));
    let (directive, kept) = take_text(&far);
    assert_eq!((directive, kept.contains(MARKER)), (Directive::default(), false));
    let near = format!("{}@@tokenhub mode=cheap\n", "x".repeat(MAX_OFFSET_BYTES - 1));
    assert_eq!(take_text(&near).0.policy.mode, Some(Mode::Cheap));
}

/// What is no directive costs no more than its length: none of these may take noticeable time.
#[test]
fn a_text_full_of_markers_is_read_once() {
    for piece in ["@@tokenhub", "@@tokenhub x", "@@tokenhub ", "x@@tokenhub =y", "@@tokenhub\n", "@@tokenhub mode=x\n"]
    {
        let (_, kept) = take_text(&piece.repeat(100_000));
        assert!(kept.is_empty() || !piece.contains('\n'), "{piece}");
    }
    for fill in ["\n", " ", "x"] {
        take_text(&format!("{}{}", "@@tokenhub ".repeat(100_000), fill.repeat(1 << 20)));
    }
}

/// A directive overrides the policy where it speaks; the client can keep them out altogether.
#[test]
fn directives_and_policies() {
    let parse = |policy: Value| {
        let text = "@@tokenhub mode=cheap output_schema={\"type\":\"array\"}\nHi";
        let body = json!({"request":{"messages":[{"role":"user","content":text}]},"policy":policy});
        parse_chat(body.to_string().as_bytes()).unwrap()
    };
    let chat = parse(json!({"mode":"planning","min_weight":4}));
    assert_eq!(chat.policy, policy(Some(Mode::Cheap), 0, 0, 4));
    assert_eq!(chat.request.messages[0]["content"], "Hi");
    assert_eq!(*chat.request.output_schema.unwrap().source(), json!({"type":"array"}));
    let chat = parse(json!({"mode":"planning","directives":false}));
    assert_eq!(chat.policy, policy(Some(Mode::Planning), 0, 0, 0));
    assert!(chat.request.messages[0]["content"].as_str().unwrap().starts_with(MARKER));
    assert_eq!(chat.request.output_schema, None);
}

/// A schema that is JSON but can't be checked is refused too.
#[test]
fn schemas_of_directives_are_read() {
    let body = json!({"request":{"messages":[{"role":"user","content":"@@tokenhub output_schema={}\nHi"}]}});
    let error = parse_chat(body.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.message, "schema missing required \"type\" field");
}
