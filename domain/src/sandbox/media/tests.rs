use super::*;
use crate::media::audio::measure_ms;

fn ask(kind: ModelKind, body: &str) -> MediaReply {
    answer(kind, "application/json", body.as_bytes(), 7)
}

fn json_of(reply: &MediaReply) -> serde_json::Value {
    assert_eq!(
        (reply.status, reply.content_type),
        (200, "application/json"),
        "{}",
        String::from_utf8_lossy(&reply.body)
    );
    serde_json::from_slice(&reply.body).unwrap()
}

fn say(format: &str, text: &str, speed: &str) -> MediaReply {
    let reply =
        ask(ModelKind::Speech, &format!(r#"{{"input":"{text}","response_format":"{format}","speed":{speed}}}"#));
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    reply
}

fn transcribe(file: &[u8], format: &str) -> MediaReply {
    let mut body =
        format!("--B\r\nContent-Disposition: form-data; name=\"response_format\"\r\n\r\n{format}\r\n").into_bytes();
    body.extend_from_slice(b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n");
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--B--");
    answer(ModelKind::Transcription, "multipart/form-data; boundary=B", &body, 7)
}

const TEXT: &str = "The quick brown fox jumps over the lazy dog, twice.";

#[test]
fn speech_is_transcribed_back() {
    for format in ["mp3", "opus", "aac", "flac", "wav"] {
        let spoken = say(format, TEXT, "1");
        let heard = transcribe(&spoken.body, "json");
        assert_eq!(json_of(&heard)["text"], TEXT, "{format}");
    }
}

#[test]
fn speech_is_as_long_as_its_text_and_speed() {
    let expected = |ms: u64, format: &str, speed: &str| {
        let measured = measure_ms(&say(format, TEXT, speed).body).unwrap();
        assert!(measured.abs_diff(ms) <= 50, "{format} at {speed}: {measured} ms");
    };
    for format in ["mp3", "opus", "aac", "flac", "wav"] {
        expected(25 * TEXT.len() as u64, format, "1");
        expected(50 * TEXT.len() as u64, format, "0.5");
    }
    assert_eq!(say("pcm", TEXT, "1").body.len(), TEXT.len() * 600 * 2, "25 ms of 24 kHz and 16 bits a character");
}

#[test]
fn an_unknown_voice_is_refused() {
    let reply = ask(ModelKind::Speech, r#"{"input":"a","voice":"nobody"}"#);
    assert_eq!(reply.status, 400);
    let error: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(error["error"]["param"], "voice");
}

#[test]
fn transcripts_come_in_every_format() {
    let spoken = say("wav", TEXT, "1").body;
    let text = |format| String::from_utf8(transcribe(&spoken, format).body).unwrap();
    assert_eq!(text("text"), format!("{TEXT}\n"));
    assert_eq!(
        text("srt"),
        "1\n00:00:00,000 --> 00:00:01,020\nThe quick brown fox jumps over the lazy\n\n\
         2\n00:00:01,020 --> 00:00:01,275\ndog, twice.\n\n"
    );
    assert!(text("vtt").starts_with("WEBVTT\n\n00:00:00.000 --> 00:00:01.020\nThe quick"));
    let verbose = json_of(&transcribe(&spoken, "verbose_json"));
    assert_eq!((&verbose["duration"], &verbose["segments"][1]["text"]), (&json!(1.275), &json!("dog, twice.")));
    assert_eq!(json_of(&transcribe(&spoken, "json"))["usage"], json!({ "type": "duration", "seconds": 2 }));
    assert_eq!(json_of(&transcribe(b"whatever", "json"))["text"], "I heard a recording of 8 bytes.");
}

#[test]
fn pictures_come_as_asked_for() {
    let images =
        json_of(&ask(ModelKind::Image, r#"{"prompt":"a cat","n":2,"response_format":"b64_json","size":"256x128"}"#));
    let picture = |at: usize| STANDARD.decode(images["data"][at]["b64_json"].as_str().unwrap()).unwrap();
    assert!(picture(0).starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\0\0\0\0\x80"));
    assert_ne!(picture(0), picture(1));
    let url = json_of(&ask(ModelKind::Image, r#"{"prompt":"a cat"}"#));
    assert!(url["data"][0]["url"].as_str().unwrap().starts_with("data:image/png;base64,iVBOR"));
    assert_eq!(url["created"], 7);
}

fn vectors(body: &str) -> Vec<Vec<f64>> {
    let list = json_of(&ask(ModelKind::Embedding, body));
    let numbers =
        |item: &serde_json::Value| item["embedding"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
    list["data"].as_array().unwrap().iter().map(numbers).collect()
}

#[expect(clippy::float_arithmetic, reason = "geometry")]
fn nearness(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

#[test]
fn similar_texts_are_near() {
    let v = vectors(
        r#"{"input":["the cat sat on the mat","a cat sat on a mat","quarterly tax report","the cat sat on the mat"]}"#,
    );
    assert!(v.iter().all(|v| v.len() == 1_536 && (0.9999..=1.0001).contains(&nearness(v, v))));
    assert!(nearness(&v[0], &v[1]) > 0.5 && nearness(&v[0], &v[2]) < 0.2);
    assert_eq!(v[0], v[3]);
}

#[test]
fn dimensions_and_encodings_are_obeyed() {
    let floats = vectors(r#"{"input":[[1,2,3]],"dimensions":64}"#);
    assert_eq!(floats[0].len(), 64);
    let list = json_of(&ask(ModelKind::Embedding, r#"{"input":[[1,2,3]],"dimensions":64,"encoding_format":"base64"}"#));
    let bytes = STANDARD.decode(list["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let decoded: Vec<f32> = bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let written: Vec<f32> = floats[0].iter().map(|number| number.to_string().parse().unwrap()).collect();
    assert_eq!(decoded, written);
    assert_eq!(list["usage"], json!({ "prompt_tokens": 3, "total_tokens": 3 }));
    assert_eq!(list["model"], "auto");
}

#[test]
fn a_film_is_small_and_as_long_as_asked() {
    let film_of =
        |size, seconds, fps| film(&VideoTask { prompt: "waves".into(), seconds, says_length: true, size, fps });
    for (size, seconds) in [((1280, 720), 5), ((66, 130), 1), ((64, 64), 60)] {
        let file = film_of(size, seconds, 24);
        assert_eq!(measure_ms(&file), Some(u64::from(seconds) * 1_000));
        assert!(file.len() < 64_000, "{} bytes", file.len());
    }
    assert_ne!(
        film_of((64, 64), 1, 24),
        film(&VideoTask { prompt: "hills".into(), seconds: 1, says_length: true, size: (64, 64), fps: 24 })
    );
}

/// Files for a look with other people's decoders: `GUILDHALL_SANDBOX_FILES=folder cargo test -p guildhall-domain write_files`.
#[test]
fn write_files() {
    let Ok(folder) = std::env::var("GUILDHALL_SANDBOX_FILES") else { return };
    let write = |name: &str, bytes: &[u8]| std::fs::write(format!("{folder}/{name}"), bytes).unwrap();
    for format in ["mp3", "opus", "aac", "flac", "wav", "pcm"] {
        write(&format!("speech.{format}"), &say(format, TEXT, "0.25").body);
    }
    for (name, size) in [("wide", (1280, 720)), ("odd", (66, 130)), ("small", (64, 64))] {
        write(
            &format!("{name}.mp4"),
            &film(&VideoTask { prompt: "waves".into(), seconds: 5, says_length: true, size, fps: 24 }),
        );
        write(&format!("{name}.png"), &png::draw(&digest("waves", 0), size));
    }
}
