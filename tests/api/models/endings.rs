//! `POST /v1/chat/completions` with `stream`: every way in which a stream can end badly, and who pays what.

use guildhall::ports::{FetchError, StreamEnd};
use serde_json::{Value, json};

use super::kit::{
    LiveStream, add_ladder, add_model, assert_balanced, chat, hello, hello_stream, last_receipt, micros, rich_key,
    usage_rows,
};
use crate::support::{Key, Reply, TestApp, run};

/// Input tokens of [`hello_stream`], estimated.
fn input_estimate() -> i64 {
    i64::try_from(hello_stream("m1").len()).unwrap() / 4
}

/// The beginning of a stream: the role and two words.
fn beginning() -> Vec<Vec<u8>> {
    let mut chunks = Reply::chunks(&["Hel", "lo"], None);
    chunks.truncate(3);
    chunks
}

/// The role, two words, the finish and the usage: all but the end.
fn all_but_done() -> Vec<Vec<u8>> {
    let mut chunks = Reply::chunks(&["Hel", "lo"], Some((10, 5)));
    chunks.pop();
    chunks
}

/// What the client was told last, after checking that it is an error and that no `[DONE]` was said.
#[track_caller]
fn last_error(text: &str) -> Value {
    assert!(!text.contains("[DONE]"), "{text}");
    assert!(text.ends_with("\n\n"), "{text}");
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    let event: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    assert!(event["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{event}");
    event["error"].clone()
}

async fn check_broken(app: &TestApp, key: &Key, reply: Reply, code: &str, rule: &str, charged: i64) {
    let before = usage_rows(app, key).await.len();
    app.upstream.then(reply);
    let answer = chat(app, key, &hello_stream("m1")).send().await.expect(200);
    let error = last_error(&answer.text());
    assert_eq!((&error["code"], &error["type"]), (&json!(code), &json!("upstream_error")));
    assert!(!answer.text().contains("secret"), "{}", answer.text());
    assert!(answer.text().contains("\"content\":\"Hel\""), "what came before is delivered: {}", answer.text());
    assert_eq!(usage_rows(app, key).await.len(), before + 1);
    let record = last_receipt(app, key).await;
    assert_eq!(record["outcome"], "stream_broken", "{code}");
    assert_eq!(record["receipt"]["rule"], rule, "{code}");
    assert_eq!(micros(&record["charged_usd"]), charged, "{code}");
}

#[test]
fn an_answer_that_is_too_large_because_so_much_was_asked_for_is_paid_and_nobody_is_to_blame() {
    run(async |app| {
        add_ladder(&app, 2).await;
        let key = rich_key(&app, "1").await;
        app.upstream.always(Reply::Fails(FetchError::TooLarge));
        let likely = hello("max").replacen('{', r#"{"logprobs":true,"#, 1);
        let answer = chat(&app, &key, &likely).send().await.expect(400);
        assert!(answer.json()["error"].as_str().unwrap().contains("32 MiB"), "{}", answer.text());
        assert_eq!(app.upstream.take_called(), ["p1"]);
        let record = last_receipt(&app, &key).await;
        assert_eq!((record["outcome"].as_str(), record["status"].as_i64()), (Some("rejected"), Some(400)));
        // The 100 tokens that were asked for, and what was read.
        assert!((3_000..4_000).contains(&micros(&record["charged_usd"])), "{record}");
        let embed = r#"{"model":"e1","input":["one","two"]}"#;
        add_model(&app, "e1", "p1", json!({ "kind": "embedding", "output_per_1k": 0, "max_output_tokens": 0 })).await;
        let call = || app.post("/v1/embeddings").bearer(&key.key).body(embed).idempotency_key("one");
        call().send().await.expect(400);
        call().send().await.expect(400);
        assert_eq!(app.upstream.take_called(), ["p1"], "repeated, it is the same answer");
        assert!(micros(&last_receipt(&app, &key).await["charged_usd"]) > 0);
        app.upstream.always(Reply::chat("hi", 10, 5));
        chat(&app, &key, &hello("m1")).send().await.expect(200);
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn a_broken_stream_ends_in_an_error_event_and_what_was_delivered_is_paid() {
    run(async |app| {
        app.with_model().await;
        let key = rich_key(&app, "10").await;
        let seen = input_estimate() * 10 + 2 * 30;
        let with = |extra: &[u8]| [beginning(), vec![extra.to_vec()]].concat();
        let error = b"data: {\"error\":{\"message\":\"secret quota of sk-secret\",\"code\":\"boom\"}}\n\n";
        let cases: Vec<(Reply, &str)> = vec![
            (Reply::Stream(beginning(), StreamEnd::Eof), "upstream_incomplete"),
            (Reply::Stream(beginning(), StreamEnd::Broken), "upstream_reset"),
            (Reply::Stream(beginning(), StreamEnd::Stalled), "upstream_timeout"),
            (Reply::Stream(with(error), StreamEnd::Eof), "upstream_error"),
            (Reply::Stream(with(b"data: {\"error\":\"secret\"}\n\n"), StreamEnd::Eof), "upstream_error"),
            // The error is the last line, and not even ended.
            (Reply::Stream(with(&error[..error.len() - 2]), StreamEnd::Eof), "upstream_error"),
            (Reply::Stream(with(b"data: {\"choices\":[\n\n"), StreamEnd::Eof), "upstream_invalid_response"),
            (
                Reply::Stream(
                    with(b"event: error\ndata: {\"message\":\"secret quota of sk-secret\"}\n\n"),
                    StreamEnd::Eof,
                ),
                "upstream_error",
            ),
            (Reply::Stream(with(&vec![b'x'; (16 << 20) + 1]), StreamEnd::Eof), "upstream_invalid_response"),
            // Half a chunk, half a [DONE], half a character.
            (
                Reply::Stream(with(b"data: {\"choices\":[{\"delta\":{\"content\":\"lost\"}"), StreamEnd::Eof),
                "upstream_incomplete",
            ),
            (Reply::Stream(with(b"data: [DO"), StreamEnd::Eof), "upstream_incomplete"),
            (Reply::Stream(with(b"data: [DONE"), StreamEnd::Broken), "upstream_reset"),
            (Reply::Stream(with(b"\xf0\x9f"), StreamEnd::Eof), "upstream_incomplete"),
        ];
        let calls = i64::try_from(cases.len()).unwrap();
        for (reply, code) in cases {
            check_broken(&app, &key, reply, code, "estimated", seen).await;
        }
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - calls * seen);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn usage_that_came_before_the_break_is_what_is_paid() {
    run(async |app| {
        let key = app.with_model().await;
        for (end, code) in [(StreamEnd::Broken, "upstream_reset"), (StreamEnd::Stalled, "upstream_timeout")] {
            check_broken(&app, &key, Reply::Stream(all_but_done(), end), code, "reported", 250).await;
        }
        // What was told early is no count of what came after it.
        let early = br#"data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":1}}"#;
        let partial = [vec![[early, b"\n\n".as_slice()].concat()], beginning()].concat();
        check_broken(&app, &key, Reply::Stream(partial, StreamEnd::Broken), "upstream_reset", "reported", 160).await;
        let half = [all_but_done(), vec![b"data: {\"choices\":[".to_vec()]].concat();
        check_broken(&app, &key, Reply::Stream(half, StreamEnd::Eof), "upstream_incomplete", "reported", 250).await;
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn a_stream_that_closes_behind_its_end_is_complete() {
    run(async |app| {
        let key = app.with_model().await;
        let without_usage = all_but_done()[..4].to_vec();
        let estimated = input_estimate() * 10 + 2 * 30;
        for (chunks, rule, charged) in [(all_but_done(), "reported", 250), (without_usage, "estimated", estimated)] {
            // So often that its provider would be taken down if it were its fault.
            for _ in 0..6 {
                app.upstream.then(Reply::Stream(chunks.clone(), StreamEnd::Eof));
                let answer = chat(&app, &key, &hello_stream("m1")).send().await.expect(200);
                assert_eq!(answer.events().last().unwrap(), "[DONE]");
                let record = last_receipt(&app, &key).await;
                assert_eq!((&record["outcome"], &record["receipt"]["rule"]), (&json!("completed"), &json!(rule)));
                assert_eq!(micros(&record["charged_usd"]), charged);
            }
        }
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn a_line_of_a_hundred_megabytes_is_cut_off_at_sixteen() {
    run(async |app| {
        let key = app.with_model().await;
        let piece = vec![b'x'; 1 << 16];
        let endless = [beginning(), vec![piece; 1_600]].concat();
        app.upstream.then(Reply::Stream(endless, StreamEnd::Eof));
        let mut stream = LiveStream::open(&app, &key, &hello_stream("m1")).await;
        let (mut steps, mut text) = (0, String::new());
        while let Some(out) = stream.step() {
            steps += 1;
            text += &out;
        }
        assert!(steps < 270, "the upstream was read on for {steps} chunks");
        assert_eq!(last_error(&text)["code"], "upstream_invalid_response");
        assert_eq!(stream.end(), "");
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn done_without_an_answer_is_an_error_and_free() {
    run(async |app| {
        let key = app.with_model().await;
        let mut chunks = Reply::chunks(&[], Some((10, 0)));
        chunks.remove(1);
        for (seen, chunks) in [
            ("the end", chunks.clone()),
            ("and not even its line's", {
                let mut chunks = chunks;
                *chunks.last_mut().unwrap() = b"data: [DONE]".to_vec();
                chunks
            }),
        ] {
            app.upstream.then(Reply::Stream(chunks, StreamEnd::Eof));
            let answer = chat(&app, &key, &hello_stream("m1")).send().await.expect(200);
            assert_eq!(last_error(&answer.text())["code"], "upstream_incomplete", "{seen}");
            let record = last_receipt(&app, &key).await;
            assert_eq!(record["outcome"], "stream_broken", "{seen}");
            assert_eq!(record["receipt"]["rule"], "nothing_delivered", "{seen}");
        }
        // One that says why it stopped is an answer without words.
        app.upstream.then(Reply::stream(&[], Some((10, 0))));
        let answer = chat(&app, &key, &hello_stream("m1")).send().await.expect(200);
        assert_eq!(answer.events().last().unwrap(), "[DONE]");
        assert_eq!(micros(&last_receipt(&app, &key).await["charged_usd"]), 100);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn a_client_that_leaves_pays_for_what_it_got() {
    run(async |app| {
        app.with_model().await;
        let key = rich_key(&app, "10").await;
        // After so many of: the role, two words, the finish, the usage, [DONE], a comment.
        let comment = b": bye\n\n".to_vec();
        let chunks = [Reply::chunks(&["Hel", "lo"], Some((10, 5))), vec![comment]].concat();
        let estimated = |words: i64| input_estimate() * 10 + words * 30;
        for (seen, outcome, rule, charged) in [
            (1, "client_gone", "estimated", estimated(0)),
            (2, "client_gone", "estimated", estimated(1)),
            (3, "client_gone", "estimated", estimated(2)),
            (5, "client_gone", "reported", 250),
            (6, "completed", "reported", 250),
        ] {
            app.upstream.then(Reply::Stream(chunks.clone(), StreamEnd::Eof));
            chat(&app, &key, &hello_stream("m1")).leave_after(seen - 1).send().await.expect(200);
            let record = last_receipt(&app, &key).await;
            assert_eq!(record["outcome"], outcome, "{seen}");
            assert_eq!(record["receipt"]["rule"], rule, "{seen}");
            assert_eq!(micros(&record["charged_usd"]), charged, "{seen}");
        }
        assert_eq!(usage_rows(&app, &key).await.len(), 5);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn a_connection_that_breaks_after_done_changes_nothing() {
    run(async |app| {
        let key = app.with_model().await;
        for end in [StreamEnd::Broken, StreamEnd::Stalled, StreamEnd::ClientGone, StreamEnd::Eof] {
            app.upstream.then(Reply::Stream(Reply::chunks(&["hi"], Some((10, 5))), end));
            let answer = chat(&app, &key, &hello_stream("m1")).send().await.expect(200);
            assert_eq!(answer.events().last().unwrap(), "[DONE]");
            assert_eq!(last_receipt(&app, &key).await["outcome"], "completed");
        }
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - 4 * 250);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn a_stream_that_nobody_ends_gives_its_hold_back() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.then(Reply::stream(&["hi"], Some((10, 5))));
        let mut stream = LiveStream::open(&app, &key, &hello_stream("m1")).await;
        stream.step().unwrap();
        // The isolate's handle is dropped without a word, as when the runtime evicts it.
        drop(stream);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn a_long_stream_keeps_its_hold_and_is_settled_at_its_end() {
    run(async |app| {
        let key = app.provision("0.01").await;
        app.add_provider("p1").await;
        app.add_model("m1", "p1", 5).await;
        let words = vec!["word"; 200];
        app.upstream.then(Reply::stream(&words, Some((10, 90))));
        let mut stream = LiveStream::open(&app, &key, &hello_stream("m1")).await;
        while stream.step().is_some() {
            app.pass_ms(2_000).await;
        }
        stream.end();
        let record = last_receipt(&app, &key).await;
        assert_eq!(record["outcome"], "completed");
        assert_eq!(micros(&record["charged_usd"]), 100 + 90 * 30);
        assert_balanced(&app, &key, 10_000).await;
    });
}
