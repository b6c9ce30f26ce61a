//! `POST /v1/chat/completions` with `stream`: what the client sees of a stream that goes well.

use guildhall::ports::StreamEnd;
use serde_json::{Value, json};

use super::kit::{LiveStream, add_model, assert_balanced, chat, hello, hello_stream, last_receipt, micros, usage_rows};
use crate::support::{Key, Reply, TestApp, run};

const WORDS: [&str; 3] = ["Hel", "lo ", "🦀"];

/// A stream request that asks for usage.
fn with_usage() -> String {
    hello_stream("m1").replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1)
}

/// The text that the upstream sends for [`WORDS`], with the model's name as the client gets it.
fn expected_text(usage: bool) -> String {
    let mut chunks = Reply::chunks(&WORDS, Some((10, 5)));
    if !usage {
        chunks.remove(chunks.len() - 2);
    }
    String::from_utf8(chunks.concat()).unwrap().replace("\"upstream-name\"", "\"m1\"")
}

async fn stream_of(app: &TestApp, key: &Key, request: &str, chunks: Vec<Vec<u8>>) -> String {
    app.upstream.then(Reply::Stream(chunks, StreamEnd::Eof));
    chat(app, key, request).send().await.expect(200).text()
}

#[test]
fn chunks_get_the_model_asked_for_and_nothing_else_changes() {
    run(async |app| {
        let key = app.with_model().await;
        let text = stream_of(&app, &key, &hello_stream("m1"), Reply::chunks(&WORDS, Some((10, 5)))).await;
        assert_eq!(text, expected_text(false));
        let text = stream_of(&app, &key, &with_usage(), Reply::chunks(&WORDS, Some((10, 5)))).await;
        assert_eq!(text, expected_text(true));
        for asked in ["auto", "fast", "max"] {
            let chunks = Reply::chunks(&WORDS, Some((10, 5)));
            let text = stream_of(&app, &key, &hello_stream(asked), chunks).await;
            assert_eq!(text, expected_text(false).replace("\"m1\"", &format!("\"{asked}\"")));
        }
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - 5 * 250);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn the_answer_says_that_it_is_an_event_stream() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.then(Reply::stream(&["hi"], Some((10, 5))));
        let answer = chat(&app, &key, &hello_stream("m1")).send().await.expect(200);
        assert!(answer.header("content-type").unwrap().starts_with("text/event-stream"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        assert_eq!(answer.header("x-tokaroo-cache"), Some("miss"));
        assert!(answer.header("x-ratelimit-limit").is_some() && answer.header("x-request-id").is_some());
    });
}

#[test]
fn each_chunk_leaves_when_it_comes_however_the_upstream_cuts_it() {
    run(async |app| {
        app.with_model().await;
        let key = super::kit::rich_key(&app, "10").await;
        let whole = Reply::chunks(&WORDS, Some((10, 5))).concat();
        for size in [1, 2, 3, 7, 16, 64, 1_000, 100_000] {
            let pieces: Vec<_> = whole.chunks(size).map(<[u8]>::to_vec).collect();
            assert_eq!(stream_of(&app, &key, &hello_stream("m1"), pieces).await, expected_text(false), "{size}");
            let record = last_receipt(&app, &key).await;
            assert_eq!((&record["outcome"], &record["receipt"]["rule"]), (&json!("completed"), &json!("reported")));
            assert_eq!(micros(&record["charged_usd"]), 250);
        }
        // Whole events in, whole events out, in the same step.
        app.upstream.then(Reply::stream(&WORDS, Some((10, 5))));
        let mut stream = LiveStream::open(&app, &key, &hello_stream("m1")).await;
        assert!(stream.first.contains("\"role\":\"assistant\"") && stream.first.ends_with("\n\n"));
        for word in WORDS {
            let out = stream.step().unwrap();
            assert!(out.contains(&format!("\"content\":\"{word}\"")) && out.ends_with("\n\n"), "{out}");
        }
        assert!(stream.step().unwrap().contains("\"finish_reason\":\"stop\""));
        assert_eq!(stream.step().unwrap(), "");
        assert_eq!(stream.step().unwrap(), "data: [DONE]\n\n");
        assert_eq!(stream.end(), "");
    });
}

#[test]
fn usage_shows_at_once_when_the_client_sees_done() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.then(Reply::stream(&["hi"], Some((10, 5))));
        let mut stream = LiveStream::open(&app, &key, &hello_stream("m1")).await;
        loop {
            let out = stream.step().unwrap();
            if out.contains("[DONE]") {
                break;
            }
            assert_eq!(usage_rows(&app, &key).await.len(), 0);
        }
        // The upstream's connection is still open.
        let rows = usage_rows(&app, &key).await;
        assert_eq!(rows.len(), 1);
        assert_eq!((&rows[0]["outcome"], &rows[0]["charged_usd"]), (&json!("completed"), &json!(0.00025)));
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - 250);
        assert_eq!(stream.end(), "");
        assert_eq!(usage_rows(&app, &key).await.len(), 1);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn done_comes_exactly_once_and_is_the_last_word() {
    run(async |app| {
        let key = app.with_model().await;
        let done = || b"data: [DONE]\n\n".to_vec();
        let late = || Reply::chunks(&["late"], None).swap_remove(1);
        let good = Reply::chunks(&["hi"], Some((10, 5)));
        for (name, tail) in [
            ("nothing", vec![]),
            ("twice", vec![done()]),
            ("twice in one chunk", vec![[done(), done()].concat()]),
            ("more text", vec![late()]),
            ("more text and done", vec![late(), done()]),
            ("an error", vec![b"data: {\"error\":{\"message\":\"late\"}}\n\n".to_vec()]),
            ("garbage", vec![b"data: {{{\n\n".to_vec()]),
            ("an endless line", vec![vec![b'x'; 2 << 20]]),
        ] {
            let text = stream_of(&app, &key, &hello_stream("m1"), [good.clone(), tail].concat()).await;
            assert_eq!(text.matches("[DONE]").count(), 1, "{name}: {text}");
            let last = text.lines().rev().find(|line| !line.is_empty()).unwrap();
            assert_eq!(last, "data: [DONE]", "{name}: {text}");
            let record = last_receipt(&app, &key).await;
            assert_eq!(record["outcome"], "completed", "{name}");
            assert_eq!(micros(&record["charged_usd"]), 250, "{name}");
        }
        assert_eq!(usage_rows(&app, &key).await.len(), 8);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn done_in_the_first_chunk_closes_the_books_too() {
    run(async |app| {
        let key = app.with_model().await;
        let all = vec![Reply::chunks(&["hi"], Some((10, 5))).concat()];
        let text = stream_of(&app, &key, &hello_stream("m1"), all).await;
        assert!(text.ends_with("data: [DONE]\n\n"));
        assert_eq!(usage_rows(&app, &key).await.len(), 1);
        assert_balanced(&app, &key, 10_000_000).await;
        // Without the blank line after it, as some servers end.
        let mut all = Reply::chunks(&["hi"], Some((10, 5)));
        all.pop();
        all.push(b"data: [DONE]".to_vec());
        let text = stream_of(&app, &key, &hello_stream("m1"), all).await;
        assert_eq!(text.matches("data: [DONE]\n").count(), 1, "{text}");
        assert_eq!(last_receipt(&app, &key).await["outcome"], "completed");
    });
}

#[test]
fn every_way_of_writing_events_is_understood() {
    run(async |app| {
        let key = app.with_model().await;
        let data = r#"{"id":"x","model":"up","choices":[{"index":0,"delta":{"content":"hi"}}]}"#;
        let usage = r#"{"id":"x","model":"up","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#;
        let told = data.replace("\"up\"", "\"m1\"");
        for (given, expected) in [
            (format!("data:{data}\n\ndata:{usage}\n\ndata:[DONE]\n\n"), format!("data:{told}\n\ndata:[DONE]\n\n")),
            (
                format!("data: {data}\r\n\r\ndata: {usage}\r\n\r\ndata: [DONE]\r\n\r\n"),
                format!("data: {told}\r\n\r\ndata: [DONE]\r\n\r\n"),
            ),
            (
                format!(
                    ": keep-alive\n\nevent: message\nid: 7\nretry: 5\ndata: {data}\n\ndata: {usage}\n\ndata: [DONE]\n\n"
                ),
                format!(": keep-alive\n\nevent: message\nretry: 5\ndata: {told}\n\ndata: [DONE]\n\n"),
            ),
            (
                format!(
                    "event: message\ndata: {data}\n\nevent: message\nid: 8\ndata: {usage}\n\nevent: end\ndata: [DONE]\n\n"
                ),
                format!("event: message\ndata: {told}\n\nevent: end\ndata: [DONE]\n\n"),
            ),
            (
                format!("data: {}\n\ndata: {usage}\n\ndata: [DONE]\n\n", data.replace(',', ",\ndata: ")),
                format!("data: {}\n\ndata: [DONE]\n\n", told.replace(',', ", ")),
            ),
            (
                format!("\u{feff}data: {data}\n\ndata: {usage}\n\ndata: [DONE]\n\n"),
                format!("data: {told}\n\ndata: [DONE]\n\n"),
            ),
        ] {
            let text = stream_of(&app, &key, &hello_stream("m1"), vec![given.into_bytes()]).await;
            assert_eq!(text, expected);
            assert_eq!(micros(&last_receipt(&app, &key).await["charged_usd"]), 250);
        }
    });
}

#[test]
fn usage_that_comes_with_every_chunk_is_hidden_unless_asked_for() {
    run(async |app| {
        let key = app.with_model().await;
        let line = |usage: &str, choices: &str| {
            format!("data: {{\"id\":\"x\",\"model\":\"up\",\"choices\":[{choices}]{usage}}}\n\n").into_bytes()
        };
        let delta = r#"{"index":0,"delta":{"content":"hi"}}"#;
        let chunks = || {
            vec![
                line(r#","usage":null"#, delta),
                line(r#","usage":{"prompt_tokens":10,"completion_tokens":1}"#, delta),
                line(r#","usage":{"prompt_tokens":10,"completion_tokens":5}"#, ""),
                b"data: [DONE]\n\n".to_vec(),
            ]
        };
        let text = stream_of(&app, &key, &hello_stream("m1"), chunks()).await;
        assert!(!text.contains("usage"), "{text}");
        assert_eq!(text.matches("\"content\":\"hi\"").count(), 2);
        let text = stream_of(&app, &key, &with_usage(), chunks()).await;
        assert_eq!(text, String::from_utf8(chunks().concat()).unwrap().replace("\"up\"", "\"m1\""));
        // Nor is the chunk that would tell it, where nobody has counted.
        let mut uncounted = chunks();
        uncounted[2] = line(r#","usage":{"prompt_tokens":0,"completion_tokens":0}"#, "");
        let text = stream_of(&app, &key, &hello_stream("m1"), uncounted).await;
        assert!(!text.contains("\"choices\":[]"), "{text}");
        assert_eq!(text.matches("\"content\":\"hi\"").count(), 2);
        // The last word counts, not the sum.
        let counted: Vec<_> = usage_rows(&app, &key)
            .await
            .iter()
            .map(|row| (row["input_tokens"].clone(), row["output_tokens"].clone()))
            .collect();
        let (told, before) = ((json!(10), json!(5)), (json!(10), json!(1)));
        assert_eq!(counted, [before, told.clone(), told]);
    });
}

#[test]
fn a_stream_without_usage_is_estimated() {
    run(async |app| {
        let key = app.with_model().await;
        stream_of(&app, &key, &hello_stream("m1"), Reply::chunks(&["hi", "a text of twenty-odd bytes"], None)).await;
        let record = last_receipt(&app, &key).await;
        assert_eq!((&record["outcome"], &record["receipt"]["rule"]), (&json!("completed"), &json!("estimated")));
        let input = i64::try_from(hello_stream("m1").len()).unwrap() / 4;
        assert_eq!(micros(&record["charged_usd"]), input * 10 + 7 * 30);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn who_knows_no_stream_options_is_asked_without() {
    run(async |app| {
        let key = app.with_model().await;
        let refusal = r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}"#;
        let refused = || Reply::Whole(422, refusal.to_owned(), "");
        let words = || Reply::Stream(Reply::chunks(&["hi"], None), StreamEnd::Eof);
        let asked = |app: &TestApp| {
            let with_options = |body: &Value| body.get("stream_options").is_some();
            std::mem::take(&mut *app.upstream.sent.borrow_mut())
                .iter()
                .map(|sent| with_options(&serde_json::from_slice(sent.body.as_deref().unwrap()).unwrap()))
                .collect::<Vec<_>>()
        };
        // What a client did wrong itself teaches nothing, and neither does a refusal that repeats its words.
        let odd = hello_stream("m1").replacen('{', r#"{"stream_options":{"odd":1},"#, 1);
        let whole = hello("m1").replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
        for body in [&odd, &whole] {
            app.upstream.then(refused());
            chat(&app, &key, body).send().await.expect(422);
        }
        assert_eq!(asked(&app), [true, true]);
        app.upstream.then(refused());
        app.upstream.then(refused());
        chat(&app, &key, &hello_stream("m1")).send().await.expect(422);
        assert_eq!(asked(&app), [true, false]);
        app.upstream.then(refused());
        app.upstream.then(words());
        let text = chat(&app, &key, &hello_stream("m1")).send().await.expect(200).text();
        assert!(text.contains("hi") && text.ends_with("data: [DONE]\n\n"), "{text}");
        assert_eq!(asked(&app), [true, false]);
        let record = last_receipt(&app, &key).await;
        assert_eq!((&record["outcome"], &record["receipt"]["rule"]), (&json!("completed"), &json!("estimated")));
        assert_eq!(record["receipt"]["attempts"], 2);
        // From now on at once, and who wants usage is told what is charged.
        app.upstream.then(words());
        let text = chat(&app, &key, &with_usage()).send().await.expect(200).text();
        assert!(text.contains("completion_tokens"), "{text}");
        assert_eq!(asked(&app), [false]);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn usage_that_was_asked_for_and_not_told_is_what_was_charged() {
    run(async |app| {
        let key = app.with_model().await;
        let words = ["hi", "a text of twenty-odd bytes"];
        let text = stream_of(&app, &key, &with_usage(), Reply::chunks(&words, None)).await;
        let record = last_receipt(&app, &key).await;
        assert_eq!(record["receipt"]["rule"], "estimated");
        let (input, output) = (record["input_tokens"].as_u64().unwrap(), record["output_tokens"].as_u64().unwrap());
        assert_eq!(output, 7);
        let events: Vec<_> = text.split_terminator("\n\n").collect();
        let (done, told) = (events[events.len() - 1], events[events.len() - 2]);
        assert_eq!(done, "data: [DONE]");
        let told: Value = serde_json::from_str(told.strip_prefix("data: ").unwrap()).unwrap();
        let usage = json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output });
        assert_eq!(
            told,
            json!({ "id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1, "model": "m1", "choices": [],
                "usage": usage })
        );
        // The other surfaces tell it in their own words.
        app.upstream.then(Reply::Stream(Reply::chunks(&words, None), StreamEnd::Eof));
        let text = app.post("/v1/messages").bearer(&key.key).body(&hello_stream("m1")).send().await.expect(200).text();
        let record = last_receipt(&app, &key).await;
        let (input, output) = (&record["input_tokens"], &record["output_tokens"]);
        assert!(text.contains(&format!("\"input_tokens\":{input},")), "{text}");
        assert!(text.contains(&format!("\"output_tokens\":{output}}}")), "{text}");
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn an_image_in_one_event_arrives() {
    run(async |app| {
        let key = app.with_model().await;
        let mut chunks = Reply::chunks(&["hi"], Some((10, 5)));
        let image = format!(
            "data: {{\"choices\":[{{\"delta\":{{\"images\":[{{\"url\":\"data:image/png;base64,{}\"}}]}}}}]}}\n\n",
            "A".repeat(15 << 20)
        );
        chunks.splice(1..1, image.as_bytes().chunks(1 << 20).map(<[u8]>::to_vec));
        let text = stream_of(&app, &key, &hello_stream("m1"), chunks).await;
        assert!(text.contains(&image) && text.ends_with("data: [DONE]\n\n"));
        assert_eq!(last_receipt(&app, &key).await["outcome"], "completed");
    });
}

#[test]
fn tool_calls_and_several_choices_pass_through() {
    run(async |app| {
        app.add_provider("p1").await;
        add_model(&app, "m1", "p1", json!({})).await;
        let key = app.provision("10").await;
        let chunk = |choices: Value| {
            format!(
                "data: {}\n\n",
                json!({ "id": "x", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": choices })
            )
            .into_bytes()
        };
        let call = |arguments: &str| json!([{ "index": 1, "delta": { "tool_calls": [{ "index": 0, "id": "c", "type": "function", "function": { "name": "f", "arguments": arguments } }] }, "finish_reason": null }]);
        let chunks = vec![
            chunk(
                json!([{ "index": 0, "delta": { "reasoning_content": "hm" } }, { "index": 1, "delta": { "role": "assistant" } }]),
            ),
            chunk(call("{\"a\":")),
            chunk(call(" \"data: [DONE]\"}")),
            chunk(json!([{ "index": 1, "delta": {}, "finish_reason": "tool_calls" }])),
            b"data: [DONE]\n\n".to_vec(),
        ];
        let text = stream_of(&app, &key, &hello_stream("m1"), chunks.clone()).await;
        assert_eq!(text, String::from_utf8(chunks.concat()).unwrap().replace("\"up\"", "\"m1\""));
        assert_eq!(last_receipt(&app, &key).await["outcome"], "completed");
    });
}
