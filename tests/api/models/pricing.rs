//! What a call costs, to the micro-dollar.

use guildhall::ports::StreamEnd;
use serde_json::{Value, json};

use super::kit::{
    add_model, assert_balanced, chat, hello, hello_stream, last_receipt, micros, rich_key, tokenhub_key, usage_rows,
};
use crate::support::{Key, Reply, run};

/// A whole answer with this usage.
fn answer_with(usage: &Value) -> Reply {
    let body = json!({ "id": "x", "object": "chat.completion", "created": 1, "model": "up", "usage": usage,
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": "four" }, "finish_reason": "stop" }] });
    Reply::Whole(200, body.to_string(), "")
}

/// A request whose hold covers all the usage of the table: a million tokens of either kind.
fn roomy(model: &str) -> String {
    let text = "word ".repeat(200_000);
    hello(model).replacen("hello there", &text, 1).replacen("100", "1000000", 1)
}

/// The charge that the receipt adds up to: exact products of tokens and rates, rounded up once.
fn recompute(receipt: &Value) -> i64 {
    let usage = |name: &str| receipt["usage"][name].as_i64().unwrap();
    let rate = |name: &str| receipt["price"][format!("{name}_pico_usd_per_token")].as_i64();
    let cached = usage("cache_read").min(usage("input"));
    let fresh = usage("input") - cached;
    let input = rate("input").unwrap();
    let pico = fresh * input + cached * rate("cache_read").unwrap_or(input) + usage("output") * rate("output").unwrap();
    pico.div_euclid(1_000_000) + i64::from(pico % 1_000_000 != 0)
}

#[test]
fn reported_tokens_are_priced_at_the_exact_rates_and_rounded_up_once() {
    run(async |app| {
        app.add_provider("p1").await;
        let key = rich_key(&app, "1000").await;
        let plain = |input: u64, output: u64| json!({ "prompt_tokens": input, "completion_tokens": output });
        let cached = |input: u64, output: u64, cached: u64| {
            json!({ "prompt_tokens": input, "completion_tokens": output,
            "prompt_tokens_details": { "cached_tokens": cached } })
        };
        // Rates of input, output and cache in dollars per 1,000 tokens; the usage; micro-dollars.
        let cases: &[(&str, &str, Option<&str>, Value, i64)] = &[
            ("0.01", "0.03", None, plain(10, 5), 250),
            ("0.00015", "0.0006", None, plain(10, 5), 5), // 1.5 + 3 = 4.5
            ("0.00015", "0.0006", None, plain(1, 0), 1),  // 0.15
            ("0.00015", "0.0006", None, plain(1, 1), 1),  // 0.15 + 0.6: once, not once a line
            ("0.00015", "0.0006", None, plain(20, 5), 6), // 3 + 3, exactly
            ("0.00015", "0.0006", None, plain(0, 1), 1),
            ("0.000000001", "0.000000001", None, plain(1, 0), 1),
            ("0.000000001", "0.000000001", None, plain(999_999, 1), 1),
            ("0.000000001", "0.000000001", None, plain(1_000_000, 1), 2),
            ("1e-9", "3.5e-7", None, plain(1, 3), 1),
            ("0.1", "0", None, plain(7, 1_000), 700),
            ("0", "0.1", None, plain(7, 3), 300),
            ("0", "0", None, plain(1_000, 1_000), 0),
            ("0.0025", "0.01", Some("0.00125"), cached(1_000, 10, 600), 1_000 + 750 + 100),
            ("0.0025", "0.01", Some("0"), cached(1_000, 10, 600), 1_000 + 100),
            ("0.0025", "0.01", None, cached(1_000, 10, 600), 2_500 + 100),
            ("0.0025", "0.01", Some("0.00125"), cached(10, 0, 50), 13), // no more cached than read: 12.5
            (
                "0.0025",
                "0.01",
                Some("0.00125"),
                json!({ "prompt_tokens": 100, "completion_tokens": 1, "prompt_cache_hit_tokens": 40 }),
                150 + 50 + 10,
            ),
            // Anthropic's names: the input leaves the cached tokens out.
            (
                "0.0025",
                "0.01",
                Some("0.00025"),
                json!({ "input_tokens": 100, "output_tokens": 2, "cache_read_input_tokens": 40 }),
                250 + 10 + 20,
            ),
            ("0.01", "0.03", None, json!({ "prompt_tokens": 10, "total_tokens": 15 }), 250),
        ];
        let mut spent = 0;
        for (number, (input, output, cache, usage, cost)) in cases.iter().enumerate() {
            let id = format!("m{number}");
            let rate = |text: &str| text.parse::<serde_json::Number>().unwrap();
            let mut fields = json!({ "input_per_1k": rate(input), "output_per_1k": rate(output) });
            if let Some(cache) = cache {
                fields["cache_read_per_1k"] = rate(cache).into();
            }
            add_model(&app, &id, "p1", fields).await;
            app.upstream.then(answer_with(usage));
            let answer = chat(&app, &key, &roomy(&id)).undocumented().send().await.expect(200);
            let stated = answer.header("x-tokaroo-cost").unwrap().parse::<serde_json::Number>().unwrap();
            assert_eq!(micros(&stated.into()), *cost, "{input} {output} {cache:?} {usage}");
            let record = last_receipt(&app, &key).await;
            assert_eq!(micros(&record["charged_usd"]), *cost, "{record}");
            assert_eq!(record["receipt"]["rule"], "reported");
            assert_eq!(record["receipt"]["cost_micros"], *cost);
            assert_eq!(recompute(&record["receipt"]), *cost, "{record}");
            assert_eq!(record["receipt"]["price"]["model"], id);
            spent += cost;
        }
        assert_eq!(app.balance_micros(&key).await, 1_000_000_000 - spent);
        assert_balanced(&app, &key, 1_000_000_000).await;
    });
}

#[test]
fn missing_and_absurd_usage_is_estimated_and_the_receipt_says_so() {
    run(async |app| {
        let key = app.with_model().await;
        app.set_limits(&key, 10_000, 100_000, 100).await;
        let mut spent = 0;
        for usage in [
            Value::Null,
            json!({}),
            json!([1, 2]),
            json!("10"),
            json!({ "prompt_tokens": 0, "completion_tokens": 0 }),
            json!({ "prompt_tokens": -1, "completion_tokens": 5 }),
            json!({ "prompt_tokens": 10, "completion_tokens": -5 }),
            json!({ "prompt_tokens": 1.5, "completion_tokens": 5 }),
            json!({ "prompt_tokens": "10", "completion_tokens": 5 }),
            json!({ "prompt_tokens": 1_000_000_000_001_u64, "completion_tokens": 5 }),
            json!({ "prompt_tokens": u64::MAX, "completion_tokens": u64::MAX }),
            json!({ "completion_tokens": 5 }),
            json!({ "prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": { "cached_tokens": -4 } }),
        ] {
            app.upstream.then(answer_with(&usage));
            let answer = chat(&app, &key, &hello("m1")).send().await.expect(200).json();
            let record = last_receipt(&app, &key).await;
            // A token per 4 bytes of the body, and of the four letters that the model wrote.
            let input = i64::try_from(hello("m1").len()).unwrap() / 4;
            assert_eq!(record["receipt"]["rule"], "estimated", "{usage}");
            assert_eq!((&record["input_tokens"], &record["output_tokens"]), (&json!(input), &json!(1)), "{usage}");
            let told = json!({ "prompt_tokens": input, "completion_tokens": 1, "total_tokens": input + 1 });
            assert_eq!(answer["usage"], told, "{usage}");
            assert_eq!(micros(&record["charged_usd"]), input * 10 + 30, "{usage}");
            assert_eq!(recompute(&record["receipt"]), input * 10 + 30);
            spent += input * 10 + 30;
        }
        app.upstream.then(Reply::chat_without_usage("four"));
        let answer = chat(&app, &key, &hello("m1")).send().await.expect(200).json();
        assert_eq!(answer["usage"]["completion_tokens"], 1);
        assert_eq!(last_receipt(&app, &key).await["receipt"]["rule"], "estimated");
        spent += i64::try_from(hello("m1").len()).unwrap() / 4 * 10 + 30;
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - spent);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn a_stream_of_anthropics_that_counts_nothing_is_charged_what_its_client_is_told() {
    run(async |app| {
        let provider =
            json!({ "id": "anth", "type": "anthropic", "base_url": "http://127.0.0.1:9/anth/v1", "api_key": "sk-ant" });
        app.admin("POST", "/admin/v1/providers").json(&provider).send().await.expect(200);
        add_model(&app, "m1", "anth", json!({})).await;
        let key = rich_key(&app, "10").await;
        let zeros = json!({ "input_tokens": 0, "output_tokens": 0 });
        let events = [
            json!({ "type": "message_start", "message": { "id": "msg_1", "usage": &zeros } }),
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "four" } }),
            json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": &zeros }),
            json!({ "type": "message_stop" }),
        ];
        let chunks = events.iter().map(|event| format!("data: {event}\n\n").into_bytes()).collect();
        app.upstream.then(Reply::Stream(chunks, StreamEnd::Eof));
        let request = hello_stream("m1").replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
        let text = chat(&app, &key, &request).send().await.expect(200).text();
        let input = request.len() / 4;
        assert_eq!(text.matches("\"usage\":").count(), 1, "{text}");
        assert!(text.contains(&format!("\"prompt_tokens\":{input},\"completion_tokens\":1,")), "{text}");
        let record = last_receipt(&app, &key).await;
        assert_eq!(record["receipt"]["rule"], "estimated");
        assert_eq!((&record["input_tokens"], &record["output_tokens"]), (&json!(input), &json!(1)));
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn an_upstream_that_claims_too_much_never_takes_more_than_the_balance() {
    run(async |app| {
        app.with_model().await;
        for (input, output) in [(10, 1_000_000), (500_000_000_000, 500_000_000_000), (400_000, 1)] {
            let key = app.provision("0.01").await;
            app.upstream.then(Reply::chat("hi", input, output));
            chat(&app, &key, &hello("m1")).send().await.expect(200);
            let record = last_receipt(&app, &key).await;
            let charged = micros(&record["charged_usd"]);
            assert!((1..=10_000).contains(&charged), "{record}");
            // The receipt tells the whole cost and what was taken of it.
            assert!(record["receipt"]["cost_micros"].as_i64().unwrap() > charged, "{record}");
            assert_eq!(app.balance_micros(&key).await, 10_000 - charged);
            assert_balanced(&app, &key, 10_000).await;
        }
    });
}

#[test]
fn tokens_beyond_the_hold_are_paid_from_what_else_is_there() {
    run(async |app| {
        let key = app.with_model().await;
        // 200 output tokens where the client allowed 100: $0.006 beside the hold, and $9.99 on the account.
        app.upstream.then(Reply::chat("hi", 10, 200));
        chat(&app, &key, &hello("m1")).send().await.expect(200);
        let record = last_receipt(&app, &key).await;
        assert!(micros(&record["charged_usd"]) <= 100 + 200 * 30, "{record}");
        assert_eq!(record["receipt"]["cost_micros"], 100 + 200 * 30);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

/// How many tokens a picture is, and how long an answer that nobody limits, shows only in the usage.
#[test]
fn what_nobody_could_tell_beforehand_is_charged_beyond_the_hold() {
    let picture = json!({ "model": "m1", "max_tokens": 100, "messages": [{ "role": "user", "content": [
        { "type": "text", "text": "what is it?" }, { "type": "image_url", "image_url": { "url": "https://a.example/a.png" } }] }] });
    let endless = json!({ "model": "endless", "messages": [{ "role": "user", "content": "write a book" }] });
    let film = json!({ "model": "m1", "max_tokens": 100, "messages": [{ "role": "user", "content": [
        { "type": "video_url", "video_url": { "url": "https://a.example/a.mp4" } }] }] });
    for (name, body, (input, output)) in [
        ("picture", &picture, (36_000, 50)),
        ("endless", &endless, (20, 30_000)),
        ("film", &film, (60_000, 50)),
        // Of a limit that the client has set the platform bears what is beyond.
        ("text", &json!({ "model": "m1", "max_tokens": 100, "messages": endless["messages"] }), (20, 30_000)),
    ] {
        run(async |app| {
            app.with_model().await;
            add_model(&app, "endless", "p1", json!({ "max_output_tokens": 0 })).await;
            let cost = input * 10 + output * 30;
            for balance in [10_000_000, cost - 1_000] {
                let key = app.provision(&format!("{}", balance as f64 / 1e6)).await;
                app.upstream.then(Reply::chat("hi", input as u64, output as u64));
                let answer = chat(&app, &key, &body.to_string()).send().await.expect(200);
                let record = last_receipt(&app, &key).await;
                let charged = micros(&record["charged_usd"]);
                assert_eq!(record["receipt"]["cost_micros"], cost, "{name}");
                if name == "text" {
                    assert!(charged < 10_000, "{name}: {record}");
                } else {
                    assert_eq!(charged, cost.min(balance), "{name}: {record}");
                    assert_eq!(answer.header("x-tokaroo-cost"), Some(&*format!("{}", cost as f64 / 1e6)), "{name}");
                }
                assert_balanced(&app, &key, balance).await;
            }
        });
    }
}

#[test]
fn a_guess_is_no_leave_to_overstep_a_budget_or_a_limit_of_the_clients() {
    run(async |app| {
        app.add_provider("p1").await;
        add_model(&app, "endless", "p1", json!({ "max_output_tokens": 0 })).await;
        let key = app.provision("10").await;
        let body = r#"{"name":"small","monthly_budget_usd":0.5}"#;
        let small = app.post("/v1/keys").bearer(&key.key).body(body).send().await.expect(200).json();
        let small = Key { key: small["key"].as_str().unwrap().to_owned(), account_id: key.account_id.clone() };
        app.upstream.always(Reply::chat("hi", 20, 30_000));
        let endless = r#"{"model":"endless","messages":[{"role":"user","content":"write a book"}]}"#;
        chat(&app, &small, endless).send().await.expect(200);
        assert_eq!(micros(&last_receipt(&app, &small).await["charged_usd"]), 500_000);
        assert_balanced(&app, &key, 10_000_000).await;
        let house = tokenhub_key(&app).await;
        let limited =
            r#"{"request":{"messages":[{"role":"user","content":"write a book"}]},"policy":{"max_budget_usd":0.2}}"#;
        app.post("/v1/chat").bearer(&house.key).body(limited).send().await.expect(200);
        assert!(micros(&last_receipt(&app, &house).await["charged_usd"]) <= 200_000);
    });
}

#[test]
fn a_free_model_is_served_with_an_empty_wallet() {
    run(async |app| {
        app.add_provider("p1").await;
        add_model(&app, "free", "p1", json!({ "input_per_1k": 0, "output_per_1k": 0.0 })).await;
        let key = app.provision("0").await;
        for asked in ["free", "auto", "fast", "max"] {
            app.upstream.then(Reply::chat("hi", 1_000, 1_000));
            let answer = chat(&app, &key, &hello(asked)).send().await.expect(200);
            assert_eq!(answer.header("x-tokaroo-cost"), Some("0"), "{asked}");
            assert!(!app.upstream.last_body().contains("max_completion_tokens"));
        }
        app.upstream.then(Reply::stream(&["hi"], Some((1_000, 1_000))));
        let stream = chat(&app, &key, &hello_stream("free")).send().await.expect(200);
        assert_eq!(stream.events().last().unwrap(), "[DONE]");
        let rows = usage_rows(&app, &key).await;
        assert_eq!(rows.len(), 5);
        assert!(rows.iter().all(|row| row["charged_usd"] == 0.0 && row["input_tokens"] == 1_000), "{rows:?}");
        assert_balanced(&app, &key, 0).await;
    });
}

#[test]
fn a_call_is_priced_as_of_when_it_was_routed_and_the_receipt_names_the_version() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::chat("hi", 10, 5));
        chat(&app, &key, &hello("m1")).send().await.expect(200);
        assert_eq!(last_receipt(&app, &key).await["receipt"]["price"]["version"], 1);
        app.upstream.latency_ms.set(1_000);
        let running = hello("m1");
        let change = async {
            app.pass_ms(500).await;
            let path = "/admin/v1/models/m1";
            app.admin("PATCH", path).json(&json!({ "input_per_1k": 0.02 })).send().await.expect(200);
        };
        let call = async {
            let answer = chat(&app, &key, &running).send().await.expect(200);
            assert_eq!(answer.header("x-tokaroo-cost"), Some("0.00025"));
        };
        let both: [std::pin::Pin<Box<dyn Future<Output = ()>>>; 2] = [Box::pin(change), Box::pin(call)];
        super::kit::join_all(both).await;
        let old = last_receipt(&app, &key).await;
        assert_eq!(old["receipt"]["price"]["version"], 1);
        assert_eq!(recompute(&old["receipt"]), 250);
        let answer = chat(&app, &key, &hello("m1")).send().await.expect(200);
        assert_eq!(answer.header("x-tokaroo-cost"), Some("0.00035"));
        assert_eq!(last_receipt(&app, &key).await["receipt"]["price"]["version"], 2);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}
