//! Fallback before the first byte: which failures are tried elsewhere, which are not, and what the client is told.

use guildhall::ports::{FetchError, StreamEnd};
use serde_json::json;

use super::kit::{add_ladder, assert_balanced, chat, hello, hello_stream, last_receipt, micros, rich_key, usage_rows};
use crate::support::{Reply, run};

/// Every answer of an upstream that is its own fault, to a call that is no stream.
fn failures() -> Vec<(&'static str, Reply)> {
    let whole = |status, body: &str| Reply::Whole(status, body.to_owned(), "");
    vec![
        ("500", Reply::error(500, "internal")),
        ("502 in HTML", whole(502, "<html>bad gateway</html>")),
        ("503", Reply::error(503, "overloaded")),
        ("529", Reply::error(529, "overloaded")),
        ("408", Reply::error(408, "slow")),
        ("429", Reply::Whole(429, "{}".into(), "3")),
        ("no answer in time", Reply::Fails(FetchError::TimedOut)),
        ("reset", Reply::Fails(FetchError::Broken("reset".into()))),
        ("far too large", Reply::Fails(FetchError::TooLarge)),
        ("our key is refused", Reply::error(401, "bad key")),
        ("our key is not known", Reply::error(400, "API key not valid. Please pass a valid API key.")),
        ("our account is empty", Reply::error(402, "pay")),
        ("we are forbidden", Reply::error(403, "no")),
        ("no such model there", Reply::error(404, "no such model")),
        ("a redirect", whole(302, "")),
        ("garbage", whole(200, "garbage")),
        ("an HTML page", whole(200, "<!doctype html><title>Sign in</title>")),
        ("nothing", whole(200, "")),
        ("no content", whole(204, "")),
        ("a list", whole(200, "[]")),
        ("an error with status 200", whole(200, r#"{"error":{"message":"overloaded"}}"#)),
        ("half an answer", whole(200, r#"{"choices":[{"message":{"content":"ha"#)),
        ("two answers", whole(200, "{}{}")),
        ("bytes that are no text", Reply::Bytes(200, b"{\"a\":\"\xff\"}".to_vec())),
        ("an event stream that nobody asked for", whole(200, "data: {\"choices\":[]}\n\ndata: [DONE]\n\n")),
    ]
}

const COMMENT: &str = ": PROCESSING\n\n";

/// A stream in so many chunks.
fn chunks(texts: &[&str]) -> Reply {
    Reply::Stream(texts.iter().map(|text| text.as_bytes().to_vec()).collect(), StreamEnd::Eof)
}

/// The same for a stream.
fn stream_failures() -> Vec<(&'static str, Reply)> {
    let stream = |text: &str| Reply::Stream(vec![text.as_bytes().to_vec()], StreamEnd::Eof);
    let mut failures = failures();
    failures.pop();
    failures.extend([
        ("a whole answer", Reply::chat("hi", 1, 1)),
        ("an empty stream", Reply::Stream(vec![], StreamEnd::Eof)),
        ("an error first", stream("data: {\"error\":{\"message\":\"overloaded\",\"code\":503}}\n\n")),
        ("an error after a comment", stream(": hello\n\ndata: {\"error\":{\"message\":\"overloaded\"}}\n\n")),
        ("an error as text", stream("data: {\"error\":\"overloaded\"}\n\n")),
        ("an event called error", stream("event: error\ndata: {\"message\":\"overloaded\"}\n\n")),
        ("nothing but the end", stream("data: [DONE]\n\n")),
        ("a role and the end", stream("data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\ndata: [DONE]\n\n")),
        ("no choices and the end", stream(": hi\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":0}}\n\ndata: [DONE]\n\n")),
        ("a first event that is no JSON", stream("data: {nope}\n\n")),
        (
            "an error in the chunk after a comment",
            chunks(&[COMMENT, "data: {\"error\":{\"message\":\"overloaded\"}}\n\n"]),
        ),
        ("a comment, then a reset", Reply::Stream(vec![COMMENT.into()], StreamEnd::Broken)),
        ("a comment, then silence", Reply::Stream(vec![COMMENT.into()], StreamEnd::Stalled)),
        ("a comment, then the end", chunks(&[COMMENT])),
        ("nothing of the answer, then the end", chunks(&["event: ping\ndata: {\"type\":\"ping\"}\n\n", "data: {\"choices\":[]}\n\n"])),
        ("an error called so, in the next chunk", chunks(&["event: error\n", "data: {\"message\":\"overloaded\"}\n\n"])),
        ("plain text", chunks(&["Internal Server Error\n\n"])),
        ("[DONE] and nothing else", stream("data: [DONE]\n\n")),
        ("half an object", chunks(&["data: {\"choices\":[{\"delta\":", "{\"content\":"])),
    ]);
    failures
}

#[test]
fn another_model_answers_when_the_first_fails_and_one_charge_is_made() {
    for (name, failure) in failures() {
        run(async |app| {
            add_ladder(&app, 2).await;
            let key = app.provision("1").await;
            app.upstream.always_at("p1", failure.clone());
            app.upstream.always_at("p2", Reply::chat("from two", 10, 5));
            let answer = chat(&app, &key, &hello("max")).send().await.expect(200);
            assert_eq!(app.upstream.take_called(), ["p1", "p2"], "{name}");
            assert_eq!(answer.json()["choices"][0]["message"]["content"], "from two", "{name}");
            assert_eq!(answer.json()["model"], "max");
            let record = last_receipt(&app, &key).await;
            assert_eq!(record["receipt"]["attempts"], 2, "{name}");
            assert_eq!(record["receipt"]["price"]["model"], "m2", "{name}");
            assert_eq!(record["outcome"], "completed");
            assert_eq!(usage_rows(&app, &key).await.len(), 1, "{name}");
            assert_eq!(app.balance_micros(&key).await, 1_000_000 - 250, "{name}");
            assert_balanced(&app, &key, 1_000_000).await;
        });
    }
}

#[test]
fn a_stream_falls_back_until_something_was_sent() {
    for (name, failure) in stream_failures() {
        run(async |app| {
            add_ladder(&app, 2).await;
            let key = app.provision("1").await;
            app.upstream.always_at("p1", failure.clone());
            app.upstream.always_at("p2", Reply::stream(&["from two"], Some((10, 5))));
            let answer = chat(&app, &key, &hello_stream("max")).send().await.expect(200);
            assert_eq!(app.upstream.take_called(), ["p1", "p2"], "{name}");
            assert_eq!(answer.events().last().unwrap(), "[DONE]", "{name}");
            assert!(answer.text().contains("from two") && !answer.text().contains("error"), "{name}");
            assert_eq!(last_receipt(&app, &key).await["receipt"]["price"]["model"], "m2", "{name}");
            assert_eq!(app.balance_micros(&key).await, 1_000_000 - 250, "{name}");
            assert_balanced(&app, &key, 1_000_000).await;
        });
    }
}

#[test]
fn when_the_only_provider_fails_the_answer_is_502_and_nothing_is_charged() {
    run(async |app| {
        app.with_model().await;
        let key = rich_key(&app, "1").await;
        let mut calls = 0;
        for (is_stream, failures) in [(false, failures()), (true, stream_failures())] {
            for (name, failure) in failures {
                app.upstream.always_at("p1", failure);
                let body = if is_stream { hello_stream("m1") } else { hello("m1") };
                let answer = chat(&app, &key, &body).send().await;
                let status = if name == "429" { 429 } else { 502 };
                assert_eq!(answer.status, status, "{name}: {}", answer.text());
                assert_eq!(answer.header("content-type"), Some("application/json"), "{name}");
                assert!(answer.json()["error"].is_string(), "{name}");
                let record = last_receipt(&app, &key).await;
                assert_eq!(record["outcome"], "upstream_failed", "{name}");
                assert_eq!(record["status"], status, "{name}");
                assert_eq!(record["receipt"]["rule"], "nothing_delivered", "{name}");
                assert_eq!(micros(&record["charged_usd"]), 0, "{name}");
                calls += 1;
                assert_eq!(usage_rows(&app, &key).await.len(), calls, "{name}");
            }
        }
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn at_most_three_upstreams_are_tried() {
    run(async |app| {
        add_ladder(&app, 4).await;
        let key = app.provision("1").await;
        app.upstream.always(Reply::error(500, "no"));
        chat(&app, &key, &hello("max")).send().await.expect(502);
        assert_eq!(app.upstream.take_called(), ["p1", "p2", "p3"]);
        let record = last_receipt(&app, &key).await;
        assert_eq!((&record["receipt"]["attempts"], &record["charged_usd"]), (&json!(3), &json!(0.0)));
        app.upstream.always_at("p3", Reply::chat("three", 10, 5));
        chat(&app, &key, &hello("max")).send().await.expect(200);
        assert_eq!(last_receipt(&app, &key).await["receipt"]["price"]["model"], "m3");
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

/// Three models at one provider, in mode `max` before the one at another.
#[test]
fn a_provider_that_will_not_do_better_is_left_for_another() {
    let calls = [
        (Reply::Whole(429, "{}".into(), "60"), vec!["p1", "p2"]),
        (Reply::error(401, "bad key"), vec!["p1", "p2"]),
        (Reply::error(400, "Incorrect API key provided"), vec!["p1", "p2"]),
        (Reply::Fails(FetchError::TimedOut), vec!["p1", "p2"]),
        (Reply::Whole(503, "{}".into(), "30"), vec!["p1", "p2"]),
        // What may pass may do so for another model; after the others.
        (Reply::error(503, "busy"), vec!["p1", "p2", "p1"]),
        (Reply::error(404, "no such model"), vec!["p1", "p1", "p2"]),
    ];
    for (reply, called) in calls {
        run(async |app| {
            app.add_provider("p1").await;
            app.add_provider("p2").await;
            for (model, provider, weight) in [("m1", "p1", 10), ("m2", "p1", 9), ("m3", "p1", 8), ("m4", "p2", 1)] {
                app.add_model(model, provider, weight).await;
            }
            let key = app.provision("1").await;
            app.upstream.always_at("p1", reply);
            let is_repeated = called.last() == Some(&"p1");
            let two = if is_repeated { Reply::error(401, "bad key") } else { Reply::chat("from two", 10, 5) };
            app.upstream.always_at("p2", two);
            chat(&app, &key, &hello("max")).send().await.expect(if is_repeated { 502 } else { 200 });
            let models: Vec<_> = app.upstream.bodies().into_iter().map(|body| body["model"].clone()).collect();
            assert_eq!(app.upstream.take_called(), called);
            assert_eq!(models.last().unwrap(), if is_repeated { "m2" } else { "m4" });
            assert_balanced(&app, &key, 1_000_000).await;
        });
    }
}

#[test]
fn a_clients_own_mistake_is_told_at_once_and_tried_nowhere_else() {
    run(async |app| {
        add_ladder(&app, 2).await;
        let key = rich_key(&app, "1").await;
        app.upstream.always_at("p2", Reply::chat("two", 1, 1));
        let mut calls = 0;
        for status in [400, 413, 415, 422, 451] {
            for body in [hello("max"), hello_stream("max")] {
                let error = json!({ "error": { "message": "Unsupported value: 'temperature'", "type": "invalid_request_error",
                    "param": "temperature", "code": "unsupported_value" } });
                app.upstream.always_at("p1", Reply::Whole(status, error.to_string(), ""));
                let answer = chat(&app, &key, &body).send().await.expect(status).json();
                assert_eq!(answer["error"], "Unsupported value: 'temperature'");
                assert_eq!((&answer["param"], &answer["code"]), (&json!("temperature"), &json!("unsupported_value")));
                // The first in rank is asked each time: ten refusals say nothing about its health.
                assert_eq!(app.upstream.take_called(), ["p1"], "{status}");
                let record = last_receipt(&app, &key).await;
                assert_eq!((&record["outcome"], &record["status"]), (&json!("rejected"), &json!(status)));
                calls += 1;
            }
        }
        assert_eq!(usage_rows(&app, &key).await.len(), calls);
        assert_eq!(app.balance_micros(&key).await, 1_000_000);
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn a_refusal_without_words_still_names_its_status() {
    run(async |app| {
        let key = app.with_model().await;
        for body in ["", "<html>", "{}", "[]", r#"{"error":{"message":7}}"#, r#"{"error":{"message":""}}"#] {
            app.upstream.then(Reply::Whole(422, body.to_owned(), ""));
            let answer = chat(&app, &key, &hello("m1")).send().await.expect(422).json();
            assert!(answer["error"].as_str().unwrap().contains("422"), "{body}: {answer}");
        }
        // However it is said, and no longer than it has to be.
        let long = "x".repeat(3_000);
        for (body, words) in [
            (json!([{ "error": { "code": 400, "message": "no such schema" } }]), "no such schema"),
            (json!({ "code": "bad", "error": "no such schema" }), "no such schema"),
            (json!({ "object": "error", "message": "no such schema", "param": 7 }), "no such schema"),
            (json!({ "detail": "no such schema" }), "no such schema"),
            (json!({ "detail": &long }), &long[..2_000]),
        ] {
            app.upstream.then(Reply::Whole(400, body.to_string(), ""));
            let answer = chat(&app, &key, &hello("m1")).send().await.expect(400).json();
            assert_eq!(answer["error"], words, "{body}");
        }
        // A prompt that is too long for the model is the client's to shorten.
        app.upstream.then(Reply::error(400, "This model's maximum context length is 8192 tokens"));
        let answer = chat(&app, &key, &hello("m1")).send().await.expect(400).json();
        assert!(answer["error"].as_str().unwrap().contains("8192"), "{answer}");
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn when_all_are_limited_the_client_hears_when_to_come_back() {
    for (first, second, wait) in
        [("30", "7", "7"), ("7", "30", "7"), ("", "", "1"), ("0", "99999999", "1"), ("1.5", "9", "2")]
    {
        run(async |app| {
            add_ladder(&app, 2).await;
            let key = app.provision("1").await;
            app.upstream.always_at("p1", Reply::Whole(429, "{}".into(), first));
            app.upstream.always_at("p2", Reply::Whole(429, "{}".into(), second));
            let answer = chat(&app, &key, &hello("max")).send().await.expect(429);
            assert_eq!(app.upstream.take_called(), ["p1", "p2"]);
            assert_eq!(answer.header("retry-after"), Some(wait), "{first:?} and {second:?}");
            assert_eq!(answer.json()["error"], "Rate limit exceeded");
            assert_balanced(&app, &key, 1_000_000).await;
        });
    }
}

#[test]
fn a_limit_and_a_failure_give_the_same_answer_in_either_order() {
    let limited = || Reply::Whole(429, "{}".into(), "7");
    let mut statuses = Vec::new();
    for (first, second) in [(limited(), Reply::error(500, "no")), (Reply::error(500, "no"), limited())] {
        run(async |app| {
            add_ladder(&app, 2).await;
            let key = app.provision("1").await;
            app.upstream.always_at("p1", first);
            app.upstream.always_at("p2", second);
            statuses.push(chat(&app, &key, &hello("max")).send().await.status);
        });
    }
    assert_eq!(statuses[0], statuses[1]);
}
