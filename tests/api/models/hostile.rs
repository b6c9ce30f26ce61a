//! Hostile clients and hostile upstreams: nothing panics, nothing hangs, and no money is lost.

use guildhall::ports::StreamEnd;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::kit::{CHAT, add_model, assert_balanced, chat, hello, hello_stream, micros, rich_key, usage_rows};
use crate::support::{Key, Reply, TestApp, run};

/// A source of bytes that is the same in every run.
struct Dice(u64);

impl Dice {
    const fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| u8::try_from(self.roll(256)).unwrap()).collect()
    }

    /// Changes a few bytes: flips, cuts, repeats.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.roll(4) {
            let at = self.roll(bytes.len().max(1));
            match self.roll(5) {
                0 if !bytes.is_empty() => bytes[at] = u8::try_from(self.roll(256)).unwrap(),
                1 => bytes.truncate(at),
                2 => bytes.insert(at, b"\"{}[],:\\\r\n\0"[self.roll(11)]),
                3 if !bytes.is_empty() => drop(bytes.remove(at)),
                _ => bytes.extend_from_within(at..),
            }
        }
    }

    fn cut(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let (mut rest, mut pieces) = (bytes, Vec::new());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at((1 + self.roll(200)).min(rest.len()));
            pieces.push(piece.to_vec());
            rest = behind;
        }
        pieces
    }
}

/// A stream that the client can make sense of to its end: one `[DONE]` at its end, or one error and no `[DONE]`.
#[track_caller]
fn assert_ended(text: &str) {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let shown = String::from_utf8_lossy(&text.as_bytes()[text.len().saturating_sub(600)..]);
    let data = |line: &str| line.strip_prefix("data:").map(|data| data.trim().to_owned());
    let last = data(text.trim_end().rsplit('\n').next().unwrap());
    let dones = text.lines().filter(|line| data(line).is_some_and(|data| data == "[DONE]")).count();
    if last.as_deref() == Some("[DONE]") {
        assert_eq!(dones, 1, "{shown:?}");
    } else {
        assert_eq!(dones, 0, "{shown:?}");
        let event = last.and_then(|data| serde_json::from_str::<Value>(&data).ok());
        assert!(event.is_some_and(|event| event["error"]["code"].is_string()), "{shown:?}");
    }
}

async fn with_key(app: &TestApp) -> Key {
    app.with_model().await;
    rich_key(app, "10").await
}

#[test]
fn hostile_requests_get_a_plain_answer() {
    run(async |app| {
        let key = with_key(&app).await;
        app.upstream.always(Reply::chat("hi", 10, 5));
        let good = hello("m1");
        let mut bodies: Vec<Vec<u8>> = [
            good.replacen("m1", "m1\\u0000", 1),
            good.replacen("m1", "m1\\r\\nx-evil: 1", 1),
            good.replacen("m1", "'; DROP TABLE models; --", 1),
            good.replacen("m1", "../../etc/passwd", 1),
            good.replacen("m1", "<script>alert(1)</script>", 1),
            good.replacen("m1", "${jndi:ldap://x}", 1),
            good.replacen("m1", "\\ud800", 1),
            good.replacen("100", "1e400", 1),
            good.replacen("100", "-0", 1),
            good.replacen("100", "0x10", 1),
            good.replacen("100", "1E1", 1),
            good.replacen("100", "100.0", 1),
            good.replacen("user", "us\\u0065r", 1),
            good.replacen("\"hello there\"", "[]", 1),
            good.replacen("\"hello there\"", "[{\"type\":\"\"}]", 1),
            good.replacen("\"hello there\"", &format!("[{}]", vec!["{\"type\":\"image_url\"}"; 3_000].join(",")), 1),
            good.replacen('{', &format!("{{\"{}\":1,", "k".repeat(1 << 20)), 1),
            good.replacen('{', "{\"__proto__\":{\"admin\":true},\"constructor\":null,", 1),
            good.replacen(
                '{',
                "{\"stream_options\":{\"include_usage\":true,\"include_usage\":false},\"stream\":true,",
                1,
            ),
            good.replacen('{', "{\"n\":128,\"temperature\":1e-400,", 1),
            good.replacen("hello there", &"\\u0000".repeat(10_000), 1),
            good.replacen("hello there", &"\u{202e}\u{feff}".repeat(1_000), 1),
            "{".repeat(1 << 20),
            "[{\"a\":".repeat(1 << 17),
            "\"".repeat(1 << 20),
            format!("{{\"messages\":[{}]}}", vec!["{\"role\":\"user\",\"content\":\"\"}"; 10_001].join(",")),
        ]
        .map(String::into_bytes)
        .into();
        let mut dice = Dice(0x5eed);
        bodies.extend((0..30).map(|n| dice.bytes(n * 40)));
        for _ in 0..300 {
            let mut body = good.clone().into_bytes();
            dice.damage(&mut body);
            bodies.push(body);
        }
        for body in bodies {
            let answer = app.post(CHAT).bearer(&key.key).bytes(&body).send().await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
            assert!([200, 400, 402, 404].contains(&answer.status), "{shown}: {} {}", answer.status, answer.text());
            assert!(answer.status == 200 || answer.json()["error"].is_string(), "{shown}: {}", answer.text());
        }
        for request in app.upstream.sent.borrow().iter() {
            serde_json::from_slice::<Value>(request.body.as_deref().unwrap()).unwrap();
        }
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn hostile_answers_are_delivered_or_refused_and_never_overcharged() {
    run(async |app| {
        let key = with_key(&app).await;
        let good = r#"{"model":"up","choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#;
        let usage = |text: &str| good.replacen(r#"{"prompt_tokens":10,"completion_tokens":5}"#, text, 1);
        let mut bodies: Vec<Vec<u8>> = [
            "null".into(),
            "0".into(),
            "\"model\"".into(),
            "{\"model\":{}}".into(),
            "{\"choices\":{}}".into(),
            "{\"choices\":[[[]]]}".into(),
            "{\"choices\":[{\"message\":[{\"content\":\"x\"}]}]}".into(),
            format!("\u{feff}{good}"),
            format!("{good}\0"),
            good.replacen("\"up\"", "\"up\",\"model\":7,\"mod\\u0065l\":null", 1),
            good.replacen("\"up\"", &nested(100_000), 1),
            good.replacen("\"hi\"", "\"\\ud800\\u0000\"", 1),
            good.replacen("\"hi\"", &format!("\"{}\"", "x".repeat(4 << 20)), 1),
            usage("[]"),
            usage(&nested(50_000)),
            usage("{\"prompt_tokens\":1e3,\"completion_tokens\":1e308}"),
            usage("{\"prompt_tokens\":10,\"completion_tokens\":5},\"usage\":{\"prompt_tokens\":999999999,\"completion_tokens\":999999999}"),
            usage("{\"prompt_tokens\":9999999999999999999999,\"completion_tokens\":5}"),
            usage("{\"prompt_tokens\":10,\"completion_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":999999999999}}"),
            usage("{\"prompt_tokens\":true,\"completion_tokens\":[]}"),
            usage("{\"input_tokens\":999999999999,\"cache_read_input_tokens\":999999999999,\"output_tokens\":999999999999}"),
            good.replacen("\"usage\"", "\"error\":{\"message\":\"half\"},\"usage\"", 1),
        ]
        .map(String::into_bytes)
        .into();
        let mut dice = Dice(0xbad);
        bodies.extend((0..20).map(|n| dice.bytes(n * 50)));
        for _ in 0..300 {
            let mut body = good.as_bytes().to_vec();
            dice.damage(&mut body);
            bodies.push(body);
        }
        for (calls, body) in bodies.into_iter().enumerate() {
            app.upstream.then(Reply::Bytes(200, body.clone()));
            let answer = chat(&app, &key, &hello("m1")).undocumented().send().await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
            assert!([200, 502].contains(&answer.status), "{shown}: {} {}", answer.status, answer.text());
            if answer.status == 200 {
                if let Ok(answer) = serde_json::from_slice::<Value>(&answer.body) {
                    assert_eq!(answer["model"], "m1", "{shown}");
                }
                serde_json::from_slice::<Box<RawValue>>(&answer.body).unwrap_or_else(|e| panic!("{e}: {shown}"));
            }
            if calls % 50 == 0 {
                let rows = usage_rows(&app, &key).await;
                assert_eq!(rows.len(), calls + 1);
                // Never more than the hold and what else the lease had free: about a cent here.
                assert!(rows.iter().all(|row| micros(&row["charged_usd"]) < 100_000), "{rows:?}");
            }
        }
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

/// What an upstream sends behind a good start, or in place of a good stream.
fn hostile_streams(good: &[u8], start: &str) -> Vec<Vec<u8>> {
    let mut streams: Vec<Vec<u8>> = [
        "\n\n\n\n".repeat(50_000),
        "\r".repeat(10_000),
        "\r\n\r".repeat(10_000),
        "data:\n\n".repeat(1_000),
        "data: null\n\ndata: [1,2]\n\ndata: \"x\"\n\ndata: 7\n\n".into(),
        "data: {}\n\n".repeat(1_000),
        "data: {\"choices\":null}\n\ndata: {\"choices\":[7]}\n\n".into(),
        "data: {\"error\":null,\"choices\":[]}\n\ndata: [DONE]\n\n".into(),
        "event: error\ndata: {\"error\":{\"message\":\"no\"}}\n\n".into(),
        "data: {\"error\":{\"message\":{\"a\":1},\"code\":[]}}\n\n".into(),
        "data: [DONE] \n\ndata: [done]\n\n".into(),
        "data: [DONE]x\n\n".into(),
        "data: \u{feff}{}\n\n".into(),
        format!("data: {{\"a\":{}}}\n\ndata: [DONE]\n\n", nested(100_000)),
        format!("data: {{\"model\":\"{}\"}}\n\n", "m".repeat(900_000)),
        format!(": {}\n\n", "x".repeat((1 << 20) - 2)),
        format!("data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{0},\"completion_tokens\":{0}}}}}\n\ndata: [DONE]\n\n", u64::MAX),
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":999999999999,\"completion_tokens\":999999999999}}\n\ndata: [DONE]\n\n".into(),
        "data: {\"usage\":{}}\n\n".repeat(100),
        "HTTP/1.1 200 OK\r\n\r\n<html>".into(),
        "\0\0\0\0".into(),
        "data:{\"choices\":[]}\n\ndata:[DONE]\n\n".into(),
        "d\0a\0t\0a\0:\0 \0[\0D\0O\0N\0E\0]\0\n\0\n\0".into(),
        "data: never a line end".into(),
        "data: {\"id\":\"\\ud800\",\"model\":\"\\u0000\"}\n\n".into(),
    ]
    .map(|tail: String| format!("{start}{tail}").into_bytes())
    .into();
    let mut dice = Dice(0xf00d);
    streams.extend((0..20).map(|n| [start.as_bytes(), &dice.bytes(n * 50)].concat()));
    for _ in 0..300 {
        let mut stream = good.to_vec();
        dice.damage(&mut stream);
        streams.push(stream);
    }
    streams
}

#[test]
fn hostile_streams_end_in_done_or_in_an_error() {
    run(async |app| {
        let key = with_key(&app).await;
        let good = Reply::chunks(&["Hel", "lo"], Some((10, 5))).concat();
        let start = String::from_utf8(Reply::chunks(&["Hel"], None)[..2].concat()).unwrap();
        let streams = hostile_streams(&good, &start);
        let mut dice = Dice(0xf00d);
        let ends = [StreamEnd::Eof, StreamEnd::Broken, StreamEnd::Stalled];
        for (calls, stream) in streams.into_iter().enumerate() {
            app.upstream.then(Reply::Stream(dice.cut(&stream), ends[calls % 3]));
            let answer = chat(&app, &key, &hello_stream("m1")).send().await;
            let shown = String::from_utf8_lossy(&stream[..stream.len().min(600)]).into_owned();
            match answer.status {
                200 => assert_ended(&answer.text()),
                // The very first piece was a fault already.
                502 => assert!(answer.json()["error"].is_string(), "{shown}"),
                status => panic!("{status} {}: {shown}", answer.text()),
            }
            if calls % 50 == 0 {
                let rows = usage_rows(&app, &key).await;
                assert_eq!(rows.len(), calls + 1);
                assert!(rows.iter().all(|row| micros(&row["charged_usd"]) < 100_000), "{rows:?}");
            }
        }
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn clients_that_leave_anywhere_are_settled_once() {
    run(async |app| {
        let key = with_key(&app).await;
        let good = Reply::chunks(&["Hel", "lo"], Some((10, 5))).concat();
        let mut dice = Dice(0x1eaf);
        for calls in 1..=100 {
            let pieces = dice.cut(&good);
            let leave_after = dice.roll(pieces.len());
            app.upstream.then(Reply::Stream(pieces, StreamEnd::Eof));
            chat(&app, &key, &hello_stream("m1")).leave_after(leave_after).send().await.expect(200);
            assert_eq!(usage_rows(&app, &key).await.len(), calls);
        }
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

/// Every translation in between has the same manners: Anthropic's answers, models with quirks, and the other surfaces.
#[test]
fn hostile_streams_end_on_every_way_through_the_house() {
    run(async |app| {
        let key = with_key(&app).await;
        let names = json!({ "tool_name_map": { "a": "b" }, "gemma4_output": true });
        add_model(&app, "quirky", "p1", names).await;
        let provider =
            json!({ "id": "anth", "type": "anthropic", "base_url": "http://127.0.0.1:9/anth", "api_key": "sk" });
        app.admin("POST", "/admin/v1/providers").json(&provider).send().await.expect(200);
        add_model(&app, "claude", "anth", json!({})).await;
        let good = Reply::chunks(&["<|tool_call>call:a{", "b:<|\"|>c<|\"|>}<tool_call|>"], Some((10, 5))).concat();
        let start = String::from_utf8(Reply::chunks(&["<|channel>"], None)[..2].concat()).unwrap();
        let claude = [
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n",
            "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
            "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n",
            "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n",
            "data: {\"type\":\"message_stop\"}\n\n",
        ];
        let streams_of = |model: &str| match model {
            "claude" => hostile_streams(claude.concat().as_bytes(), &claude[..3].concat()),
            _ => hostile_streams(&good, &start),
        };
        let mut dice = Dice(0xd0_0d);
        for (model, path, last) in [
            ("quirky", CHAT, ""),
            ("claude", CHAT, ""),
            ("m1", "/v1/messages", "event: message_stop"),
            ("m1", "/v1/responses", "event: response.completed"),
        ] {
            // A third of them each: all of them go through the plain way above.
            for (calls, stream) in streams_of(model).into_iter().enumerate().filter(|(at, _)| at % 3 == 0) {
                let ends = [StreamEnd::Eof, StreamEnd::Broken, StreamEnd::Stalled];
                app.upstream.then(Reply::Stream(dice.cut(&stream), ends[calls % 3]));
                let mut body: Value = serde_json::from_str(&hello_stream(model)).unwrap();
                body["input"] = "hi".into();
                let answer = app.post(path).bearer(&key.key).json(&body).send().await;
                let shown = String::from_utf8_lossy(&stream[..stream.len().min(600)]).into_owned();
                let text = answer.text();
                match answer.status {
                    200 if last.is_empty() => assert_ended(&text),
                    200 => {
                        let ended = text.matches(last).count() + text.matches("event: error").count();
                        let failed = text.contains("event: response.failed");
                        assert!(ended == 1 || failed, "{path} {shown}: {text}");
                    }
                    502 => assert!(!answer.json()["error"].is_null(), "{shown}"),
                    status => panic!("{status} {text}: {shown}"),
                }
            }
        }
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn hostile_bodies_are_refused_on_every_surface() {
    run(async |app| {
        let key = with_key(&app).await;
        let deep = |member: &str| format!("{{\"{member}\":{}}}", nested(1_000)).into_bytes();
        let bodies: Vec<Vec<u8>> = vec![
            b"{\"model\":\"\xff\xfe\"}".to_vec(),
            b"\xff\xfe{\0}\0".to_vec(),
            b"{\"a\":\"\xed\xa0\x80\"}".to_vec(),
            b"\0".repeat(100),
            deep("messages"),
            deep("input"),
            deep("request"),
            deep("tools"),
            nested(1_000).into_bytes(),
            b"{\"a\":".repeat(100_000),
            "\u{feff}{}".into(),
        ];
        for path in [
            CHAT,
            "/v1/messages",
            "/v1/messages/count_tokens",
            "/v1/responses",
            "/v1/chat",
            "/v1/plan",
            "/v1/embeddings",
            "/v1/images/generations",
            "/v1/audio/speech",
            "/v1/videos",
        ] {
            for body in &bodies {
                let answer = app.post(path).bearer(&key.key).bytes(body).send().await;
                let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
                assert_eq!(answer.status, 400, "{path} {shown}: {}", answer.text());
                assert!(!answer.json()["error"].is_null(), "{path} {shown}: {}", answer.text());
            }
            let large = app.post(path).bearer(&key.key).bytes(&vec![b' '; 64 << 20]).send().await;
            assert_eq!(large.status, 413, "{path}");
        }
        for path in ["/admin/v1/models", "/admin/v1/providers"] {
            for body in &bodies {
                let answer = app.admin("POST", path).bytes(body).send().await;
                assert_eq!(answer.status, 400, "{path}: {}", answer.text());
            }
        }
        assert!(app.upstream.take_called().is_empty());
        assert_balanced(&app, &key, 10_000_000).await;
    });
}
