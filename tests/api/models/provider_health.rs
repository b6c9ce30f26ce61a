//! What a failure says about a provider, and for how long it is left alone.

use guildhall::ports::{FetchError, StreamEnd};
use serde_json::json;

use super::kit::{add_ladder, chat, hello, hello_stream, rich_key};
use crate::support::{Fault, Key, Reply, TestApp, run};

/// Two providers, the first always better in mode `max`; the second answers.
async fn with_two(app: &TestApp) -> Key {
    add_ladder(app, 2).await;
    app.upstream.always_at("p2", Reply::chat("two", 1, 1));
    rich_key(app, "100").await
}

async fn called(app: &TestApp, key: &Key, model: &str) -> Vec<String> {
    chat(app, key, &hello(model)).send().await;
    app.upstream.take_called()
}

#[test]
fn five_errors_in_a_row_take_a_provider_out_for_thirty_seconds() {
    run(async |app| {
        let key = with_two(&app).await;
        app.upstream.always_at("p1", Reply::error(500, "no"));
        for _ in 0..5 {
            assert_eq!(called(&app, &key, "max").await, ["p1", "p2"]);
        }
        assert_eq!(called(&app, &key, "max").await, ["p2"]);
        app.pass_ms(29_000).await;
        assert_eq!(called(&app, &key, "max").await, ["p2"]);
        app.pass_ms(1_500).await;
        assert_eq!(called(&app, &key, "max").await, ["p1", "p2"], "it gets another chance");
        assert_eq!(called(&app, &key, "max").await, ["p2"], "and loses it with the first error");
        app.pass_ms(31_000).await;
        app.upstream.always_at("p1", Reply::chat("one", 1, 1));
        assert_eq!(called(&app, &key, "max").await, ["p1"]);
        app.upstream.always_at("p1", Reply::error(500, "no"));
        for _ in 0..5 {
            assert_eq!(called(&app, &key, "max").await, ["p1", "p2"], "a success begins a new count");
        }
        assert_eq!(called(&app, &key, "max").await, ["p2"]);
    });
}

#[test]
fn a_provider_that_is_down_is_tried_when_there_is_no_other() {
    run(async |app| {
        let key = with_two(&app).await;
        app.upstream.always_at("p1", Reply::error(500, "no"));
        // Five failures take it down; from then on nobody insists.
        for times in [3, 2, 1, 1, 1] {
            assert_eq!(called(&app, &key, "m1").await, vec!["p1"; times]);
        }
        assert_eq!(called(&app, &key, "max").await, ["p2"]);
        app.upstream.always_at("p1", Reply::chat("one", 1, 1));
        chat(&app, &key, &hello("m1")).send().await.expect(200);
        app.upstream.take_called();
        assert_eq!(called(&app, &key, "max").await, ["p1"], "a success brings it back");
    });
}

/// How many calls in mode `max` reach the first provider before it is skipped; at most 10 are made.
async fn calls_until_skipped(app: &TestApp, key: &Key, body: &str) -> usize {
    let mut count = 0;
    while count < 10 {
        chat(app, key, body).send().await;
        if app.upstream.take_called().first().is_none_or(|provider| provider != "p1") {
            break;
        }
        count += 1;
    }
    count
}

#[test]
fn what_is_the_providers_fault_counts_and_nothing_else() {
    let whole = |status, body: &str| Reply::Whole(status, body.to_owned(), "");
    for (name, reply, calls) in [
        ("503", Reply::error(503, "no"), 5),
        ("timeout", Reply::Fails(FetchError::TimedOut), 5),
        ("reset", Reply::Fails(FetchError::Broken("reset".into())), 5),
        ("too large", Reply::Fails(FetchError::TooLarge), 5),
        ("401", Reply::error(401, "no"), 5),
        ("403", Reply::error(403, "no"), 5),
        ("garbage", whole(200, "garbage"), 5),
        ("HTML", whole(200, "<html></html>"), 5),
        ("an error with status 200", whole(200, r#"{"error":{"message":"no"}}"#), 5),
        // Wrongly registered, refused, or nobody there to hear: the provider is well.
        ("404", Reply::error(404, "no"), 10),
        ("400", Reply::error(400, "no"), 10),
        ("413", Reply::error(413, "no"), 10),
        ("422", Reply::error(422, "no"), 10),
        ("the client left", Reply::Fails(FetchError::ClientGone { was_asked: true }), 10),
        ("success", Reply::chat("one", 1, 1), 10),
    ] {
        run(async |app| {
            let key = with_two(&app).await;
            app.upstream.always_at("p1", reply.clone());
            assert_eq!(calls_until_skipped(&app, &key, &hello("max")).await, calls, "{name}");
        });
    }
}

#[test]
fn streams_that_never_begin_count_too() {
    let stream = |text: &str| Reply::Stream(vec![text.as_bytes().to_vec()], StreamEnd::Eof);
    for (name, reply, calls) in [
        ("500", Reply::error(500, "no"), 5),
        ("a whole answer", Reply::chat("one", 1, 1), 5),
        ("an empty stream", Reply::Stream(vec![], StreamEnd::Eof), 5),
        ("an error first", stream("data: {\"error\":{\"message\":\"no\"}}\n\n"), 5),
        ("success", Reply::stream(&["one"], Some((1, 1))), 10),
    ] {
        run(async |app| {
            let key = with_two(&app).await;
            app.upstream.always_at("p1", reply.clone());
            app.upstream.always_at("p2", Reply::stream(&["two"], Some((1, 1))));
            assert_eq!(calls_until_skipped(&app, &key, &hello_stream("max")).await, calls, "{name}");
        });
    }
}

#[test]
fn a_limited_provider_is_set_aside_for_as_long_as_it_asks() {
    run(async |app| {
        let key = with_two(&app).await;
        for (retry_after, before_ms, after_ms) in [("10", 9_000, 1_200), ("1.5", 1_000, 1_200), ("", 500, 700)] {
            app.upstream.always_at("p1", Reply::Whole(429, "{}".into(), retry_after));
            assert_eq!(called(&app, &key, "max").await, ["p1", "p2"], "{retry_after}");
            app.upstream.always_at("p1", Reply::chat("one", 1, 1));
            app.pass_ms(before_ms).await;
            assert_eq!(called(&app, &key, "max").await, ["p2"], "{retry_after}");
            app.pass_ms(after_ms).await;
            assert_eq!(called(&app, &key, "max").await, ["p1"], "{retry_after}");
        }
        // However long it asks for, after an hour it is asked again.
        app.upstream.always_at("p1", Reply::Whole(429, "{}".into(), "999999999"));
        assert_eq!(called(&app, &key, "max").await, ["p1", "p2"]);
        app.pass_ms(3_590_000).await;
        assert_eq!(called(&app, &key, "max").await, ["p2"]);
        app.pass_ms(11_000).await;
        assert_eq!(called(&app, &key, "max").await, ["p1", "p2"]);
    });
}

#[test]
fn a_provider_that_has_become_another_one_is_asked_at_once() {
    run(async |app| {
        let key = with_two(&app).await;
        let other = app.new_isolate();
        let url = "/admin/v1/providers/p1";
        for change in ["key", "address", "all", "nothing"] {
            app.upstream.always_at("p1", Reply::Whole(429, "{}".into(), "3000"));
            assert_eq!(called(&app, &key, "max").await, ["p1", "p2"], "{change}");
            app.upstream.always_at("p1", Reply::chat("one", 1, 1));
            app.pass_ms(1_500).await;
            chat(&app, &key, &hello("m2")).to(&other).send().await.expect(200);
            app.pass_ms(1_500).await;
            app.upstream.take_called();
            assert_eq!(called(&app, &key, "max").await, ["p2"], "{change}");
            match change {
                "key" => drop(app.admin("PATCH", url).json(&json!({ "api_key": "sk-new" })).send().await.expect(200)),
                "address" => {
                    let at = json!({ "base_url": "http://127.0.0.1:9/p1/other" });
                    app.admin("PATCH", url).json(&at).send().await.expect(200);
                }
                "all" => {
                    app.admin("DELETE", url).send().await.expect(200);
                    app.add_provider("p1").await;
                    app.add_model("m1", "p1", 10).await;
                }
                _ => drop(app.admin("PATCH", url).json(&json!({ "enabled": true })).send().await.expect(200)),
            }
            let asked = if change == "nothing" { "p2" } else { "p1" };
            assert_eq!(called(&app, &key, "max").await, [asked], "{change}");
            // The others hear of it with their next report.
            app.pass_ms(1_500).await;
            chat(&app, &key, &hello("m2")).to(&other).send().await.expect(200);
            app.pass_ms(1_500).await;
            app.upstream.take_called();
            chat(&app, &key, &hello("max")).to(&other).send().await.expect(200);
            assert_eq!(app.upstream.take_called(), [asked], "{change}: elsewhere");
        }
    });
}

#[test]
fn health_belongs_to_the_provider_and_so_to_all_its_models() {
    run(async |app| {
        let key = with_two(&app).await;
        app.add_model("m1b", "p1", 10).await;
        app.upstream.always_at("p1", Reply::error(500, "no"));
        for model in ["m1", "m1b", "m1", "m1b", "m1"] {
            called(&app, &key, model).await;
        }
        assert_eq!(called(&app, &key, "max").await, ["p2"]);
    });
}

#[test]
fn every_isolate_hears_within_two_seconds_that_a_provider_is_down() {
    run(async |app| {
        let key = with_two(&app).await;
        app.upstream.always_at("p1", Reply::chat("one", 1, 1));
        let other = app.new_isolate();
        let call = async || {
            chat(&app, &key, &hello("max")).to(&other).send().await.expect(200);
            app.upstream.take_called()
        };
        assert_eq!(call().await, ["p1"]);
        app.upstream.always_at("p1", Reply::error(500, "no"));
        for _ in 0..5 {
            assert_eq!(called(&app, &key, "max").await, ["p1", "p2"]);
        }
        app.pass_ms(1_100).await;
        call().await;
        app.pass_ms(1_100).await;
        assert_eq!(call().await, ["p2"]);
        // And that it is well again.
        app.pass_ms(31_000).await;
        app.upstream.always_at("p1", Reply::chat("one", 1, 1));
        assert_eq!(called(&app, &key, "max").await, ["p1"]);
        app.pass_ms(1_100).await;
        call().await;
        app.pass_ms(1_100).await;
        assert_eq!(call().await, ["p1"]);
    });
}

#[test]
fn health_that_cannot_be_shared_stops_no_call_and_is_told_later() {
    run(async |app| {
        let key = with_two(&app).await;
        app.faults.fail_object("PROVIDER_HEALTH", Fault::Before);
        app.upstream.always_at("p1", Reply::error(500, "no"));
        for _ in 0..6 {
            chat(&app, &key, &hello("max")).send().await.expect(200);
        }
        app.pass_ms(2_000).await;
        app.faults.clear();
        called(&app, &key, "max").await;
        app.pass_ms(1_100).await;
        let fresh = app.new_isolate();
        chat(&app, &key, &hello("max")).to(&fresh).send().await.expect(200);
        app.pass_ms(1_100).await;
        app.upstream.take_called();
        chat(&app, &key, &hello("max")).to(&fresh).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["p2"]);
    });
}
