//! Where an answer takes long to begin, the next model is asked beside the first.

use guildhall::ports::FetchError;
use serde_json::{Value, json};

use super::kit::{
    add_ladder, add_model, assert_balanced, chat, hello, hello_stream, last_receipt, micros, rich_key, usage_rows,
};
use crate::support::{Answer, Key, Reply, TestApp, run, run_with};

const HEDGED: &[(&str, &str)] = &[("HEDGE_AFTER_MS", "1000")];

/// So many models, in mode `max` the first is the best; all answer `hi`, the first after ten seconds.
async fn with_slow_first(app: &TestApp, count: u8) -> Key {
    add_ladder(app, count).await;
    app.answer_hello();
    app.upstream.slow_at("p1", 10_000);
    rich_key(app, "10").await
}

/// Sends it; gives the answer and how long it took.
async fn timed(app: &TestApp, key: &Key, body: &str) -> (Answer, i64) {
    let started_ms = app.now_ms();
    let answer = chat(app, key, body).send().await;
    (answer, app.now_ms() - started_ms)
}

fn given_up(app: &TestApp) -> Vec<String> {
    app.upstream.given_up.take()
}

/// The model that the client paid for.
async fn winner(app: &TestApp, key: &Key) -> Value {
    last_receipt(app, key).await["receipt"]["price"]["model"].clone()
}

async fn errors_of(app: &TestApp, provider: &str) -> (Value, Value) {
    let health = app.admin("GET", "/admin/v1/health").send().await.expect(200).json()["providers"].clone();
    let told = health.as_array().unwrap().iter().find(|told| told["provider_id"] == provider).unwrap();
    (told["total_requests"].clone(), told["total_errors"].clone())
}

#[test]
fn the_first_answer_wins_and_the_other_is_given_up_unpaid_and_blameless() {
    run_with(HEDGED, async |app| {
        let key = with_slow_first(&app, 3).await;
        let (answer, took_ms) = timed(&app, &key, &hello("max")).await;
        answer.expect(200);
        assert!((1_000..1_200).contains(&took_ms), "{took_ms} ms");
        assert_eq!(
            (app.upstream.take_called(), given_up(&app)),
            (vec!["p1".to_owned(), "p2".into()], vec!["p1".to_owned()])
        );
        let receipt = last_receipt(&app, &key).await["receipt"].clone();
        assert_eq!((&receipt["price"]["model"], &receipt["attempts"]), (&json!("m2"), &json!(2)), "{receipt}");
        assert_eq!(usage_rows(&app, &key).await.len(), 1);
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - 250, "one answer is paid");
        assert_eq!(errors_of(&app, "p1").await, (json!(0), json!(0)));
        assert_eq!(errors_of(&app, "p2").await, (json!(1), json!(0)));
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn the_answer_says_that_it_was_hedged_only_when_it_was() {
    run_with(HEDGED, async |app| {
        let key = with_slow_first(&app, 2).await;
        let body = json!({ "request": { "messages": [{ "role": "user", "content": "hi" }] },
            "policy": { "mode": "high_confidence", "max_budget_usd": 1 } });
        let ask = async || app.post("/v1/chat").bearer(&key.key).json(&body).send().await.expect(200).json();
        let told = ask().await;
        assert_eq!((&told["negotiated_model"], &told["routing_reason"]), (&json!("m2"), &json!("hedged-dispatch")));
        app.upstream.slow_at("p1", 900);
        let told = ask().await;
        assert_eq!((&told["negotiated_model"], &told["routing_reason"]), (&json!("m1"), &json!("routed-weight-10")));
    });
}

#[test]
fn unless_a_deployment_says_so_nobody_is_asked_twice() {
    run(async |app| {
        let key = with_slow_first(&app, 3).await;
        let (answer, took_ms) = timed(&app, &key, &hello("max")).await;
        answer.expect(200);
        assert!(took_ms >= 10_000, "{took_ms} ms");
        assert_eq!(app.upstream.take_called(), ["p1"]);
    });
}

#[test]
fn so_many_are_asked_at_one_time_and_no_more() {
    for (most, called) in [("1", 1), ("2", 2), ("3", 3), ("9", 3)] {
        run_with(&[HEDGED[0], ("MAX_HEDGED_PROVIDERS", most)], async move |app| {
            let key = with_slow_first(&app, 4).await;
            for provider in ["p2", "p3", "p4"] {
                app.upstream.slow_at(provider, 20_000);
            }
            let (answer, took_ms) = timed(&app, &key, &hello("max")).await;
            answer.expect(200);
            assert!((10_000..10_200).contains(&took_ms), "{took_ms} ms: the first was not given up for the others");
            assert_eq!(app.upstream.take_called().len(), called);
            assert_eq!(given_up(&app).len(), called - 1);
            assert_balanced(&app, &key, 10_000_000).await;
        });
    }
}

#[test]
fn one_that_fails_makes_room_at_once_and_is_its_providers_fault() {
    run_with(HEDGED, async |app| {
        let key = with_slow_first(&app, 3).await;
        app.upstream.always_at("p2", Reply::error(500, "broken"));
        app.upstream.slow_at("p3", 200);
        let (answer, took_ms) = timed(&app, &key, &hello("max")).await;
        answer.expect(200);
        assert!((1_200..1_400).contains(&took_ms), "{took_ms} ms");
        assert_eq!((app.upstream.take_called().len(), given_up(&app)), (3, vec!["p1".to_owned()]));
        assert_eq!(winner(&app, &key).await, "m3");
        assert_eq!(errors_of(&app, "p1").await, (json!(0), json!(0)));
        assert_eq!(errors_of(&app, "p2").await, (json!(1), json!(1)));
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn an_answer_that_makes_no_sense_wins_nothing() {
    run_with(HEDGED, async |app| {
        let key = with_slow_first(&app, 2).await;
        app.upstream.always_at("p2", Reply::Bytes(200, b"nonsense".to_vec()));
        let (answer, took_ms) = timed(&app, &key, &hello("max")).await;
        answer.expect(200);
        assert!((10_000..10_200).contains(&took_ms), "{took_ms} ms");
        assert_eq!((winner(&app, &key).await, given_up(&app)), (json!("m1"), vec![]));
        assert_eq!(errors_of(&app, "p2").await, (json!(1), json!(1)));
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn when_all_fail_the_client_is_told_and_pays_nothing() {
    run_with(HEDGED, async |app| {
        let key = with_slow_first(&app, 3).await;
        for (provider, reply) in [
            ("p1", Reply::Fails(FetchError::TimedOut)),
            ("p2", Reply::error(500, "broken")),
            ("p3", Reply::error(503, "busy")),
        ] {
            app.upstream.always_at(provider, reply);
        }
        timed(&app, &key, &hello("max")).await.0.expect(502);
        assert_eq!(app.upstream.take_called().len(), 3);
        assert_eq!(app.last_usage(&key).await["charged_usd"], 0.0);
        for provider in ["p1", "p2", "p3"] {
            assert_eq!(errors_of(&app, provider).await, (json!(1), json!(1)), "{provider}");
        }
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn a_clients_own_mistake_and_a_client_that_leaves_end_the_race() {
    run_with(HEDGED, async |app| {
        let key = with_slow_first(&app, 3).await;
        app.upstream.always_at("p2", Reply::error(400, "temperature is wrong"));
        timed(&app, &key, &hello("max")).await.0.expect(400);
        assert_eq!((app.upstream.take_called().len(), given_up(&app)), (2, vec!["p1".to_owned()]));
        app.upstream.always_at("p2", Reply::Fails(FetchError::ClientGone { was_asked: true }));
        timed(&app, &key, &hello("max")).await;
        assert_eq!((app.upstream.take_called().len(), given_up(&app)), (2, vec!["p1".to_owned()]));
        let row = app.last_usage(&key).await;
        assert_eq!(row["outcome"], "client_gone");
        assert_eq!(errors_of(&app, "p1").await, (json!(0), json!(0)));
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn a_second_that_is_not_asked_any_more_leaves_the_first_to_say_what_the_client_owes() {
    run_with(HEDGED, async |app| {
        let key = with_slow_first(&app, 3).await;
        app.upstream.always_at("p1", Reply::Fails(FetchError::ClientGone { was_asked: true }));
        for other in ["p2", "p3"] {
            app.upstream.always_at(other, Reply::Fails(FetchError::ClientGone { was_asked: false }));
        }
        timed(&app, &key, &hello("max")).await;
        assert_eq!(app.upstream.take_called().len(), 3);
        assert!(app.balance_micros(&key).await < 10_000_000, "the first has read the prompt");
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn a_model_that_was_named_is_not_outrun() {
    run_with(HEDGED, async |app| {
        let key = with_slow_first(&app, 3).await;
        let (answer, took_ms) = timed(&app, &key, &hello("m1")).await;
        answer.expect(200);
        assert!(took_ms >= 10_000, "{took_ms} ms");
        assert_eq!(app.upstream.take_called(), ["p1"]);
        // Where the name is a hint, others could serve; the client still wants this one.
        let body = json!({ "request": { "messages": [{ "role": "user", "content": "hi" }], "model_hint": "m1" },
            "policy": { "max_budget_usd": 1 } });
        app.post("/v1/chat").bearer(&key.key).json(&body).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["p1"]);
    });
}

#[test]
fn the_first_stream_to_begin_is_relayed() {
    run_with(HEDGED, async |app| {
        let key = with_slow_first(&app, 2).await;
        app.upstream.always(Reply::stream(&["hi"], Some((10, 5))));
        let (answer, took_ms) = timed(&app, &key, &hello_stream("max")).await;
        assert!((1_000..1_200).contains(&took_ms), "{took_ms} ms");
        assert_eq!(answer.events().last().unwrap(), "[DONE]");
        assert_eq!((winner(&app, &key).await, given_up(&app)), (json!("m2"), vec!["p1".to_owned()]));
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn the_dearest_that_may_answer_is_held_and_the_one_that_answers_is_charged() {
    run_with(HEDGED, async |app| {
        let key = with_slow_first(&app, 1).await;
        app.add_provider("p2").await;
        add_model(&app, "dear", "p2", json!({ "weight": 1, "input_per_1k": 0.1, "output_per_1k": 0.3 })).await;
        let (answer, _) = timed(&app, &key, &hello("max")).await;
        answer.expect(200);
        let receipt = last_receipt(&app, &key).await;
        assert_eq!((&receipt["receipt"]["price"]["model"], micros(&receipt["charged_usd"])), (&json!("dear"), 2_500));
        // Ten times what is held for the other alone.
        assert_eq!(receipt["receipt"]["held_micros"], 40_100, "the dear model once, and not the other beside it");
        assert_balanced(&app, &key, 10_000_000).await;
    });
}
