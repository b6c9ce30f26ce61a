//! `POST /v1/audio/speech` and `POST /v1/audio/transcriptions`.

use guildhall::ports::StreamEnd;
use serde_json::json;

use super::kit::{assert_balanced, last_receipt, micros};
use super::media::{FORM, form, with_sandbox, with_upstream};
use crate::support::{Answer, Key, Reply, TestApp, run};

async fn speak(app: &TestApp, key: &Key, body: &str) -> Answer {
    app.post("/v1/audio/speech").bearer(&key.key).body(body).send().await
}

async fn transcribe(app: &TestApp, key: &Key, fields: &[(&str, &str)], file: &[u8]) -> Answer {
    let call = app.post("/v1/audio/transcriptions").bearer(&key.key).bytes(&form(fields, Some(file)));
    call.rare(|head| head.content_type = FORM.into()).send().await
}

#[test]
fn the_sandbox_understands_what_it_says() {
    run(async |app| {
        let key = with_sandbox(&app).await;
        for (format, content_type) in [("mp3", "audio/mpeg"), ("wav", "audio/wav"), ("opus", "audio/opus")] {
            let body = json!({ "input": "Good morning, all of you.", "response_format": format, "voice": "nova" });
            let spoken = speak(&app, &key, &body.to_string()).await.expect(200);
            assert_eq!(spoken.header("content-type"), Some(content_type));
            // 25 characters at $15 a million.
            assert_eq!(spoken.header("x-tokaroo-cost"), Some("0.000375"));
            let heard = transcribe(&app, &key, &[], &spoken.body).await.expect(200);
            assert_eq!(heard.json()["text"], "Good morning, all of you.");
            // 0.6 seconds are one, at $0.006 a minute.
            assert_eq!(micros(&last_receipt(&app, &key).await["charged_usd"]), 100);
        }
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn transcripts_come_as_text_and_subtitles() {
    run(async |app| {
        let key = with_sandbox(&app).await;
        let spoken = speak(&app, &key, r#"{"input":"hello"}"#).await.expect(200).body;
        for (format, content_type, start) in [
            ("text", "text/plain; charset=utf-8", "hello"),
            ("srt", "text/plain; charset=utf-8", "1\n00:00:00,000 -->"),
            ("vtt", "text/vtt; charset=utf-8", "WEBVTT"),
            ("verbose_json", "application/json", "{"),
        ] {
            let answer = transcribe(&app, &key, &[("response_format", format)], &spoken).await.expect(200);
            assert_eq!(answer.header("content-type"), Some(content_type));
            assert!(answer.text().starts_with(start), "{}", answer.text());
        }
    });
}

#[test]
fn speech_is_relayed_as_it_comes() {
    run(async |app| {
        let key = with_upstream(&app).await;
        let spoken = |end| Reply::Relay("audio/mpeg", vec![b"\xff\xf3one".to_vec(), b"two\x00".to_vec()], end);
        app.upstream.then(spoken(StreamEnd::Eof));
        let answer = speak(&app, &key, r#"{"input":"1234567890"}"#).await.expect(200);
        assert_eq!(answer.body, b"\xff\xf3onetwo\x00");
        assert_eq!(answer.header("content-type"), Some("audio/mpeg"));
        assert_eq!(micros(&last_receipt(&app, &key).await["charged_usd"]), 150);
        app.upstream.then(spoken(StreamEnd::Broken));
        speak(&app, &key, r#"{"input":"1234567890"}"#).await.expect(200);
        let record = last_receipt(&app, &key).await;
        assert_eq!((&record["outcome"], micros(&record["charged_usd"])), (&json!("stream_broken"), 0));
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn a_transcription_passes_the_form_on_and_charges_what_is_reported() {
    run(async |app| {
        let key = with_upstream(&app).await;
        // It does not tell its length: it may be 100 seconds long.
        let sound = vec![0xff; 75_000];
        app.upstream.always(Reply::Whole(
            200,
            r#"{"text":"hi","usage":{"type":"duration","seconds":61}}"#.to_owned(),
            "",
        ));
        let answer = transcribe(&app, &key, &[("model", "hear"), ("odd", "kept")], &sound).await.expect(200);
        assert_eq!((&answer.json()["text"], answer.header("x-tokaroo-cost")), (&json!("hi"), Some("0.0061")));
        let sent = app.upstream.sent.borrow();
        assert!(sent[0].headers.contains(&("content-type", FORM.to_owned())));
        assert_eq!(
            sent[0].body.as_deref(),
            Some(form(&[("model", "up-hear"), ("odd", "kept")], Some(sound.as_slice())).as_slice())
        );
    });
}

#[test]
fn an_upstream_reads_the_form_as_it_was_read_here() {
    run(async |app| {
        let key = with_upstream(&app).await;
        app.upstream.always(Reply::Whole(200, r#"{"text":"hi"}"#.to_owned(), ""));
        let call = app.post("/v1/audio/transcriptions").bearer(&key.key);
        let call = call.bytes(&form(&[("model", "hear")], Some(&[0xff; 7_500])));
        call.rare(|head| head.content_type = format!("{FORM}; boundary=C; x=y")).send().await.expect(200);
        assert!(app.upstream.sent.borrow()[0].headers.contains(&("content-type", FORM.to_owned())));
    });
}

#[test]
fn a_form_that_is_sent_again_with_another_boundary_is_the_same_request() {
    run(async |app| {
        let key = with_upstream(&app).await;
        app.upstream.always(Reply::Whole(200, r#"{"text":"hi"}"#.to_owned(), ""));
        let send = |boundary: &'static str, sound: u8| {
            let body = form(&[("model", "hear")], Some(&[sound; 7_500]));
            let body = String::from_utf8(body).unwrap().replace("--B", &format!("--{boundary}"));
            let call = app.post("/v1/audio/transcriptions").bearer(&key.key).body(&body);
            let call = call.head(|head| head.idempotency_key = "k1".into());
            call.rare(move |head| head.content_type = format!("multipart/form-data; boundary={boundary}")).send()
        };
        let first = send("B", b'a').await.expect(200);
        let again = send("another", b'a').await.expect(200);
        assert_eq!((&again.body, again.header("idempotency-replay")), (&first.body, Some("true")));
        assert_eq!(app.upstream.sent.borrow().len(), 1);
        send("B", b'b').await.expect(422);
    });
}

#[test]
fn faults_of_audio_are_named() {
    run(async |app| {
        let key = with_sandbox(&app).await;
        for (body, word) in [
            ("{}", "input"),
            (r#"{"input":"a","speed":5}"#, "speed"),
            (r#"{"input":"a","response_format":"ogg"}"#, "response_format"),
            (r#"{"input":"a","voice":"nobody"}"#, "voice"),
        ] {
            let answer = speak(&app, &key, body).await.expect(400);
            assert!(answer.text().contains(word), "{}", answer.text());
        }
        let answer = transcribe(&app, &key, &[("language", "english")], b"x").await.expect(400);
        assert!(answer.text().contains("language"));
        let json = app.post("/v1/audio/transcriptions").bearer(&key.key).body("{}").send().await.expect(400);
        assert!(json.text().contains("multipart/form-data"));
        let other = app.provision("0").await;
        speak(&app, &other, r#"{"input":"a"}"#).await.expect(402);
    });
}

#[test]
fn a_recording_has_at_most_25_megabytes() {
    run(async |app| {
        let key = with_sandbox(&app).await;
        let largest = vec![0; 25 << 20];
        transcribe(&app, &key, &[], &largest).await.expect(402);
        let rich = app.provision("50").await;
        transcribe(&app, &rich, &[], &largest).await.expect(200);
        let over = vec![0; (25 << 20) + 1];
        transcribe(&app, &rich, &[], &over).await.expect(413);
        transcribe(&app, &rich, &[], &vec![0; 26 << 20]).await.expect(413);
    });
}
