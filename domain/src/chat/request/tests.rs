use super::*;
use MaxOutputField::{MaxCompletionTokens, MaxTokens};

const HI: &str = r#""messages":[{"role":"user","content":"hi"}]"#;

fn parse(body: &str) -> Result<ChatRequest<'_>, InvalidRequest> {
    ChatRequest::parse(body.as_bytes())
}

fn rewrite(body: &str, model: &str, cap: Option<u64>, field: MaxOutputField) -> String {
    let edit = UpstreamEdit { model, max_output_tokens: cap, max_output_field: field, keeps_tier: false };
    String::from_utf8(parse(body).unwrap().rewrite(&edit)).unwrap()
}

#[test]
fn the_smallest_request_has_the_defaults() {
    let body = format!("{{{HI}}}");
    let request = parse(&body).unwrap();
    assert_eq!(request.model(), "auto");
    assert!(!request.stream() && !request.include_usage());
    assert_eq!((request.n(), request.max_output_tokens(), request.input.messages), (1, None, 1));
}

#[test]
fn parameters_are_read() {
    let body = format!(
        r#"{{"model":"a/b\u002dc",{HI},"stream":true,"stream_options":{{"x":1,"include_usage":true}},
        "n":2,"max_tokens":10,"max_completion_tokens":20,"temperature":1.5,"tools":[{{}}],"made_up":[[]]}}"#
    );
    let request = parse(&body).unwrap();
    assert_eq!(request.model(), "a/b-c");
    assert!(request.stream() && request.include_usage());
    assert_eq!((request.n(), request.max_output_tokens()), (2, Some(20)));
}

#[test]
fn null_is_the_same_as_absent() {
    let body = format!(
        r#"{{"model":null,{HI},"stream":null,"stream_options":null,"n":null,"max_tokens":null,"temperature":null,
        "max_completion_tokens":null,"tools":null}}"#
    );
    let request = parse(&body).unwrap();
    assert_eq!((request.model(), request.stream(), request.n()), ("auto", false, 1));
    assert_eq!(request.max_output_tokens(), None);
}

#[test]
fn content_may_be_many_things() {
    let body = r#"{"messages":[
        {"role":"system","content":"a"},
        {"role":"developer","content":[{"type":"text","text":"b"}]},
        {"role":"user","content":[{"image_url":{"url":"https://x"},"type":"image_url"}],"name":"n"},
        {"role":"assistant","content":null,"tool_calls":[{"id":"1"}]},
        {"role":"assistant","tool_calls":null},
        {"role":"tool","tool_call_id":"1","content":"c"},
        {"role":"function","name":"f","content":null}]}"#;
    let request = parse(body).unwrap();
    assert_eq!((request.input.messages, request.image_count()), (7, 1));
}

/// Body, parameter at fault, part of the message.
const FAULTS: &[(&str, Option<&str>, &str)] = &[
    (
        r#"{"messages":[{"role":"user","content":"a"},{"role":"bot"}]}"#,
        Some("messages[1].role"),
        "messages[1].role must be one of system, developer, user, assistant, tool, function.",
    ),
    (r#"{"messages":[{"content":"a"}]}"#, Some("messages[0].role"), "messages[0].role is required."),
    (r#"{"messages":[{"role":5,"content":"a"}]}"#, Some("messages[0].role"), "must be one of"),
    (r#"{"messages":[{"role":"user","role":"user","content":"a"}]}"#, Some("messages[0].role"), "twice"),
    (r#"{"messages":[{"role":"user"}]}"#, Some("messages[0].content"), "messages[0].content is required."),
    (r#"{"messages":[{"role":"user","content":null}]}"#, Some("messages[0].content"), "is required"),
    (r#"{"messages":[{"role":"user","content":5}]}"#, Some("messages[0].content"), "a string or an array of parts"),
    (r#"{"messages":[{"role":"user","content":["a"]}]}"#, Some("messages[0].content[0]"), "must be an object"),
    (
        r#"{"messages":[{"role":"user","content":[{"type":"text"},{}]}]}"#,
        Some("messages[0].content[1].type"),
        "is required",
    ),
    (
        r#"{"messages":[{"role":"user","content":[{"type":1}]}]}"#,
        Some("messages[0].content[0].type"),
        "must be a string",
    ),
    (r#"{"messages":[{"role":"assistant","tool_calls":{}}]}"#, Some("messages[0].tool_calls"), "must be an array"),
    (r#"{"messages":["hi"]}"#, Some("messages[0]"), "messages[0] must be an object."),
    (r#"{"messages":[]}"#, Some("messages"), "messages must not be empty."),
    (r#"{"messages":"hi"}"#, Some("messages"), "messages must be an array of messages."),
    (r#"{"model":"auto"}"#, Some("messages"), "messages is required."),
    (r#"{"model":5}"#, Some("model"), "model must be a string."),
    (r#"{"model":""}"#, Some("model"), "model must not be empty."),
    (r#"{"model":"\ud800"}"#, Some("model"), "model must be a string."),
    (r#"{"stream":"yes"}"#, Some("stream"), "stream must be true or false."),
    (r#"{"stream_options":true}"#, Some("stream_options"), "must be an object"),
    (r#"{"stream_options":{"include_usage":1}}"#, Some("stream_options.include_usage"), "must be true or false"),
    (r#"{"n":0}"#, Some("n"), "n must be an integer from 1 to 128."),
    (r#"{"n":129}"#, Some("n"), "1 to 128"),
    (r#"{"max_tokens":0}"#, Some("max_tokens"), "max_tokens must be a positive integer."),
    (r#"{"max_tokens":1.5}"#, Some("max_tokens"), "positive integer"),
    (r#"{"max_completion_tokens":"9"}"#, Some("max_completion_tokens"), "positive integer"),
    (r#"{"temperature":2.1}"#, Some("temperature"), "number from 0 to 2."),
    (r#"{"tools":{}}"#, Some("tools"), "tools must be an array."),
    (r#"{"tools":[1]}"#, Some("tools[0]"), "must be an object"),
    (r#"{"model":"a","mod\u0065l":"b"}"#, Some("model"), "model must not be given twice."),
    ("[]", None, "The request body must be a JSON object."),
    ("", None, "The request body is not valid JSON: unexpected end at byte 0."),
    ("{\"a\":1,}", None, "The request body is not valid JSON: expected a key at byte 7."),
    ("\0\0", None, "not valid JSON"),
];

#[test]
fn faults_name_the_parameter() {
    for (body, param, message) in FAULTS {
        let error = parse(body).unwrap_err();
        assert_eq!(error.param.as_deref(), *param, "{body}");
        assert!(error.message.contains(message), "{body}: {error}");
    }
    let error = ChatRequest::parse(b"{\"a\":\"\xff\"}").unwrap_err();
    assert_eq!(error.message, "The request body is not valid UTF-8 at byte 6.");
}

#[test]
fn lists_are_bounded() {
    let message = r#"{"role":"user","content":"x"}"#;
    let many = |count: usize| format!("{{\"messages\":[{}]}}", vec![message; count].join(","));
    assert!(parse(&many(MAX_MESSAGES)).is_ok());
    assert_eq!(parse(&many(MAX_MESSAGES + 1)).unwrap_err().param.as_deref(), Some("messages"));
    let tools = |count: usize| format!("{{{HI},\"tools\":[{}]}}", vec!["{}"; count].join(","));
    assert!(parse(&tools(MAX_TOOLS)).is_ok());
    assert_eq!(parse(&tools(MAX_TOOLS + 1)).unwrap_err().param.as_deref(), Some("tools"));
    let members: Vec<_> = (0..MAX_MEMBERS).map(|i| format!("\"k{i}\":0")).collect();
    assert!(parse(&format!("{{{HI},{}}}", members.join(","))).is_err());
}

#[test]
fn deep_unknown_fields_pass() {
    let deep = "[".repeat(100) + &"]".repeat(100);
    let body = format!("{{{HI},\"x\":{deep}}}");
    assert!(rewrite(&body, "m", None, MaxOutputField::MaxTokens).contains(&deep));
}

#[test]
fn token_bounds_do_not_count_media_bytes() {
    let text = format!("{{{HI}}}");
    let plain = parse(&text).unwrap();
    assert_eq!(plain.input_tokens_upper(), text.len() as u64 + 16);
    assert_eq!(plain.input_tokens_lower(), text.len() as u64 / 8);
    assert_eq!(plain.input_tokens_estimate(), text.len() as u64 / 4);
    let image =
        format!(r#"{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{}"}}}}"#, "A".repeat(100_000));
    let body = format!(r#"{{"messages":[{{"role":"user","content":[{image},{image}]}}]}}"#);
    let upper = parse(&body).unwrap().input_tokens_upper();
    assert!((4_000..4_100).contains(&upper), "{upper}");
    let audio = format!(r#"{{"type":"input_audio","input_audio":{{"data":"{}"}}}}"#, "A".repeat(80_000));
    let body = format!(r#"{{"messages":[{{"role":"user","content":[{audio}]}}]}}"#);
    let upper = parse(&body).unwrap().input_tokens_upper();
    assert!((10_000..10_200).contains(&upper), "{upper}");
}

#[test]
fn text_counts_as_long_as_it_is_however_it_is_escaped() {
    let sizes = |body: &str| {
        let request = parse(body).unwrap();
        (request.input_tokens_lower(), request.input_tokens_estimate())
    };
    let ask = |text: &str| format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}]}}"#);
    let escaped: String = "模é😀a".encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
    let plain = ask(&"模é😀a".repeat(400));
    assert_eq!(sizes(&ask(&escaped.repeat(400))), sizes(&plain));
    assert_eq!(sizes(&ask(&r#"\n\"\/\\"#.repeat(1_000))), sizes(&ask(&"nq/b".repeat(1_000))));
    assert!(parse(&ask(&escaped)).unwrap().input_tokens_upper() > escaped.len() as u64, "the bound stays one");
    // What is no text takes nothing from the text beside it.
    let beside = |data: &str| {
        let image = format!(r#"{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{data}"}}}}"#);
        let parts = format!(r#"[{{"type":"text","text":"{}"}},{image}]"#, "word ".repeat(1_000));
        format!(r#"{{"messages":[{{"role":"user","content":{parts}}}]}}"#)
    };
    assert_eq!(sizes(&beside(&r"\/A".repeat(3_000))), sizes(&beside("")));
}

#[test]
fn a_dearer_tier_stays_with_who_pays_for_it() {
    let body = |tier: &str| format!(r#"{{"model":"a","service_tier" : {tier},{HI}}}"#);
    let sent = |tier: &str, keeps_tier: bool| {
        let edit = UpstreamEdit { model: "a", max_output_tokens: None, max_output_field: MaxTokens, keeps_tier };
        String::from_utf8(parse(&body(tier)).unwrap().rewrite(&edit)).unwrap()
    };
    for tier in [r#""priority""#, r#""pri\u006frity""#, r#""fast""#] {
        assert_eq!((sent(tier, false), sent(tier, true)), (body(r#""auto""#), body(tier)), "{tier}");
    }
    for tier in [r#""auto""#, r#""default""#, r#""flex""#, "null", "7"] {
        assert_eq!(sent(tier, false), body(tier), "{tier}");
    }
}

/// Upper bound, estimate and lower bound of a request that holds nothing but such a file.
#[track_caller]
fn tokens_of_file(file: &str) -> (u64, u64, u64) {
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":[{{"type":"text","text":"sum"}},{{"type":"file","file":{file}}}]}}]}}"#
    );
    let request = parse(&body).unwrap();
    (request.input_tokens_upper(), request.input_tokens_estimate(), request.input_tokens_lower())
}

#[test]
fn documents_count_by_the_page() {
    let pdf =
        |bytes: usize| format!(r#"{{"filename":"a","file_data":"data:application/pdf;base64,{}"}}"#, "A".repeat(bytes));
    let near = |(upper, estimate, lower): (u64, u64, u64), pages: u64, likely: u64| {
        assert!((pages * PAGE_TOKENS_UPPER..pages * PAGE_TOKENS_UPPER + 200).contains(&upper), "{upper}");
        assert!((likely * PAGE_TOKENS_ESTIMATE..likely * PAGE_TOKENS_ESTIMATE + 50).contains(&estimate), "{estimate}");
        assert!(lower < 50, "{lower}");
    };
    near(tokens_of_file(&pdf(1_000)), 1, 1);
    near(tokens_of_file(&pdf(800_000)), 98, 13);
    near(tokens_of_file(&pdf(8_000_000)), DOCUMENT_PAGES_UPPER, 50);
    near(tokens_of_file(r#"{"file_data":"https://files.example/a.pdf"}"#), DOCUMENT_PAGES_UPPER, 10);
    near(tokens_of_file(r#"{"file_id":"file-1"}"#), DOCUMENT_PAGES_UPPER, 10);
    let text = tokens_of_file(&pdf(80_000).replace("application/pdf", "text/plain"));
    assert!(text.0 > 80_000 && (20_000..20_050).contains(&text.1) && text.2 > 10_000, "{text:?}");
}

/// Body, cap, where the cap goes, body for the upstream; `M` stands for the messages.
const REWRITES: &[(&str, Option<u64>, MaxOutputField, &str)] = &[
    (r#"{ "model" : "auto" , M , "x": 1.00 }"#, None, MaxTokens, r#"{ "model" : "up" , M , "x": 1.00 }"#),
    ("{M}", None, MaxTokens, r#"{"model":"up",M}"#),
    (r#"{"model":null,M}"#, None, MaxTokens, r#"{"model":"up",M}"#),
    (r#"{"model":"a",M}"#, Some(9), MaxTokens, r#"{"max_tokens":9,"model":"up",M}"#),
    (r#"{"model":"a",M}"#, Some(9), MaxCompletionTokens, r#"{"max_completion_tokens":9,"model":"up",M}"#),
    ("{M}", Some(9), MaxTokens, r#"{"model":"up","max_tokens":9,M}"#),
    (r#"{"model":"a",M,"max_tokens":5}"#, Some(9), MaxTokens, r#"{"model":"up",M,"max_tokens":5}"#),
    (r#"{"model":"a","max_tokens" : 50 ,M}"#, Some(9), MaxTokens, r#"{"model":"up","max_tokens" : 9 ,M}"#),
    (
        r#"{"model":"a","max_tokens":50,M}"#,
        Some(9),
        MaxCompletionTokens,
        r#"{"model":"up","max_completion_tokens":9,M}"#,
    ),
    (
        r#"{"model":"a","max_tokens" : 5 ,M}"#,
        None,
        MaxCompletionTokens,
        r#"{"model":"up","max_completion_tokens":5 ,M}"#,
    ),
    (r#"{"max_completion_tokens":50,M,"model":"a"}"#, Some(9), MaxTokens, r#"{"max_tokens":9,M,"model":"up"}"#),
    (r#"{"max_compl\u0065tion_tokens":5,M,"model":"a"}"#, None, MaxTokens, r#"{"max_tokens":5,M,"model":"up"}"#),
    (r#"{"model":"a","max_tokens":null,M}"#, Some(9), MaxTokens, r#"{"model":"up","max_tokens":9,M}"#),
    (
        r#"{"model":"a","max_tokens":null,M}"#,
        Some(9),
        MaxCompletionTokens,
        r#"{"model":"up","max_completion_tokens":9,M}"#,
    ),
    (r#"{"model":"a","max_tokens":null,M}"#, None, MaxCompletionTokens, r#"{"model":"up","max_tokens":null,M}"#),
    // Of both, one goes on, and it is the larger: what is reserved is made for that one.
    (
        r#"{"model":"a","max_tokens":50,"max_completion_tokens":5,M}"#,
        Some(9),
        MaxTokens,
        r#"{"model":"up","max_tokens":9,M}"#,
    ),
    (r#"{"max_completion_tokens":5,M , "max_tokens": 50 }"#, None, MaxTokens, r#"{"model":"up","max_tokens":50,M  }"#),
    (
        r#"{"max_tokens":5,"model":"a","max_completion_tokens":5,M,"stream":true}"#,
        None,
        MaxCompletionTokens,
        r#"{"stream_options":{"include_usage":true},"max_completion_tokens":5,"model":"up",M,"stream":true}"#,
    ),
    (
        r#"{"model":"a",M,"max_tokens":null,"max_completion_tokens":7}"#,
        None,
        MaxTokens,
        r#"{"model":"up",M,"max_tokens":7}"#,
    ),
    (
        r#"{"model":"a",M,"stream":true}"#,
        None,
        MaxTokens,
        r#"{"stream_options":{"include_usage":true},"model":"up",M,"stream":true}"#,
    ),
    (
        r#"{"model":"a",M,"stream":true,"stream_options":null}"#,
        None,
        MaxTokens,
        r#"{"model":"up",M,"stream":true,"stream_options":{"include_usage":true}}"#,
    ),
    (
        r#"{"model":"a",M,"stream":true,"stream_options":{}}"#,
        None,
        MaxTokens,
        r#"{"model":"up",M,"stream":true,"stream_options":{"include_usage":true}}"#,
    ),
    (
        r#"{"model":"a",M,"stream_options":{ "y":2},"stream":true}"#,
        None,
        MaxTokens,
        r#"{"model":"up",M,"stream_options":{"include_usage":true, "y":2},"stream":true}"#,
    ),
    (
        r#"{"model":"a",M,"stream_options":{"y":2,"include_usage":false},"stream":true}"#,
        None,
        MaxTokens,
        r#"{"model":"up",M,"stream_options":{"y":2,"include_usage":true},"stream":true}"#,
    ),
    (
        r#"{"model":"a",M,"stream_options":{"include_usage":false},"stream":false}"#,
        None,
        MaxTokens,
        r#"{"model":"up",M,"stream_options":{"include_usage":false},"stream":false}"#,
    ),
];

#[test]
fn rewrite_changes_only_what_it_must() {
    for (body, cap, field, expected) in REWRITES {
        let body = body.replace('M', HI);
        let rewritten = rewrite(&body, "up", *cap, *field);
        assert_eq!(rewritten, expected.replace('M', HI), "{body}");
        assert!(parse(&rewritten).is_ok());
    }
}

#[test]
fn rewrite_escapes_the_model() {
    let body = format!("{{{HI}}}");
    let rewritten = rewrite(&body, "a\"b\\c", None, MaxOutputField::MaxTokens);
    assert_eq!(parse(&rewritten).unwrap().model(), "a\"b\\c");
}

#[test]
fn options_that_only_ask_for_usage_are_known() {
    for (options, expected) in [
        (r#""stream":true"#, true),
        (r#""stream":true,"stream_options":null"#, true),
        (r#""stream":true,"stream_options":{}"#, true),
        (r#""stream":true,"stream_options":{"include_usage":false}"#, true),
        (r#""stream":true,"stream_options":{"include_usage":true,"x":1}"#, false),
        (r#""stream_options":{"include_usage":true}"#, false),
    ] {
        let body = format!(r#"{{"model":"m",{HI},{options}}}"#);
        assert_eq!(ChatRequest::parse(body.as_bytes()).unwrap().asks_for_usage_alone(), expected, "{body}");
    }
}
