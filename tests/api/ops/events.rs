//! `/admin/v1/events`.

use durable_objects::events::protocol::Events;
use durable_objects::protocol::Protocol as _;
use guildhall::ports::LiveStream;
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Fault, Reply, TestApp, run};

type Stream = Box<dyn LiveStream>;

async fn listen(app: &TestApp, last_event_id: &str) -> (Stream, String) {
    let call = app.admin("GET", "/admin/v1/events").rare(|head| head.last_event_id = last_event_id.into());
    let mut stream = call.listen().await;
    let first = piece(&mut stream).await;
    (stream, first)
}

async fn piece(stream: &mut Stream) -> String {
    String::from_utf8(stream.next().await.unwrap()).unwrap()
}

/// The frames of a piece: kind, number, data.
fn frames(piece: &str) -> Vec<(String, Option<u64>, Value)> {
    let field = |frame: &str, name: &str| {
        frame.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).map(str::to_owned)
    };
    let frame = |frame: &str| {
        let data = serde_json::from_str(&field(frame, "data").unwrap()).unwrap();
        (field(frame, "event").unwrap(), field(frame, "id").map(|id| id.parse().unwrap()), data)
    };
    piece.split("\n\n").filter(|text| !text.is_empty()).map(frame).collect()
}

/// The first frame of a kind that comes.
async fn wait_for(stream: &mut Stream, kind: &str) -> (Option<u64>, Value) {
    for _ in 0..50 {
        if let Some((_, id, data)) = frames(&piece(stream).await).into_iter().find(|(found, ..)| found == kind) {
            return (id, data);
        }
    }
    panic!("no {kind}")
}

#[test]
fn the_first_frame_says_connected() {
    run(async |app| {
        app.get("/admin/v1/events").send().await.expect(401);
        let answer = app.admin("GET", "/admin/v1/events").send().await.expect(200);
        assert!(answer.header("content-type").unwrap().starts_with("text/event-stream"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        assert!(answer.text().starts_with("event: connected\n"), "{}", answer.text());
        assert_eq!(frames(&answer.text())[0].2, json!({ "status": "ok" }));
    });
}

#[test]
fn a_call_is_told_with_everything() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.pass_ms(100).await;
        let (mut stream, _) = listen(&app, "").await;
        let answer = app.hello(&key).send().await.expect(200);
        app.upstream.then(Reply::Whole(502, "garbage".into(), "30"));
        app.pass_ms(200).await;
        app.hello(&key).send().await.expect(502);
        app.pass_ms(200).await;
        let (id, told) = wait_for(&mut stream, "route_success").await;
        assert!(id.is_some());
        for (field, expected) in [
            ("type", json!("route_success")),
            ("model_id", json!("m1")),
            ("provider_id", json!("p1")),
            ("cost_usd", json!(0.00025)),
            ("input_tokens", json!(10)),
            ("output_tokens", json!(5)),
            ("total_tokens", json!(15)),
            ("request_id", json!(answer.header("x-request-id").unwrap())),
            ("api_key_name", json!("first key")),
            ("mode", json!("auto")),
        ] {
            assert_eq!(told[field], expected, "{field}");
        }
        assert_eq!(told.get("error_class"), None);
        let (mut again, _) = listen(&app, &(id.unwrap()).to_string()).await;
        let (_, failed) = wait_for(&mut again, "route_error").await;
        assert_eq!(
            (&failed["error_class"], &failed["error_msg"]),
            (&json!("routing_failure"), &json!("all providers failed"))
        );
    });
}

#[test]
fn a_reader_that_lost_its_line_misses_nothing() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let (mut stream, _) = listen(&app, "").await;
        app.hello(&key).send().await.expect(200);
        app.pass_ms(200).await;
        let (seen, _) = wait_for(&mut stream, "route_success").await;
        drop(stream);
        let mut made = Vec::new();
        for _ in 0..5 {
            let answer = app.hello(&key).send().await.expect(200);
            made.push(answer.header("x-request-id").unwrap().to_owned());
            app.pass_ms(200).await;
        }
        app.crash_isolate();
        let (mut stream, first) = listen(&app, &seen.unwrap().to_string()).await;
        assert_eq!(frames(&first)[0].1, seen);
        let told = frames(&piece(&mut stream).await);
        let ids: Vec<_> = told.iter().map(|(.., data)| data["request_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids, made);
        let numbers: Vec<_> = told.iter().map(|(_, id, _)| id.unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    });
}

#[test]
fn what_is_not_kept_any_more_is_told() {
    run(async |app| {
        for at in 0..300 {
            app.add_provider(&format!("p{}", at % 3)).await;
        }
        app.pass_ms(200).await;
        let (mut stream, _) = listen(&app, "1").await;
        let told = frames(&piece(&mut stream).await);
        assert_eq!((told[0].0.as_str(), told[0].1), ("gap", None));
        assert!(told[0].2["reason"].as_str().unwrap().contains("not kept"));
        assert!(told.len() > 100 && told[1].0 == "config_change", "{}", told.len());
    });
}

#[test]
fn an_idle_reader_hears_a_heartbeat_and_is_never_cut_off() {
    run(async |app| {
        app.with_model().await;
        app.pass_ms(100).await;
        let (mut stream, _) = listen(&app, "").await;
        let begun_ms = app.now_ms();
        for beat in 1..=30 {
            let told = frames(&piece(&mut stream).await);
            assert_eq!((told[0].0.as_str(), told[0].1), ("heartbeat", None));
            assert_eq!(told[0].2["reason"], "providers=1 models=1");
            let passed_ms = app.now_ms() - begun_ms;
            assert!((beat * 15_000..beat * 16_500).contains(&passed_ms), "{beat}: {passed_ms}");
        }
        assert!(app.now_ms() - begun_ms > 7 * 60_000);
    });
}

#[test]
fn changes_by_administrators_are_told() {
    run(async |app| {
        let (mut stream, _) = listen(&app, "").await;
        app.add_provider("p1").await;
        app.admin("DELETE", "/admin/v1/providers/p1").send().await.expect(200);
        app.pass_ms(100).await;
        let told = frames(&piece(&mut stream).await);
        let kinds: Vec<_> = told.iter().map(|(kind, ..)| kind.as_str()).collect();
        assert_eq!(kinds, ["config_change", "health_change", "config_change"]);
        assert_eq!(told[0].2["reason"], "provider.upsert p1");
        let (provider, old, new) = (&told[1].2["provider_id"], &told[1].2["old_state"], &told[1].2["new_state"]);
        assert_eq!((provider, old, new), (&json!("p1"), &json!("unknown"), &json!("removed")));
    });
}

#[test]
fn a_feed_that_does_not_answer_stops_no_call_and_the_reader_waits() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.pass_ms(100).await;
        let (mut stream, _) = listen(&app, "").await;
        app.faults.fail_object(Events::BINDING, Fault::Before);
        app.hello(&key).send().await.expect(200);
        app.pass_ms(200).await;
        assert_eq!(app.assert_books_balance(&key).calls, 1, "filed without the feed");
        app.hello(&key).send().await.expect(200);
        app.pass_ms(200).await;
        for _ in 0..2 {
            app.faults.fail_object(Events::BINDING, Fault::Before);
        }
        assert_eq!(wait_for(&mut stream, "route_success").await.1["model_id"], "m1");
    });
}

#[test]
fn a_feed_that_is_gone_ends_the_stream_so_that_the_client_comes_again() {
    run(async |app| {
        let (mut stream, _) = listen(&app, "").await;
        for _ in 0..20 {
            app.faults.fail_object(Events::BINDING, Fault::Before);
        }
        assert_eq!(stream.next().await, None);
    });
}

#[test]
fn a_browser_comes_in_with_a_token_in_the_address() {
    run(async |app| {
        app.get(&format!("/admin/v1/events?token={ADMIN_TOKEN}")).send().await.expect(200);
        app.get("/admin/v1/events?token=wrong").send().await.expect(401);
        let body = r#"{"retention_days":3}"#;
        app.call("PUT", &format!("/admin/v1/tsdb/retention?token={ADMIN_TOKEN}")).body(body).send().await.expect(401);
    });
}

#[test]
fn a_provider_that_goes_down_and_comes_back_is_told() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let (mut stream, _) = listen(&app, "").await;
        app.upstream.always(Reply::Whole(502, "garbage".into(), "30"));
        for _ in 0..5 {
            app.hello(&key).send().await.expect(502);
        }
        app.pass_ms(31_000).await;
        app.answer_hello();
        app.hello(&key).send().await.expect(200);
        app.pass_ms(200).await;
        let mut states = Vec::new();
        while states.len() < 3 {
            let told = frames(&piece(&mut stream).await).into_iter().filter(|(kind, ..)| kind == "health_change");
            states.extend(told.map(|(_, _, told)| {
                (told["provider_id"].clone(), told["old_state"].clone(), told["new_state"].clone())
            }));
        }
        assert_eq!(states[0], (json!("p1"), json!("healthy"), json!("degraded")));
        assert_eq!(states[1], (json!("p1"), json!("degraded"), json!("down")));
        assert_eq!(states[2], (json!("p1"), json!("down"), json!("healthy")));
    });
}
