use serde_json::json;

use super::*;

fn format(value: Value) -> OutputFormat {
    let body = json!({ "output_format": value });
    OutputFormat::read(Members::of_body(&body).unwrap().section("output_format").unwrap()).unwrap()
}

fn shape(value: Value, text: &str) -> Result<String, String> {
    format(value).shape_text(text, None).map_err(|fault| fault.message)
}

/// T88.
#[test]
fn kinds() {
    let cases = [
        (json!({}), " as it is ", " as it is "),
        (json!({"strip_think":true}), "<think>a</think>\n b ", "b"),
        (json!({"type":"json"}), "Here:\n```json\n{\"a\":1}\n```\nDone.", "{\"a\":1}"),
        (json!({"type":"json"}), "```json\n{\"a\":\"```\"}\n```", "{\"a\":\"```\"}"),
        (json!({"type":"json"}), "```\n[1]\n```", "[1]"),
        (json!({"type":"json"}), "```json {\"a\":1}", "{\"a\":1}"),
        (json!({"type":"json"}), " {\"a\":1}\n", "{\"a\":1}"),
        (json!({"type":"json"}), " no json ", "no json"),
        (json!({"type":"markdown"}), "\n# T\n", "# T"),
        (json!({"type":"text"}), "## Title\n  **bold** and *it* and `code`\n", "Title\nbold and it and code"),
        (json!({"type":"xml"}), " <a/> ", " <a/> "),
        (json!({"type":"json","strip_think":true}), "<think>{</think>```json\n{}\n```", "{}"),
        (json!({"max_tokens":5}), "12345678901234567890", "12345678901234567890"),
        (json!({"max_tokens":5}), "123456789012345678901", "12345678901234567..."),
        (json!({"max_tokens":1}), "模模", "..."),
        (json!({"max_tokens":2}), "a模模模", "a模..."),
        (json!({"type":"json","max_tokens":2}), "not json at all", "not j..."),
    ];
    for (value, text, expected) in cases {
        assert_eq!(shape(value.clone(), text).as_deref(), Ok(expected), "{value} {text}");
    }
}

#[test]
fn json_is_never_cut() {
    let too_long = Err("the answer is JSON and longer than output_format.max_tokens".to_owned());
    assert_eq!(shape(json!({"type":"json","max_tokens":1}), "{\"a\":1}"), too_long);
    assert_eq!(shape(json!({"schema":"{\"type\":\"object\"}","max_tokens":1}), "{\"a\":1}"), too_long);
    // The fence does not count.
    assert_eq!(shape(json!({"type":"json","max_tokens":1}), "```json\n[1]\n```").as_deref(), Ok("[1]"));
}

#[test]
fn schemas_are_held_against_the_shaped_text() {
    let with_schema = json!({"schema":"{\"type\":\"object\",\"required\":[\"a\"]}","strip_think":true});
    assert_eq!(shape(with_schema.clone(), "<think>x</think>{\"a\":1}").as_deref(), Ok("{\"a\":1}"));
    assert_eq!(shape(with_schema.clone(), "```json\n{\"a\":1}\n```").as_deref(), Ok("```json\n{\"a\":1}\n```"));
    assert_eq!(shape(with_schema.clone(), "{}"), Err("missing required field \"a\"".to_owned()));
    let expected = "expected JSON object but got something else";
    assert_eq!(shape(with_schema.clone(), "words"), Err(expected.to_owned()));
    assert_eq!(shape(with_schema, "").as_deref(), Ok(""));
}

#[test]
fn only_the_text_of_an_answer_changes() {
    let answer = |content: Value| {
        json!({"id":"c1","object":"chat.completion","model":"m","usage":{"prompt_tokens":1,"completion_tokens":2},
            "choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":content,
            "tool_calls":[{"id":"t"}]}},{"index":1,"message":{"content":null}}]})
    };
    let body = answer(json!("<think>x</think> hi")).to_string().into_bytes();
    let shaped = format(json!({"strip_think":true})).shape_answer(body, None).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&shaped).unwrap(), answer(json!("hi")));
}

#[test]
fn what_is_only_checked_keeps_its_bytes() {
    let body = b"{ \"choices\" : [ {\"message\":{\"content\":\"[1.0]\"}} ] }".to_vec();
    let array = Schema::parse(json!({"type":"array"})).unwrap();
    assert_eq!(OutputFormat::default().shape_answer(body.clone(), Some(&array)).unwrap(), body);
    let object = Schema::parse(json!({"type":"object"})).unwrap();
    let fault = OutputFormat::default().shape_answer(body, Some(&object)).unwrap_err();
    assert_eq!(fault.message, "expected JSON object but got something else");
    assert_eq!(OutputFormat::default().shape_answer(b"not json".to_vec(), None).unwrap(), b"not json");
    assert!(OutputFormat::default().shape_answer(b"not json".to_vec(), Some(&array)).is_err());
}
