//! The sandbox's model, from its registration to its answers.

use serde_json::{Value, json};

use super::kit::{CHAT, assert_balanced, chat, last_receipt, micros};
use crate::support::{Key, TestApp, run};

/// A sandbox provider and its model `sandbox`, at $10 and $30 a million, and a key with $1.
async fn with_sandbox(app: &TestApp) -> Key {
    app.admin("POST", "/admin/v1/providers").body(r#"{"id":"s","type":"sandbox"}"#).send().await.expect(200);
    app.add_model("sandbox", "s", 5).await;
    app.provision("1").await
}

async fn ask(app: &TestApp, key: &Key, body: &Value) -> Value {
    let answer = app.post(CHAT).bearer(&key.key).json(body).send().await.expect(200).json();
    assert!(app.upstream.take_called().is_empty(), "it needs no network");
    answer
}

fn user(content: &Value) -> Value {
    json!({ "model": "sandbox", "messages": [{ "role": "user", "content": content }] })
}

fn with(mut request: Value, members: Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

fn weather() -> Value {
    let parameters = json!({ "type": "object", "properties": { "city": { "type": "string" }, "days": { "type": "integer" } }, "required": ["city"] });
    json!([{ "type": "function", "function": { "name": "get_weather", "parameters": parameters } }])
}

#[test]
fn a_chat_is_answered_priced_and_always_alike() {
    run(async |app| {
        let key = with_sandbox(&app).await;
        for model in ["sandbox", "auto", "fast", "max"] {
            let request = with(user(&json!("hello there")), json!({ "model": model }));
            let mut answers = Vec::new();
            for _ in 0..2 {
                let mut answer = ask(&app, &key, &request).await;
                answer["created"] = 0.into();
                answers.push(answer);
            }
            assert_eq!(answers[0], answers[1]);
            let answer = &answers[0];
            assert_eq!((&answer["model"], &answer["object"]), (&json!(model), &json!("chat.completion")));
            assert_eq!(answer["choices"][0]["message"]["content"], "I am the sandbox model. You said: hello there");
            assert_eq!(answer["choices"][0]["finish_reason"], "stop");
            // A token a word: 2 in, 9 out.
            assert_eq!(answer["usage"], json!({ "prompt_tokens": 2, "completion_tokens": 9, "total_tokens": 11 }));
            let record = last_receipt(&app, &key).await;
            assert_eq!(micros(&record["charged_usd"]), 2 * 10 + 9 * 30);
            assert_eq!(record["receipt"]["rule"], "reported");
        }
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn a_stream_says_the_same_word_by_word() {
    run(async |app| {
        let key = with_sandbox(&app).await;
        for asks_for_usage in [false, true] {
            let options = json!({ "stream": true, "stream_options": { "include_usage": asks_for_usage } });
            let request = with(user(&json!("hello there")), options).to_string();
            let answer = chat(&app, &key, &request).send().await.expect(200);
            let mut events = answer.events();
            assert_eq!(events.pop().unwrap(), "[DONE]");
            let chunks: Vec<Value> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
            assert!(chunks.len() > 5 && chunks.iter().all(|chunk| chunk["model"] == "sandbox"));
            let text: String =
                chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
            assert_eq!(text, "I am the sandbox model. You said: hello there");
            assert_eq!(answer.text().contains("\"usage\""), asks_for_usage);
            assert_eq!(micros(&last_receipt(&app, &key).await["charged_usd"]), 290);
        }
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn tools_are_called_and_their_results_read() {
    run(async |app| {
        let key = with_sandbox(&app).await;
        let request = with(user(&json!("weather?")), json!({ "tools": weather() }));
        let answer = ask(&app, &key, &request).await;
        let choice = &answer["choices"][0];
        assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("tool_calls"), &Value::Null));
        let call = choice["message"]["tool_calls"][0].clone();
        assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("get_weather")));
        let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
        assert_eq!(arguments, json!({ "city": "sandbox" }));
        let streamed = chat(&app, &key, &with(request, json!({ "stream": true })).to_string()).send().await.expect(200);
        assert!(
            streamed.text().contains("\"get_weather\"") && streamed.text().contains("\"finish_reason\":\"tool_calls\"")
        );
        assert_eq!(streamed.events().last().unwrap(), "[DONE]");
        let messages = json!([{ "role": "user", "content": "weather?" },
            { "role": "assistant", "content": null, "tool_calls": [call] },
            { "role": "tool", "tool_call_id": call["id"], "content": "21 degrees" }]);
        let answer = ask(&app, &key, &json!({ "model": "sandbox", "messages": messages, "tools": weather() })).await;
        assert_eq!(answer["choices"][0]["message"]["content"], "I am the sandbox model. The tool answered: 21 degrees");
        let none = with(user(&json!("weather?")), json!({ "tools": weather(), "tool_choice": "none" }));
        assert_eq!(ask(&app, &key, &none).await["choices"][0]["finish_reason"], "stop");
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn structured_output_fits_what_was_asked_for() {
    run(async |app| {
        let key = with_sandbox(&app).await;
        let content = async |format: Value| {
            let answer = ask(&app, &key, &with(user(&json!("hi")), json!({ "response_format": format }))).await;
            serde_json::from_str::<Value>(answer["choices"][0]["message"]["content"].as_str().unwrap()).unwrap()
        };
        assert!(content(json!({ "type": "json_object" })).await.is_object());
        let schema = json!({ "type": "object", "required": ["name", "size", "tags", "ok"], "additionalProperties": false, "properties": {
            "name": { "type": "string" }, "size": { "type": "integer", "minimum": 3 }, "ok": { "type": "boolean" },
            "tags": { "type": "array", "items": { "enum": ["red", "blue"] } } } });
        let value = content(
            json!({ "type": "json_schema", "json_schema": { "name": "thing", "strict": true, "schema": schema } }),
        )
        .await;
        assert!(
            value["name"].is_string() && value["ok"].is_boolean() && value["size"].as_i64().unwrap() >= 3,
            "{value}"
        );
        assert_eq!(value["tags"][0], "red");
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn images_choices_and_limits_are_minded() {
    run(async |app| {
        let key = with_sandbox(&app).await;
        let parts = json!([{ "type": "text", "text": "what is this?" }, { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } }]);
        let answer = ask(&app, &key, &user(&parts)).await;
        assert!(answer["choices"][0]["message"]["content"].as_str().unwrap().ends_with("I received 1 image."));
        assert_eq!(answer["usage"]["prompt_tokens"], 3 + 85);
        let answer = ask(&app, &key, &with(user(&json!("hi")), json!({ "n": 3, "max_tokens": 4 }))).await;
        let choices = answer["choices"].as_array().unwrap();
        assert_eq!(choices.len(), 3);
        assert!(choices.iter().all(|choice| choice["finish_reason"] == "length"));
        assert_eq!(answer["usage"]["completion_tokens"], 12);
        assert_eq!(micros(&last_receipt(&app, &key).await["charged_usd"]), 10 + 12 * 30);
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn its_refusals_are_the_clients_to_correct_and_cost_nothing() {
    run(async |app| {
        let key = with_sandbox(&app).await;
        let choice =
            json!({ "tools": weather(), "tool_choice": { "type": "function", "function": { "name": "other" } } });
        for stream in [false, true] {
            let request = with(with(user(&json!("hi")), choice.clone()), json!({ "stream": stream }));
            let answer = app.post(CHAT).bearer(&key.key).json(&request).send().await.expect(400).json();
            assert_eq!(answer["param"], "tool_choice");
            assert!(answer["error"].as_str().unwrap().contains("other"), "{answer}");
        }
        assert_eq!(app.balance_micros(&key).await, 1_000_000);
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn a_nearly_empty_wallet_gets_as_many_words_as_it_can_pay() {
    run(async |app| {
        with_sandbox(&app).await;
        let key = app.provision("0.0004").await;
        let answer = ask(&app, &key, &user(&json!("hello there"))).await;
        assert_eq!(answer["choices"][0]["finish_reason"], "length", "{answer}");
        assert_balanced(&app, &key, 400).await;
        assert!(app.balance_micros(&key).await < 400);
    });
}
