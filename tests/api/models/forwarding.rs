//! `POST /v1/chat/completions`: what the upstream sees.

use std::cell::RefCell;

use guildhall::ports::ReadMode;
use serde_json::json;

use super::kit::{CHAT, PROVIDERS, add_model, chat, hello, hello_stream, rich_key};
use crate::support::{Key, Reply, TestApp, run, run_with};

/// A model `m1` that its provider calls `vendor/real-1`, and a key with money.
async fn with_renamed_model(app: &TestApp) -> Key {
    app.add_provider("p1").await;
    add_model(app, "m1", "p1", json!({ "upstream_model": "vendor/real-1" })).await;
    app.upstream.always(Reply::chat("hi", 1, 1));
    rich_key(app, "10").await
}

/// Sends the body and gives what went to the upstream.
async fn forward(app: &TestApp, key: &Key, body: &str) -> String {
    chat(app, key, body).send().await.expect(200);
    app.upstream.last_body()
}

#[test]
fn every_byte_but_the_models_name_goes_on_untouched() {
    run(async |app| {
        let key = with_renamed_model(&app).await;
        for body in [
            r#"{"model":"m1","messages":[{"role":"user","content":"hi"}],"max_tokens":10}"#,
            // White space of every kind, and an order of its own.
            "\n { \"messages\" : [ { \"role\" :\t\"user\" ,\r\n \"content\" : \"hi\" } ] , \"model\"\n:\n \"m1\" , \"x\" : 1 } \r\n",
            // Numbers as they were written.
            r#"{"seed":1.0,"temperature":1e0,"top_p":1.0e-1,"big":123456789012345678901234567890,"e":1e3,"E":-1.5E+3,"z":-0.0,"model":"m1","messages":[{"role":"user","content":"hi"}]}"#,
            // Fields that nobody here knows, nested and empty.
            r#"{"model":"m1","messages":[{"role":"user","content":"hi","name":"bob","future":{"a":[]}}],"future":{"model":"m1","deep":[null,true,{"messages":"no"}]},"":"","logit_bias":{"50256":-100}}"#,
            // Tools, and an assistant that called one.
            r#"{"model":"m1","messages":[{"role":"user","content":"weather?"},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"w","arguments":"{\"city\": \"Paris\"}"}}]},{"role":"tool","tool_call_id":"c1","content":""}],"tools":[{"type":"function","function":{"name":"w","parameters":{"type":"object","properties":{"model":{"const":"m1"}}},"strict":true}}],"tool_choice":"auto","parallel_tool_calls":false}"#,
            // Vision and audio parts.
            r#"{"model":"m1","messages":[{"role":"user","content":[{"type":"text","text":"what?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo=","detail":"low"}},{"type":"input_audio","input_audio":{"data":"UklGRg==","format":"wav"}}]}]}"#,
            // Structured output.
            r#"{"model":"m1","messages":[{"role":"developer","content":"json"},{"role":"user","content":"hi"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","strict":true,"schema":{"type":"object","properties":{"model":{"type":"string"}}}}}}"#,
            // Text of every script, escaped and not, the escapes of JSON, and a lone surrogate.
            r#"{"model":"m1","messages":[{"role":"user","content":"é 漢字 🦀 \u00e9\ud83e\udd80 \"\\\/\b\f\n\r\t \u0000 \ud800 <|im_end|>"}],"user":"\u202e"}"#,
            // Explicit nulls are not the same bytes as nothing.
            r#"{"model":"m1","messages":[{"role":"user","content":"hi"}],"max_tokens":null,"n":null,"stream":null,"tools":null,"stream_options":null,"temperature":null}"#,
            // Options of streams on a call that is none.
            r#"{"model":"m1","messages":[{"role":"user","content":"hi"}],"stream":false,"stream_options":{"include_usage":false}}"#,
        ] {
            let expected = if body.contains(r#""future":{"model""#) {
                body.replacen("\"m1\"", "\"vendor/real-1\"", 1)
            } else {
                let at = body.find("\"model\"").unwrap() + 7;
                let (before, after) = body.split_at(at);
                format!("{before}{}", after.replacen("\"m1\"", "\"vendor/real-1\"", 1))
            };
            assert_eq!(forward(&app, &key, body).await, expected);
        }
    });
}

#[test]
fn an_absent_model_is_put_in_and_an_escaped_one_replaced() {
    run(async |app| {
        let key = with_renamed_model(&app).await;
        let sent = forward(&app, &key, r#"{"messages":[{"role":"user","content":"hi"}]}"#).await;
        assert_eq!(sent, r#"{"model":"vendor/real-1","messages":[{"role":"user","content":"hi"}]}"#);
        let sent = forward(&app, &key, r#"{"mod\u0065l":"\u006d1","messages":[{"role":"user","content":"hi"}]}"#).await;
        assert_eq!(sent, r#"{"mod\u0065l":"vendor/real-1","messages":[{"role":"user","content":"hi"}]}"#);
    });
}

#[test]
fn the_upstreams_name_is_written_as_json() {
    run(async |app| {
        app.add_provider("p1").await;
        add_model(&app, "m1", "p1", json!({ "upstream_model": "quo\"te\\and\n新" })).await;
        let key = rich_key(&app, "1").await;
        app.upstream.always(Reply::chat("hi", 1, 1));
        chat(&app, &key, &hello("m1")).send().await.expect(200);
        assert_eq!(app.upstream.bodies()[0]["model"], "quo\"te\\and\n新");
    });
}

#[test]
fn the_upstream_gets_its_own_key_and_never_the_callers() {
    run(async |app| {
        let key = with_renamed_model(&app).await;
        let by_header = app.post(CHAT).head(|head| head.api_key.clone_from(&key.key)).body(&hello("m1"));
        by_header.send().await.expect(200);
        chat(&app, &key, &hello("m1")).send().await.expect(200);
        let sent = app.upstream.sent.borrow();
        assert_eq!(sent.len(), 2);
        for request in sent.iter() {
            assert_eq!(request.method, "POST");
            let expected =
                [("content-type", "application/json".to_owned()), ("authorization", "Bearer sk-p1".to_owned())];
            assert_eq!(request.headers, expected);
            assert!(!format!("{request:?}").contains(&key.key));
            assert!(!String::from_utf8_lossy(request.body.as_deref().unwrap()).contains(&key.key));
        }
    });
}

#[test]
fn a_provider_without_a_key_gets_no_authorization() {
    run(async |app| {
        let provider = json!({ "id": "p1", "type": "vllm", "base_url": "http://127.0.0.1:9/p1" });
        app.admin("POST", PROVIDERS).json(&provider).send().await.expect(200);
        app.add_model("m1", "p1", 5).await;
        let key = rich_key(&app, "1").await;
        app.upstream.always(Reply::chat("hi", 1, 1));
        chat(&app, &key, &hello("m1")).send().await.expect(200);
        assert_eq!(app.upstream.sent.borrow()[0].headers, [("content-type", "application/json".to_owned())]);
    });
}

#[test]
fn every_spelling_of_a_base_url_leads_to_the_same_address() {
    run(async |app| {
        let key = with_renamed_model(&app).await;
        for (base_url, address) in [
            ("https://api.example.com", "https://api.example.com/v1/chat/completions"),
            ("https://api.example.com/", "https://api.example.com/v1/chat/completions"),
            ("https://api.example.com/v1", "https://api.example.com/v1/chat/completions"),
            ("https://api.example.com/v1/", "https://api.example.com/v1/chat/completions"),
            (" https://api.example.com:8443/v1// ", "https://api.example.com:8443/v1/chat/completions"),
            ("https://api.example.com/openai/v1", "https://api.example.com/openai/v1/chat/completions"),
            ("https://api.example.com/v1beta", "https://api.example.com/v1beta/v1/chat/completions"),
        ] {
            let path = "/admin/v1/providers/p1";
            app.admin("PATCH", path).json(&json!({ "base_url": base_url })).send().await.expect(200);
            chat(&app, &key, &hello("m1")).send().await.expect(200);
            assert_eq!(app.upstream.sent.borrow().last().unwrap().url, address, "{base_url}");
        }
    });
}

#[test]
fn a_stream_always_asks_the_upstream_for_usage() {
    run(async |app| {
        let key = with_renamed_model(&app).await;
        app.upstream.always(Reply::stream(&["hi"], Some((1, 1))));
        let start = r#"{"model":"m1","messages":[{"role":"user","content":"hi"}],"stream":true"#;
        for (given, sent) in [
            (r#","stream_options":{"include_usage":true}}"#, r#","stream_options":{"include_usage":true}}"#),
            (r#","stream_options":{"include_usage":false}}"#, r#","stream_options":{"include_usage":true}}"#),
            (r#","stream_options":{ "include_usage" : null }}"#, r#","stream_options":{ "include_usage" : true }}"#),
            (r#","stream_options":{}}"#, r#","stream_options":{"include_usage":true}}"#),
            (r#","stream_options":null}"#, r#","stream_options":{"include_usage":true}}"#),
            (
                r#","stream_options":{"include_obfuscation":false}}"#,
                r#","stream_options":{"include_usage":true,"include_obfuscation":false}}"#,
            ),
        ] {
            let expected = format!("{start}{sent}").replacen("\"m1\"", "\"vendor/real-1\"", 1);
            assert_eq!(forward(&app, &key, &format!("{start}{given}")).await, expected, "{given}");
        }
        let expected = format!("{start}}}").replacen("\"m1\"", "\"vendor/real-1\"", 1);
        let expected = expected.replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
        assert_eq!(forward(&app, &key, &format!("{start}}}")).await, expected);
    });
}

/// What the upstream is asked for when the account has one cent and the model costs $10 and $30 a million.
fn forward_on_a_cent(kind: &str, request: &str) -> String {
    forward_on_a_cent_to(kind, "https://p1.example", request)
}

fn forward_on_a_cent_to(kind: &str, base_url: &str, request: &str) -> String {
    let sent = RefCell::default();
    run(async |app| {
        app.add_provider("p1").await;
        app.admin("PATCH", "/admin/v1/providers/p1")
            .json(&json!({ "type": kind, "base_url": base_url }))
            .send()
            .await
            .expect(200);
        app.add_model("m1", "p1", 5).await;
        let key = app.provision("0.01").await;
        app.upstream.always(Reply::chat("hi", 1, 1));
        chat(&app, &key, request).send().await.expect(200);
        sent.replace(app.upstream.last_body());
    });
    sent.into_inner()
}

#[test]
fn output_is_limited_only_when_the_balance_binds_and_in_the_providers_own_field() {
    let bare = r#"{"model":"m1","messages":[{"role":"user","content":"hi"}]}"#;
    // 10,000 micro-dollars less the estimated input (a token per 4 bytes, 10 each), 30 each for output.
    let estimate = i64::try_from(bare.len()).unwrap() / 4;
    let tokens = (10_000 - estimate * 10) / 30;
    let with = |field: &str| bare.replacen('{', &format!("{{\"{field}\":{tokens},"), 1);
    // What only speaks OpenAI's protocol may not know OpenAI's newest field.
    assert_eq!(forward_on_a_cent("openai", bare), with("max_tokens"));
    assert_eq!(forward_on_a_cent_to("openai", "https://api.openai.com", bare), with("max_completion_tokens"));
    assert_eq!(forward_on_a_cent("vllm", bare), with("max_tokens"));
    // A null is as good as nothing: it is overwritten, and no second field of its name appears.
    let null = bare.replacen('{', r#"{"max_tokens":null,"#, 1);
    let estimate = i64::try_from(null.len()).unwrap() / 4;
    let tokens = (10_000 - estimate * 10) / 30;
    assert_eq!(forward_on_a_cent("vllm", &null), null.replacen("null", &tokens.to_string(), 1));
    // What the balance covers stays as it is.
    let small = bare.replacen('{', r#"{"max_tokens":100,"#, 1);
    assert_eq!(forward_on_a_cent("openai", &small), small);
    assert_eq!(
        forward_on_a_cent_to("openai", "https://api.openai.com", &small),
        small.replace("max_tokens", "max_completion_tokens")
    );
}

#[test]
fn a_limit_of_the_clients_own_is_lowered_in_its_place_when_the_balance_binds() {
    let text = "word ".repeat(70);
    for field in ["max_tokens", "max_completion_tokens"] {
        let body =
            format!(r#"{{"model":"m1","messages":[{{"role":"user","content":"{text}"}}],"{field}" : 310 ,"seed":1}}"#);
        let estimate = i64::try_from(body.len()).unwrap() / 4;
        let tokens = (10_000 - estimate * 10) / 30;
        assert!(tokens < 310);
        let expected = body.replacen("310", &tokens.to_string(), 1);
        assert_eq!(forward_on_a_cent("openai", &body), expected);
        assert_eq!(forward_on_a_cent("vllm", &body), expected);
    }
}

#[test]
fn a_rich_account_is_never_limited() {
    run(async |app| {
        let key = with_renamed_model(&app).await;
        for (extra, sent) in [
            ("", ""),
            (r#","max_tokens":100000"#, r#","max_tokens":100000"#),
            (r#","max_completion_tokens":7,"n":3"#, r#","max_completion_tokens":7,"n":3"#),
            (r#","max_tokens":7,"n":3,"max_completion_tokens":9"#, r#","max_completion_tokens":9,"n":3"#),
        ] {
            let body =
                |extra: &str| format!(r#"{{"model":"m1","messages":[{{"role":"user","content":"hi"}}]{extra}}}"#);
            let expected = body(sent).replacen("\"m1\"", "\"vendor/real-1\"", 1);
            assert_eq!(forward(&app, &key, &body(extra)).await, expected);
        }
    });
}

#[test]
fn waits_are_longer_for_whole_answers_than_for_first_bytes() {
    run_with(&[("FIRST_BYTE_MS", "1000"), ("STALL_MS", "2000")], async |app| {
        let key = with_renamed_model(&app).await;
        forward(&app, &key, &hello("m1")).await;
        app.upstream.always(Reply::stream(&["hi"], Some((1, 1))));
        forward(&app, &key, &hello_stream("m1")).await;
        let sent = app.upstream.sent.borrow();
        assert_eq!(sent[0].first_byte_ms, 8_000);
        assert!(matches!(sent[0].read, ReadMode::Whole { .. }));
        assert_eq!(sent[1].first_byte_ms, 1_000);
        assert!(matches!(sent[1].read, ReadMode::Stream { stall_ms: 2_000, .. }));
    });
}

#[test]
fn no_other_model_no_search_and_no_tool_of_the_providers_is_bought() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::chat("Hi!", 100, 10));
        let function = json!({ "type": "function", "function": { "name": "f" } });
        let body = json!({ "model": "m1", "messages": [{ "role": "user", "content": "x" }], "models": ["dear"], "plugins": [{ "id": "web" }],
            "enable_search": true, "search_options": { "forced_search": true }, "tools": [{ "type": "browser_search" }, function] });
        chat(&app, &key, &body.to_string()).send().await.expect(200);
        let expected = json!({ "model": "m1", "messages": body["messages"], "tools": [function] });
        assert_eq!(app.upstream.bodies().pop().unwrap(), expected);
    });
}
