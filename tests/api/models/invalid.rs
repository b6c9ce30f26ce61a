//! `POST /v1/chat/completions`: bodies that are no chat request.

use serde_json::Value;

use super::kit::{CHAT, add_model, assert_balanced, chat, hello, rich_key};
use crate::support::{Reply, run};

/// A request with these members beside `messages`.
fn with(members: &str) -> String {
    format!(r#"{{"model":"m1","messages":[{{"role":"user","content":"hi"}}],{members}}}"#)
}

/// A request with this message.
fn message(message: &str) -> String {
    format!(r#"{{"model":"m1","messages":[{{"role":"user","content":"hi"}},{message}]}}"#)
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn a_body_with_a_wrong_parameter_is_refused_with_its_name() {
    run(async |app| {
        app.with_model().await;
        let key = rich_key(&app, "1").await;
        let cases: &[(&str, &str)] = &[
            (r#"{"model":"m1"}"#, "messages"),
            (r#"{"model":"m1","messages":[]}"#, "messages"),
            (r#"{"model":"m1","messages":null}"#, "messages"),
            (r#"{"model":"m1","messages":"hi"}"#, "messages"),
            (r#"{"model":"m1","messages":{"role":"user"}}"#, "messages"),
            (r#"{"model":"m1","messages":["hi"]}"#, "messages[0]"),
            (r#"{"model":"m1","messages":[null]}"#, "messages[0]"),
            (&message(r#"{"content":"hi"}"#), "messages[1].role"),
            (&message(r#"{"role":"robot","content":"hi"}"#), "messages[1].role"),
            (&message(r#"{"role":"User","content":"hi"}"#), "messages[1].role"),
            (&message(r#"{"role":null,"content":"hi"}"#), "messages[1].role"),
            (&message(r#"{"role":"user","role":"system","content":"hi"}"#), "messages[1].role"),
            (&message(r#"{"role":"user"}"#), "messages[1].content"),
            (&message(r#"{"role":"system","content":null}"#), "messages[1].content"),
            (&message(r#"{"role":"user","content":7}"#), "messages[1].content"),
            (&message(r#"{"role":"user","content":"a","content":"b"}"#), "messages[1].content"),
            (&message(r#"{"role":"user","content":["hi"]}"#), "messages[1].content[0]"),
            (&message(r#"{"role":"user","content":[{"text":"hi"}]}"#), "messages[1].content[0].type"),
            (
                &message(r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":7}]}"#),
                "messages[1].content[1].type",
            ),
            (&message(r#"{"role":"assistant","content":null,"tool_calls":"f"}"#), "messages[1].tool_calls"),
            (&with(r#""stream":"yes""#), "stream"),
            (&with(r#""stream":1"#), "stream"),
            (&with(r#""stream_options":true"#), "stream_options"),
            (&with(r#""stream_options":{"include_usage":"yes"}"#), "stream_options.include_usage"),
            (&with(r#""n":0"#), "n"),
            (&with(r#""n":-1"#), "n"),
            (&with(r#""n":1.5"#), "n"),
            (&with(r#""n":129"#), "n"),
            (&with(r#""n":"2""#), "n"),
            (&with(r#""max_tokens":-1"#), "max_tokens"),
            (&with(r#""max_tokens":0"#), "max_tokens"),
            (&with(r#""max_tokens":1.5"#), "max_tokens"),
            (&with(r#""max_tokens":"100""#), "max_tokens"),
            (&with(r#""max_tokens":99999999999999999999999"#), "max_tokens"),
            (&with(r#""max_completion_tokens":-7"#), "max_completion_tokens"),
            (&with(r#""temperature":2.1"#), "temperature"),
            (&with(r#""temperature":-0.1"#), "temperature"),
            (&with(r#""temperature":"hot""#), "temperature"),
            (&with(r#""tools":{}"#), "tools"),
            (&with(r#""tools":["f"]"#), "tools[0]"),
            (&with(r#""user":"a","user":"b""#), "user"),
            (&with(r#""us\u0065r":"a","user":"b""#), "user"),
            (&with(r#""model":"m1""#), "model"),
            (&with(r#""messages":[{"role":"user","content":"other"}]"#), "messages"),
            (r#"{"model":7,"messages":[{"role":"user","content":"hi"}]}"#, "model"),
            (r#"{"model":"","messages":[{"role":"user","content":"hi"}]}"#, "model"),
            (r#"{"model":["m1"],"messages":[{"role":"user","content":"hi"}]}"#, "model"),
            (&hello(&"m".repeat(801)), "model"),
        ];
        for (body, param) in cases {
            let answer = chat(&app, &key, body).send().await;
            assert_eq!(answer.status, 400, "{body}: {}", answer.text());
            assert_eq!(answer.json()["param"], *param, "{body}: {}", answer.text());
            let error = answer.json()["error"].as_str().unwrap().to_owned();
            assert!(error.starts_with(param), "{body}: {error}");
        }
        assert!(app.upstream.take_called().is_empty());
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn a_body_that_is_no_json_object_is_refused_with_the_place() {
    run(async |app| {
        app.with_model().await;
        let key = rich_key(&app, "1").await;
        let good = hello("m1");
        let mut cases: Vec<(Vec<u8>, &str)> = [
            ("", "not valid JSON"),
            ("   ", "not valid JSON"),
            ("hello", "not valid JSON"),
            ("null", "must be a JSON object"),
            ("[]", "must be a JSON object"),
            ("\"text\"", "must be a JSON object"),
            ("42", "must be a JSON object"),
            ("{", "not valid JSON"),
            ("{\"model\":\"m1\"", "not valid JSON"),
            ("{'model':'m1'}", "not valid JSON"),
            ("{\"model\":NaN}", "not valid JSON"),
            ("{\"a\":01}", "not valid JSON"),
            ("{\"a\":1,}", "not valid JSON"),
            ("{\"a\":\"\u{1}\"}", "not valid JSON"),
            ("{\"a\":\"\\x\"}", "not valid JSON"),
            ("{/**/}", "not valid JSON"),
            ("\u{feff}{}", "not valid JSON"),
        ]
        .map(|(body, text)| (body.as_bytes().to_vec(), text))
        .into();
        cases.push((format!("{good}{good}").into_bytes(), "not valid JSON"));
        cases.push((format!("{good}\0").into_bytes(), "not valid JSON"));
        cases.push((with(&format!(r#""deep":{}"#, nested(1_000))).into_bytes(), "not valid JSON"));
        cases.push((nested(100_000).into_bytes(), "must be a JSON object"));
        cases.push((format!("{{\"a\":{}", "{\"a\":".repeat(50_000)).into_bytes(), "not valid JSON"));
        cases.push((b"{\"model\":\"\xff\"}".to_vec(), "not valid UTF-8"));
        cases.push((b"\xff\xfe{\0}\0".to_vec(), "not valid UTF-8"));
        // An overlong slash, and half a surrogate pair as raw bytes.
        cases.push((b"{\"a\":\"\xc0\xaf\"}".to_vec(), "not valid UTF-8"));
        cases.push((b"{\"a\":\"\xed\xa0\x80\"}".to_vec(), "not valid UTF-8"));
        for (body, expected) in cases {
            let answer = app.post(CHAT).bearer(&key.key).bytes(&body).send().await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
            assert_eq!(answer.status, 400, "{shown}: {}", answer.text());
            let error = answer.json();
            assert!(error["error"].as_str().unwrap().contains(expected), "{shown}: {error}");
            assert_eq!(error.get("param"), None, "{shown}: {error}");
        }
        let none = app.post(CHAT).bearer(&key.key).send().await.expect(400).json();
        assert!(none["error"].as_str().unwrap().contains("not valid JSON"), "{none}");
        assert!(app.upstream.take_called().is_empty());
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn depth_and_length_within_reason_are_served() {
    run(async |app| {
        app.with_model().await;
        let key = rich_key(&app, "10").await;
        app.upstream.always(Reply::chat("hi", 1, 1));
        let many: Vec<_> = (0..250).map(|n| format!(r#""x{n}":{n}"#)).collect();
        let messages = vec![r#"{"role":"user","content":"x"}"#; 5_000].join(",");
        for body in [
            with(&format!(r#""deep":{}"#, nested(60))),
            with(&many.join(",")),
            format!(r#"{{"model":"m1","max_tokens":5,"messages":[{messages}]}}"#),
            with(r#""n":128,"max_tokens":1,"temperature":2"#),
            with(r#""max_tokens":9223372036854775807"#).replace("9223372036854775807", "100000"),
        ] {
            let answer = chat(&app, &key, &body).send().await;
            assert_eq!(answer.status, 200, "{}: {}", &body[..200.min(body.len())], answer.text());
        }
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn a_limit_beyond_all_money_is_refused_not_overflowed() {
    run(async |app| {
        let key = app.with_model().await;
        add_model(&app, "m1", "p1", serde_json::json!({ "max_output_tokens": 0 })).await;
        for members in [r#""max_tokens":18446744073709551615"#, r#""max_tokens":9223372036854775807,"n":128"#] {
            let answer = chat(&app, &key, &with(members)).send().await.expect(402).json();
            assert!(answer["required_usd"].as_f64().unwrap() > 10.0, "{answer}");
        }
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn a_body_over_ten_mebibytes_is_refused_whether_it_says_so_or_not() {
    run(async |app| {
        app.add_provider("p1").await;
        add_model(&app, "m1", "p1", serde_json::json!({ "input_per_1k": 0, "output_per_1k": 0 })).await;
        let key = app.provision("0").await;
        app.upstream.always(Reply::chat("hi", 1, 1));
        let limit = 10 << 20;
        let body = |length: usize| {
            let frame = hello("m1").len() - "hello there".len();
            hello("m1").replacen("hello there", &"x".repeat(length - frame), 1)
        };
        let exact = body(limit);
        assert_eq!(exact.len(), limit);
        chat(&app, &key, &exact).send().await.expect(200);
        assert_eq!(app.upstream.last_body(), exact);
        let over = body(limit + 1);
        let stated = chat(&app, &key, &over).send().await.expect(413).json();
        assert_eq!(stated["max_bytes"], Value::from(limit));
        // Chunked: no length is stated; and a length that lies.
        chat(&app, &key, &over).head(|head| head.content_length.clear()).send().await.expect(413);
        chat(&app, &key, &over).head(|head| head.content_length = "5".into()).send().await.expect(413);
        assert_eq!(app.upstream.take_called().len(), 1);
    });
}
